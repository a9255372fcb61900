"""Killed at any named point and started again, the stages end in the rows of a run that nobody disturbed."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

import pytest

from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.runtime import run_job

pytestmark = [pytest.mark.spark, pytest.mark.chaos]

#: Stage -> the points at which it dies, one after the other, before it is let through; `make chaos` walks all of them.
EVERY_POINT: dict[str, tuple[str, ...]] = {
    "ingest": ("ingest.after_rejects", "ingest.after_patients", "ingest.after_notes", "ingest.before_record"),
    "partition": ("partition.after_segments", "partition.after_rules", "partition.before_record"),
    "tier": ("tier.before_record",),
    "protect": ("protect.before_record",),
    "publish": ("publish.before_record",),
}
#: `make test` takes each kind once: between two tables of one stage, between two commits, everything but the record.
ONE_OF_A_KIND: dict[str, tuple[str, ...]] = {
    "ingest": ("ingest.after_patients",), "partition": ("partition.after_segments",), "tier": (),
    "protect": ("protect.before_record",), "publish": (),
}  # fmt: skip
CRASH_POINTS = EVERY_POINT if os.environ.get("PPSEHR_CHAOS") == "full" else ONE_OF_A_KIND
COMPARED = (
    schemas.PATIENTS, schemas.ENCOUNTERS, schemas.NOTES, schemas.GOLD, schemas.REJECTS, schemas.RULE_ANNOTATIONS,
    schemas.SEGMENTS, schemas.WORK_UNITS, schemas.ANNOTATIONS, schemas.PROTECTED_NOTES, schemas.RELEASED_NOTES,
)  # fmt: skip


class KilledError(BaseException):
    """Stands for SIGKILL inside this process: no ``except Exception`` of the product may catch it."""


def _run(stage: str, arguments: list[str]) -> int:
    return run_job(importlib.import_module(f"jobs.{stage}").STAGE, arguments)


def _arguments(lake: Path, source: Path, key_file: str, stage: str) -> list[str]:
    own = ["--source", str(source)] if stage in ("simulate", "ingest") else []
    settings = [f'identity.key_file="{key_file}"', "simulate.n_patients=4", "simulate.n_bad_rows=4"]
    settings += ["ingest.max_reject_share=0.9"]
    return ["--lake", str(lake), "--profile", "ci", *own, *(part for s in settings for part in ("--set", s))]


def _rows(lake: Lake, spec: schemas.TableSpec) -> list[dict[str, Any]]:
    rows = lake.read(spec, [name for name in spec.schema.names if name != "run_id"])
    return rows.sort_by([(key, "ascending") for key in spec.keys if key != "run_id"]).to_pylist()


@pytest.fixture(scope="module")
def undisturbed(spark: Any, tmp_path_factory: pytest.TempPathFactory, key_file: str) -> tuple[Lake, Path]:
    base = tmp_path_factory.mktemp("undisturbed")
    for stage in ("simulate", *CRASH_POINTS):
        assert _run(stage, _arguments(base / "lake", base / "source", key_file, stage)) == 0
    return Lake(str(base / "lake")), base / "source"


def test_killed_everywhere_and_run_again_ends_in_the_same_rows(
    undisturbed: tuple[Lake, Path], tmp_path: Path, key_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(code: int) -> None:
        raise KilledError(code)

    monkeypatch.setattr(os, "_exit", die)
    oracle, source = undisturbed
    for stage, points in CRASH_POINTS.items():
        arguments = _arguments(tmp_path / "lake", source, key_file, stage)
        for point in points:
            monkeypatch.setenv("PPSEHR_CRASH_AT", point)
            with pytest.raises(KilledError):
                _run(stage, arguments)
        monkeypatch.delenv("PPSEHR_CRASH_AT", raising=False)
        assert _run(stage, arguments) == 0
    lake = Lake(str(tmp_path / "lake"))
    for spec in COMPARED:
        rows = _rows(oracle, spec)
        assert _rows(lake, spec) == rows, spec.full_name
        assert rows or spec in (schemas.SEGMENTS, schemas.WORK_UNITS), f"nothing to compare in {spec.full_name}"
