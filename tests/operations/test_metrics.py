"""Metrics files: what Prometheus reads from them, written whole, with labels that hold names of the code alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ppsehr_spark.config import Settings, load_settings
from ppsehr_spark.errors import QualityGateError
from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.dead_letters import give_up, reopen
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.operations.deaths import record_death
from ppsehr_spark.operations.metrics import write_run_metrics
from ppsehr_spark.operations.records import RunStart
from ppsehr_spark.runtime import RunContext, Stage, StageResult, run_job

SECRET = "欧阳金丝雀"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "metrics"


@pytest.fixture
def arguments(tmp_path: Path, folder: Path, key_file: str) -> list[str]:
    settings = [f'identity.key_file="{key_file}"', f'metrics.folder="{folder}"']
    given = [word for item in settings for word in ("--set", item)]
    return ["--lake", str(tmp_path / "lake"), "--profile", "ci", *given]


def _samples(path: Path) -> dict[tuple[str, ...], float]:
    """(metric, label values in order of their names) -> value, by Prometheus' own parser."""
    families = text_string_to_metric_families(path.read_text(encoding="utf-8"))
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in families
        for sample in family.samples
    }


def _stage(body: Any) -> Stage:
    return Stage("annotate", "counts", body, work_count="segments")


def test_a_stage_leaves_its_figures_and_a_failure_keeps_the_last_success(arguments: list[str], folder: Path) -> None:
    counts = {
        "segments": 4,
        "open_segments": 2,
        "prompt_tokens": 90,
        "cached_tokens": 30,
        "output_tokens": 5,
        SECRET: 1,
    }
    assert run_job(_stage(lambda context: StageResult(counts)), arguments) == 0
    first = _samples(folder / "ppsehr_stage_annotate.prom")
    assert first["ppsehr_stage_last_run_exit_code", "annotate"] == 0
    assert first["ppsehr_stage_last_run_count", "segments", "annotate"] == 4
    assert first["ppsehr_stage_tokens_total", "prompt", "annotate"] == 90
    assert abs(first["ppsehr_stage_last_success_timestamp_seconds", "annotate"] - datetime.now(UTC).timestamp()) < 60

    def fail(context: RunContext) -> StageResult:
        context.done.update(prompt_tokens=7, cached_tokens=0, output_tokens=2)
        raise QualityGateError("GATE")

    assert run_job(_stage(fail), arguments) == 4
    second = _samples(folder / "ppsehr_stage_annotate.prom")
    assert second["ppsehr_stage_last_run_exit_code", "annotate"] == 4
    assert second["ppsehr_stage_runs_total", "annotate", "failed"] == 1
    assert second["ppsehr_stage_tokens_total", "prompt", "annotate"] == 97, "tokens of a run that failed are spent"
    success = ("ppsehr_stage_last_success_timestamp_seconds", "annotate")
    assert second[success] == first[success] < second["ppsehr_stage_last_run_timestamp_seconds", "annotate"]
    said = "".join(path.read_text(encoding="utf-8") for path in folder.iterdir())
    assert SECRET not in said
    assert not [path.name for path in folder.iterdir() if path.suffix not in (".prom", ".json")], "nothing half-written"


def test_names_are_prefixed_and_end_in_base_units(arguments: list[str], folder: Path) -> None:
    assert run_job(_stage(lambda context: StageResult()), arguments) == 0
    families = json.loads((folder / "ppsehr_stage_annotate.json").read_text(encoding="utf-8"))
    assert families and all(name.startswith("ppsehr_") and content["help"] for name, content in families.items())
    assert all(name.endswith("_total") for name, content in families.items() if content["type"] == "counter")
    assert not [name for name in families if name.endswith(("_ms", "_minutes", "_mib", "_kb"))]


def test_a_folder_that_cannot_be_written_is_a_warning(
    arguments: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.write_text("a file stands here", encoding="utf-8")
    assert run_job(_stage(lambda context: StageResult()), arguments) == 0
    assert "METRICS_NOT_WRITTEN" in capsys.readouterr().err


def _settings(folder: Path) -> Settings:
    return load_settings("ci", [f'metrics.folder="{folder}"'])


def test_a_whole_run_counts_tables_rejects_and_dead_letters(tmp_path: Path, folder: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    dead = [
        {"segment_key": f"s{n}", "unit_id": "u", "error_code": f"E{n % 2}", "attempts": 2, "engine": "e", "run_id": "r"}
        for n in range(3)
    ]
    give_up(lake, dead)
    reopen(lake, error_code="E1", run_id="r")
    write_run_metrics(lake, _settings(folder), exit_code=0, seconds=12.5, finished_at=1_000.0)
    write_run_metrics(lake, _settings(folder), exit_code=7, seconds=1.0, finished_at=2_000.0)
    found = _samples(folder / "ppsehr_run.prom")
    assert found["ppsehr_run_last_exit_code",] == 7
    assert found["ppsehr_run_last_success_timestamp_seconds",] == 1_000.0
    assert found["ppsehr_run_last_timestamp_seconds",] == 2_000.0
    assert (found["ppsehr_dead_letters",], found["ppsehr_rejected_rows",]) == (2, 0)
    assert found["ppsehr_table_rows", "phi.dead_letters"] == 4
    assert found["ppsehr_table_size_bytes", "phi.dead_letters"] > 0


def test_nobody_asked_nothing_written(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    write_run_metrics(lake, load_settings("ci"), exit_code=0, seconds=1.0, finished_at=1.0)
    assert not list(tmp_path.iterdir())


def test_a_stage_that_died_without_a_word_gets_one_row(tmp_path: Path) -> None:
    lake, start = Lake(str(tmp_path / "lake")), RunStart("r1", "tier")
    assert [record_death(lake, load_settings("ci"), start, exit_code=7) for _ in range(2)] == [True, False]
    (run,) = lake.read(schemas.RUNS).to_pylist()
    assert (run["status"], run["exit_code"], run["error_code"]) == ("interrupted", 7, "PROCESS_DIED")
