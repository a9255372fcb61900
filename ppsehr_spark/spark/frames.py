"""Delta tables as data frames: read, create, merge, and Arrow-batch functions that cannot leak a cell.

Knows: how a TableSpec becomes a JVM Delta table. Must not know: what a stage computes.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import StructType
from pyspark.storagelevel import StorageLevel

from ppsehr_spark.errors import InfrastructureError, PpsehrError
from ppsehr_spark.lake.schemas import TableSpec
from ppsehr_spark.lake.tables import Lake, list_missing
from ppsehr_spark.spark.conflicts import retry_conflicts

_COUNTS = ("inserted", "updated", "deleted", "computed")
BatchFunction = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]


def spark_schema(schema: pa.Schema) -> StructType:
    """The Spark form of an Arrow schema, with column comments."""
    converted: StructType = from_arrow_schema(schema)
    for field, arrow in zip(converted.fields, schema, strict=True):
        comment = (arrow.metadata or {}).get(b"comment")
        field.metadata = {"comment": comment.decode()} if comment else {}
        field.nullable = arrow.nullable
    return converted


def ensure_table(spark: SparkSession, lake: Lake, spec: TableSpec) -> DeltaTable:
    """Create the Delta table with the spec's comments and properties if it is missing; add columns that it lacks."""
    found = lake.open(spec)  # refuses a lake of another schema version before the JVM touches it
    if found is not None:
        _add_columns(spark, lake, spec, list_missing(found, spec))
        return DeltaTable.forPath(spark, lake.table_uri(spec))
    builder = DeltaTable.createIfNotExists(spark).location(lake.table_uri(spec)).comment(spec.description)
    builder = builder.addColumns(spark_schema(spec.schema))
    for name, value in spec.properties.items():
        builder = builder.property(name, value)
    builder.execute()
    return DeltaTable.forPath(spark, lake.table_uri(spec))


def read_table(spark: SparkSession, lake: Lake, spec: TableSpec, *, version: int | None = None) -> DataFrame:
    """The table at a pinned version, the newest by default; an empty frame when it does not exist."""
    found = lake.open(spec, version=version)
    if found is None:
        return spark.createDataFrame([], spark_schema(spec.schema))
    reader = spark.read.format("delta")
    rows = (reader if version is None else reader.option("versionAsOf", version)).load(lake.table_uri(spec))
    missing = spark_schema(pa.schema(list_missing(found, spec)))
    return rows.withColumns({field.name: F.lit(None).cast(field.dataType) for field in missing}) if missing else rows


def _add_columns(spark: SparkSession, lake: Lake, spec: TableSpec, missing: Sequence[pa.Field]) -> None:
    """Columns that the spec has gained since the table was made; its files stay as they are."""
    columns = ", ".join(
        f"`{field.name}` {field.dataType.simpleString()} COMMENT '{field.metadata['comment']}'"
        for field in spark_schema(pa.schema(missing))
    )
    if columns:
        spark.sql(f"ALTER TABLE delta.`{lake.table_uri(spec)}` ADD COLUMNS ({columns})")


def merge_rows(
    spark: SparkSession, lake: Lake, spec: TableSpec, rows: DataFrame, *, is_update: bool = True
) -> dict[str, int]:
    """Insert rows with new keys; replace rows whose columns other than ``run_id`` differ.

    A repeated call with the same rows changes no row, so a stage killed at any point can run again.

    Args:
        rows: one row per key, columns as in the spec.
        is_update: False leaves existing rows alone (content-addressed tables).

    Returns:
        ``inserted``, ``updated`` and ``deleted`` row counts, and ``computed``: rows that were given, 0 where the
        table stayed as it was.
    """
    target = ensure_table(spark, lake, spec)
    rows = rows.select(*spec.schema.names)
    before = lake.version(spec)
    if before == 0:
        # nothing to compare with: an append costs one job where a merge costs four
        transaction = {"txnAppId": f"{spec.full_name}.first", "txnVersion": "1"}  # a retried commit lands once
        rows.write.format("delta").options(**transaction).mode("append").save(lake.table_uri(spec))
    else:
        _merge(target, spec, rows, is_update=is_update)
    return _written(target) if lake.version(spec) != before else dict.fromkeys(_COUNTS, 0)


@dataclass(frozen=True)
class Changes:
    """What a stage writes when it follows changes.

    Attributes:
        rows: columns of the spec and ``_is_new``: the key is not in the target.
        gone: keys whose rows are to be removed.
        base: version of the target that the stage started from; its append is tied to it.
    """

    rows: DataFrame
    gone: DataFrame
    base: int | None


def write_changes(spark: SparkSession, lake: Lake, spec: TableSpec, changes: Changes) -> dict[str, int]:
    """Append new rows, then replace and remove others in one merge; what changes nothing makes no version.

    Returns:
        ``inserted``, ``updated`` and ``deleted`` row counts, and ``computed``: rows that were given.
    """
    target = ensure_table(spark, lake, spec)
    rows = changes.rows.select(*spec.schema.names, "_is_new").persist(StorageLevel.MEMORY_AND_DISK)
    try:
        n_rows = {row[0]: row[1] for row in rows.groupBy("_is_new").count().collect()}
        counts = {"inserted": n_rows.get(True, 0), "updated": 0, "deleted": 0, "computed": sum(n_rows.values())}
        if n_rows.get(True):
            _append_new(lake, spec, rows.where("_is_new").drop("_is_new"), base=changes.base)
        if n_rows.get(False) or not changes.gone.isEmpty():
            before = lake.version(spec)
            _merge_changes(target, spec, rows.where("NOT _is_new").drop("_is_new"), changes.gone)
            if lake.version(spec) != before:
                written = _written(target)
                counts |= {name: counts[name] + written[name] for name in ("inserted", "updated", "deleted")}
    finally:
        rows.unpersist()
    return counts


def _append_new(lake: Lake, spec: TableSpec, rows: DataFrame, *, base: int | None) -> None:
    """The transaction belongs to the version the stage found, so a commit that is retried lands once."""
    transaction = {"txnAppId": f"{spec.full_name}.changes", "txnVersion": str((base or 0) + 1)}
    rows.write.format("delta").options(**transaction).mode("append").save(lake.table_uri(spec))


def _merge_changes(target: DeltaTable, spec: TableSpec, rows: DataFrame, gone: DataFrame) -> None:
    flagged = rows.withColumn("_is_gone", F.lit(False))
    keys = gone.select(*spec.keys).withColumn("_is_gone", F.lit(True))
    source = flagged.unionByName(keys, allowMissingColumns=True)
    values = {name: f"s.{name}" for name in spec.schema.names}
    merge = target.alias("t").merge(source.alias("s"), _same_key(spec)).whenMatchedDelete("s._is_gone")
    merge = merge.whenMatchedUpdate(_differs(spec), values)
    merge.whenNotMatchedInsert("NOT s._is_gone", values).execute()


def delete_keys(spark: SparkSession, lake: Lake, spec: TableSpec, keys: DataFrame) -> int:
    """Remove the rows of these keys, by a merge against their table: a key never stands in the log as a literal."""
    before = lake.version(spec)
    if before is None or keys.isEmpty():
        return 0
    target = DeltaTable.forPath(spark, lake.table_uri(spec))
    target.alias("t").merge(keys.select(*spec.keys).alias("s"), _same_key(spec)).whenMatchedDelete().execute()
    return _written(target)["deleted"] if lake.version(spec) != before else 0


def _same_key(spec: TableSpec) -> str:
    return " AND ".join(f"t.{key} = s.{key}" for key in spec.keys)


def _differs(spec: TableSpec) -> str:
    compared = [name for name in spec.schema.names if name not in (*spec.keys, "run_id")]
    return " OR ".join(f"NOT (t.{name} <=> s.{name})" for name in compared)


def _merge(target: DeltaTable, spec: TableSpec, rows: DataFrame, *, is_update: bool) -> None:
    merge = target.alias("t").merge(rows.alias("s"), _same_key(spec))
    if is_update and _differs(spec):
        merge = merge.whenMatchedUpdateAll(condition=_differs(spec))
    # repeatable by key, so an OPTIMIZE that was faster costs a second try and not the stage
    retry_conflicts(merge.whenNotMatchedInsertAll().execute, table=spec.full_name)


def _written(target: DeltaTable) -> dict[str, int]:
    """Row counts of the newest commit; a merge that changes nothing makes none."""
    metrics = target.history(1).select("operationMetrics").first()[0]
    inserted = metrics.get("numTargetRowsInserted", metrics.get("numOutputRows", 0))
    changed = {name: int(metrics.get(f"numTargetRows{name.title()}", 0)) for name in ("updated", "deleted")}
    computed = metrics.get("numSourceRows", metrics.get("numOutputRows", 0))
    return {"inserted": int(inserted), **changed, "computed": int(computed)}


def map_batches(frame: DataFrame, function: BatchFunction, schema: pa.Schema) -> DataFrame:
    """``mapInArrow`` whose failures name a class and a place, never a value.

    Args:
        function: turns an iterator of Arrow batches into an iterator of Arrow batches of ``schema``.
    """

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        try:
            yield from function(batches)
        except PpsehrError:
            raise
        except Exception as error:
            frames = traceback.extract_tb(error.__traceback__)
            at = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}"
            raise InfrastructureError("WORKER_FAILED", error=type(error).__name__, at=at) from None

    return frame.mapInArrow(run, spark_schema(schema))
