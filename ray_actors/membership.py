"""Losses of a finished model on patients it was trained on and on patients it never saw; for the membership attack.

Knows: how both samples are chosen and scored. Must not know: what the attack does with them (``evaluation.attacks``).
Real records are read, nothing is trained: the result is internal, lies in the phi zone, and is never released.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ppsehr_spark.domain.codelists import CodeLists
from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.privacy.training_plan import TrainingPlan
from ray_actors.row_losses import row_losses
from ray_actors.trained_model import load_checkpoint, read_plan
from ray_actors.training_data import Patient, is_held_out, order_by_hash, read_patients

#: Patients scored on each side.
MAX_PATIENTS = 200


def score_membership(
    lake: Lake, folder: Path, *, versions: Mapping[str, int | None], codelists: CodeLists, base_model: str = ""
) -> list[dict[str, Any]]:
    """One score per patient: ``patient_key``, ``is_member``, ``loss`` (nats per token), ``n_tokens``.

    Args:
        folder: checkpoint on this machine.
        versions: the table versions it was trained on.
    """
    plan = read_plan(folder)
    trained = load_checkpoint(folder, base_model=base_model)
    wanted = choose_patients(lake, plan=plan, versions=versions)
    patients = read_patients(
        lake, plan=plan, versions=versions, codelists=codelists, codec=trained.codec, is_wanted=wanted.__contains__
    )
    model = trained.model.eval()
    with torch.inference_mode():
        scored = [(patient, *_score_patient(model, patient, trained.codec.pad_id)) for patient in patients]
    return [
        {
            "patient_key": patient.patient_key,
            "is_member": not is_held_out(patient.patient_key, share=plan.holdout_share),
            "loss": loss,
            "n_tokens": n_tokens,
        }
        for patient, loss, n_tokens in scored
    ]


def choose_patients(lake: Lake, *, plan: TrainingPlan, versions: Mapping[str, int | None]) -> set[str]:
    """At most ``MAX_PATIENTS`` members and as many held-out patients, by keyed hash."""
    spec = schemas.PROTECTED_NOTES
    keys = lake.read(spec, ["patient_key"], version=versions[spec.full_name]).column(0).unique().to_pylist()
    sides: tuple[list[str], list[str]] = ([], [])
    for key in order_by_hash(keys, purpose="membership"):
        side = sides[is_held_out(key, share=plan.holdout_share)]
        if len(side) < MAX_PATIENTS:
            side.append(key)
    return {*sides[0], *sides[1]}


def _score_patient(model: Any, patient: Patient, pad_id: int) -> tuple[float, int]:
    """Mean loss per token over all rows of the patient, and how many tokens that are."""
    sizes: Sequence[int] = [len(row.tokens) - row.n_header for row in patient.rows]
    losses = row_losses(model, patient.rows, pad_id=pad_id).tolist()
    total = sum(loss * size for loss, size in zip(losses, sizes, strict=True))
    return total / sum(sizes), sum(sizes)
