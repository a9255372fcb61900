"""The append-only audit log: who did what to which table, each row chained to the one before by SHA-256.

Knows: ``control.audit_log`` and what an entry may say. Must not know: note text, identifiers or cell values
(``details`` takes short scalars only), and how concurrent writers extend one chain (``row_chain``).

The chain shows a changed, missing or reordered row to anybody who can read the table. Somebody who may write the
table and its log could rebuild the whole chain; an *anchor* (sequence and hash of a row, as kept in every release
manifest) shows that as well.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from ppsehr_spark.errors import UsageError
from ppsehr_spark.lake.row_chain import GENESIS_HASH, Anchor, ChainReport, append_row, hash_chained, verify_rows
from ppsehr_spark.lake.schemas import AUDIT_LOG
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.lake.turns import take_turn

__all__ = ["GENESIS_HASH", "Anchor", "ChainReport", "append_entry", "hash_row", "verify_chain"]

_MAX_TEXT_CHARS = 200


def append_entry(
    lake: Lake, *, actor: str, action: str, target: str, run_id: str, details: Mapping[str, object]
) -> Anchor:
    """Append one row to the chain; safe under any number of writing processes.

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
    with take_turn(lake, AUDIT_LOG):
        row = append_row(lake, AUDIT_LOG, lambda _snapshot: entry, code="AUDIT_CHAIN")
    assert row is not None, "an entry is always proposed"
    return Anchor(row["sequence"], row["row_hash"])


def verify_chain(lake: Lake, *, anchors: Sequence[Anchor] = ()) -> ChainReport:
    """Walk the chain from its first row and say where it breaks first.

    Args:
        anchors: rows noted down elsewhere that must still stand where they stood.
    """
    return verify_rows(lake, AUDIT_LOG, anchors=anchors)


def hash_row(row: Mapping[str, Any]) -> str:
    """SHA-256 (hex) over every column but ``row_hash`` (``row_chain.hash_chained``)."""
    return hash_chained(AUDIT_LOG, row)


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
