"""``bench.py dp``: what bounded, noised statistics cost on Spark, beside bare Spark bounding and PipelineDP in one run.

Knows: a simulated table (patients with a skewed number of encounters), the questions, how they are timed. Must not
know: how the product bounds or draws. Everybody reads the same Parquet table in the same session and takes turns; the
best round counts, since noise only ever slows. Grants come from a ledger in memory: what the ledger on a lake takes
does not depend on the data. PipelineDP and Tumult Analytics stand in environments of their own (``docs/dp.md``) and
read the same table on a Spark of their own, one after the other.

    python scripts/bench.py dp --encounters 100000                             # a smaller run
    python scripts/bench.py dp --page docs/performance.md                      # the figures of the page
    python scripts/bench.py dp --peer-python pipelinedp/bin/python             # with PipelineDP
    python scripts/bench.py dp --tumult-python tumult/bin/python               # with Tumult Analytics
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench_dp_oracle import Agreement, Peer, consult_oracle, time_peer
from bench_dp_questions import CATALOGUE, SINGLE, new_ledger, plan, public_lists, query_of
from bench_pages import replace_between_marks
from bench_quantiles import QuantileError, measure_quantiles

from ppsehr_spark.errors import ExitCode
from ppsehr_spark.privacy.answering import answer_together
from ppsehr_spark.privacy.grants import Grant, Query
from ppsehr_spark.privacy.noise import draw_counts
from ppsehr_spark.privacy.releases import PlannedRelease, draw_part

_HOME = Path(__file__).resolve().parents[1]
_PATIENTS = 154_081
_BARS = {"single": 1.2, "catalogue": 2.5}
Answer = dict[str, list[int]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the sub-command."""
    parser.add_argument("--encounters", type=int, default=1_000_000, metavar="N", help="simulated")
    parser.add_argument("--patients", type=int, default=_PATIENTS, metavar="N", help="who own them")
    parser.add_argument(
        "--rounds", type=int, default=3, metavar="N", help="rounds of everybody in turn; the best counts"
    )
    parser.add_argument("--profile", default="laptop", help="Spark settings")
    parser.add_argument(
        "--peer-python", type=Path, default=None, metavar="PYTHON", help="of an environment that holds pipeline-dp"
    )
    parser.add_argument(
        "--tumult-python", type=Path, default=None, metavar="PYTHON", help="of one that holds tmlt-analytics"
    )
    parser.add_argument("--page", type=Path, default=None, metavar="FILE", help="also put the tables into this page")
    parser.add_argument("--out", type=Path, default=None, metavar="FILE", help="everything as JSON")
    parser.set_defaults(run=measure)


def measure(options: argparse.Namespace) -> int:
    """Print the tables; exit code 4 when a ratio lies over its bar or a count differs from the oracle's."""
    spark = _open_session(options.profile)
    with tempfile.TemporaryDirectory(prefix="bench-dp-") as folder:
        path = f"{folder}/encounters"
        _simulate(spark, path, options.encounters, options.patients)
        frame = spark.read.parquet(path)
        seconds = _take_turns(frame, options.rounds)
        timed = {name: time_peer(peer, path, Path(folder)) for name, peer in _peers_of(options).items()}
        oracle = consult_oracle(frame, Path(folder), options.peer_python) if options.peer_python else []
    errors = measure_quantiles()
    figures = {
        "seconds": seconds,
        "peers": timed,
        "oracle": [asdict(each) for each in oracle],
        "quantiles": [asdict(each) for each in errors],
        "encounters": options.encounters,
    }
    text = _render(seconds, timed, errors, options.encounters, options.patients) + _render_oracle(oracle)
    print(text)
    if options.page:
        replace_between_marks(options.page, "dp", text)
    if options.out:
        options.out.write_text(json.dumps(figures, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    is_fast = all(ratio <= bar for ratio, bar in _ratios(seconds))
    return int(ExitCode.OK if is_fast and not any(each.n_differing for each in oracle) else ExitCode.QUALITY_GATE)


def _open_session(profile: str) -> Any:
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    os.environ["SPARK_CONF_DIR"] = str(_HOME / "conf" / "spark")
    properties = _HOME / "conf" / "spark" / f"{profile}.conf"
    os.environ["PYSPARK_SUBMIT_ARGS"] = f"--properties-file {properties} --load-spark-defaults pyspark-shell"
    os.chdir(_HOME)  # spark.jars is relative to the checkout
    from pyspark.sql import SparkSession

    spark = SparkSession.builder.appName("ppsehr-bench-dp").getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    return spark


def _simulate(spark: Any, path: str, n_encounters: int, n_patients: int) -> None:
    """Encounters whose owners are drawn with a skew; the seeds make them the same in every run."""
    from pyspark.sql import functions as F

    lists = public_lists().values

    def pick(name: str, seed: int) -> Any:
        values = F.array(*(F.lit(value) for value in lists[name]))
        return F.element_at(values, (F.pow(F.rand(seed), 1.5) * len(lists[name])).cast("int") + 1)

    owner = F.floor(F.pow(F.rand(11), 1.3) * n_patients).cast("string")
    days = (F.rand(17) * F.rand(18) * 60).cast("int")
    spark.range(n_encounters).select(
        F.md5(F.col("id").cast("string")).alias("encounter_key"),
        F.md5(owner).alias("patient_key"),
        pick("department", 13).alias("department"),
        pick("code", 14).alias("code"),
        pick("encounter_type", 15).alias("encounter_type"),
        F.array(F.lit("I10")).alias("diagnosis_codes"),
        F.timestamp_seconds(F.lit(1_600_000_000)).alias("admitted_at"),
        F.timestamp_seconds(F.lit(1_600_000_000) + days * 86_400).alias("discharged_at"),
    ).repartition(4).write.parquet(path)


def _take_turns(frame: Any, n_rounds: int) -> dict[str, float]:
    turns = {"bare": _answer_bare, "single": _answer_single, "catalogue": _answer_catalogue}
    rounds: dict[str, list[float]] = {name: [] for name in turns}
    for number in range(n_rounds + 1):  # the first one warms up
        for name, turn in turns.items():
            started = time.perf_counter()
            turn(frame)
            rounds[name].append(time.perf_counter() - started)
            print(f"bench: round {number} {name} {rounds[name][-1]:.2f} s", file=sys.stderr, flush=True)
    return {name: min(each[1:]) for name, each in rounds.items()}


def _answer_bare(frame: Any) -> list[int]:
    """What one would write by hand for this one question: no catalogue, no plan."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    lists, planned = public_lists().values, plan([SINGLE])[0]
    place = [
        F.array_position(F.array(*map(F.lit, lists[name])), F.col(name)).cast("int") - 1
        for name in ("department", "code")
    ]
    cells = frame.select("patient_key", (place[0] * len(lists["code"]) + place[1]).alias("cell")).distinct()
    order = Window.partitionBy("patient_key").orderBy(F.xxhash64("patient_key", "cell"))
    kept = cells.withColumn("rank", F.row_number().over(order)).where(F.col("rank") <= SINGLE.max_cells)
    counts = [0] * planned.n_counted
    for row in kept.groupBy("cell").count().collect():
        counts[row["cell"]] = int(row["count"])
    grant = new_ledger().reserve(query_of(planned))
    assert isinstance(grant, Grant)
    return draw_counts(counts, grant=grant)


def _answer_single(frame: Any) -> None:
    _answer(frame, plan([SINGLE]))


def _answer_catalogue(frame: Any) -> None:
    _answer(frame, plan(CATALOGUE))


def _answer(frame: Any, planned: Sequence[PlannedRelease]) -> list[Any]:
    """Reserve, aggregate, draw, commit, as the stats stage does."""
    from ppsehr_spark.spark.statistics.aggregation import list_visits, sum_items

    asks = {query_of(each): each for each in planned}

    def read(_: Sequence[Query]) -> Answer:
        return sum_items(list_visits(frame, planned), planned, public_lists())

    def draw(grant: Grant, counts: Answer) -> list[int]:
        each = asks[grant.query]
        return draw_part(each.part, counts[each.release.id], grant=grant)

    return answer_together(new_ledger(), list(asks), read=read, draw=draw)


def _peers_of(options: argparse.Namespace) -> dict[str, Peer]:
    peers = {}
    if options.peer_python:
        peers["PipelineDP on Spark"] = Peer("pipelinedp-spark", options.peer_python)
    if options.tumult_python:
        peers["Tumult Analytics"] = Peer("tumult", options.tumult_python)
    return peers


def _ratios(seconds: dict[str, float]) -> list[tuple[float, float]]:
    return [
        (seconds["single"] / seconds["bare"], _BARS["single"]),
        (seconds["catalogue"] / seconds["single"], _BARS["catalogue"]),
    ]


def _render_oracle(oracle: Sequence[Agreement]) -> str:
    if not oracle:
        return ""
    lines = [
        "",
        "",
        "PipelineDP as an oracle on rows that no bound cuts (largest difference at epsilon 1e6; error, root mean",
    ]
    lines += ["square, at epsilon 1 and delta 1e-7):", ""]
    lines += ["| question | cells | that differ | largest difference | error of PipelineDP | ours |"]
    lines += ["| --- | ---: | ---: | ---: | ---: | ---: |"]
    for e in oracle:
        figures = f"{e.n_cells:,} | {e.n_differing} | {e.largest:.2g} | {e.peer_error:.3g} | {e.our_error:.3g}"
        lines.append(f"| {e.question} | {figures} |")
    return "\n".join(lines)


def _render(
    seconds: dict[str, float], timed: dict[str, float], errors: Sequence[QuantileError], n: int, n_patients: int
) -> str:
    (single, single_bar), (catalogue, catalogue_bar) = _ratios(seconds)
    rows = [
        ("bare Spark bounding, one vectorised draw", seconds["bare"], ""),
        ("our count, 4,000 cells", seconds["single"], f"{single:.2f} of bare (bar {single_bar})"),
        (f"our {len(CATALOGUE)} releases", seconds["catalogue"], f"{catalogue:.2f} of the count (bar {catalogue_bar})"),
    ]
    rows += [
        (f"{name}, the count", took, f"{took / seconds['single']:.1f} of our count") for name, took in timed.items()
    ]
    lines = [f"{n:,} encounters of up to {n_patients:,} patients, 20 departments x 200 codes, best round:", ""]
    lines += ["| what | seconds | ratio |", "| --- | ---: | --- |"]
    lines += [f"| {name} | {value:.2f} | {ratio} |" for name, value, ratio in rows]
    lines += ["", "Mean rank error of five quantiles, one value per patient, 1,024 candidates:", ""]
    lines += ["| values | pure epsilon 1 | ledger's epsilon 1 at 1e-7 | grid alone | to beat |"]
    lines += ["| ---: | ---: | ---: | ---: | ---: |"]
    lines += [f"| {e.n:,} | {e.pure:.4f} | {e.in_ledger:.4f} | {e.exact:.4f} | {e.to_beat} |" for e in errors]
    return "\n".join(lines)
