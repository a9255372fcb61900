"""What a stage reads: pinned tables, and the net change of each key between two versions.

Knows: Delta change feeds on the JVM. Must not know: what a stage computes from a change. Whether a feed may be followed
at all is decided in ``lake.change_feeds``. Reference: Delta Lake, "Change data feed" (columns ``_change_type``,
``_commit_version``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.storagelevel import StorageLevel

from ppsehr_spark.lake.change_feeds import Reading, feed_is_gone
from ppsehr_spark.lake.schemas import TableSpec
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.spark.frames import Changes, delete_keys, merge_rows, read_table, spark_schema, write_changes

#: Within one commit what was there before comes first, then what is there after.
_ORDER_IN_COMMIT = ("delete", "update_preimage", "insert", "update_postimage")
#: Spark's error classes for a feed whose files are gone.
_GONE = ("FAILED_READ_FILE", "DELTA_CHANGE_DATA_FILE_NOT_FOUND", "DELTA_MISSING_CHANGE_DATA", "DELTA_FILE_NOT_FOUND")


@dataclass(frozen=True)
class StageInputs:
    """The inputs of one run: every table at the version that was pinned when the run started.

    Frames that are used more than once are kept until ``close``.
    """

    spark: SparkSession
    lake: Lake
    reading: Reading
    _kept: list[DataFrame] = field(default_factory=list)

    @property
    def is_incremental(self) -> bool:
        """True when changes are followed."""
        return self.reading.is_incremental

    def table(self, spec: TableSpec) -> DataFrame:
        """The whole table at its pinned version; empty when it was not there then."""
        version = self.reading.versions[spec.full_name]
        if version is None:
            return self.spark.createDataFrame([], spark_schema(spec.schema))
        return read_table(self.spark, self.lake, spec, version=version)

    def output(self, spec: TableSpec) -> DataFrame:
        """A table that the stage itself writes, as it was found: a frame computed anew must not see the own rows."""
        version = self.reading.outputs.get(spec.full_name)
        return read_table(self.spark, self.lake, spec, version=version)

    def without_written(self, rows: DataFrame, spec: TableSpec, *, keys: Sequence[str]) -> DataFrame:
        """``rows`` without those whose ``keys`` stand in the output already."""
        if self.lake.version(spec) is None:
            return rows  # a join with nothing would still move every row
        return rows.join(self.output(spec).select(*keys), list(keys), "left_anti")

    def written_beside(self, alive: DataFrame, spec: TableSpec) -> DataFrame:
        """Keys that stand in the output and not in ``alive``, which holds one column: the key."""
        if self.lake.version(spec) is None:
            return alive.limit(0)
        return self.output(spec).select(*alive.columns).join(alive, alive.columns, "left_anti")

    def keep(self, frame: DataFrame) -> DataFrame:
        """Compute once, on disk where memory is short, and hold until ``close``."""
        self._kept.append(frame.persist(StorageLevel.MEMORY_AND_DISK))
        return frame

    def close(self) -> None:
        """Let go of what was kept."""
        while self._kept:
            self._kept.pop().unpersist()

    def changed_values(self, spec: TableSpec, column: str) -> DataFrame:
        """Distinct values of one column in all rows that came, changed or went."""
        feed = self._feed(spec)
        if feed is None:
            return self.spark.createDataFrame([], spark_schema(spec.schema)).select(column)
        return self.keep(feed.select(column).distinct())

    def changes(self, spec: TableSpec, *, before: Sequence[str] = ()) -> DataFrame:
        """One row per key that changed: its last state, kept until ``close``.

        Args:
            spec: a table with one key column.
            before: columns whose value at the start of the span is added as ``_before_<name>``; null for new keys.

        Returns:
            The columns of the spec, ``_is_deleted``, ``_is_new`` (the key was not there before) and ``before``.
        """
        feed = self._feed(spec)
        if feed is None:
            flags = {"_is_deleted": F.lit(False), "_is_new": F.lit(False)}
            earlier = {f"_before_{name}": F.col(name) for name in before}
            return self.spark.createDataFrame([], spark_schema(spec.schema)).withColumns({**flags, **earlier})
        (key,) = spec.keys
        rank = F.array_position(F.array(*map(F.lit, _ORDER_IN_COMMIT)), F.col("_change_type"))
        order = F.struct("_commit_version", rank)
        grouped = feed.groupBy(key).agg(
            F.max_by(F.struct(*spec.schema.names, "_change_type"), order).alias("_last"),
            F.min_by(F.struct(*before, "_change_type"), order).alias("_first"),
        )
        flags = {
            "_is_deleted": F.col("_last._change_type") == "delete",
            "_is_new": F.col("_first._change_type") == "insert",
        }
        earlier = {f"_before_{name}": F.when(~flags["_is_new"], F.col(f"_first.{name}")) for name in before}
        net = grouped.withColumns({**flags, **earlier}).where("NOT (_is_deleted AND _is_new)")
        return self.keep(net.select(*(f"_last.{name}" for name in spec.schema.names), *flags, *earlier))

    def rows_of(self, spec: TableSpec, keys: DataFrame, changes: DataFrame) -> DataFrame:
        """The rows of ``keys``: out of the changes where they are, else out of the table.

        The table is read only when a key is missing in the changes.
        """
        (key,) = spec.keys
        names = spec.schema.names
        told = changes.where("NOT _is_deleted").select(*names).join(keys, key, "left_semi")
        others = self.keep(keys.join(changes.select(key), key, "left_anti"))
        if others.isEmpty():
            return told
        return told.unionByName(self.table(spec).select(*names).join(others, key, "left_semi"))

    def _feed(self, spec: TableSpec) -> DataFrame | None:
        span = self.reading.span(spec)
        if span is None:
            return None
        reader = self.spark.read.format("delta").option("readChangeFeed", "true")
        reader = reader.option("startingVersion", span[0]).option("endingVersion", span[1])
        try:
            feed = self.keep(reader.load(self.lake.table_uri(spec)))
            feed.count()  # a file that is gone is found here and not in the middle of a stage
        except Exception as error:
            condition = str(getattr(error, "getCondition", lambda: "")() or "")
            if condition.startswith(_GONE):
                raise feed_is_gone(spec, since=span[0] - 1) from None
            raise
        return feed


def store(inputs: StageInputs, spec: TableSpec, rows: DataFrame, gone: DataFrame) -> dict[str, int]:
    """Write what a stage computed, the way its inputs were read.

    Args:
        inputs: says whether changes were followed, and the version that the stage found.
        rows: columns of the spec and ``_is_new``.
        gone: keys of rows to remove.

    Returns:
        ``inserted``, ``updated`` and ``deleted`` row counts.
    """
    if inputs.is_incremental:
        changes = Changes(rows, gone, inputs.reading.outputs[spec.full_name])
        return write_changes(inputs.spark, inputs.lake, spec, changes)
    merged = merge_rows(inputs.spark, inputs.lake, spec, rows)
    return {**merged, "deleted": delete_keys(inputs.spark, inputs.lake, spec, gone)}
