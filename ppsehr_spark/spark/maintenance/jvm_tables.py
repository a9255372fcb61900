"""OPTIMIZE, purge, VACUUM and checkpoints of the tables that the JVM writes.

Knows: Delta's commands. Must not know: why a table is due. No literal of a row stands in any of them.
Reference: Delta Lake documentation, "Table utility commands" and "Deletion vectors" (REORG TABLE ... APPLY (PURGE)).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from delta.tables import DeltaTable
from pyspark.sql import SparkSession

from ppsehr_spark.lake.row_versions import find_row_version, note_rows
from ppsehr_spark.lake.table_log import read_log
from ppsehr_spark.lake.table_spec import TableSpec
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.spark.conflicts import retry_conflicts
from ppsehr_spark.spark.session import describe

#: VACUUM lists folders in as many tasks as this says, 10,000 by default: two minutes for a table of four files.
_LISTING = "spark.sql.sources.parallelPartitionDiscovery.parallelism"
#: On by default except on object stores; its last commit is one without any row or statistics, worth standing last.
_VACUUM_COMMITS = "spark.databricks.delta.vacuum.logging.enabled"
_RETENTION_CHECK = "spark.databricks.delta.retentionDurationCheck.enabled"
_METADATA = "spark.databricks.delta.commitInfo.userMetadata"
_LARGEST, _SMALLEST = "spark.databricks.delta.optimize.maxFileSize", "spark.databricks.delta.optimize.minFileSize"


def compact_jvm_table(spark: SparkSession, lake: Lake, spec: TableSpec, *, target_bytes: int) -> int:
    """Write files below half the target together; returns how many went.

    Raises:
        InfrastructureError: ``COMMIT_CONTENTION``.
    """
    describe(spark, f"maintain: compact {spec.full_name}")
    sizes = {_LARGEST: str(target_bytes), _SMALLEST: str(target_bytes // 2), **_note(lake, spec)}
    with session_settings(spark, sizes):
        rows = retry_conflicts(lambda: _table(spark, lake, spec).optimize().executeCompaction(), table=spec.full_name)
    return int(rows.select("metrics.numFilesRemoved").first()[0])


def purge_jvm_table(spark: SparkSession, lake: Lake, spec: TableSpec) -> int:
    """Write the files whose rows deletion vectors hide anew without those rows; returns how many went.

    Raises:
        InfrastructureError: ``COMMIT_CONTENTION``.
    """
    describe(spark, f"maintain: purge {spec.full_name}")
    command = f"REORG TABLE delta.`{lake.table_uri(spec)}` APPLY (PURGE)"
    with session_settings(spark, _note(lake, spec)):
        rows = retry_conflicts(lambda: spark.sql(command), table=spec.full_name)
    return int(rows.select("metrics.numFilesRemoved").first()[0])


def vacuum_jvm_table(spark: SparkSession, lake: Lake, spec: TableSpec, *, retention_hours: int) -> None:
    """Delete files that no version of the last ``retention_hours`` holds, change files included."""
    describe(spark, f"maintain: vacuum {spec.full_name}")
    parallelism = str(max(2, spark.sparkContext.defaultParallelism))
    settings = {_RETENTION_CHECK: "false", _LISTING: parallelism, _VACUUM_COMMITS: "true", **_note(lake, spec)}
    with session_settings(spark, settings):
        spark.sql(f"VACUUM delta.`{lake.table_uri(spec)}` RETAIN {retention_hours} HOURS")


def checkpoint_jvm_table(spark: SparkSession, lake: Lake, spec: TableSpec) -> int:
    """Write a checkpoint of the newest version, and return that."""
    describe(spark, f"maintain: checkpoint {spec.full_name}")
    log = spark._jvm.org.apache.spark.sql.delta.DeltaLog.forTable(spark._jsparkSession, lake.table_uri(spec))
    log.checkpoint()
    return max(read_log(lake, spec).checkpoints)


@contextmanager
def session_settings(spark: SparkSession, values: Mapping[str, str]) -> Iterator[None]:
    """SQL settings for the length of a block; what stood there before stands there again."""
    before = {name: spark.conf.get(name, None) for name in values}
    for name, value in values.items():
        spark.conf.set(name, value)
    try:
        yield
    finally:
        for name, old in before.items():
            spark.conf.unset(name) if old is None else spark.conf.set(name, old)


def _note(lake: Lake, spec: TableSpec) -> dict[str, str]:
    """The metadata of a commit that changes no row."""
    version = lake.version(spec)
    return {} if version is None else {_METADATA: note_rows(find_row_version(lake, spec, version=version))}


def _table(spark: SparkSession, lake: Lake, spec: TableSpec) -> DeltaTable:
    return DeltaTable.forPath(spark, lake.table_uri(spec))
