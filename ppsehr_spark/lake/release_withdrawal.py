"""Released notes of an erased person: the releases that hold them are withdrawn, the current one gets a successor.

Knows: ``release.notes`` and the catalogue. Must not know: gates (the rows of a successor have passed them), who the
person is beyond a list of keys. A release id names exact content, so content without a person is another release: it
is stored first, by the same steps as any other, then the old rows go. Readers of ``release.current_notes`` see one or
the other. ``erase`` is the one exception to "only publish writes release" (design.md).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa
from pyarrow import compute

from ppsehr_spark.config import Settings
from ppsehr_spark.lake.audit_log import append_entry
from ppsehr_spark.lake.claim_store import Support, read_ledger, state_release
from ppsehr_spark.lake.crash_points import crash_point
from ppsehr_spark.lake.note_publishing import NOTES_PRODUCT
from ppsehr_spark.lake.release_files import has_release_file, write_release_file
from ppsehr_spark.lake.release_store import Release, ReleasedTable, fingerprint_rows, leaving_schema, store_release
from ppsehr_spark.lake.schemas import RELEASED_NOTES, RELEASES
from ppsehr_spark.lake.table_care import on_table
from ppsehr_spark.lake.tables import Lake

_LEAVING = leaving_schema(RELEASED_NOTES)


@dataclass(frozen=True)
class Withdrawal:
    """Releases whose rows went, and the one that took the place of the current one (empty when none did)."""

    release_ids: tuple[str, ...]
    successor: str


def find_releases(lake: Lake, patient_keys: pa.Array) -> tuple[str, ...]:
    """Ids of releases that hold notes of these patients."""
    found: set[str] = set()
    for batch in lake.stream(RELEASED_NOTES, ["release_id", "patient_key"]):
        found.update(
            batch.filter(compute.is_in(batch["patient_key"], value_set=patient_keys))["release_id"].to_pylist()
        )
    return tuple(sorted(found))


def withdraw_releases(lake: Lake, settings: Settings, patient_keys: pa.Array, *, run_id: str) -> Withdrawal:
    """Store the successor, then delete the rows of every release that holds the patients; may be repeated.

    Raises:
        InfrastructureError: ``COMMIT_CONTENTION``.
    """
    held = find_releases(lake, patient_keys)
    current = _current_row(lake)
    successor = ""
    if current and current["release_id"] in held:
        release = _make_successor(lake, current, patient_keys)
        if release.n_rows:
            ledger = read_ledger(lake)
            store_release(lake, release, state=lambda r: state_release(r, settings, ledger, Support()), run_id=run_id)
            successor = release.release_id
            crash_point("erase.after_successor")
    for release_id in held:
        _record(lake, release_id, successor, run_id)
    for release_id in held:  # an id names content, not a person: it may stand in the log
        on_table(lake, RELEASED_NOTES, lambda table, name=release_id: table.delete(f"release_id = '{name}'"))
    return Withdrawal(held, successor)


def _current_row(lake: Lake) -> Mapping[str, str] | None:
    rows = lake.read(RELEASES).sort_by("released_at").to_pylist()
    return next((row for row in reversed(rows) if row["table"] == RELEASED_NOTES.full_name), None)


def _make_successor(lake: Lake, current: Mapping[str, str], patient_keys: pa.Array) -> Release:
    release_id, version = current["release_id"], lake.version(RELEASED_NOTES)

    def open_batches() -> Iterator[pa.RecordBatch]:
        where = f"release_id = '{release_id}'"
        for batch in lake.stream(RELEASED_NOTES, _LEAVING.names, where, version=version):
            yield batch.filter(compute.invert(compute.is_in(batch["patient_key"], value_set=patient_keys)))

    content, n_rows = fingerprint_rows(open_batches())
    n_gone = int(current["n_rows"]) - n_rows
    gates = {**json.loads(current["gates"]), "erasure": {"n_notes_gone": n_gone}}
    table = ReleasedTable(RELEASED_NOTES, content, n_rows, int(current["n_withheld"]), open_batches)
    return Release(NOTES_PRODUCT, (table,), current["policy"], gates, current["conf_hash"])


def _record(lake: Lake, release_id: str, successor: str, run_id: str) -> None:
    """The audit log and a file beside the manifest say that a release is withdrawn, each of them once."""
    name = f"withdrawn_{release_id}.json"
    if has_release_file(lake, name):
        return
    told = {"reason": "erasure", "successor": successor}
    append_entry(lake, actor="job:erase", action="withdraw_release", target=release_id, run_id=run_id, details=told)
    plain = {"release_id": release_id, **told, "withdrawn_at": datetime.now(UTC).isoformat(timespec="seconds")}
    write_release_file(lake, name, json.dumps(plain, ensure_ascii=False, indent=2, sort_keys=True))
