"""The part of a ledger that this process has read and verified already, so that an admission reads the new rows only.

Knows: when rows that were verified once still stand as they stood. Must not know: what is admitted. Parquet files of a
Delta table never change; so a verified prefix still holds when every commit since then is a fenced append (as many
versions as transaction numbers) and every file of the prefix is still there, of the same size and time. Anything else
(a compaction, an update, a deletion, a commit of somebody without the fence) makes all rows be read and hashed again,
and so does age: a file that was overwritten in place is found after ``TRUSTED_S``, and at once by a fresh process.
"""

from __future__ import annotations

import dataclasses
import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa
from deltalake import DeltaTable

from ppsehr_spark.errors import QualityGateError
from ppsehr_spark.lake.row_chain import GENESIS_HASH, Anchor, find_break
from ppsehr_spark.lake.schemas import PRIVACY_LEDGER
from ppsehr_spark.lake.tables import stream_snapshot
from ppsehr_spark.privacy.book import Book, Entry

#: Seconds after which verified rows are read and hashed again.
TRUSTED_S = 300.0
_FIELDS = tuple(field.name for field in dataclasses.fields(Entry))
_FILE_COLUMNS = ("path", "size_bytes", "modification_time")


@dataclass(frozen=True)
class Prefix:
    """Rows up to one version of the table, verified.

    Attributes:
        version: version of the table, -1 for none.
        head: last row, ``None`` for an empty ledger.
        files: the data files that hold the rows, each with size and time.
        book: what the rows together mean.
        read_at: ``time.monotonic()`` when the first of them was read.
    """

    version: int = -1
    head: Anchor | None = None
    files: frozenset[tuple[object, ...]] = frozenset()
    book: Book = dataclasses.field(default_factory=Book)
    read_at: float = 0.0

    @property
    def last(self) -> int:
        """Sequence of the last row, 0 for an empty ledger."""
        return self.head.sequence if self.head else 0

    @property
    def last_hash(self) -> str:
        """What the next row names as its predecessor."""
        return self.head.row_hash if self.head else GENESIS_HASH


def read_prefix(table: DeltaTable, known: Prefix) -> Prefix:
    """All rows of this snapshot, read from where ``known`` ends if it still holds, else from the first.

    Raises:
        QualityGateError: ``PRIVACY_LEDGER`` with row and reason when the chain is broken, or the ledger has become
            shorter than this process knew it; no budget is read off a forged ledger.
    """
    last, (files, n_rows) = table.transaction_version(PRIVACY_LEDGER.full_name) or 0, _list_files(table)
    if last < known.last:
        raise break_off(last + 1, "TRUNCATED")
    start = known if _still_holds(known, table.version(), last, files) else Prefix(read_at=time.monotonic())
    where = f"sequence > {start.last}" if start.head else ""
    rows = stream_snapshot(table, PRIVACY_LEDGER, where=where).read_all().sort_by("sequence")
    with _without_collection():
        report = find_break(PRIVACY_LEDGER, rows, last=last, after=start.head)
        if not report.is_whole or n_rows != last:
            raise break_off(report.broken_at or last + 1, report.reason or "STRAY")
        book = start.book.follow(to_entries(rows))
    return Prefix(table.version(), report.head, files, book, start.read_at)


def to_entries(rows: pa.Table) -> Iterator[Entry]:
    """The ledger entries of rows, in their order."""
    return (Entry(*row) for row in zip(*(rows[name].to_pylist() for name in _FIELDS), strict=True))


def break_off(row: int, reason: str) -> QualityGateError:
    """The refusal of a ledger that does not hold at this row."""
    hint = "the ledger was changed by something else; run scripts/verify_ledger.py"
    return QualityGateError("PRIVACY_LEDGER", row=row, reason=reason, hint=hint)


@contextmanager
def _without_collection() -> Iterator[None]:
    """No search for cycles meanwhile: rows hold none, and every search walks all that the process has imported."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _still_holds(known: Prefix, version: int, last: int, files: frozenset[tuple[object, ...]]) -> bool:
    is_appended_only = version - known.version == last - known.last and known.files <= files
    return known.head is not None and is_appended_only and time.monotonic() - known.read_at < TRUSTED_S


def _list_files(table: DeltaTable) -> tuple[frozenset[tuple[object, ...]], int]:
    """Data files of a snapshot, and the rows that the log says are in them."""
    actions = pa.table(table.get_add_actions(flatten=True))
    listed = zip(*(actions[name].to_pylist() for name in _FILE_COLUMNS), strict=True)
    return frozenset(listed), sum(actions["num_records"].to_pylist())
