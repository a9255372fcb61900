"""Hash-chained append-only control tables: one row at a time, by any number of writing processes.

Knows: a table whose columns ``sequence``, ``at``, ``previous_hash`` and ``row_hash`` form a chain. Must not know: what
the other columns mean. Reference: B. Schneier and J. Kelsey, "Secure audit logs to support computer forensics", ACM
TISSEC 2(2), 1999 (hash chains); Delta protocol, "Transaction Identifiers".

A writer loads the snapshot, decides on what it holds and commits on that very handle with the transaction
``(table, sequence)``: of two writers on one snapshot Delta lets one through, the other decides again on what is there
then. So whatever the decision depends on (a budget, a predecessor) is true at the moment of the commit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from ppsehr_spark.errors import QualityGateError
from ppsehr_spark.lake.fenced_commits import Fence, commit_fenced
from ppsehr_spark.lake.schemas import TableSpec
from ppsehr_spark.lake.tables import Lake, stream_snapshot

#: The hash that the first row names as its predecessor.
GENESIS_HASH = "0" * 64

_ROWS_PER_WINDOW = 10_000
#: What JSON writes otherwise than it stands.
_ESCAPED, _QUOTE = r'[\x00-\x1f"\\]', pa.scalar('"')
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Anchor:
    """A row of the chain that somebody noted down elsewhere."""

    sequence: int
    row_hash: str


@dataclass(frozen=True)
class ChainReport:
    """What ``verify_rows`` found.

    Attributes:
        n_rows: rows in the table.
        head: last row that is linked to the first one without a break; ``None`` for an empty table.
        broken_at: sequence of the first row that is changed, missing, doubled or cut off; ``None`` when whole.
        reason: ``""``, ``MISSING``, ``DUPLICATE``, ``UNLINKED``, ``CHANGED``, ``TRUNCATED``, ``STRAY`` or ``ANCHOR``.
    """

    n_rows: int
    head: Anchor | None
    broken_at: int | None = None
    reason: str = ""

    @property
    def is_whole(self) -> bool:
        """True when every row hangs on the one before it."""
        return self.broken_at is None


class _Link(NamedTuple):
    """What the chain is about in one row; ``computed`` is the hash of what the row says now."""

    sequence: int
    previous_hash: str
    row_hash: str
    computed: str


def append_row(
    lake: Lake,
    spec: TableSpec,
    decide: Callable[[DeltaTable], Row | None],
    *,
    code: str,
    find_last: Callable[[DeltaTable], str | None] | None = None,
) -> Row | None:
    """Append one row to the chain of a table; safe under any number of writing processes.

    Args:
        decide: given a snapshot, the row without its chain columns, ``None`` for nothing to add, or an exception that
            refuses. It is asked again on the newer snapshot whenever another writer was first.
        code: error code for a table whose last row has gone.
        find_last: hash of the snapshot's last row, for a caller that has read it anyway; called after ``decide``.

    Returns:
        The row as it stands in the table, ``None`` when there was nothing to add.

    Raises:
        QualityGateError: ``code``; nothing is hung on a broken chain.
        InfrastructureError: see ``commit_fenced``.
    """
    lost: Row | None = None

    def attempt(fence: Fence) -> Row | None:
        nonlocal lost
        if lost is not None and _hash_at(spec, fence.table, lost["sequence"]) == lost["row_hash"]:
            return lost  # the commit landed although its answer was lost
        content = decide(fence.table)
        if content is not None:
            previous_hash = find_last(fence.table) if find_last else _last_hash(spec, fence)
            lost = _link(spec, fence, content, previous_hash, code)
            fence.append(pa.Table.from_pylist([dict(lost)], schema=spec.schema))
        return lost if content is not None else None

    return commit_fenced(lake, spec, attempt)


def verify_rows(lake: Lake, spec: TableSpec, *, anchors: Sequence[Anchor] = ()) -> ChainReport:
    """Walk the chain from its first row in windows of 10,000 rows and say where it breaks first.

    Args:
        anchors: rows noted down elsewhere that must still stand where they stood.
    """
    table = lake.open(spec)
    if table is None:
        return ChainReport(0, None, anchors[0].sequence, "ANCHOR") if anchors else ChainReport(0, None)
    version, committed = table.version(), table.transaction_version(spec.full_name) or 0
    n_rows = table.count()
    expected = {anchor.sequence: anchor.row_hash for anchor in anchors}
    head: Anchor | None = None
    n_seen = 0
    for first in range(1, committed + 1, _ROWS_PER_WINDOW):
        last = min(first + _ROWS_PER_WINDOW - 1, committed)
        rows = lake.read(spec, where=f"sequence BETWEEN {first} AND {last}", version=version)
        head, broken_at, reason = _walk(_link_rows(spec, rows), head, last, expected)
        if broken_at is not None:
            is_cut = reason == "MISSING" and not _has_rows_from(lake, spec, version, broken_at)
            return ChainReport(n_rows, head, broken_at, "TRUNCATED" if is_cut else reason)
        n_seen += rows.num_rows
    unmet = min((sequence for sequence in expected if sequence > committed), default=None)
    if unmet is not None:
        return ChainReport(n_rows, head, unmet, "ANCHOR")
    return ChainReport(n_rows, head, *((committed + 1, "STRAY") if n_seen != n_rows else (None, "")))


def find_break(spec: TableSpec, rows: pa.Table, *, last: int, after: Anchor | None = None) -> ChainReport:
    """Check the rows that follow ``after`` (all rows of a table by default), up to sequence ``last``."""
    head, broken_at, reason = _walk(_link_rows(spec, rows), after, last, {})
    if broken_at is None and rows.num_rows != last - (after.sequence if after else 0):
        broken_at, reason = last + 1, "STRAY"
    return ChainReport(rows.num_rows, head, broken_at, reason)


def hash_chained(spec: TableSpec, row: Row) -> str:
    """SHA-256 (hex) over every column but ``row_hash``, as canonical JSON; times in microseconds since 1970 UTC."""
    names = [name for name in spec.schema.names if name != "row_hash"]
    values = [_microseconds(row[name]) if name == "at" else row[name] for name in names]
    return hashlib.sha256(_ENCODER.encode(values).encode()).hexdigest()


def hash_rows(spec: TableSpec, rows: pa.Table) -> list[str]:
    """``hash_chained`` of every row, column by column: many times faster, and the same to the last digit."""
    columns = [_encode_column(rows[name]) for name in spec.schema.names if name != "row_hash"]
    lines = pc.binary_join_element_wise(*columns, ",")
    return [hashlib.sha256(f"[{line}]".encode()).hexdigest() for line in lines.to_pylist()]


def _encode_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """JSON of every value, as ``hash_chained`` writes it inside a row."""
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    if pa.types.is_integer(column.type):
        return column.cast(pa.string()).fill_null("null")
    if pa.types.is_string(column.type) and not pc.any(pc.match_substring_regex(column, _ESCAPED)).as_py():
        return pc.binary_join_element_wise(_QUOTE, column, _QUOTE, "").fill_null("null")
    return pa.chunked_array([_encode_often(column.combine_chunks())], pa.string())


def _encode_often(array: pa.Array) -> pa.Array:
    """JSON of values of which many are equal: caps, events, figures; equal numbers are those of equal bits."""
    bits = array.view(pa.int64()) if pa.types.is_float64(array.type) else array
    coded = bits.dictionary_encode()
    texts = [_ENCODER.encode(value) for value in coded.dictionary.view(array.type).to_pylist()]
    return pa.array(texts, pa.string()).take(coded.indices).fill_null("null")


def _link_rows(spec: TableSpec, rows: pa.Table) -> list[_Link]:
    ordered = rows.sort_by("sequence")
    stated = (ordered[name].to_pylist() for name in ("sequence", "previous_hash", "row_hash"))
    return [_Link(*row) for row in zip(*stated, hash_rows(spec, ordered), strict=True)]


def _walk(
    links: Sequence[_Link], head: Anchor | None, last: int, expected: Mapping[int, str]
) -> tuple[Anchor | None, int | None, str]:
    """Check one window that must end with sequence ``last``; (new head, first broken sequence, reason)."""
    doubled = {link.sequence for link, following in pairwise(links) if link.sequence == following.sequence}
    wanted, previous_hash = (head.sequence, head.row_hash) if head else (0, GENESIS_HASH)
    reached = head
    for link in links:
        wanted += 1
        reason = _find_flaw(link, wanted, previous_hash, is_doubled=wanted in doubled)
        if not reason and expected.get(wanted, link.row_hash) != link.row_hash:
            reason = "ANCHOR"
        if reason:
            return reached, wanted, reason
        previous_hash = link.row_hash
        reached = Anchor(wanted, link.row_hash)
    return (reached, None, "") if wanted == last else (reached, wanted + 1, "MISSING")


def _find_flaw(link: _Link, wanted: int, previous_hash: str, *, is_doubled: bool) -> str:
    if link.sequence != wanted:
        return "MISSING"
    if is_doubled:
        return "DUPLICATE"
    if link.computed != link.row_hash:
        return "CHANGED"
    return "" if link.previous_hash == previous_hash else "UNLINKED"


def _link(spec: TableSpec, fence: Fence, content: Row, previous_hash: str | None, code: str) -> Row:
    """The row that follows the last one of this snapshot; its number is that of its commit."""
    if previous_hash is None:
        hint = "the last row of the table has gone; verify the table before anything else"
        raise QualityGateError(code, table=spec.full_name, sequence=fence.sequence - 1, hint=hint)
    row = {"sequence": fence.sequence, "at": datetime.now(UTC), **content, "previous_hash": previous_hash}
    return {**row, "row_hash": hash_chained(spec, row)}


def _last_hash(spec: TableSpec, fence: Fence) -> str | None:
    last = fence.sequence - 1
    return _hash_at(spec, fence.table, last) if last else GENESIS_HASH


def _hash_at(spec: TableSpec, table: DeltaTable, sequence: int) -> str | None:
    """``row_hash`` of one row of this snapshot; file statistics on ``sequence`` make it a read of one file."""
    rows = stream_snapshot(table, spec, ["row_hash"], f"sequence = {sequence}").read_all()
    return str(rows["row_hash"][0].as_py()) if rows.num_rows == 1 else None


def _has_rows_from(lake: Lake, spec: TableSpec, version: int, sequence: int) -> bool:
    return lake.read(spec, ["sequence"], f"sequence >= {sequence}", version=version).num_rows > 0


def _microseconds(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND
