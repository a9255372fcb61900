"""The write side of a release: rows, catalogue row, audit entry and manifest, each of them once.

Knows: ``release.*`` and the order in which a release comes to be. Must not know: gates, originals. The manifest is
written last and repairs nothing but itself; every earlier step is a Delta transaction named after the release.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pyarrow as pa
from deltalake import CommitProperties, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError
from pyarrow import fs

from ppsehr_spark.errors import InfrastructureError
from ppsehr_spark.lake.audit_log import Anchor, append_entry
from ppsehr_spark.lake.crash_points import crash_point
from ppsehr_spark.lake.schemas import PROTECTED_NOTES, RELEASED_NOTES, RELEASES
from ppsehr_spark.lake.tables import Lake

#: What leaves: every column of ``release.notes`` but the release id.
RELEASED_SCHEMA = pa.schema([column for column in RELEASED_NOTES.schema if column.name != "release_id"])

_COMMIT_ATTEMPTS = 6


@dataclass(frozen=True)
class Release:
    """What a publish run came to.

    Attributes:
        content: hash of the set of released rows, in any order.
        n_rows: notes released.
        n_withheld: notes that a gate held back.
        gates: gate name -> figures, as stored in ``release.releases``.
        conf_hash: settings of the run.
        is_new: False when this very release was current already and nothing was written.
    """

    release_id: str
    content: str
    n_rows: int
    n_withheld: int
    policy: str
    gates: Mapping[str, Mapping[str, int | float]]
    conf_hash: str
    is_new: bool = True


def make_release_id(content: str, policy: str) -> str:
    """24 hex digits of SHA-256 over content and policy."""
    return hashlib.sha256(f"{content}\x1f{policy}".encode()).hexdigest()[:24]


def fingerprint_rows(batches: Iterator[pa.RecordBatch]) -> tuple[str, int]:
    """Hash of a set of rows in any order (sum of their SHA-256 modulo 2^256), and how many they are."""
    total = n_rows = 0
    for batch in batches:
        total += _sum_digests(batch)
        n_rows += batch.num_rows
    return f"{total % (1 << 256):064x}", n_rows


def store_release(
    lake: Lake, release: Release, open_batches: Callable[[], Iterator[pa.RecordBatch]], *, run_id: str
) -> bool:
    """Write what is not there yet and make the release current; True when anything was written.

    A release that stood before and was followed by another one gets a new catalogue row, not new notes.

    Args:
        open_batches: starts a fresh stream of the rows that leave, in ``RELEASED_SCHEMA``.

    Raises:
        InfrastructureError: ``RELEASE_SOURCE_CHANGED`` when the stream is not what was fingerprinted (nothing is
            committed), ``COMMIT_CONTENTION`` when other writers win every attempt.
    """
    catalogue = lake.read(RELEASES, ["release_id", "released_at"]).sort_by("released_at")["release_id"].to_pylist()
    n_before = catalogue.count(release.release_id)
    is_current = catalogue[-1:] == [release.release_id]
    if not n_before:
        _write_notes(lake, release, open_batches)
        crash_point("publish.after_notes")
    elif not is_current:
        _audit(lake, release, "reinstate_release", run_id)
    if not is_current:
        _append_catalogue(lake, release, n_before + 1)
        crash_point("publish.after_catalogue")
    if not has_manifest(lake, release.release_id):
        _write_manifest(lake, release, run_id)
    return not is_current


def has_manifest(lake: Lake, release_id: str) -> bool:
    """True when the last step of this release has been done."""
    system, path = _manifest_place(lake, release_id)
    return bool(system.get_file_info(path).type == fs.FileType.File)


def read_anchors(lake: Lake) -> list[Anchor]:
    """Audit-log anchors out of every release manifest."""
    system, path = _manifest_place(lake, "")
    folder = path.rpartition("/")[0]
    files = system.get_file_info(fs.FileSelector(folder, allow_not_found=True))
    anchors = []
    for file in files:
        if file.base_name.startswith("manifest_") and file.base_name.endswith(".json"):
            with system.open_input_stream(file.path) as stream:
                anchors.append(Anchor(**json.loads(stream.read())["audit"]))
    return anchors


def _write_notes(lake: Lake, release: Release, open_batches: Callable[[], Iterator[pa.RecordBatch]]) -> None:
    """All rows in one commit that carries the transaction ``(release:<id>, 1)``; a second one is a no-op."""
    app_id = f"release:{release.release_id}"
    for _ in range(_COMMIT_ATTEMPTS):
        table = lake.open(RELEASED_NOTES) or lake.create(RELEASED_NOTES)
        if table.transaction_version(app_id) is not None:
            return
        rows = pa.RecordBatchReader.from_batches(RELEASED_NOTES.schema, _label_batches(_pull(open_batches), release))
        properties = CommitProperties(app_transactions=[Transaction(app_id, 1)], max_commit_retries=0)
        try:
            write_deltalake(table, rows, mode="append", commit_properties=properties)
        except CommitFailedError:
            continue
        return
    raise InfrastructureError("COMMIT_CONTENTION", table=RELEASED_NOTES.full_name, attempts=_COMMIT_ATTEMPTS)


def _pull(open_batches: Callable[[], Iterator[pa.RecordBatch]]) -> Iterator[pa.RecordBatch]:
    """The same batches, read in a thread of their own: deltalake cannot start a query inside a running write."""
    with ThreadPoolExecutor(1) as reader:
        batches = reader.submit(open_batches).result()
        while (batch := reader.submit(next, batches, None).result()) is not None:
            yield batch


def _label_batches(batches: Iterator[pa.RecordBatch], release: Release) -> Iterator[pa.RecordBatch]:
    """Put the release id on every row, and refuse the commit when the rows are not those that passed the gates."""
    total = 0
    for batch in batches:
        total += _sum_digests(batch)
        columns = [pa.array([release.release_id] * batch.num_rows, pa.string()), *batch.columns]
        yield pa.RecordBatch.from_arrays(columns, schema=RELEASED_NOTES.schema)
    if f"{total % (1 << 256):064x}" != release.content:
        raise InfrastructureError("RELEASE_SOURCE_CHANGED", table=PROTECTED_NOTES.full_name)


def _sum_digests(batch: pa.RecordBatch) -> int:
    rows = (json.dumps(row, ensure_ascii=False, sort_keys=True) for row in batch.to_pylist())
    return sum(int.from_bytes(hashlib.sha256(row.encode("utf-8", "surrogatepass")).digest()) for row in rows)


def _append_catalogue(lake: Lake, release: Release, occasion: int) -> None:
    row = {
        "release_id": release.release_id,
        "table": RELEASED_NOTES.full_name,
        "n_rows": release.n_rows,
        "n_withheld": release.n_withheld,
        "policy": release.policy,
        "gates": json.dumps(release.gates, sort_keys=True),
        "conf_hash": release.conf_hash,
        "released_at": datetime.now(UTC),
    }
    table = pa.Table.from_pylist([row], schema=RELEASES.schema)
    lake.append(RELEASES, table, app_id=f"release:{release.release_id}", app_version=occasion)


def _write_manifest(lake: Lake, release: Release, run_id: str) -> None:
    """What the release claims, with an anchor into the audit log, in one small JSON file beside the tables."""
    anchor = _audit(lake, release, "release", run_id)
    crash_point("publish.after_audit")
    claim = {name: value for name, value in vars(release).items() if name != "is_new"}
    claim["audit"] = {"sequence": anchor.sequence, "row_hash": anchor.row_hash}
    system, path = _manifest_place(lake, release.release_id)
    with system.open_output_stream(f"{path}.part") as stream:
        stream.write(json.dumps(claim, ensure_ascii=False, indent=2, sort_keys=True).encode())
    system.move(f"{path}.part", path)


def _audit(lake: Lake, release: Release, action: str, run_id: str) -> Anchor:
    details = {"n_rows": release.n_rows, "n_withheld": release.n_withheld, "policy": release.policy}
    return append_entry(
        lake, actor="job:publish", action=action, target=release.release_id, run_id=run_id, details=details
    )


def _manifest_place(lake: Lake, release_id: str) -> tuple[fs.FileSystem, str]:
    uri = lake.uri if urlsplit(lake.uri).scheme else os.path.abspath(lake.uri)
    system, root = fs.FileSystem.from_uri(uri.replace("s3a://", "s3://", 1))
    return system, f"{root.rstrip('/')}/{RELEASES.zone}/manifest_{release_id}.json"
