"""Parts: opaque, checked, committed together behind a fence, readable by everybody, silent about what they hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake.exceptions import CommitFailedError

from ppsehr_spark.errors import InfrastructureError
from ppsehr_spark.lake.dead_letters import count_dead, give_up, read_dead, reopen
from ppsehr_spark.lake.fenced_commits import Fence, commit_fenced
from ppsehr_spark.lake.parts import Part, add_parts, read_part, write_part
from ppsehr_spark.lake.schemas import DEAD_LETTERS, SEGMENT_ANNOTATIONS
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.lake.views import open_duckdb

SPEC = SEGMENT_ANNOTATIONS
CANARY = "李伟金丝雀"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(str(tmp_path / "lake"))
    lake.create(SPEC)
    return lake


def rows_of(*keys: str) -> pa.Table:
    rows = [
        {"segment_key": key, "unit_id": "u", "run_id": "r", "prompts": ["judge:NAME:1"], "spans": [], "verdicts": []}
        for key in keys
    ]
    return pa.Table.from_pylist([{**row, "outcome": CANARY} for row in rows], schema=SPEC.schema)


def commit(lake: Lake, *parts: Part) -> None:
    commit_fenced(lake, SPEC, lambda fence: add_parts(fence, SPEC, parts))


def folder_of(lake: Lake) -> Path:
    return Path(lake.table_uri(SPEC))


def test_parts_become_rows_in_one_commit_that_says_nothing_about_them(lake: Lake) -> None:
    parts = [write_part(lake, SPEC, rows_of("a", "b")), write_part(lake, SPEC, rows_of("c"))]
    assert lake.read(SPEC).num_rows == 0, "a part that nobody committed is seen"
    commit(lake, *parts)
    assert lake.version(SPEC) == 1
    assert sorted(lake.read(SPEC)["segment_key"].to_pylist()) == ["a", "b", "c"]
    assert lake.read(SPEC, where="segment_key = 'b'").num_rows == 1
    log = "".join(path.read_text(encoding="utf-8") for path in folder_of(lake).glob("_delta_log/*.json"))
    assert '{\\"numRecords\\": 2}' in log and CANARY not in log and '"a"' not in log.split('"add"', 1)[1]


def test_committed_parts_are_read_by_duckdb_and_pyarrow(lake: Lake) -> None:
    commit(lake, write_part(lake, SPEC, rows_of("a", "b")))
    commit(lake, write_part(lake, SPEC, rows_of("c")))
    table = lake.open(SPEC)
    assert table is not None and table.to_pyarrow_table().num_rows == 3
    views = open_duckdb(lake)
    rows = views.sql("SELECT segment_key, prompts[1] FROM phi.segment_annotations ORDER BY 1").fetchall()
    assert rows == [(key, "judge:NAME:1") for key in "abc"]


@pytest.mark.spark
def test_committed_parts_are_read_and_rewritten_by_spark(spark: Any, lake: Lake) -> None:
    for key in "abc":
        commit(lake, write_part(lake, SPEC, rows_of(key)))
    uri = lake.table_uri(SPEC)
    assert sorted(row.segment_key for row in spark.read.format("delta").load(uri).collect()) == ["a", "b", "c"]
    spark.sql(f"OPTIMIZE delta.`{uri}`")
    commit(lake, write_part(lake, SPEC, rows_of("d")))
    assert spark.read.format("delta").load(uri).count() == lake.read(SPEC).num_rows == 4


def test_torn_missing_and_swapped_parts_are_refused(lake: Lake) -> None:
    torn, missing, swapped = (write_part(lake, SPEC, rows_of(key)) for key in "abc")
    content = (folder_of(lake) / torn.name).read_bytes()
    (folder_of(lake) / torn.name).write_bytes(content[:-9])
    (folder_of(lake) / missing.name).unlink()
    (folder_of(lake) / swapped.name).write_bytes(content)
    for part in (torn, missing, swapped):
        with pytest.raises(InfrastructureError, match="PART_TORN"):
            read_part(lake, SPEC, part)


def test_part_that_cannot_be_written_leaves_nothing_behind(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    import signal

    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (512, before[1]))
    try:
        with pytest.raises(InfrastructureError, match="PART_WRITE"):
            write_part(lake, SPEC, rows_of(*(f"k{n}" for n in range(500))))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(folder_of(lake).glob("part-*")) == []


def test_commit_on_an_old_snapshot_is_decided_again(lake: Lake) -> None:
    seen: list[int] = []

    def attempt(fence: Fence) -> None:
        seen.append(fence.sequence)
        if len(seen) == 1:
            commit(lake, write_part(lake, SPEC, rows_of("first")))
        add_parts(fence, SPEC, [write_part(lake, SPEC, rows_of("second"))])

    commit_fenced(lake, SPEC, attempt)
    assert seen == [1, 2]
    assert sorted(lake.read(SPEC)["segment_key"].to_pylist()) == ["first", "second"]


def test_contention_without_end_says_so(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)

    def never(fence: Fence) -> None:
        raise CommitFailedError(CANARY)

    with pytest.raises(InfrastructureError, match="COMMIT_CONTENTION") as failure:
        commit_fenced(lake, SPEC, never)
    assert CANARY not in str(failure.value)


def letter(key: str, code: str = "ENGINE_BROKE") -> dict[str, Any]:
    return {"segment_key": key, "unit_id": "u", "error_code": code, "attempts": 2, "engine": "e", "run_id": "r"}


def test_dead_letters_count_until_they_are_opened_again(lake: Lake) -> None:
    assert (read_dead(lake), reopen(lake, run_id="r")) == ({}, [])
    give_up(lake, [letter("a"), letter("b", "UNIT_TIMEOUT")])
    give_up(lake, [letter("a")])
    assert lake.read(DEAD_LETTERS).num_rows == 2, "a second letter for the same failure"
    assert count_dead(lake) == {"ENGINE_BROKE": 1, "UNIT_TIMEOUT": 1}
    assert reopen(lake, error_code="UNIT_TIMEOUT", run_id="r2") == ["b"]
    assert set(read_dead(lake)) == {"a"}
    give_up(lake, [letter("b")])
    assert set(read_dead(lake)) == {"a", "b"}
    assert set(reopen(lake, run_id="r3")) == {"a", "b"} and read_dead(lake) == {}
