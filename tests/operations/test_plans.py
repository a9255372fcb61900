"""What a dry run estimates: worked by hand from earlier runs, from documented rates, or not at all."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.operations.plans import DEFAULT_RATES, describe_plan, estimate_run, render_plans
from ppsehr_spark.operations.volumes import Volume, measure_table

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def lake(tmp_path: Any) -> Lake:
    return Lake(str(tmp_path / "lake"))


def _runs(lake: Lake, *runs: dict[str, Any]) -> None:
    rows = [
        {"run_id": f"r{n}", "stage": "tier", "status": "ok", "started_at": NOW + timedelta(hours=n), **run}
        for n, run in enumerate(runs)
    ]
    lake.append(schemas.RUNS, pa.Table.from_pylist(rows, schema=schemas.RUNS.schema))


def test_two_sizes_tell_start_up_from_work(lake: Lake) -> None:
    _runs(lake, {"work_rows": 1_000, "seconds": 30.0}, {"work_rows": 11_000, "seconds": 50.0})
    found = estimate_run(lake, stage="tier", work_rows=21_000)
    assert (found.seconds, found.tokens) == (70.0, 0), "28 s to start, 2 ms a row"
    assert found.basis == "2 earlier runs, the largest of 11,000 rows"


def test_one_size_takes_start_up_from_the_documented_rate(lake: Lake) -> None:
    start_s = DEFAULT_RATES["tier"].start_s
    _runs(lake, {"work_rows": 10_000, "seconds": start_s + 100.0})
    assert estimate_run(lake, stage="tier", work_rows=20_000).seconds == start_s + 200.0


def test_failed_runs_and_other_stages_do_not_count(lake: Lake) -> None:
    _runs(
        lake,
        {"work_rows": 10, "seconds": 9_999.0, "status": "failed"},
        {"work_rows": 10, "seconds": 9_999.0, "stage": "protect"},
    )
    found = estimate_run(lake, stage="tier", work_rows=0)
    assert (found.seconds, found.basis) == (DEFAULT_RATES["tier"].start_s, "documented default rate")


def test_tokens_follow_earlier_runs_and_end_at_the_budget(lake: Lake) -> None:
    spent = {"work_rows": 10, "seconds": 1.0, "prompt_tokens": 1_000, "cached_tokens": 400, "output_tokens": 100}
    _runs(lake, {**spent, "stage": "annotate", "status": "partial"})
    assert estimate_run(lake, stage="annotate", work_rows=20, token_budget=8_000).tokens == 1_400
    assert estimate_run(lake, stage="annotate", work_rows=2_000, token_budget=8_000).tokens == 8_000


def test_unknown_work_is_not_guessed(lake: Lake) -> None:
    found = estimate_run(lake, stage="tier", work_rows=None)
    assert (found.seconds, found.tokens, found.basis) == (None, None, "the input is not there yet")


def test_every_stage_of_a_run_has_a_documented_rate() -> None:
    from jobs.pipeline import STAGES

    assert {stage.name for stage in STAGES} <= set(DEFAULT_RATES)


def test_volumes_come_from_metadata(lake: Lake) -> None:
    assert measure_table(lake, schemas.RUNS) == Volume()
    _runs(lake, {}, {}, {})
    volume = measure_table(lake, schemas.RUNS)
    assert (volume.version, volume.rows) == (1, 3)
    assert volume.bytes == sum(p.stat().st_size for p in Path(lake.uri).rglob("*.parquet"))


def test_the_table_for_people_sums_what_is_known(lake: Lake) -> None:
    plans = [
        describe_plan(
            stage=stage, inputs={"phi.notes": Volume(3, 7, 1 << 20)}, writes=[], work_rows=rows, would_run=would_run,
            estimate=estimate_run(lake, stage=stage, work_rows=rows), more={"open": 1},
        )
        for stage, rows, would_run in (("tier", 1_000, True), ("protect", 1_000, False), ("train", None, True))
    ]  # fmt: skip
    lines = render_plans(plans).splitlines()
    assert lines[1].split() == ["tier", "yes", "1,000", "1.0", "0", "0:00:21", "documented", "default", "rate"]
    assert lines[2].split()[:2] == ["protect", "no"] and "unchanged" in lines[2]
    assert lines[3].split()[:5] == ["train", "yes", "?", "1.0", "?"]
    assert lines[4].split() == ["total", "0", "0:00:21", "of", "the", "stages", "that", "are", "known"]
    assert json.dumps(plans)
