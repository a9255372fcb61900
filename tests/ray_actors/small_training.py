"""Tiny Qwen2 models, patients of random tokens, and the slow way to get their gradients."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch

from ppsehr_spark.privacy.training_plan import TrainingPlan
from ray_actors.hf_models import add_adapters, build_small_qwen2
from ray_actors.trainer import PatientTrainer, make_trainer
from ray_actors.training_data import Patient, Row

VOCABULARY = 40
PLAN = TrainingPlan(
    sampling_rate=0.5,
    noise_multiplier=0.0,
    clip_norm=0.5,
    n_steps=3,
    expected_patients=4,
    max_notes_per_patient=3,
    max_note_tokens=12,
    holdout_share=0.0,
    learning_rate=0.01,
)


def plan_with(**changes: Any) -> TrainingPlan:
    return dataclasses.replace(PLAN, **changes)


def make_tiny(kind: str = "tied") -> Any:
    """``tied`` or ``untied`` from scratch, or ``lora`` on a frozen one."""
    model = build_small_qwen2(
        vocab_size=VOCABULARY, hidden_size=32, n_layers=1, has_tied_embeddings=kind in ("tied", "lora")
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        for parameter in model.parameters():  # away from the start, where half the gradients are small
            parameter.data += 0.1 * torch.randn_like(parameter)
        if kind == "lora":
            model = add_adapters(model, rank=2)
            for name, parameter in model.named_parameters():
                if "lora_B" in name:  # zero at the start, which would hide every gradient of lora_A
                    parameter.data += 0.1 * torch.randn_like(parameter)
    return model.train()


def make_patients(*note_counts: int, seed: int = 3) -> list[Patient]:
    """One patient per figure with so many notes, of different lengths."""
    dice = torch.Generator().manual_seed(seed)
    patients = []
    for i, n_notes in enumerate(note_counts):
        rows = []
        for _ in range(n_notes):
            n_header, n_body = (int(torch.randint(low, high, (1,), generator=dice)) for low, high in ((2, 5), (3, 12)))
            tokens = torch.randint(5, VOCABULARY, (n_header + n_body,), generator=dice).tolist()
            rows.append(Row(tuple(tokens), n_header))
        patients.append(Patient(f"p{i}", tuple(rows)))
    return patients


def trained_parameters(model: Any) -> list[Any]:
    return [p for p in model.parameters() if p.requires_grad]


def flat(parts: Sequence[Any]) -> torch.Tensor:
    return torch.cat([part.detach().reshape(-1) for part in parts]).clone()


def slow_gradient(model: Any, patient: Patient) -> torch.Tensor:
    """Mean over the notes of one patient, each note passed alone, no padding, no hooks, loss written out."""
    parameters = trained_parameters(model)
    losses = []
    for row in patient.rows:
        ids = torch.tensor([row.tokens])
        scores = model(input_ids=ids, use_cache=False).logits[0].log_softmax(-1)
        picked = [scores[at - 1, row.tokens[at]] for at in range(row.n_header, len(row.tokens))]
        losses.append(-torch.stack(picked).mean())
    return flat(torch.autograd.grad(torch.stack(losses).mean(), parameters))


def slow_clipped_sum(model: Any, patients: Sequence[Patient], clip_norm: float) -> torch.Tensor:
    total = torch.zeros(sum(p.numel() for p in trained_parameters(model)))
    for patient in patients:
        gradient = slow_gradient(model, patient)
        total += gradient * min(1.0, clip_norm / float(gradient.norm()))
    return total


class Recorder:
    """Stands for the sum over ranks when there is one: keeps what passes, already noised, not yet divided."""

    def __init__(self) -> None:
        self.totals: list[torch.Tensor] = []

    def __call__(self, total: torch.Tensor) -> None:
        self.totals.append(total.clone())


class ThreadRanks:
    """A sum over ranks that are threads of one process."""

    def __init__(self, n_ranks: int) -> None:
        self._barrier = threading.Barrier(n_ranks, timeout=60)
        self._parts: dict[int, torch.Tensor] = {}
        self.totals: list[torch.Tensor] = []

    def joined(self, rank: int) -> Callable[[torch.Tensor], None]:
        def add_up(total: torch.Tensor) -> None:
            self._parts[rank] = total.clone()
            self._barrier.wait()
            total.copy_(sum(self._parts[r] for r in sorted(self._parts)))  # type: ignore[arg-type]
            if rank == 0:
                self.totals.append(total.clone())
            self._barrier.wait()

        return add_up


def trainer_of(
    model: Any, *, plan: TrainingPlan = PLAN, add_up: Any = None, physical_rows: int = 8, n_ranks: int = 1
) -> PatientTrainer:
    return make_trainer(
        model, plan=plan, pad_id=0, physical_rows=physical_rows, add_up=add_up or Recorder(), n_ranks=n_ranks
    )


def sum_of_step(
    patients: Sequence[Patient], *, kind: str = "tied", physical_rows: int = 8, **plan: Any
) -> torch.Tensor:
    """What one step adds up, before it is divided."""
    seen = Recorder()
    trainer_of(make_tiny(kind), plan=plan_with(**plan), add_up=seen, physical_rows=physical_rows).step(patients)
    return seen.totals[0]


def run_threads(*work: Callable[[], None]) -> None:
    """Run all at once; the first error comes out."""
    errors: list[BaseException] = []

    def guarded(job: Callable[[], None]) -> None:
        try:
            job()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(job,)) for job in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
