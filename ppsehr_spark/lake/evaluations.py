"""``protected.evaluations``: what is evaluated, under which id, and its rows.

Knows: which tables the figures are about. Must not know: how a figure is computed (``evaluation_figures``), what hangs
on it. An evaluation is named by the versions of all it reads and by the limits it was judged by, so that publishing can
ask for the evaluation of exactly what it is about to release.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from ppsehr_spark import __version__
from ppsehr_spark.config import Settings, hash_values
from ppsehr_spark.errors import InfrastructureError, QualityGateError
from ppsehr_spark.evaluation.metrics import METRICS
from ppsehr_spark.lake.crash_points import crash_point
from ppsehr_spark.lake.evaluation_figures import (
    Measured,
    measure_membership,
    measure_notes,
    measure_records,
    measure_statistics,
)
from ppsehr_spark.lake.record_model_store import read_record_model
from ppsehr_spark.lake.row_versions import row_versions
from ppsehr_spark.lake.schemas import (
    CHECKPOINTS,
    DP_STATISTICS,
    EVALUATIONS,
    MEMBERSHIP_SCORES,
    PRIVACY_LEDGER,
    RECORD_MODEL,
    SYNTHETIC_ENCOUNTERS,
    SYNTHETIC_NOTES,
    SYNTHETIC_PATIENTS,
)
from ppsehr_spark.lake.statistics_store import read_statistics
from ppsehr_spark.lake.synthetic_rows import read_newest_dataset
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.privacy.policy import parse_policy

#: What an evaluation is about; a new version of any of them asks for a new one.
EVALUATED = (
    DP_STATISTICS, RECORD_MODEL, CHECKPOINTS, MEMBERSHIP_SCORES, SYNTHETIC_PATIENTS, SYNTHETIC_ENCOUNTERS,
    SYNTHETIC_NOTES,
)  # fmt: skip


def evaluate_lake(lake: Lake, settings: Settings, *, run_id: str) -> dict[str, int]:
    """Measure everything that is there and write the figures once; what has not been produced yet has none.

    Returns:
        Counts for the run record.

    Raises:
        InfrastructureError: ``INPUT_CHANGED`` when a table was written to meanwhile.
    """
    evaluation_id = make_evaluation_id(lake, settings)
    figures = [
        *measure_statistics(read_statistics(lake).to_pylist()),
        *_measure_synthetic(lake, settings),
        *_measure_training(lake, settings),
    ]
    if make_evaluation_id(lake, settings) != evaluation_id:
        raise InfrastructureError("INPUT_CHANGED", hint="a stage wrote while figures were computed; run evaluate again")
    rows = [_to_row(each, evaluation_id, run_id) for each in figures]
    crash_point("evaluate.before_rows")
    if rows:
        table = pa.Table.from_pylist(rows, schema=EVALUATIONS.schema)
        lake.append(EVALUATIONS, table, app_id=f"evaluate:{evaluation_id}", app_version=1)
    crash_point("evaluate.after_rows")
    n_failed = sum(each.is_passed is False for each in figures)
    return {
        "n_figures": len(figures),
        "n_gates": sum(each.is_passed is not None for each in figures),
        "n_failed": n_failed,
    }


def make_evaluation_id(lake: Lake, settings: Settings) -> str:
    """Hash of table versions, limits, conf that decides a figure, and code version."""
    versions = row_versions(lake, {spec.full_name: lake.version(spec) for spec in EVALUATED})
    limits = dataclasses.asdict(settings.publish)
    return hash_values([versions, limits, settings.files.get("privacy.toml", ""), __version__])


def read_evaluations(lake: Lake, evaluation_id: str) -> list[dict[str, Any]]:
    """All rows of one evaluation, by subject, metric and slice.

    Raises:
        QualityGateError: ``EVALUATION_BASIS`` when a row claims another basis than its metric has.
    """
    rows = [row for row in lake.read(EVALUATIONS).to_pylist() if row["evaluation_id"] == evaluation_id]
    n_wrong = sum(row["basis"] != METRICS.get(row["metric"]) for row in rows)
    if n_wrong:
        hint = "a figure that reads real records is marked as public, or is unknown; run evaluate again"
        raise QualityGateError("EVALUATION_BASIS", n_rows=n_wrong, hint=hint)
    return sorted(rows, key=lambda row: (row["subject"], row["metric"], row["slice"]))


def newest_checkpoint(lake: Lake) -> Mapping[str, Any] | None:
    """The checkpoint that the ledger paid for last, ``None`` when there is none."""
    rows = lake.read(CHECKPOINTS).to_pylist()
    ledger = lake.read(PRIVACY_LEDGER, ["grant_id", "sequence"], "kind = 'commit'").to_pylist()
    committed = {row["grant_id"]: int(row["sequence"]) for row in ledger}
    return max(rows, key=lambda row: (committed.get(row["grant_id"], 0), row["checkpoint_id"]), default=None)


def _measure_synthetic(lake: Lake, settings: Settings) -> list[Measured]:
    dataset = read_newest_dataset(lake)
    if dataset is None:
        return []
    model = read_record_model(lake, model_id=dataset.model_id)
    limits = settings.publish
    return [
        *measure_records(dataset.dataset_id, dataset.patients, model.marginals, model.domain, limits=limits),
        *measure_notes(dataset.dataset_id, dataset.note_rows, limits=limits),
    ]


def _measure_training(lake: Lake, settings: Settings) -> list[Measured]:
    checkpoint = newest_checkpoint(lake)
    if checkpoint is None:
        return []
    scores = [
        row for row in lake.read(MEMBERSHIP_SCORES).to_pylist() if row["checkpoint_id"] == checkpoint["checkpoint_id"]
    ]
    delta = parse_policy(settings.files).total.delta
    return measure_membership(checkpoint, scores, delta=delta, limits=settings.publish)


def _to_row(figure: Measured, evaluation_id: str, run_id: str) -> dict[str, Any]:
    plain = {name: _finite(value) for name, value in dataclasses.asdict(figure).items()}
    return {**plain, "evaluation_id": evaluation_id, "basis": figure.basis, "run_id": run_id}


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
