"""The write side of a release: rows, claim card, catalogue rows, audit entry and manifest, each of them once.

Knows: ``release.*`` and the order in which a release comes to be. Must not know: gates, originals, what a card says.
The manifest is written last and repairs nothing but itself; every earlier step is a Delta transaction named after the
release. A release may have several tables (synthetic patients, visits, notes); they share its id.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa
from deltalake import CommitProperties, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError

from ppsehr_spark.errors import InfrastructureError
from ppsehr_spark.lake.audit_log import Anchor, append_entry
from ppsehr_spark.lake.crash_points import crash_point
from ppsehr_spark.lake.release_files import has_release_file, write_release_file
from ppsehr_spark.lake.release_files import read_anchors as read_anchors
from ppsehr_spark.lake.schemas import RELEASES, TableSpec
from ppsehr_spark.lake.statement_store import Statement, store_statement
from ppsehr_spark.lake.tables import Lake

_COMMIT_ATTEMPTS = 6
#: Crash points of the first product bear no name of their own: it stood alone once.
_UNNAMED = "notes"


@dataclass(frozen=True)
class ReleasedTable:
    """Rows of one table that leave.

    Attributes:
        content: hash of the set of rows, in any order (``fingerprint_rows``).
        n_withheld: rows that a gate held back.
        open_batches: starts a fresh stream of the rows, without their release id.
    """

    spec: TableSpec
    content: str
    n_rows: int
    n_withheld: int
    open_batches: Callable[[], Iterator[pa.RecordBatch]]


@dataclass(frozen=True)
class Release:
    """What publishing one product came to.

    Attributes:
        product: ``notes``, ``dp_statistics`` or ``synthetic``.
        tables: the released tables; the first one names the product in the catalogue.
        policy: protection policy, ``dp`` where noise protects.
        gates: gate name -> figures, as stored in ``release.releases``.
        conf_hash: settings of the run.
        is_new: False when this very release was current already and nothing was written.
    """

    product: str
    tables: tuple[ReleasedTable, ...]
    policy: str
    gates: Mapping[str, Mapping[str, int | float]]
    conf_hash: str
    is_new: bool = True

    @property
    def content(self) -> str:
        """Hash of all rows of all tables."""
        if len(self.tables) == 1:
            return self.tables[0].content
        parts = "\n".join(f"{table.spec.full_name}:{table.content}" for table in self.tables)
        return hashlib.sha256(parts.encode()).hexdigest()

    @property
    def release_id(self) -> str:
        """24 hex digits of SHA-256 over content and policy."""
        return hashlib.sha256(f"{self.content}\x1f{self.policy}".encode()).hexdigest()[:24]

    @property
    def n_rows(self) -> int:
        """Rows released, over all tables."""
        return sum(table.n_rows for table in self.tables)

    @property
    def n_withheld(self) -> int:
        """Rows held back, over all tables."""
        return sum(table.n_withheld for table in self.tables)


def leaving_schema(spec: TableSpec) -> pa.Schema:
    """What leaves: every column of a released table but the release id."""
    return pa.schema([column for column in spec.schema if column.name != "release_id"])


def fingerprint_rows(batches: Iterator[pa.RecordBatch]) -> tuple[str, int]:
    """Hash of a set of rows in any order (sum of their SHA-256 modulo 2^256), and how many they are."""
    total = n_rows = 0
    for batch in batches:
        total += _sum_digests(batch)
        n_rows += batch.num_rows
    return f"{total % (1 << 256):064x}", n_rows


def store_release(lake: Lake, release: Release, *, state: Callable[[Release], Statement], run_id: str) -> bool:
    """Write what is not there yet and make the release current; True when anything was written.

    A release that stood before and was followed by another one gets new catalogue rows, not new content. A statement
    that differs from the last one about this release (because more has been spent on the source since) is added.

    Args:
        state: what is claimed about the release; asked for once.

    Raises:
        InfrastructureError: ``RELEASE_SOURCE_CHANGED`` when a stream is not what was fingerprinted (nothing of that
            table is committed), ``COMMIT_CONTENTION`` when other writers win every attempt.
    """
    first = release.tables[0].spec.full_name
    catalogue = lake.read(RELEASES, ["release_id", "table", "released_at"]).sort_by("released_at").to_pylist()
    listed = [row["release_id"] for row in catalogue if row["table"] == first]
    n_before = listed.count(release.release_id)
    is_current = listed[-1:] == [release.release_id]
    if not n_before:
        for table in release.tables:
            _write_rows(lake, release, table)
            crash_point(f"publish.after_{table.spec.name}")
    elif not is_current:
        _audit(lake, release, "reinstate_release", run_id)
    is_stated = store_statement(lake, release.release_id, state(release))
    _crash(release, "statement")
    if not is_current:
        _append_catalogue(lake, release, n_before + 1)
        _crash(release, "catalogue")
    if not has_manifest(lake, release.release_id):
        _write_manifest(lake, release, run_id)
    return is_stated or not is_current


def has_manifest(lake: Lake, release_id: str) -> bool:
    """True when the last step of this release has been done."""
    return has_release_file(lake, _manifest_name(release_id))


def _manifest_name(release_id: str) -> str:
    return f"manifest_{release_id}.json"


def _crash(release: Release, step: str) -> None:
    crash_point(f"publish.after_{step}" + ("" if release.product == _UNNAMED else f"_{release.product}"))


def _write_rows(lake: Lake, release: Release, table: ReleasedTable) -> None:
    """All rows in one commit that carries the transaction ``(release:<id>, 1)``; a second one is a no-op."""
    app_id, spec = f"release:{release.release_id}", table.spec
    for _ in range(_COMMIT_ATTEMPTS):
        target = lake.open(spec) or lake.create(spec)
        if target.transaction_version(app_id) is not None:
            return
        rows = pa.RecordBatchReader.from_batches(spec.schema, _label_batches(table, release.release_id))
        properties = CommitProperties(app_transactions=[Transaction(app_id, 1)], max_commit_retries=0)
        try:
            write_deltalake(target, rows, mode="append", commit_properties=properties)
        except CommitFailedError:
            continue
        return
    raise InfrastructureError("COMMIT_CONTENTION", table=spec.full_name, attempts=_COMMIT_ATTEMPTS)


def _pull(open_batches: Callable[[], Iterator[pa.RecordBatch]]) -> Iterator[pa.RecordBatch]:
    """The same batches, read in a thread of their own: deltalake cannot start a query inside a running write."""
    with ThreadPoolExecutor(1) as reader:
        batches = reader.submit(open_batches).result()
        while (batch := reader.submit(next, batches, None).result()) is not None:
            yield batch


def _label_batches(table: ReleasedTable, release_id: str) -> Iterator[pa.RecordBatch]:
    """Put the release id on every row, and refuse the commit when the rows are not those that passed the gates."""
    total = 0
    for batch in _pull(table.open_batches):
        total += _sum_digests(batch)
        columns = [pa.array([release_id] * batch.num_rows, pa.string()), *batch.columns]
        yield pa.RecordBatch.from_arrays(columns, schema=table.spec.schema)
    if f"{total % (1 << 256):064x}" != table.content:
        raise InfrastructureError("RELEASE_SOURCE_CHANGED", table=table.spec.full_name)


def _sum_digests(batch: pa.RecordBatch) -> int:
    rows = (json.dumps(row, ensure_ascii=False, sort_keys=True, default=str) for row in batch.to_pylist())
    return sum(int.from_bytes(hashlib.sha256(row.encode("utf-8", "surrogatepass")).digest()) for row in rows)


def _append_catalogue(lake: Lake, release: Release, occasion: int) -> None:
    """One row per released table, all in one commit."""
    shared = {
        "release_id": release.release_id,
        "policy": release.policy,
        "gates": json.dumps(release.gates, sort_keys=True),
        "conf_hash": release.conf_hash,
        "released_at": datetime.now(UTC),
    }
    rows = [
        {**shared, "table": table.spec.full_name, "n_rows": table.n_rows, "n_withheld": table.n_withheld}
        for table in release.tables
    ]
    catalogue = pa.Table.from_pylist(rows, schema=RELEASES.schema)
    lake.append(RELEASES, catalogue, app_id=f"release:{release.release_id}", app_version=occasion)


def _write_manifest(lake: Lake, release: Release, run_id: str) -> None:
    """What the release consists of, with an anchor into the audit log, in one small JSON file beside the tables."""
    anchor = _audit(lake, release, "release", run_id)
    _crash(release, "audit")
    names = ("release_id", "product", "content", "n_rows", "n_withheld", "policy", "gates", "conf_hash")
    manifest = {name: getattr(release, name) for name in names}
    manifest["tables"] = {table.spec.full_name: table.n_rows for table in release.tables}
    manifest["audit"] = {"sequence": anchor.sequence, "row_hash": anchor.row_hash}
    text = json.dumps(manifest, ensure_ascii=False, indent=2, sort_keys=True)
    write_release_file(lake, _manifest_name(release.release_id), text)


def _audit(lake: Lake, release: Release, action: str, run_id: str) -> Anchor:
    details = {
        "product": release.product,
        "n_rows": release.n_rows,
        "n_withheld": release.n_withheld,
        "policy": release.policy,
    }
    return append_entry(
        lake, actor="job:publish", action=action, target=release.release_id, run_id=run_id, details=details
    )
