"""When a stage may follow changes, when it compares everything, and that a feed without its start is an error."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable, write_deltalake

from ppsehr_spark.errors import ConfigurationError, ExitCode, InfrastructureError
from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.change_feeds import Pins, confirm_outputs, plan_reading, read_newest
from ppsehr_spark.lake.schemas import TableSpec
from ppsehr_spark.lake.tables import Lake

INPUT, OUTPUT = schemas.NOTES, schemas.RULE_ANNOTATIONS


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(str(tmp_path / "lake"))
    _write(lake, INPUT, "n1")
    _write(lake, OUTPUT, "n1")
    return lake


def _write(lake: Lake, spec: TableSpec, key: str, *, writer: str = "") -> None:
    """One row, as the JVM would write it; one commit."""
    required = {field.name: key for field in spec.schema if not field.nullable}
    table = pa.Table.from_pylist([required], schema=spec.schema)
    properties = CommitProperties(custom_metadata={"userMetadata": writer} if writer else None)
    uri, feed = lake.table_uri(spec), {"delta.enableChangeDataFeed": "true"}
    write_deltalake(uri, table, mode="append", configuration=feed, commit_properties=properties)


def _pins(lake: Lake, conf: str = "c1") -> Pins:
    return Pins(
        "partition", {INPUT.full_name: lake.version(INPUT)}, {OUTPUT.full_name: lake.version(OUTPUT)}, conf, "w"
    )


def _record(lake: Lake, pins: Pins, *, status: str = "ok", **changed: Any) -> None:
    row = {
        "run_id": "r1", "stage": pins.stage, "status": status, "conf_fingerprint": pins.conf_fingerprint,
        "input_versions": json.dumps(pins.inputs), "output_versions": json.dumps(pins.outputs),
        "started_at": datetime.now(UTC), **changed,
    }  # fmt: skip
    lake.append(schemas.RUNS, pa.Table.from_pylist([row], schema=schemas.RUNS.schema))


def test_changes_since_the_last_run_are_followed(lake: Lake) -> None:
    _record(lake, _pins(lake))
    _write(lake, INPUT, "n2")
    _write(lake, INPUT, "n3")
    reading = plan_reading(lake, _pins(lake))
    assert reading.is_incremental and reading.span(INPUT) == (1, 2)
    assert reading.to_plan()["changes"] == {"phi.notes": [1, 2]}


def test_nothing_new_is_an_empty_span(lake: Lake) -> None:
    _record(lake, _pins(lake))
    reading = plan_reading(lake, _pins(lake))
    assert reading.is_incremental and reading.span(INPUT) is None


def test_a_table_that_was_not_there_is_followed_from_its_beginning(lake: Lake) -> None:
    before = replace(_pins(lake), inputs={schemas.CORRECTIONS.full_name: None})
    _record(lake, before)
    assert plan_reading(lake, before).span(schemas.CORRECTIONS) is None
    _write(lake, schemas.CORRECTIONS, "c1")
    reading = plan_reading(lake, replace(before, inputs={schemas.CORRECTIONS.full_name: 0}))
    assert reading.span(schemas.CORRECTIONS) == (0, 0)


@pytest.mark.parametrize("case", ["no run", "conf", "asked for", "not ok", "output written", "no feed", "unsaid"])
def test_anything_unusual_is_compared_in_full(lake: Lake, case: str) -> None:
    pins = _pins(lake)
    if case != "no run":
        said = {"input_versions": "{}"} if case == "unsaid" else {}
        _record(lake, pins, status="failed" if case == "not ok" else "ok", **said)
    if case == "output written":  # a killed run, a run of another conf, somebody else
        _write(lake, OUTPUT, "n9")
    if case == "no feed":
        DeltaTable(lake.table_uri(INPUT)).alter.set_table_properties({"delta.enableChangeDataFeed": "false"})
    reading = plan_reading(lake, _pins(lake, "c2" if case == "conf" else "c1"), is_full=case == "asked for")
    assert not reading.is_incremental and reading.reason.startswith("whole tables are compared: ")
    assert reading.span(INPUT) is None and reading.versions == _pins(lake).inputs


def test_a_later_failure_that_wrote_nothing_changes_nothing(lake: Lake) -> None:
    _record(lake, _pins(lake))
    _record(lake, _pins(lake, "c2"), status="failed")
    assert plan_reading(lake, _pins(lake)).is_incremental


def test_compaction_of_an_output_does_not_matter(lake: Lake) -> None:
    _record(lake, _pins(lake))
    before = lake.version(OUTPUT)
    _write(lake, OUTPUT, "n2", writer="w")
    _record(lake, _pins(lake))
    DeltaTable(lake.table_uri(OUTPUT)).optimize.compact()
    assert lake.version(OUTPUT) == (before or 0) + 2
    assert plan_reading(lake, _pins(lake)).is_incremental


def test_commits_after_the_pinned_version_do_not_shift_those_before(lake: Lake) -> None:
    _write(lake, OUTPUT, "n2", writer="w")
    _record(lake, _pins(lake))
    DeltaTable(lake.table_uri(OUTPUT)).optimize.compact()
    pins = _pins(lake)
    _write(lake, OUTPUT, "n3", writer="somebody else")  # when the run has begun
    assert plan_reading(lake, pins).is_incremental


def test_a_cleaned_log_is_an_error_that_says_what_to_do(lake: Lake) -> None:
    _record(lake, _pins(lake))
    for key in ("n2", "n3"):
        _write(lake, INPUT, key)
    DeltaTable(lake.table_uri(INPUT)).create_checkpoint()
    log = Path(lake.uri) / INPUT.path / "_delta_log"
    for version in (0, 1):
        (log / f"{version:020}.json").unlink()
    with pytest.raises(ConfigurationError, match=r"CHANGE_FEED_GONE table=phi.notes since=0.*--full") as caught:
        plan_reading(lake, _pins(lake))
    assert caught.value.exit_code == ExitCode.CONFIGURATION
    assert plan_reading(lake, _pins(lake), is_full=True).versions == {"phi.notes": 2}


def test_a_log_that_was_cleaned_behind_the_watermark_is_fine(lake: Lake) -> None:
    _write(lake, INPUT, "n2")
    _record(lake, _pins(lake))
    _write(lake, INPUT, "n3")
    DeltaTable(lake.table_uri(INPUT)).create_checkpoint()
    for version in (0, 1):
        (Path(lake.uri) / INPUT.path / "_delta_log" / f"{version:020}.json").unlink()
    assert plan_reading(lake, _pins(lake)).span(INPUT) == (2, 2)


def test_a_table_that_was_made_anew_is_an_error(lake: Lake) -> None:
    _record(lake, replace(_pins(lake), inputs={INPUT.full_name: 7}))
    with pytest.raises(ConfigurationError, match="CHANGE_FEED_GONE"):
        plan_reading(lake, _pins(lake))


def test_two_runs_that_met_are_told(lake: Lake) -> None:
    pins = _pins(lake)
    _write(lake, OUTPUT, "n2", writer="w")
    assert confirm_outputs(lake, pins) == {OUTPUT.full_name: 1}
    _write(lake, OUTPUT, "n2", writer="somebody else")
    with pytest.raises(InfrastructureError, match="STAGE_CONTENTION"):
        confirm_outputs(lake, pins)


def test_the_newest_versions_are_read_where_no_run_pins_them(lake: Lake) -> None:
    reading = read_newest(lake, (INPUT, schemas.CORRECTIONS))
    assert reading.versions == {"phi.notes": 0, "phi.corrections": None} and not reading.is_incremental
