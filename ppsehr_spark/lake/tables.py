"""The Spark-free door to the lake: read and append Delta tables with deltalake.

Knows: where a TableSpec lies below the lake root and the recipe for exactly-once appends. Must not know: what
the rows mean. Reads go through QueryBuilder, the one reader of deltalake that honours deletion vectors.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, QueryBuilder, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from ppsehr_spark.errors import ConfigurationError, InfrastructureError
from ppsehr_spark.lake.schemas import SCHEMA_VERSION, TableSpec

_APPEND_ATTEMPTS = 12
_FIRST_BACKOFF_S = 0.05


@dataclass(frozen=True)
class Lake:
    """A lake root, given as a URI (``file``, ``s3a``, ``hdfs``) or a local path."""

    uri: str

    def table_uri(self, spec: TableSpec) -> str:
        """URI of one table; a relative path is made absolute, because Delta takes no other."""
        root = self.uri if "://" in self.uri else os.path.abspath(self.uri)
        return f"{root.rstrip('/')}/{spec.path}"

    def open(self, spec: TableSpec, *, version: int | None = None) -> DeltaTable | None:
        """The Delta table, or ``None`` when it does not exist yet.

        Raises:
            ConfigurationError: ``LAKE_SCHEMA`` when the table was written with another schema version.
        """
        try:
            table = DeltaTable(self.table_uri(spec), version=version)
        except TableNotFoundError:
            return None
        written = table.metadata().configuration.get("ppsehr.schemaVersion", str(SCHEMA_VERSION))
        if written != str(SCHEMA_VERSION):
            hint = "migrate the lake or point --lake at a new folder"
            raise ConfigurationError("LAKE_SCHEMA", table=spec.full_name, found=written, hint=hint)
        return table

    def version(self, spec: TableSpec) -> int | None:
        """Newest version of the table, ``None`` when it does not exist."""
        table = self.open(spec)
        return None if table is None else table.version()

    def stream(
        self, spec: TableSpec, columns: Sequence[str] | None = None, where: str = "", *, version: int | None = None
    ) -> pa.RecordBatchReader:
        """Rows in batches, cast to the spec's types; no batch when the table does not exist.

        Args:
            columns: subset of the schema, all by default.
            where: SQL condition without literals taken from data (keys belong into a join, not into a plan).
            version: pinned table version, the newest by default.
        """
        table = self.open(spec, version=version)
        if table is None:
            names = list(columns or spec.schema.names)
            return pa.RecordBatchReader.from_batches(pa.schema([spec.schema.field(name) for name in names]), [])
        return stream_snapshot(table, spec, columns, where)

    def read(
        self, spec: TableSpec, columns: Sequence[str] | None = None, where: str = "", *, version: int | None = None
    ) -> pa.Table:
        """As ``stream``, in one Arrow table (empty, with the schema, when the table does not exist)."""
        return self.stream(spec, columns, where, version=version).read_all()

    def query(self, sql: str, **views: TableSpec) -> pa.Table:
        """Run SQL over tables named by keyword; a missing table counts as an empty one."""
        builder = QueryBuilder()
        for name, spec in views.items():
            builder.register(name, self.open(spec) or self.create(spec))
        return pa.table(builder.execute(sql))

    def create(self, spec: TableSpec) -> DeltaTable:
        """Create the table if it is missing (safe when several processes try) and return it.

        Raises:
            ConfigurationError: ``WRONG_ENGINE`` for a table that the JVM writes.
        """
        if spec.engine != "deltalake":
            raise ConfigurationError("WRONG_ENGINE", table=spec.full_name, hint="this table is written by Spark")
        properties = {name: value for name, value in spec.properties.items() if "DeletionVectors" not in name}
        if not spec.has_change_feed:
            properties.pop("delta.enableChangeDataFeed")
        try:
            return DeltaTable.create(
                self.table_uri(spec),
                schema=spec.schema,
                mode="ignore",
                description=spec.description,
                configuration=properties,
                raise_if_key_not_exists=False,
            )
        except DeltaError:
            existing = self.open(spec)
            if existing is None:
                raise InfrastructureError("TABLE_CREATE", table=spec.full_name) from None
            return existing

    def append(self, spec: TableSpec, rows: pa.Table, *, app_id: str = "", app_version: int = 0) -> bool:
        """Append rows once.

        With ``app_id`` the commit carries the Delta transaction ``(app_id, app_version)`` on the snapshot that was
        compared, so a repeated call is a no-op even across processes (Delta protocol, "Transaction Identifiers").

        Returns:
            True when rows were written, False when this transaction had already been committed.

        Raises:
            InfrastructureError: ``COMMIT_CONTENTION`` when other writers win every attempt.
        """
        data = rows.select(spec.schema.names).cast(spec.schema)
        transactions = [Transaction(app_id, app_version)] if app_id else None
        for attempt in range(_APPEND_ATTEMPTS):
            table = self.open(spec) or self.create(spec)
            done = table.transaction_version(app_id) if app_id else None
            if done is not None and done >= app_version:
                return False
            try:
                properties = CommitProperties(app_transactions=transactions, max_commit_retries=0 if app_id else 15)
                widen: Any = {"schema_mode": "merge"} if list_missing(table, spec) else {}
                write_deltalake(table, data, mode="append", commit_properties=properties, **widen)
            except CommitFailedError:
                time.sleep(_FIRST_BACKOFF_S * 2 ** min(attempt, 6) * (0.5 + random.random()))
            else:
                return True
        raise InfrastructureError("COMMIT_CONTENTION", table=spec.full_name, attempts=_APPEND_ATTEMPTS)


def stream_snapshot(
    table: DeltaTable, spec: TableSpec, columns: Sequence[str] | None = None, where: str = ""
) -> pa.RecordBatchReader:
    """As ``Lake.stream``, of a table that is open already: exactly the rows of that handle's version."""
    names = list(columns or spec.schema.names)
    schema = pa.schema([spec.schema.field(name) for name in names])
    missing = {field.name for field in list_missing(table, spec)}
    listed = ", ".join(f'NULL AS "{name}"' if name in missing else f'"{name}"' for name in names)
    sql = f"SELECT {listed} FROM t" + (f" WHERE {where}" if where else "")
    rows = pa.RecordBatchReader.from_stream(QueryBuilder().register("t", table).execute(sql))
    return pa.RecordBatchReader.from_batches(schema, (batch.cast(schema) for batch in rows))


def list_missing(table: DeltaTable, spec: TableSpec) -> list[pa.Field]:
    """Nullable columns of the spec that this version of the table was written without; they count as null."""
    present = {field.name for field in table.schema().fields}
    return [field for field in spec.schema if field.nullable and field.name not in present]
