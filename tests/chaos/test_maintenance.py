"""Maintenance beside writers and readers: nothing is lost, nothing is there twice, no feed loses its start."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from ppsehr_spark.config import MaintainSettings
from ppsehr_spark.errors import ConfigurationError
from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.audit_log import append_entry, verify_chain
from ppsehr_spark.lake.maintenance import TablePlan, plan_tables
from ppsehr_spark.lake.row_versions import row_versions
from ppsehr_spark.lake.table_care import compact_table
from ppsehr_spark.lake.table_log import read_log
from ppsehr_spark.lake.tables import Lake

CANARY = "王小明电话13800000000"
EAGER = MaintainSettings(min_small_files=2, max_deleted_share=0.01, retention_hours=49)


def _plan(lake: Lake, spec: schemas.TableSpec, chosen: MaintainSettings, *, later: float = 0.0) -> TablePlan:
    """The plan of one table as it would be made some hours from now."""
    plans = plan_tables(lake, chosen, now=datetime.now(UTC) + timedelta(hours=later))
    return next(plan for plan in plans if plan.table == spec.full_name)


def _released(number: int, *, release_id: str = "r") -> pa.Table:
    row = {"release_id": release_id, "note_key": f"n{number}", "patient_key": f"p{number}", "text": CANARY}
    more = {"note_type": CANARY, "department": "d", "noted_month": "2020-01", "policy": "x"}
    return pa.Table.from_pylist([{**row, **more}], schema=schemas.RELEASED_NOTES.schema)


def _run_row(stage: str, read: dict[str, int], *, hours_ago: float = 0.0) -> pa.Table:
    row = dict.fromkeys(schemas.RUNS.schema.names)
    started = datetime.now(UTC) - timedelta(hours=hours_ago)
    row |= {"run_id": f"r{hours_ago}", "stage": stage, "status": "ok", "started_at": started}
    return pa.Table.from_pylist([{**row, "input_versions": json.dumps(read)}], schema=schemas.RUNS.schema)


def _age(lake: Lake, spec: schemas.TableSpec, hours: float) -> None:
    """Make the log of a table look as if it had been written so many hours ago, one minute between entries."""
    for path, version in read_log(lake, spec).entries.items():
        at = datetime.now(UTC).timestamp() - hours * 3600 + version * 60
        os.utime(path, (at, at))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


def test_retention_not_longer_than_the_feed_lag_is_refused(lake: Lake) -> None:
    with pytest.raises(ConfigurationError, match="RETENTION_TOO_SHORT") as refusal:
        plan_tables(lake, MaintainSettings(retention_hours=24, feed_lag_hours=48))
    assert refusal.value.exit_code == 3


def test_a_late_reader_holds_its_versions_or_refuses(lake: Lake) -> None:
    spec = schemas.RELEASED_NOTES  # any table will do; the rule knows names and versions only
    for number in range(6):
        lake.append(spec, _released(number))
    _age(lake, spec, 100)
    free = _plan(lake, spec, EAGER)
    assert (free.keep_version, free.held_back_by, free.retention_hours) == (6, "", 49)
    lake.append(schemas.RUNS, _run_row("tier", {spec.full_name: 6}, hours_ago=9))
    lake.append(schemas.RUNS, _run_row("partition", {spec.full_name: 2}, hours_ago=90))
    lake.append(schemas.RUNS, _run_row("fit", {spec.full_name: 0}, hours_ago=90))  # reads tables as they are
    held = _plan(lake, spec, EAGER)
    assert (held.keep_version, held.held_back_by, held.is_feed_cut) == (2, "partition", False)
    assert held.retention_hours > 100
    with pytest.raises(ConfigurationError, match=r"FEED_IN_USE table=release\.notes stage=partition version=2"):
        _plan(lake, spec, MaintainSettings(retention_hours=49, late_consumer="refuse"))
    lake.append(schemas.RUNS, _run_row("partition", {spec.full_name: 6}))
    assert _plan(lake, spec, EAGER).held_back_by == ""


def test_the_version_of_a_current_release_stays_readable(lake: Lake) -> None:
    spec = schemas.RELEASED_NOTES
    for number in range(4):
        lake.append(spec, _released(number))
    _age(lake, spec, 100)
    row = dict.fromkeys(schemas.RELEASES.schema.names)
    at = datetime.fromtimestamp(max(d.timestamp() for d in read_log(lake, spec).commits.values()) - 30, UTC)
    row |= {"release_id": "r", "table": spec.full_name, "released_at": at}
    lake.append(schemas.RELEASES, pa.Table.from_pylist([row], schema=schemas.RELEASES.schema))
    plan = _plan(lake, spec, EAGER)
    assert (plan.keep_version, plan.held_back_by) == (3, "release")


def test_compaction_by_deltalake_keeps_rows_transactions_and_silence(lake: Lake) -> None:
    spec = schemas.RELEASED_NOTES
    for number in range(5):
        lake.append(spec, _released(number), app_id=f"a{number}", app_version=1)
    assert compact_table(lake, spec, target_bytes=1 << 27) == 5
    assert _plan(lake, spec, EAGER).n_files == 1
    assert sorted(lake.read(spec, ["note_key"])["note_key"].to_pylist()) == [f"n{number}" for number in range(5)]
    assert not lake.append(spec, _released(3), app_id="a3", app_version=1)
    log = "".join(Path(path).read_text(encoding="utf-8") for path in read_log(lake, spec).entries)
    assert CANARY not in log


@pytest.mark.chaos
def test_compaction_beside_a_chain_of_audit_entries_breaks_neither(lake: Lake) -> None:
    def write(name: str) -> None:
        for number in range(12):
            append_entry(lake, actor=name, action="run", target="t", run_id="r", details={"number": number})

    writers = [threading.Thread(target=write, args=(name,)) for name in ("one", "two")]
    append_entry(lake, actor="zero", action="run", target="t", run_id="r", details={})
    for writer in writers:
        writer.start()
    n_compactions = 0
    while any(writer.is_alive() for writer in writers):
        n_compactions += compact_table(lake, schemas.AUDIT_LOG, target_bytes=1 << 27) > 0
    for writer in writers:
        writer.join()
    report = verify_chain(lake)
    assert (report.is_whole, report.n_rows) == (True, 25)
    assert n_compactions > 0


@pytest.fixture(scope="module")
def worked(spark: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """phi.notes after two merges, a tenth of its rows deleted by vectors, and read by deltalake's tables."""
    from pyspark.sql import functions as F

    from ppsehr_spark.spark.frames import ensure_table, merge_rows, spark_schema

    lake = Lake(str(tmp_path_factory.mktemp("worked") / "lake"))
    spec = schemas.NOTES
    for start in range(0, 80, 40):
        rows = [_note(number) for number in range(start, start + 40)]
        merge_rows(spark, lake, spec, spark.createDataFrame(rows, spark_schema(spec.schema)))
    table = ensure_table(spark, lake, spec)
    gone = spark.createDataFrame([(f"n{number:03d}",) for number in range(0, 80, 10)], "key string")
    table.alias("t").merge(gone.alias("k"), F.expr("t.note_key = k.key")).whenMatchedDelete().execute()
    for number in range(5):
        lake.append(schemas.RELEASED_NOTES, _released(number), app_id=f"a{number}", app_version=1)
    yield lake


def _note(number: int) -> dict[str, Any]:
    row = dict.fromkeys(schemas.NOTES.schema.names)
    keys = {"note_key": f"n{number:03d}", "patient_key": f"p{number % 7}", "text_hash": f"h{number}"}
    return {**row, **keys, "text": f"{CANARY}{number}", "n_chars": 3, "source": "s"}


def _readers(lake: Lake, spec: schemas.TableSpec) -> list[set[str]]:
    """The keys as deltalake and as DuckDB read them."""
    key = spec.keys[-1]
    connection = duckdb.connect()
    import duckdb_extensions

    duckdb_extensions.import_extension("delta")
    connection.execute("LOAD delta")
    rows = connection.execute(f"SELECT {key} FROM delta_scan('{lake.table_uri(spec)}')").fetchall()
    return [set(lake.read(spec, [key])[key].to_pylist()), {row[0] for row in rows}]


@pytest.mark.spark
@pytest.mark.chaos
def test_a_round_beside_a_writer_loses_and_doubles_nothing(spark: Any, worked: Lake) -> None:
    from ppsehr_spark.spark.frames import merge_rows, spark_schema
    from ppsehr_spark.spark.maintenance.rounds import Caretaker, maintain_tables

    spec = schemas.NOTES
    plan = _plan(worked, spec, EAGER)
    assert plan.is_purged
    assert plan.is_compacted
    assert plan.n_deleted_rows == 8
    failures: list[BaseException] = []

    def write() -> None:  # updates of rows that lie in the files which are written anew meanwhile
        try:
            for start in range(0, 80, 40):
                changed = [{**_note(number), "n_chars": 100 + start} for number in range(start, start + 45)]
                merge_rows(spark, worked, spec, spark.createDataFrame(changed, spark_schema(spec.schema)))
        except BaseException as error:
            failures.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    counts = maintain_tables(Caretaker(worked, lambda: spark), plan_tables(worked, EAGER), target_mib=1)
    writer.join()
    assert not failures
    assert counts["skipped"] == 0
    assert counts["purged"] == 1
    keys = worked.read(spec, ["note_key", "n_chars"]).to_pylist()
    assert sorted(row["note_key"] for row in keys) == [f"n{number:03d}" for number in range(85)]
    assert {row["n_chars"] for row in keys} == {100, 140}
    for found in _readers(worked, spec):
        assert found == {f"n{number:03d}" for number in range(85)}
    for found in _readers(worked, schemas.RELEASED_NOTES):
        assert found == {f"n{number}" for number in range(5)}


@pytest.mark.spark
@pytest.mark.chaos
def test_old_versions_go_and_the_feed_of_a_late_reader_stays(spark: Any, worked: Lake) -> None:
    from ppsehr_spark.spark.maintenance.rounds import Caretaker, maintain_tables

    spec = schemas.NOTES
    caretaker = Caretaker(worked, lambda: spark)
    keys = set(worked.read(spec, ["note_key"])["note_key"].to_pylist())
    version = worked.version(spec)
    assert version is not None
    read = version - 3
    worked.append(schemas.RUNS, _run_row("partition", {spec.full_name: read}))
    later = datetime.now(UTC) + timedelta(hours=400)
    plans = [plan for plan in plan_tables(worked, EAGER, now=later) if plan.table == spec.full_name]
    assert plans[0].held_back_by == "partition"
    maintain_tables(caretaker, plans, target_mib=1)
    feed = spark.read.format("delta").option("readChangeFeed", "true").option("startingVersion", read + 1)
    assert feed.load(worked.table_uri(spec)).count() > 0
    newest = worked.version(spec)
    worked.append(schemas.RUNS, _run_row("partition", {spec.full_name: newest}))
    plans = [plan for plan in plan_tables(worked, EAGER, now=later) if plan.table == spec.full_name]
    assert plans[0].held_back_by == ""
    held = row_versions(worked, {spec.full_name: newest})
    assert held[spec.full_name] < newest, "the rows are older than the last compaction"
    counts = maintain_tables(caretaker, plans, target_mib=1)
    assert row_versions(worked, {spec.full_name: worked.version(spec)}) == held, "no new question to the ledger"
    assert str(held[spec.full_name]) not in {str(v) for v in read_log(worked, spec).commits}, "its commit is gone"
    assert counts["log_entries_removed"] > 0
    assert (read_log(worked, spec).oldest or 0) > read
    assert DeltaTable(worked.table_uri(spec)).version() >= (newest or 0)
    for found in _readers(worked, spec):
        assert found == keys
