"""The append-only audit log: who did what to which table, each row chained to the one before by SHA-256.

Knows: ``control.audit_log`` and how concurrent writers extend one chain. Must not know: note text, identifiers or
cell values; ``details`` takes short scalars only. Reference: B. Schneier and J. Kelsey, "Secure audit logs to support
computer forensics", ACM TISSEC 2(2), 1999 (hash chains); Delta protocol, "Transaction Identifiers".

The chain shows a changed, missing or reordered row to anybody who can read the table. Somebody who may write the
table and its log could rebuild the whole chain; an *anchor* (sequence and hash of a row, as kept in every release
manifest) shows that as well.
"""

from __future__ import annotations

import hashlib
import json
import random
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError

from ppsehr_spark.errors import InfrastructureError, QualityGateError, UsageError
from ppsehr_spark.lake.schemas import AUDIT_LOG
from ppsehr_spark.lake.tables import Lake

#: The hash that the first row names as its predecessor.
GENESIS_HASH = "0" * 64

_APP_ID = "control.audit_log"
_ATTEMPTS = 40
_FIRST_BACKOFF_S = 0.02
_LONGEST_BACKOFF_S = 1.0
_MAX_TEXT_CHARS = 200
_ROWS_PER_WINDOW = 10_000
_HASHED = ("sequence", "at", "actor", "action", "target", "run_id", "details", "previous_hash")


@dataclass(frozen=True)
class Anchor:
    """A row of the chain that somebody noted down elsewhere."""

    sequence: int
    row_hash: str


@dataclass(frozen=True)
class ChainReport:
    """What ``verify_chain`` found.

    Attributes:
        n_rows: rows in the table.
        head: last row that is linked to the first one without a break; ``None`` for an empty log.
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


def append_entry(
    lake: Lake, *, actor: str, action: str, target: str, run_id: str, details: Mapping[str, object]
) -> Anchor:
    """Append one row to the chain; safe under any number of writing processes.

    The snapshot is loaded, its last row read, and the new row committed on that handle with the transaction
    ``(control.audit_log, sequence)``: of two writers on one snapshot Delta lets one through, the other starts over.

    Args:
        details: names to numbers, booleans, short strings or lists of them; never text from a note.

    Returns:
        Where the row stands, for those who want to keep an anchor.

    Raises:
        UsageError: ``AUDIT_DETAILS`` when a detail is not a short scalar.
        QualityGateError: ``AUDIT_CHAIN`` when the last row has gone; nothing is hung on a broken chain.
        InfrastructureError: ``COMMIT_CONTENTION`` when other writers win every attempt.
    """
    entry = {"actor": actor, "action": action, "target": target, "run_id": run_id, "details": _encode_details(details)}
    lost: Anchor | None = None
    for attempt in range(_ATTEMPTS):
        table = lake.open(AUDIT_LOG) or lake.create(AUDIT_LOG)
        if lost is not None and _hash_at(lake, table, lost.sequence) == lost.row_hash:
            return lost  # the commit landed although its answer was lost
        row = _next_row(lake, table, entry)
        lost = Anchor(row["sequence"], row["row_hash"])
        try:
            _commit(table, row)
        except CommitFailedError:
            longest = min(_FIRST_BACKOFF_S * 2**attempt, _LONGEST_BACKOFF_S)
            time.sleep(random.uniform(0.1, 1.0) * longest)
        else:
            return lost
    raise InfrastructureError("COMMIT_CONTENTION", table=AUDIT_LOG.full_name, attempts=_ATTEMPTS)


def verify_chain(lake: Lake, *, anchors: Sequence[Anchor] = ()) -> ChainReport:
    """Walk the chain from its first row in windows of 10,000 rows and say where it breaks first.

    Args:
        anchors: rows noted down elsewhere that must still stand where they stood.
    """
    table = lake.open(AUDIT_LOG)
    if table is None:
        return ChainReport(0, None, anchors[0].sequence, "ANCHOR") if anchors else ChainReport(0, None)
    version, committed = table.version(), table.transaction_version(_APP_ID) or 0
    n_rows = table.count()
    expected = {anchor.sequence: anchor.row_hash for anchor in anchors}
    head: Anchor | None = None
    n_seen = 0
    for first in range(1, committed + 1, _ROWS_PER_WINDOW):
        last = min(first + _ROWS_PER_WINDOW - 1, committed)
        rows = lake.read(AUDIT_LOG, where=f"sequence BETWEEN {first} AND {last}", version=version).to_pylist()
        head, broken_at, reason = _walk(sorted(rows, key=lambda row: row["sequence"]), head, last, expected)
        if broken_at is not None:
            is_cut = reason == "MISSING" and not _has_rows_from(lake, version, broken_at)
            return ChainReport(n_rows, head, broken_at, "TRUNCATED" if is_cut else reason)
        n_seen += len(rows)
    unmet = min((sequence for sequence in expected if sequence > committed), default=None)
    if unmet is not None:
        return ChainReport(n_rows, head, unmet, "ANCHOR")
    return ChainReport(n_rows, head, *((committed + 1, "STRAY") if n_seen != n_rows else (None, "")))


def hash_row(row: Mapping[str, Any]) -> str:
    """SHA-256 (hex) over every column but ``row_hash``, as canonical JSON; times in microseconds since 1970 UTC."""
    values = [_microseconds(row[name]) if name == "at" else row[name] for name in _HASHED]
    return hashlib.sha256(json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()


def _walk(
    rows: Sequence[Mapping[str, Any]], head: Anchor | None, last: int, expected: Mapping[int, str]
) -> tuple[Anchor | None, int | None, str]:
    """Check one window that must end with sequence ``last``; (new head, first broken sequence, reason)."""
    doubled = {row["sequence"] for row, following in pairwise(rows) if row["sequence"] == following["sequence"]}
    for row in rows:
        wanted = head.sequence + 1 if head else 1
        previous_hash = head.row_hash if head else GENESIS_HASH
        if row["sequence"] != wanted:
            return head, wanted, "MISSING"
        if wanted in doubled:
            return head, wanted, "DUPLICATE"
        if hash_row(row) != row["row_hash"]:
            return head, wanted, "CHANGED"
        if row["previous_hash"] != previous_hash:
            return head, wanted, "UNLINKED"
        if expected.get(wanted, row["row_hash"]) != row["row_hash"]:
            return head, wanted, "ANCHOR"
        head = Anchor(wanted, row["row_hash"])
    reached = head.sequence if head else 0
    return (head, None, "") if reached == last else (head, reached + 1, "MISSING")


def _next_row(lake: Lake, table: DeltaTable, entry: Mapping[str, str]) -> dict[str, Any]:
    """The row that follows the last one of this snapshot."""
    last = table.transaction_version(_APP_ID) or 0
    previous_hash = _hash_at(lake, table, last) if last else GENESIS_HASH
    if previous_hash is None:
        hint = "the last row of the audit log has gone; run verify_chain before anything else"
        raise QualityGateError("AUDIT_CHAIN", table=AUDIT_LOG.full_name, sequence=last, hint=hint)
    row = {"sequence": last + 1, "at": datetime.now(UTC), **entry, "previous_hash": previous_hash}
    return {**row, "row_hash": hash_row(row)}


def _commit(table: DeltaTable, row: Mapping[str, Any]) -> None:
    transaction = Transaction(_APP_ID, row["sequence"])
    properties = CommitProperties(app_transactions=[transaction], max_commit_retries=0)
    write_deltalake(
        table, pa.Table.from_pylist([row], schema=AUDIT_LOG.schema), mode="append", commit_properties=properties
    )


def _hash_at(lake: Lake, table: DeltaTable, sequence: int) -> str | None:
    """``row_hash`` of one row of this snapshot; file statistics on ``sequence`` make it a read of one file."""
    where = f"sequence = {sequence}"
    hashes = lake.read(AUDIT_LOG, ["row_hash"], where, version=table.version())["row_hash"].to_pylist()
    return hashes[0] if len(hashes) == 1 else None


def _has_rows_from(lake: Lake, version: int, sequence: int) -> bool:
    return lake.read(AUDIT_LOG, ["sequence"], f"sequence >= {sequence}", version=version).num_rows > 0


def _encode_details(details: Mapping[str, object]) -> str:
    """Canonical JSON of the details and a nonce, so that two equal entries of one microsecond stay two."""
    for name, value in details.items():
        items = value if isinstance(value, (list, tuple)) else [value]
        if not all(_is_safe(item) for item in items):
            hint = f"details take numbers, booleans and strings of at most {_MAX_TEXT_CHARS} characters"
            raise UsageError("AUDIT_DETAILS", field=name, hint=hint)
    return json.dumps({**details, "nonce": secrets.token_hex(8)}, ensure_ascii=False, sort_keys=True)


def _is_safe(value: object) -> bool:
    return (
        value is None
        or isinstance(value, (bool, int, float))
        or (isinstance(value, str) and len(value) <= _MAX_TEXT_CHARS)
    )


def _microseconds(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
