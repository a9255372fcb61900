"""The questions of ``bench.py dp`` put to a peer, in an environment of its own: LIBRARY QUESTION.json.

Knows: how PipelineDP (on its local and its Spark backend) and Tumult Analytics are asked for a count of patients or a
mean per public cell. Must not know: the product; it is not installed there. Prints JSON: ``seconds`` of the best round,
starting Spark left out, ``values`` of the last round in the order of the keys, and ``version``.

The question: ``rows`` (Parquet of encounters, for Spark) or ``csv`` (patient, cell, value; for the local backend, read
before the clock starts), ``by`` (columns of a cell), ``keys`` (public cells, joined by a comma), ``metric``,
``max_cells``, ``clamp``, ``epsilon``, ``delta``, ``rho`` (the same guarantee, for Tumult) and ``rounds``.
"""

from __future__ import annotations

import csv
import importlib.metadata
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

Question = dict[str, Any]
Values = dict[str, float]


def main(library: str, file: str) -> None:
    """Ask one library as often as there are rounds."""
    with open(file, encoding="utf-8") as text:
        question = json.load(text)
    package, prepare = LIBRARIES[library]
    ask = prepare(question)
    seconds = []
    values: Values = {}
    for _ in range(question["rounds"]):
        started = time.perf_counter()
        values = ask()
        seconds.append(time.perf_counter() - started)
    answer = {"seconds": min(seconds), "values": [values[key] for key in question["keys"]]}
    json.dump({**answer, "version": importlib.metadata.version(package)}, sys.stdout)


def prepare_local(question: Question) -> Callable[[], Values]:
    """PipelineDP in this process, on rows that are in memory."""
    import pipeline_dp as dp

    with open(question["csv"], encoding="utf-8", newline="") as lines:
        rows = [(patient, cell, float(value)) for patient, cell, value in csv.reader(lines)]
    return lambda: dict(_aggregate(question, rows, dp.LocalBackend()))


def prepare_spark(question: Question) -> Callable[[], Values]:
    """PipelineDP on Spark, two cores, reading the table in every round as everybody does."""
    import pipeline_dp as dp

    spark, by = _open_spark(), question["by"]
    table = spark.read.parquet(question["rows"])

    def ask() -> Values:
        rows = _list_rows(table, by).rdd.map(tuple)
        return dict(_aggregate(question, rows, dp.SparkRDDBackend(spark.sparkContext)).collect())

    return ask


def prepare_tumult(question: Question) -> Callable[[], Values]:
    """Tumult Analytics on its own Spark: a new session and table in every round."""
    from tmlt.analytics import (
        AddRowsWithID,
        KeySet,
        MaxGroupsPerID,
        MaxRowsPerGroupPerID,
        QueryBuilder,
        RhoZCDPBudget,
        Session,
    )

    spark = _open_spark()
    keys = KeySet.from_dict({"cell": question["keys"]})
    low, high = question["clamp"]

    def ask() -> Values:
        rows = _list_rows(spark.read.parquet(question["rows"]), question["by"])
        budget = RhoZCDPBudget(question["rho"])
        session = Session.from_dataframe(budget, "visits", rows, protected_change=AddRowsWithID("patient_key"))
        asked = QueryBuilder("visits").enforce(MaxGroupsPerID("cell", question["max_cells"]))
        grouped = asked.enforce(MaxRowsPerGroupPerID("cell", 1)).groupby(keys)
        query = (
            grouped.count(name="said")
            if question["metric"] == "count"
            else grouped.average("value", low, high, name="said")
        )
        return {row["cell"]: row["said"] for row in session.evaluate(query, budget).collect()}

    return ask


def _aggregate(question: Question, rows: Any, backend: Any) -> Any:
    """(cell, value) of every public cell, by PipelineDP."""
    import pipeline_dp as dp

    is_count = question["metric"] == "count"
    accountant = dp.NaiveBudgetAccountant(total_epsilon=question["epsilon"], total_delta=question["delta"])
    low, high = question["clamp"]
    params = dp.AggregateParams(
        metrics=[dp.Metrics.PRIVACY_ID_COUNT if is_count else dp.Metrics.MEAN],
        noise_kind=dp.NoiseKind.GAUSSIAN,
        max_partitions_contributed=question["max_cells"],
        max_contributions_per_partition=1,
        **({} if is_count else {"min_value": low, "max_value": high}),
    )
    extract = dp.DataExtractors(
        privacy_id_extractor=lambda row: row[0],
        partition_extractor=lambda row: row[1],
        value_extractor=lambda row: 0 if is_count else row[2],
    )
    released = dp.DPEngine(accountant, backend).aggregate(rows, params, extract, public_partitions=question["keys"])
    accountant.compute_budgets()
    name = "privacy_id_count" if is_count else "mean"
    return backend.map_values(released, lambda values: float(getattr(values, name)), "read")


def _open_spark() -> Any:
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    os.environ["PYSPARK_SUBMIT_ARGS"] = "--master local[2] --driver-memory 4g pyspark-shell"
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.appName("bench-dp-peer")
    settings = {
        "spark.ui.enabled": "false", "spark.sql.shuffle.partitions": "4",
        "spark.default.parallelism": "4", "spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1",
        "spark.sql.session.timeZone": "UTC",
    }  # fmt: skip
    for name, value in settings.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    return spark


def _list_rows(table: Any, by: list[str]) -> Any:
    """Patient, cell, and days from admission to discharge."""
    from pyspark.sql import functions as F

    days = F.datediff(F.to_date("discharged_at"), F.to_date("admitted_at"))
    return table.select("patient_key", F.concat_ws(",", *by).alias("cell"), days.cast("double").alias("value"))


LIBRARIES: dict[str, tuple[str, Callable[[Question], Callable[[], Values]]]] = {
    "pipelinedp-local": ("pipeline-dp", prepare_local),
    "pipelinedp-spark": ("pipeline-dp", prepare_spark),
    "tumult": ("tmlt-analytics", prepare_tumult),
}

if __name__ == "__main__":
    main(*sys.argv[1:])
