"""Counts of made-up visits on a Spark whose tasks fail and are tried again; prints JSON.

A program of its own, because tries need another master than the shared session has. The first tries of two tasks fail
after their first rows, one of them twice.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: Two cores, four tries per task.
MASTER = "local[2,4]"
#: Tries that fail, per task.
_FAILURES = {0: 1, 1: 2}


def main(folder: str) -> None:
    """``undisturbed``, ``interrupted`` and ``without`` (the first patient): release -> counts; ``tries``: what ran."""
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master(MASTER).appName("proofs")
    settings = {
        "spark.ui.enabled": "false", "spark.sql.shuffle.partitions": "3", "spark.sql.adaptive.enabled": "false",
        "spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1",
    }  # fmt: skip
    for name, value in settings.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("OFF")
    from tests.spark.worked_visits import make_patients

    patients = make_patients(80)
    answers: dict[str, Any] = {
        "undisturbed": count_visits(spark, patients),
        "interrupted": count_visits(spark, patients, _disturb(folder)),
        "without": count_visits(spark, patients[1:]),
    }
    answers["tries"] = sorted(path.name for path in Path(folder).iterdir())
    print(json.dumps(answers))
    sys.stdout.flush()
    spark.stop()


def plan_visits() -> Any:
    """Counts, histograms and quantiles of visits alone in the shipped catalogue, and the public lists."""
    from ppsehr_spark.config import load_settings
    from ppsehr_spark.lake import schemas
    from ppsehr_spark.spark.statistics.aggregation import tables_of
    from ppsehr_spark.spark.statistics.releasing import plan_stage

    planned, lists = plan_stage(load_settings())
    visits = [each for each in planned if tables_of(each.release) == (schemas.ENCOUNTERS,)]
    return [each for each in visits if each.release.kind in ("count", "histogram", "quantile")], lists


def count_visits(spark: Any, patients: Any, disturb: Any = None) -> dict[str, list[int]]:
    """Counts of every release, by the product, of rows that pass through ``disturb`` in five partitions."""
    from ppsehr_spark.lake import schemas
    from ppsehr_spark.spark.frames import spark_schema
    from ppsehr_spark.spark.statistics.aggregation import list_visits, sum_items

    names = schemas.ENCOUNTERS.schema.names
    rows = [tuple(visit.get(name) for name in names) for patient in patients for visit in patient.visits]
    frame = spark.createDataFrame([(*row[:2], "", *row[3:]) for row in rows], spark_schema(schemas.ENCOUNTERS.schema))
    if disturb:
        frame = frame.repartition(5).mapInArrow(disturb, frame.schema)
    planned, lists = plan_visits()
    return sum_items(list_visits(frame, planned), planned, lists)


def _disturb(folder: str) -> Any:
    def run(batches: Iterator[Any]) -> Iterator[Any]:
        import pyspark

        context = pyspark.TaskContext.get()
        partition, attempt = context.partitionId(), context.attemptNumber()
        (Path(folder) / f"{partition}-{attempt}").touch()
        for batch in batches:
            yield batch.slice(0, 3)
            if attempt < _FAILURES.get(partition, 0):
                raise RuntimeError("this try of the task fails")
            yield batch.slice(3)

    return run


if __name__ == "__main__":
    main(sys.argv[1])
