"""Drift sketches of the phi zone: a t-digest of every measure for one version of a table, made and merged on Spark.

Knows: which measure comes from which table, and in which order parts are merged. Must not know: budgets; nothing here
is released (``evaluation.drift``).

**What is guaranteed.** The hash of a row's key puts it into one of ``N_BUCKETS`` buckets; the keys are HMACs. A bucket
is sketched from its counts per value, and the sketches are merged by bucket number, all at once. So the text of a
sketch depends on the rows alone: not on their order, on partitions, on how many executors there are or on what ran
twice. It is the same byte for byte under one version of the ``tdigest`` package; another version may join centroids
otherwise, within the same bound. Every bucket is small on the driver: at most some hundred centroids, however many rows
there are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import reduce

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from ppsehr_spark.config import hash_values
from ppsehr_spark.evaluation.drift import build_sketch, count_rows, merge_sketches
from ppsehr_spark.lake.schemas import ENCOUNTERS, NOTES, TableSpec
from ppsehr_spark.lake.statistics_plan import LENGTH_OF_STAY
from ppsehr_spark.lake.statistics_store import append_sketch, has_sketch
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.spark.bounding import order_by_hash
from ppsehr_spark.spark.frames import map_batches, read_table
from ppsehr_spark.spark.session import describe
from ppsehr_spark.spark.statistics.facts import measure_of

NOTE_CHARS = "note_chars"
#: Part of what a sketch is: another number gives other centroids. Raise ``_METHOD`` with it.
N_BUCKETS = 16
_TABLES: Mapping[str, TableSpec] = {LENGTH_OF_STAY: ENCOUNTERS, NOTE_CHARS: NOTES}
_METHOD = 2
_PURPOSE = "drift sketch"
_SKETCH_SCHEMA = pa.schema([("measure", pa.string()), ("bucket", pa.int32()), ("sketch", pa.string())])


def sketch_measures(start: Callable[[], SparkSession], lake: Lake, *, run_id: str) -> int:
    """Sketch length of stay and note length for the newest table versions; returns how many were new.

    Args:
        start: opens the Spark session; called when a sketch is missing.
    """
    open_sketches = {}
    for measure, spec in _TABLES.items():
        version = lake.version(spec)
        key = hash_values([measure, spec.full_name, version, _METHOD])
        if version is not None and not has_sketch(lake, key):
            open_sketches[measure] = (version, key)
    if not open_sketches:
        return 0
    rows = _read_values(start(), lake, {name: version for name, (version, _) in open_sketches.items()})
    sketches = sketch_values(rows)
    for measure, (version, key) in open_sketches.items():
        sketch = sketches.get(measure, build_sketch({}))
        append_sketch(
            lake,
            measure=measure,
            table_version=version,
            n_rows=count_rows(sketch),
            centroids=sketch,
            sketch_key=key,
            run_id=run_id,
        )
    return len(open_sketches)


def sketch_values(rows: DataFrame) -> dict[str, str]:
    """Measure -> t-digest of its values, all in one job.

    Args:
        rows: ``measure``, ``key`` (keyed hash, unique within its measure) and ``value`` (a number; nulls are left out).
    """
    bucket = F.pmod(order_by_hash("key", purpose=_PURPOSE), F.lit(N_BUCKETS)).cast("int").alias("bucket")
    counted = rows.where("value IS NOT NULL").groupBy("measure", bucket, F.col("value").cast("double").alias("value"))
    placed = counted.count().repartition("measure", "bucket")
    found: defaultdict[str, dict[int, str]] = defaultdict(dict)
    for row in map_batches(placed, sketch_partition, _SKETCH_SCHEMA).collect():
        found[row["measure"]][row["bucket"]] = row["sketch"]
    return {measure: merge_sketches([parts[at] for at in sorted(parts)]) for measure, parts in found.items()}


def sketch_partition(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """One sketch per measure and bucket of a partition that holds all of their counts.

    Args:
        batches: ``measure``, ``bucket``, ``value``, ``count``; a value once per measure and bucket.
    """
    parts = list(batches)
    if not parts:
        return
    table = pa.Table.from_batches(parts).sort_by([("measure", "ascending"), ("bucket", "ascending")])
    measures, buckets = table["measure"].to_numpy(), table["bucket"].to_numpy()
    is_first = np.r_[True, (measures[1:] != measures[:-1]) | (buckets[1:] != buckets[:-1])]
    starts = np.flatnonzero(is_first)
    for low, high in zip(starts, [*starts[1:], table.num_rows], strict=True):
        own = table.slice(low, high - low)
        sketch = build_sketch(dict(zip(own["value"].to_pylist(), own["count"].to_pylist(), strict=True)))
        yield pa.RecordBatch.from_pylist(
            [{"measure": measures[low], "bucket": int(buckets[low]), "sketch": sketch}], schema=_SKETCH_SCHEMA
        )


def _read_values(spark: SparkSession, lake: Lake, versions: Mapping[str, int]) -> DataFrame:
    """Measure, row key and value of every row."""
    describe(spark, "stats: drift sketches")
    columns = {LENGTH_OF_STAY: measure_of(LENGTH_OF_STAY), NOTE_CHARS: F.col("n_chars")}
    frames = [
        read_table(spark, lake, _TABLES[name], version=version).select(
            F.lit(name).alias("measure"), F.col(_TABLES[name].keys[0]).alias("key"), columns[name].alias("value")
        )
        for name, version in versions.items()
    ]
    return reduce(DataFrame.unionByName, frames)
