"""The synthesize job at its door: what it would do, when there is nothing to do, what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs import synthesize
from ppsehr_spark.config import load_settings
from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.synthetic_store import write_notes
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.runtime import run_job
from ray_actors.note_writers import name_writer
from tests.ray_actors.synthetic_cases import make_settings, write_cases


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


def run(lake: Lake, key_file: str, *more: str) -> int:
    keys = [f'identity.key_file="{key_file}"', "synthesize.engine=rules", *more]
    return run_job(
        synthesize.STAGE,
        ["--lake", lake.uri, "--profile", "laptop", *(part for key in keys for part in ("--set", key))],
    )


def plan_of(lake: Lake, capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, object]:
    arguments = ["--lake", lake.uri, "--profile", "laptop", "--set", "synthesize.engine=rules", *more, "--dry-run"]
    assert run_job(synthesize.STAGE, arguments) == 0
    plan: dict[str, object] = json.loads(capsys.readouterr().out)
    return plan


def test_dry_run_tells_the_data_set_and_writes_nothing(lake: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    assert "dataset" not in plan_of(lake, capsys), "no record model yet"
    dataset_id = write_cases(lake, make_settings("rules", token_budget=12_000, notes_per_unit=16))
    plan = plan_of(lake, capsys)
    assert plan["writes"] == [
        "protected.synthetic_patients", "protected.synthetic_encounters", "protected.synthetic_notes",
    ]  # fmt: skip
    assert (plan["dataset"], plan["patients_drawn"], plan["open_encounters"]) == (dataset_id, 4, 12)
    assert "dataset" not in plan_of(lake, capsys, "--set", "synthesize.generator=trained"), "no checkpoint yet"
    assert lake.version(schemas.RUNS) is None


def test_open_notes_are_work_although_no_input_changed(
    lake: Lake, key_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset_id = write_cases(lake, make_settings("rules"))
    assert run(lake, key_file) == 0
    assert run(lake, key_file) == 0
    assert "unchanged, nothing to do" in capsys.readouterr().err
    row = {name: None for name in schemas.SYNTHETIC_NOTES.schema.names} | {"synthetic_note_id": "n1"}
    write_notes(lake, [row], dataset_id=dataset_id, run_id="r0")
    assert run(lake, key_file, "synthesize.token_budget=5") == 0
    assert "open_encounters=12" in capsys.readouterr().err, "a note of somebody else closes no visit"


def test_what_is_missing_is_refused_with_its_name(
    lake: Lake, key_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(lake, key_file) == 4
    write_cases(lake, make_settings("rules"))
    assert run(lake, key_file, "synthesize.generator=trained") == 4
    said = capsys.readouterr().err
    assert "NO_RECORD_MODEL" in said and "NO_CHECKPOINT" in said


def test_notes_of_a_unit_are_committed_once(lake: Lake) -> None:
    row = {name: None for name in schemas.SYNTHETIC_NOTES.schema.names} | {"synthetic_note_id": "n1"}
    for run_id in ("r1", "r2"):
        write_notes(lake, [row], dataset_id="d1", run_id=run_id)
    write_notes(lake, [row], dataset_id="d2", run_id="r1")
    rows = lake.read(schemas.SYNTHETIC_NOTES, ["dataset_id", "run_id"]).to_pylist()
    rows.sort(key=lambda found: found["dataset_id"])
    assert rows == [{"dataset_id": "d1", "run_id": "r1"}, {"dataset_id": "d2", "run_id": "r1"}]


def test_the_writer_is_known_before_it_is_loaded() -> None:
    settings = load_settings("laptop", ["synthesize.engine=openai"])
    assert name_writer(settings).startswith("openai:")
    assert name_writer(load_settings("laptop", ["synthesize.engine=openai", "engine.openai.model=x"])) != name_writer(
        settings
    )
