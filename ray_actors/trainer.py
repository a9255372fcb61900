"""DP-SGD with the patient as the sample; the only file that imports opacus.

Knows: how one step turns the patients of a rank into a clipped, summed, noised gradient. Must not know: Ray, tables,
where patients come from. Reference: Abadi et al. 2016, Algorithm 1; McMahan et al. 2018 (the user as the sample).

Opacus gives per-row gradients (hooks on every layer, so that tied embeddings work) and clipping. Three of its parts do
not fit and are replaced here: its samples are rows, ours are patients, so rows are merged before clipping; its noise
comes from a torch generator of 32 seed bits, ours from the operating system; its distributed optimizer and samplers
skip or repeat what a Poisson sample must not, so ranks only add up their noised sums.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from opacus import GradSampleModule
from opacus.optimizers import DPOptimizer

from ppsehr_spark.errors import ConfigurationError, QualityGateError
from ppsehr_spark.privacy.training_plan import TrainingPlan
from ray_actors.os_randomness import draw_normal
from ray_actors.row_losses import row_losses
from ray_actors.training_data import Patient


class PatientOptimizer(DPOptimizer):  # type: ignore[misc]  # opacus has no types
    """Opacus' clipping and accumulation; noise once per step for all ranks together.

    ``add_up`` replaces the vector it is given by the sum over all ranks. Each of ``n_ranks`` draws its equal part of
    the variance, so that the sum carries noise of exactly ``noise_multiplier * clip_norm``, however many they are.
    """

    def __init__(
        self, optimizer: Any, *, plan: TrainingPlan, add_up: Callable[[torch.Tensor], None], n_ranks: int
    ) -> None:
        super().__init__(
            optimizer,
            noise_multiplier=plan.noise_multiplier,
            max_grad_norm=plan.clip_norm,
            expected_batch_size=plan.expected_patients,
        )
        self._add_up = add_up
        self._noise_std = plan.noise_multiplier * plan.clip_norm / n_ranks**0.5

    def finish_step(self) -> None:
        """Noise, sum over ranks, divide by the public number of patients, step; a rank without patients adds zeros."""
        shapes = [p.shape for p in self.params]
        total = torch.cat([_summed(p).reshape(-1).float().cpu() for p in self.params])
        if self._noise_std:
            total += torch.from_numpy(draw_normal(len(total), std=self._noise_std)).float()
        self._add_up(total)
        total /= self.expected_batch_size
        for p, part in zip(self.params, total.split([shape.numel() for shape in shapes]), strict=True):
            p.grad = part.view_as(p).to(device=p.device, dtype=p.dtype)
        self.original_optimizer.step()
        self.zero_grad(set_to_none=True)


@dataclass(frozen=True)
class PatientTrainer:
    """A wrapped model, its optimizer, and how many rows a forward pass may hold."""

    model: Any
    optimizer: PatientOptimizer
    pad_id: int
    physical_rows: int

    def step(self, patients: Sequence[Patient]) -> None:
        """One step on the sampled patients of this rank; none is a step, too."""
        self.optimizer.zero_grad(set_to_none=True)
        for group in split_rows(patients, physical_rows=self.physical_rows):
            self.accumulate(group)
        self.optimizer.finish_step()

    def accumulate(self, patients: Sequence[Patient]) -> None:
        """Add the clipped gradients of these patients to the sum of the step."""
        per_patient_gradients(self.model, patients, pad_id=self.pad_id)
        self.optimizer.clip_and_accumulate()
        for parameter in self.optimizer.params:
            parameter.grad_sample = parameter.grad = None


def make_trainer(
    model: Any,
    *,
    plan: TrainingPlan,
    pad_id: int,
    physical_rows: int,
    add_up: Callable[[torch.Tensor], None],
    n_ranks: int,
) -> PatientTrainer:
    """Wrap a model for per-row gradients.

    Raises:
        ConfigurationError: ``MODEL_COUPLES_SAMPLES`` for batch norm or dropout.
    """
    require_independent_rows(model)
    wrapped = GradSampleModule(model.train(), loss_reduction="sum")
    inner = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=plan.learning_rate)
    optimizer = PatientOptimizer(inner, plan=plan, add_up=add_up, n_ranks=n_ranks)
    return PatientTrainer(wrapped, optimizer, pad_id, physical_rows)


def require_independent_rows(model: Any) -> None:
    """Refuse layers through which one row changes another (batch norm) or that draw from torch's generator."""
    for module in model.modules():
        is_dropout = isinstance(module, torch.nn.Dropout) and module.p > 0
        if is_dropout or isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            raise ConfigurationError("MODEL_COUPLES_SAMPLES", layer=type(module).__name__)


def per_patient_gradients(model: Any, patients: Sequence[Patient], *, pad_id: int) -> None:
    """Leave in every parameter's ``grad_sample`` one gradient per patient: the mean over the patient's own rows.

    Each row's loss is its own mean over tokens, weighted by one over the rows of its patient; the gradient of such a
    row, added up per patient, is the gradient of the mean of the patient's note losses.
    """
    rows = [row for patient in patients for row in patient.rows]
    owner = torch.tensor([i for i, patient in enumerate(patients) for _ in patient.rows])
    weights = torch.tensor([1 / len(patient.rows) for patient in patients for _ in patient.rows])
    losses = row_losses(model, rows, pad_id=pad_id)
    (losses * weights.to(losses.device)).sum().backward()
    for parameter in (p for p in model.parameters() if p.requires_grad):
        per_row = _stacked(parameter.grad_sample)
        merged = per_row.new_zeros((len(patients), *per_row.shape[1:]))
        merged.index_add_(0, owner.to(per_row.device), per_row)
        # infinity times a clip factor is not a number: one patient could then spoil the sum beyond every bound
        parameter.grad_sample = torch.nan_to_num_(merged, nan=0.0, posinf=0.0, neginf=0.0)


def split_rows(patients: Sequence[Patient], *, physical_rows: int) -> Iterator[list[Patient]]:
    """Groups of whole patients of at most this many rows; a patient who alone has more is a group."""
    group: list[Patient] = []
    for patient in patients:
        if group and sum(len(p.rows) for p in group) + len(patient.rows) > physical_rows:
            yield group
            group = []
        group.append(patient)
    if group:
        yield group


def _stacked(grad_sample: Any) -> torch.Tensor:
    """The per-row gradient of exactly one backward pass; anything else would mix steps."""
    if not isinstance(grad_sample, torch.Tensor):
        raise QualityGateError("GRADIENTS", hint="a parameter has no per-row gradient of this pass, or several")
    return grad_sample


def _summed(parameter: Any) -> torch.Tensor:
    return torch.zeros_like(parameter) if parameter.summed_grad is None else parameter.summed_grad
