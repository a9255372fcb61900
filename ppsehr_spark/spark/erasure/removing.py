"""Rows of erased persons in the tables that the JVM writes, and their history in every table.

Knows: deletion by MERGE against a table of keys, purge, VACUUM, log clean-up. Must not know: whose keys they are.
``DELETE WHERE`` would write the key into commitInfo; a MERGE writes the names of columns. Every call may be repeated.
"""

from __future__ import annotations

from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.schemas import TableSpec
from ppsehr_spark.lake.table_log import list_data_files, prune_log
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.spark.conflicts import retry_conflicts
from ppsehr_spark.spark.frames import read_table
from ppsehr_spark.spark.maintenance.rounds import Caretaker
from ppsehr_spark.spark.session import describe


def delete_rows(spark: SparkSession, lake: Lake, spec: TableSpec, column: str, keys: DataFrame) -> None:
    """Delete the rows whose ``column`` is among the keys (one column ``key``).

    Raises:
        InfrastructureError: ``COMMIT_CONTENTION``.
    """
    if lake.version(spec) is None:
        return
    describe(spark, f"erase: rows of {spec.full_name}")
    target = DeltaTable.forPath(spark, lake.table_uri(spec)).alias("t")
    merge = target.merge(keys.distinct().alias("k"), f"t.{column} = k.key").whenMatchedDelete()
    retry_conflicts(merge.execute, table=spec.full_name)


def strip_units(spark: SparkSession, lake: Lake, segments: DataFrame) -> None:
    """Take segments out of the work units that name them; a unit without any goes.

    Raises:
        InfrastructureError: ``COMMIT_CONTENTION``.
    """
    spec = schemas.WORK_UNITS
    if lake.version(spec) is None:
        return
    describe(spark, "erase: work units")
    named = read_table(spark, lake, spec).select("unit_id", F.posexplode("segment_keys").alias("at", "key"))
    gone = segments.withColumn("is_gone", F.lit(True))
    tokens = read_table(spark, lake, schemas.SEGMENTS).select(F.col("segment_key").alias("key"), "estimated_tokens")
    marked = named.join(gone, "key", "left").join(tokens, "key", "left")
    is_left = F.col("is_gone").isNull()
    kept = F.sort_array(F.collect_list(F.when(is_left, F.struct("at", "key"))))
    units = marked.groupBy("unit_id").agg(
        kept.getField("key").alias("segment_keys"),
        F.coalesce(F.sum(F.when(is_left, F.col("estimated_tokens"))), F.lit(0)).cast("int").alias("estimated_tokens"),
        F.count("is_gone").alias("n_gone"),
    )
    changed = units.where("n_gone > 0").withColumn("n_segments", F.size("segment_keys"))
    target = DeltaTable.forPath(spark, lake.table_uri(spec)).alias("t")
    names = ("segment_keys", "n_segments", "estimated_tokens")
    merge = target.merge(changed.alias("s"), "t.unit_id = s.unit_id").whenMatchedDelete("s.n_segments = 0")
    merge = merge.whenMatchedUpdate(set={name: f"s.{name}" for name in names})
    retry_conflicts(merge.execute, table=spec.full_name)


def purge_history(caretaker: Caretaker, spec: TableSpec) -> dict[str, object]:
    """Leave nothing of a table but its newest version: no hidden row, no older file, no older log entry.

    Readers of older versions fail from here on, and so do change feeds that start there.

    Returns:
        ``version`` that is left, ``files`` and ``log_entries`` that went, by name.
    """
    lake = caretaker.lake
    before = set(list_data_files(lake, spec))
    if spec.has_deletion_vectors:
        caretaker.purge(spec)
    caretaker.vacuum(spec, retention_hours=0)
    version = caretaker.checkpoint(spec)
    entries = prune_log(lake, spec, keep_version=version)
    gone = sorted(before - set(list_data_files(lake, spec)))
    return {"version": version, "files": gone, "log_entries": entries}
