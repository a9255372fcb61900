"""What one rank of a training does, from its shard to its last step.

Knows: the order of data, steps and checkpoints. Must not know: Ray (it is handed a ``Workplace``), the ledger:
whoever starts this has redeemed a grant for exactly this plan. Every rank executes every step of the plan, whatever
its sample, so the sums meet.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed

from ppsehr_spark.config import Settings, settings_from_json
from ppsehr_spark.domain.codelists import load_codelists
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.privacy.training_plan import ExecutedSteps, TrainingPlan, plan_from_json
from ray_actors.os_randomness import draw_mask
from ray_actors.trained_model import (
    OPTIMIZER_FILE,
    TrainedModel,
    load_checkpoint,
    make_model,
    read_executed,
    save_checkpoint,
)
from ray_actors.trainer import PatientTrainer, make_trainer
from ray_actors.training_data import Patient, is_held_out, is_in_shard, read_patients
from ray_actors.workplace import Workplace


@dataclass(frozen=True)
class TrainingOrder:
    """What every rank is told: settings, lake, plan and versions; a few kilobytes, no row.

    Attributes:
        base_model: folder of the public weights, absolute; empty for none.
        versions: table name -> Delta version.
    """

    settings_json: str
    lake_uri: str
    plan_json: str
    versions: Mapping[str, int | None]
    base_model: str = ""

    def to_json(self) -> str:
        """For the way to the rank."""
        return json.dumps(vars(self))

    @property
    def plan(self) -> TrainingPlan:
        """The plan."""
        return plan_from_json(self.plan_json)

    @property
    def settings(self) -> Settings:
        """The settings."""
        return settings_from_json(self.settings_json)


def run_rank(order_json: str, workplace: Workplace) -> None:
    """Train this rank's shard to the last step of the plan."""
    order = TrainingOrder(**json.loads(order_json))
    plan, settings = order.plan, order.settings
    trained, executed = _start_model(order, workplace)
    patients = read_patients(
        Lake(order.lake_uri),
        plan=plan,
        versions=order.versions,
        codelists=load_codelists(settings.files),
        codec=trained.codec,
        is_wanted=lambda key: (
            not is_held_out(key, share=plan.holdout_share)
            and is_in_shard(key, rank=workplace.rank, world_size=workplace.world_size)
        ),
    )
    trained.model.to(workplace.device)
    trainer = make_trainer(
        trained.model,
        plan=plan,
        pad_id=trained.codec.pad_id,
        physical_rows=settings.train.physical_rows,
        add_up=_add_up_ranks if workplace.world_size > 1 else lambda total: None,
        n_ranks=workplace.world_size,
    )
    if workplace.restored:
        _restore_optimizer(trainer, workplace.restored)
    _run_steps(trainer, patients, order=order, executed=executed, workplace=workplace, model=trained.model)


def sample_patients(patients: Sequence[Patient], *, rate: float) -> list[Patient]:
    """Each patient independently with chance ``rate``, anew at every call (Poisson)."""
    mask = draw_mask(len(patients), rate=rate)
    return [patient for patient, is_drawn in zip(patients, mask, strict=True) if is_drawn]


def _start_model(order: TrainingOrder, workplace: Workplace) -> tuple[TrainedModel, ExecutedSteps]:
    if workplace.restored is None:
        return make_model(order.plan, base_model=order.base_model), ExecutedSteps()
    executed = read_executed(workplace.restored, plan=order.plan)
    return load_checkpoint(workplace.restored, base_model=order.base_model, is_trainable=True), executed


def _run_steps(
    trainer: PatientTrainer,
    patients: Sequence[Patient],
    *,
    order: TrainingOrder,
    executed: ExecutedSteps,
    workplace: Workplace,
    model: Any,
) -> None:
    plan, every = order.plan, order.settings.train.checkpoint_every_steps
    while executed.n_steps < plan.n_steps:
        trainer.step(sample_patients(patients, rate=plan.sampling_rate))
        executed = executed.add_step(plan)
        if workplace.rank == 0:
            workplace.tell_progress(executed.n_steps)
        if executed.n_steps % every == 0 or executed.n_steps == plan.n_steps:
            _checkpoint(trainer, model=model, plan=plan, executed=executed, workplace=workplace)


def _checkpoint(
    trainer: PatientTrainer, *, model: Any, plan: TrainingPlan, executed: ExecutedSteps, workplace: Workplace
) -> None:
    """Weights and optimizer state from rank 0 (all ranks hold the same); every rank waits until it is stored."""
    metrics = {"n_steps_done": executed.n_steps}
    if workplace.rank != 0:
        workplace.report(None, metrics)
        return
    with tempfile.TemporaryDirectory(prefix="ppsehr-train-") as name:
        folder = Path(name)
        save_checkpoint(folder, model=model, plan=plan, executed=executed)
        torch.save(trainer.optimizer.state_dict(), folder / OPTIMIZER_FILE)
        workplace.report(folder, metrics)


def _restore_optimizer(trainer: PatientTrainer, folder: Path) -> None:
    trainer.optimizer.load_state_dict(torch.load(folder / OPTIMIZER_FILE, weights_only=True))


def _add_up_ranks(total: torch.Tensor) -> None:
    torch.distributed.all_reduce(total)
