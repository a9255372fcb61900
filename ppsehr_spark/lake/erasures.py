"""``control.erasures``: who must not come back, and what was certified about each erasure.

Knows: tombstones and certificate rows. Must not know: how a person is removed. A tombstone is an HMAC of a patient key
with the lake's own key: it says nothing to whoever reads the table, and ingest can ask it about every row it lands.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from ppsehr_spark.domain.identity import keyed_hash
from ppsehr_spark.lake.schemas import ERASURES
from ppsehr_spark.lake.tables import Lake

TOMBSTONE, CERTIFICATE = "tombstone", "certificate"


@dataclass(frozen=True)
class ErasureOrder:
    """Who asked for what; names no person.

    Attributes:
        reason: code of the reason.
        requested_by: role account.
        opened_at: when, ISO 8601.
    """

    erasure_id: str
    reason: str
    requested_by: str
    opened_at: str
    n_persons: int


def hash_person(key: bytes, patient_key: str) -> str:
    """What a tombstone says of a patient."""
    return keyed_hash(key, "erased", patient_key)


def name_erasure(lake: Lake, key: bytes, patient_keys: Collection[str]) -> str:
    """Id of the next erasure of these persons: it stays the same until that one has its certificate."""
    base = keyed_hash(key, "erasure", *sorted(patient_keys))[:20]
    rows = lake.read(ERASURES, ["erasure_id", "kind"]).to_pylist()
    n_done = sum(row["kind"] == CERTIFICATE and row["erasure_id"].startswith(base) for row in rows)
    return f"{base}-{n_done + 1}"


def read_tombstones(lake: Lake) -> frozenset[str]:
    """Hashes of everybody who was erased."""
    hashes = lake.read(ERASURES, ["person_hash"], f"kind = '{TOMBSTONE}'")["person_hash"]
    return frozenset(hashes.to_pylist())


def drop_erased(rows: Iterable[dict[str, Any]], *, key: bytes, tombstones: Collection[str]) -> Iterator[dict[str, Any]]:
    """The rows without those of erased persons; a row without a patient key passes."""
    if not tombstones:
        yield from rows
        return
    for row in rows:
        patient_key = row.get("patient_key")
        if patient_key is None or hash_person(key, patient_key) not in tombstones:
            yield row


def add_tombstones(lake: Lake, order: ErasureOrder, hashes: Sequence[str], *, run_id: str) -> bool:
    """One row per person, once per erasure; False when they stood."""
    shared = {**_shared(order), "kind": TOMBSTONE, "run_id": run_id}
    return _append(lake, [{**shared, "person_hash": person} for person in sorted(set(hashes))], order.erasure_id)


def add_certificate(lake: Lake, order: ErasureOrder, certificate: Mapping[str, Any], *, run_id: str) -> bool:
    """The row that closes an erasure, once; False when it stood.

    Args:
        certificate: ``rows_removed``, ``versions`` and ``learnt`` as plain values, ``path`` and ``sha256`` of the file.
    """
    told = {name: json.dumps(certificate[name], sort_keys=True) for name in ("rows_removed", "versions", "learnt")}
    named = {"certificate": certificate["path"], "certificate_hash": certificate["sha256"]}
    row = {**_shared(order), **told, **named, "kind": CERTIFICATE, "person_hash": "", "run_id": run_id}
    return _append(lake, [row], order.erasure_id)


def _shared(order: ErasureOrder) -> dict[str, Any]:
    shared = {"erasure_id": order.erasure_id, "reason": order.reason, "requested_by": order.requested_by}
    return {**shared, "at": datetime.now(UTC)}


def _append(lake: Lake, rows: list[dict[str, Any]], erasure_id: str) -> bool:
    table = pa.Table.from_pylist(rows, schema=ERASURES.schema)
    return lake.append(ERASURES, table, app_id=f"erasure.{erasure_id}.{rows[0]['kind']}", app_version=1)
