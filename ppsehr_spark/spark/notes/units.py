"""New segments are packed into work units of bounded tokens, alike segments side by side.

Knows: phi.segments in, phi.work_units out. Must not know: who will annotate them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.spark.frames import map_batches, merge_rows, read_table
from ppsehr_spark.spark.notes.rows import pack_rows
from ppsehr_spark.spark.session import describe

_SEGMENTS_PER_PARTITION = 200_000
_PACKED = ("segment_key", "task", "n_chars", "estimated_tokens")
_UNIT = pa.schema([f for f in schemas.WORK_UNITS.schema if f.name != "run_id"])


def pack_segments(
    spark: SparkSession, lake: Lake, *, unit_tokens: int, run_id: str, fresh: DataFrame | None = None
) -> int:
    """Give every segment that has no unit yet a place in one.

    Units hold one task and neighbouring lengths, so that prompts in a batch share a prefix and padding.

    Args:
        unit_tokens: bound on the estimated tokens of a unit; a longer single segment is a unit of its own.
        fresh: the segments without a unit where they are known; else all segments are compared with all units.

    Returns:
        Number of new units.
    """
    fresh = _unpacked(spark, lake) if fresh is None else fresh.select(*_PACKED)
    n_fresh = fresh.count()
    if n_fresh == 0:
        return 0
    n_parts = -(-n_fresh // _SEGMENTS_PER_PARTITION)
    order = ["task", "n_chars", "segment_key"]
    ordered = fresh.repartitionByRange(n_parts, *order).sortWithinPartitions(*order)
    ordered = ordered.withColumn("part", F.spark_partition_id())
    describe(spark, "partition: pack work units")

    def pack(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from pack_rows(_pack(batches, unit_tokens), _UNIT)

    units = map_batches(ordered, pack, _UNIT).withColumn("run_id", F.lit(run_id))
    return merge_rows(spark, lake, schemas.WORK_UNITS, units, is_update=False)["inserted"]


def _unpacked(spark: SparkSession, lake: Lake) -> DataFrame:
    taken = read_table(spark, lake, schemas.WORK_UNITS).select(F.explode("segment_keys").alias("segment_key"))
    return read_table(spark, lake, schemas.SEGMENTS).select(*_PACKED).join(taken, "segment_key", "left_anti")


def _pack(batches: Iterator[pa.RecordBatch], unit_tokens: int) -> Iterator[dict[str, Any]]:
    keys: list[str] = []
    tokens, task, sequence, part = 0, "", 0, 0
    for batch in batches:
        for row in batch.to_pylist():
            part = row["part"]
            is_full = tokens + row["estimated_tokens"] > unit_tokens or row["task"] != task
            if keys and is_full:
                yield _unit(keys, tokens, part, sequence)
                keys, tokens, sequence = [], 0, sequence + 1
            keys.append(row["segment_key"])
            tokens += row["estimated_tokens"]
            task = row["task"]
    if keys:
        yield _unit(keys, tokens, part, sequence)


def _unit(keys: list[str], tokens: int, part: int, sequence: int) -> dict[str, Any]:
    return {
        "unit_id": hashlib.sha256("|".join(keys).encode()).hexdigest()[:32],
        "position": part << 32 | sequence,
        "segment_keys": keys,
        "n_segments": len(keys),
        "estimated_tokens": tokens,
    }
