"""Delta tables as data frames: read, create, merge, and Arrow-batch functions that cannot leak a cell.

Knows: how a TableSpec becomes a JVM Delta table. Must not know: what a stage computes.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import StructType

from ppsehr_spark.errors import InfrastructureError, PpsehrError
from ppsehr_spark.lake.schemas import TableSpec
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.spark.conflicts import retry_conflicts

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
    """Create the Delta table with the spec's comments and properties if it is missing."""
    lake.open(spec)  # refuses a lake of another schema version before the JVM touches it
    builder = DeltaTable.createIfNotExists(spark).location(lake.table_uri(spec)).comment(spec.description)
    builder = builder.addColumns(spark_schema(spec.schema))
    for name, value in spec.properties.items():
        builder = builder.property(name, value)
    builder.execute()
    return DeltaTable.forPath(spark, lake.table_uri(spec))


def read_table(spark: SparkSession, lake: Lake, spec: TableSpec, *, version: int | None = None) -> DataFrame:
    """The table at a pinned version, the newest by default; an empty frame when it does not exist."""
    if lake.open(spec, version=version) is None:
        return spark.createDataFrame([], spark_schema(spec.schema))
    reader = spark.read.format("delta")
    return (reader if version is None else reader.option("versionAsOf", version)).load(lake.table_uri(spec))


def merge_rows(
    spark: SparkSession, lake: Lake, spec: TableSpec, rows: DataFrame, *, is_update: bool = True
) -> dict[str, int]:
    """Insert rows with new keys; replace rows whose columns other than ``run_id`` differ.

    A repeated call with the same rows changes no row, so a stage killed at any point can run again.

    Args:
        rows: one row per key, columns as in the spec.
        is_update: False leaves existing rows alone (content-addressed tables).

    Returns:
        ``inserted`` and ``updated`` row counts.
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
    return _written(target) if lake.version(spec) != before else {"inserted": 0, "updated": 0}


def _merge(target: DeltaTable, spec: TableSpec, rows: DataFrame, *, is_update: bool) -> None:
    same_key = " AND ".join(f"t.{key} = s.{key}" for key in spec.keys)
    compared = [name for name in spec.schema.names if name not in (*spec.keys, "run_id")]
    merge = target.alias("t").merge(rows.alias("s"), same_key)
    if is_update and compared:
        differs = " OR ".join(f"NOT (t.{name} <=> s.{name})" for name in compared)
        merge = merge.whenMatchedUpdateAll(condition=differs)
    # repeatable by key, so an OPTIMIZE that was faster costs a second try and not the stage
    retry_conflicts(merge.whenNotMatchedInsertAll().execute, table=spec.full_name)


def _written(target: DeltaTable) -> dict[str, int]:
    """Row counts of the newest commit; a merge that changes nothing makes none."""
    metrics = target.history(1).select("operationMetrics").first()[0]
    inserted = metrics.get("numTargetRowsInserted", metrics.get("numOutputRows", 0))
    return {"inserted": int(inserted), "updated": int(metrics.get("numTargetRowsUpdated", 0))}


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
