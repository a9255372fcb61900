"""Drift sketches of the phi zone: how often each value of a measure occurs in one version of a table.

Knows: which measure comes from which table. Must not know: budgets; nothing here is released (``evaluation.drift``).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from functools import reduce

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from ppsehr_spark.config import hash_values
from ppsehr_spark.evaluation.drift import build_sketch
from ppsehr_spark.lake.schemas import ENCOUNTERS, NOTES, TableSpec
from ppsehr_spark.lake.statistics_plan import LENGTH_OF_STAY
from ppsehr_spark.lake.statistics_store import append_sketch, has_sketch
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.spark.frames import read_table
from ppsehr_spark.spark.session import describe
from ppsehr_spark.spark.statistics.facts import measure_of

NOTE_CHARS = "note_chars"
_TABLES: Mapping[str, TableSpec] = {LENGTH_OF_STAY: ENCOUNTERS, NOTE_CHARS: NOTES}
_METHOD = 1


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
    counted = _count_values(start(), lake, {name: version for name, (version, _) in open_sketches.items()})
    for measure, (version, key) in open_sketches.items():
        values = counted[measure]
        append_sketch(
            lake,
            measure=measure,
            table_version=version,
            n_rows=values.total(),
            centroids=build_sketch(values),
            sketch_key=key,
            run_id=run_id,
        )
    return len(open_sketches)


def _count_values(spark: SparkSession, lake: Lake, versions: Mapping[str, int]) -> Mapping[str, Counter[int]]:
    """Measure -> value -> rows, in one job; integers only."""
    describe(spark, "stats: drift sketches")
    columns = {LENGTH_OF_STAY: measure_of(LENGTH_OF_STAY), NOTE_CHARS: F.col("n_chars")}
    frames = [
        read_table(spark, lake, _TABLES[name], version=version).select(
            F.lit(name).alias("measure"), columns[name].alias("value")
        )
        for name, version in versions.items()
    ]
    rows = reduce(DataFrame.unionByName, frames).where("value IS NOT NULL").groupBy("measure", "value").count()
    counted: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for row in rows.collect():
        counted[row["measure"]][int(row["value"])] = int(row["count"])
    return counted
