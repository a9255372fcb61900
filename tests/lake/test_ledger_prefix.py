"""What a process remembers of a ledger: it saves reading, and hides nothing that was changed."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import pyarrow as pa
import pytest

from ppsehr_spark.errors import QualityGateError
from ppsehr_spark.lake import ledger_prefix, ledger_store
from ppsehr_spark.lake.ledger_store import COMPACT_EVERY, open_ledger, read_entries
from ppsehr_spark.lake.row_chain import hash_chained, hash_rows
from ppsehr_spark.lake.schemas import PRIVACY_LEDGER
from ppsehr_spark.lake.table_care import compact_table
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.privacy.ledger import Ledger
from tests.privacy.small_ledger import make_policy, make_query


@pytest.fixture
def n_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows that were read and hashed, per reading."""
    counts: list[int] = []
    find_break = ledger_prefix.find_break

    def counted(spec: object, rows: pa.Table, **more: object) -> object:
        counts.append(rows.num_rows)
        return find_break(spec, rows, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(ledger_prefix, "find_break", counted)
    return counts


def _ledger(lake: Lake, n_rows: int = 0) -> Ledger:
    ledger = open_ledger(lake, make_policy(100.0))
    for number in range(n_rows):
        ledger.reserve(make_query(f"q{number}"))
    return ledger


def _folder(lake: Lake) -> Path:
    return Path(lake.table_uri(PRIVACY_LEDGER))


def test_an_admission_reads_the_new_rows_only(lake: Lake, n_read: list[int]) -> None:
    ours = _ledger(lake, 3)
    _ledger(lake).reserve(make_query("theirs"))
    n_read.clear()
    ours.reserve(make_query("next"))
    assert n_read == [2], "our last row and theirs"
    ours.reserve(make_query("after that"))
    assert n_read == [2, 1]


def test_rows_that_were_written_together_anew_are_all_read_again(lake: Lake, n_read: list[int]) -> None:
    ledger = _ledger(lake, 4)
    assert compact_table(lake, PRIVACY_LEDGER, target_bytes=1 << 20) == 4
    n_read.clear()
    ledger.reserve(make_query("next"))
    assert n_read == [4]


def test_commits_leave_few_files(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_store, "COMPACT_EVERY", 16)
    ledger = _ledger(lake, 19)
    table = lake.open(PRIVACY_LEDGER)
    assert table is not None and COMPACT_EVERY == 64
    assert len(table.file_uris()) == 1 + 3 and ledger.balances()[0].n_events == 19
    assert (_folder(lake) / "_delta_log" / "_last_checkpoint").is_file()


def _overwrite_in_place(lake: Lake, figure: float) -> None:
    """Change a figure inside its data file, whose size and log stay as they are."""
    for path in _folder(lake).glob("*.parquet"):
        content = path.read_bytes()
        path.write_bytes(content.replace(struct.pack("<d", figure), struct.pack("<d", figure / 2)))


def test_a_file_overwritten_in_place_is_found_by_a_fresh_reader_at_once_and_by_us_in_time(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = _ledger(lake, 2)
    ledger.balances()
    _overwrite_in_place(lake, read_entries(lake)[0].epsilon)
    with pytest.raises(QualityGateError, match="CHANGED"):
        _ledger(lake).reserve(make_query("fresh"))
    monkeypatch.setattr(ledger_prefix, "TRUSTED_S", 0.0)
    with pytest.raises(QualityGateError, match="CHANGED"):
        ledger.reserve(make_query("ours"))


def test_a_ledger_that_was_cut_off_with_its_log_is_refused_by_those_who_knew_it(lake: Lake) -> None:
    ledger = _ledger(lake, 3)
    ledger.balances()
    newest = sorted((_folder(lake) / "_delta_log").glob("*.json"))[-1]
    newest.unlink()
    for _ in range(2):
        with pytest.raises(QualityGateError, match="TRUNCATED"):
            ledger.reserve(make_query("next"))


def test_columns_hash_as_rows_do() -> None:
    from datetime import UTC, datetime, timedelta

    at = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)
    texts = ("", '"\\/\n\t', "预算 é \u2028\U0001f512", None)
    figures = (1e-7, math.inf, 0.1 + 0.2, None)
    rows = [
        {name: text for name in PRIVACY_LEDGER.schema.names}
        | {"sequence": n, "at": at + timedelta(microseconds=n), "max_cells": n, "max_per_cell": None}
        | {"epsilon": figure, "delta": 1.0}
        for n, (text, figure) in enumerate(zip(texts, figures, strict=True))
    ]
    table = pa.Table.from_pylist(rows, schema=PRIVACY_LEDGER.schema)
    assert hash_rows(PRIVACY_LEDGER, table) == [hash_chained(PRIVACY_LEDGER, row) for row in rows]
