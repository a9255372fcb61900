"""Bounded aggregates on Spark against a count in plain Python, and what a patient can change at most."""

from __future__ import annotations

import dataclasses
import math
import random
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ppsehr_spark.config import load_settings
from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.statistics_plan import load_public_lists, plan_catalogue
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.privacy.catalogue import Release
from ppsehr_spark.privacy.grants import Grant, Query
from ppsehr_spark.privacy.ledger import answer_once
from ppsehr_spark.privacy.policy import Scope
from ppsehr_spark.privacy.releases import (
    Counts,
    Part,
    PlannedRelease,
    StatisticRow,
    draw_part,
    make_rows,
    measure_part,
)
from ppsehr_spark.privacy.units import Budget
from tests.privacy.small_ledger import make_ledger
from tests.spark.worked_visits import Patient, count_plainly, list_hashed, make_patients, write_lake

pytestmark = pytest.mark.spark
SETTINGS = load_settings()
AllCounts = Mapping[str, Counts]
Count = Callable[[Sequence[Patient]], AllCounts]


#: Beside the catalogue as it is shipped: a mean over what stands in phi.patients, and a part of a list.
_MORE = (
    Release(
        "age_by_sex", "t", "mean", 0.1, "u", keys=("sex",), measure="age_years", clamp=(20, 80), max_encounters=3,
        max_per_cell=2,
    ),
    Release("by_group", "t", "encounters", 0.1, "u", keys=("department_group",), max_encounters=4, max_per_cell=2),
)  # fmt: skip


def _plan(epsilon: float = 1.0) -> tuple[PlannedRelease, ...]:
    from ppsehr_spark.spark.statistics.releasing import read_catalogue

    catalogue = dataclasses.replace(read_catalogue(SETTINGS), budget=Budget(epsilon, 1e-7))
    # bounds that bite: three of everything and two visits per bin
    releases = [
        dataclasses.replace(
            release,
            max_cells=min(release.max_cells, 3),
            max_per_cell=2 if release.edges and not release.is_per_patient else release.max_per_cell,
        )
        for release in (*catalogue.releases, *_MORE)
    ]
    return plan_catalogue(dataclasses.replace(catalogue, releases=tuple(releases)), load_public_lists(SETTINGS.files))


@pytest.fixture(scope="module")
def planned() -> tuple[PlannedRelease, ...]:
    return _plan()


@pytest.fixture(scope="module")
def patients() -> list[Patient]:
    return make_patients(80)


@pytest.fixture(scope="module")
def count(spark: Any, planned: tuple[PlannedRelease, ...], tmp_path_factory: pytest.TempPathFactory) -> Count:
    """Counts of some patients, from a lake that holds them."""

    def run(chosen: Sequence[Patient]) -> AllCounts:
        from ppsehr_spark.spark.statistics.aggregation import aggregate_releases

        lake = Lake(str(tmp_path_factory.mktemp("visits")))
        write_lake(lake, chosen)
        lists = load_public_lists(SETTINGS.files)
        names = (schemas.ENCOUNTERS, schemas.NOTES, schemas.ANNOTATIONS, schemas.PATIENTS)
        versions = {spec.full_name: lake.version(spec) for spec in names}
        return aggregate_releases(spark, lake, planned, lists=lists, versions=versions)

    return run


@pytest.fixture(scope="module")
def counted(count: Count, patients: list[Patient]) -> AllCounts:
    return count(patients)


def test_counts_equal_a_count_in_plain_python(
    spark: Any, planned: tuple[PlannedRelease, ...], patients: list[Patient], counted: AllCounts
) -> None:
    from pyspark.sql import functions as F

    pairs = list_hashed(planned, patients, SETTINGS.files)
    frame = spark.createDataFrame(pairs, "key string, purpose string")
    hashed = frame.select("key", "purpose", F.xxhash64("key", "purpose").alias("hash")).collect()
    known = {(row["key"], row["purpose"]): row["hash"] for row in hashed}
    for each in planned:
        expected = count_plainly(each, patients, SETTINGS.files, lambda key, purpose: known[key, purpose])
        assert counted[each.release.id] == expected, each.release.id
        values = _values(counted[each.release.id])
        assert sum(values) > 10 and all(type(value) is int for value in values)
    _assert_exact_answers(patients, counted)


def _values(counts: Counts) -> list[int]:
    return [counts[at] for at in (counts if isinstance(counts, Mapping) else range(len(counts)))]


def _draw(part: Part, counts: Counts, grant: Grant) -> list[int]:
    return draw_part(part, counts, grant=grant)


def _assert_exact_answers(patients: Sequence[Patient], counted: AllCounts) -> None:
    """At infinite epsilon the rows say what the kept visits come to, by textbook formulas."""
    ledger, exact = make_ledger(math.inf), {each.release.id: each for each in _plan(math.inf)}
    rows = {}
    for name, each in exact.items():
        part = each.part
        query = Query("exact", part.name, Scope("d", "statistics", "u"), part.event, part.bounds)
        answer = answer_once(ledger, query, draw=partial(_draw, part, counted[name]))
        rows[name] = make_rows(each, part, answer.value)
        assert all(row.low is None or row.low <= row.value <= (row.high or 0.0) for row in rows[name])
    stays = [30 if day > 30 else day for day, n in enumerate(counted["length_of_stay_variance"]) for _ in range(n)]
    assert rows["length_of_stay_variance"][0].value == pytest.approx(statistics.pvariance(stays), abs=1e-6)
    histogram = counted["length_of_stay_mean"]
    for at, row in enumerate(rows["length_of_stay_mean"]):
        kept = [day for day in range(31) for _ in range(histogram[at * 31 + day])]
        assert not kept or row.value == pytest.approx(statistics.fmean(kept), abs=1e-6)
    assert rows["bed_days_total"][0].value == sum(day * n for day, n in enumerate(counted["bed_days_total"]))
    best = sorted(_values(counted["top_icd_blocks"]), reverse=True)[:10]
    assert [row.value for row in rows["top_icd_blocks"]] == best
    codes = {row.cell[0][1]: row.value for row in rows["common_diagnosis_codes"]}
    assert set(codes) == {"I21.900", "K80.100", "J18.900", "I22.900", "U07.100", "A12.X01"}
    assert sum(codes.values()) == sum(_values(counted["common_diagnosis_codes"]))
    _assert_levels_agree(rows["encounters_by_icd"], sum(counted["encounters_by_icd"]))  # type: ignore[arg-type]


def _assert_levels_agree(rows: Sequence[StatisticRow], total: float) -> None:
    for depth in (0, 1, 2, 3):
        level = sum(row.value for row in rows if len(row.cell) == depth)
        assert level == pytest.approx(total, abs=1e-3)


def test_the_same_rows_are_kept_in_any_order_and_partitioning(
    spark: Any, planned: tuple[PlannedRelease, ...], patients: list[Patient], counted: AllCounts
) -> None:
    from ppsehr_spark.spark.frames import spark_schema
    from ppsehr_spark.spark.statistics.aggregation import list_visits, sum_items, tables_of

    names = schemas.ENCOUNTERS.schema.names
    rows = [tuple(visit.get(name) for name in names) for patient in patients for visit in patient.visits]
    random.Random(3).shuffle(rows)
    frame = spark.createDataFrame([(*row[:2], "", *row[3:]) for row in rows], spark_schema(schemas.ENCOUNTERS.schema))
    visits = [each for each in planned if tables_of(each.release) == (schemas.ENCOUNTERS,)]
    lists = load_public_lists(SETTINGS.files)
    again = sum_items(list_visits(frame.repartition(7), visits), visits, lists)
    assert again == {each.release.id: counted[each.release.id] for each in visits}


def _assert_bounded(planned: Sequence[PlannedRelease], with_patient: AllCounts, without: AllCounts) -> None:
    """One patient changes each release by no more than its bounds say, in every norm that scales noise."""
    for each in planned:
        name, bounds = each.release.id, each.part.bounds
        vectors = [_measure(each.part, side[name]) for side in (with_patient, without)]
        if each.release.kind == "threshold":
            both = {key for side in vectors for key in side}
            vectors = [[side.get(key, 0) for key in both] for side in vectors]
        changes = [abs(a - b) for a, b in zip(*vectors, strict=True)]
        assert max(changes) <= bounds.max_per_cell, name
        assert sum(changes) <= bounds.l1_sensitivity, name
        assert math.dist(*vectors) <= bounds.l2_sensitivity + 1e-9, name


def _measure(part: Part, counts: Counts) -> Any:
    """What the noise is added to, or chosen by."""
    if isinstance(counts, Mapping):
        return counts
    return measure_part(part, counts)


@pytest.fixture(scope="module")
def outlier(count: Count, patients: list[Patient]) -> AllCounts:
    """The patient of sixty visits alone: a neighbour of nobody."""
    return count(patients[:1])


def _nobody(planned: Sequence[PlannedRelease]) -> AllCounts:
    return {each.release.id: {} if each.release.kind == "threshold" else [0] * each.n_counted for each in planned}


def test_a_neighbour_changes_no_more_than_stated(
    count: Count, planned: tuple[PlannedRelease, ...], patients: list[Patient], counted: AllCounts, outlier: AllCounts
) -> None:
    without = count(patients[1:])
    _assert_bounded(planned, counted, without)
    _assert_bounded(planned, outlier, _nobody(planned))
    for name, vector in counted.items():
        own, others = outlier[name], without[name]
        if isinstance(vector, Mapping):
            assert vector == Counter(own) + Counter(others)
        else:
            together = [a + b for a, b in zip(others, own, strict=True)]
            assert vector == together, "what is kept of one patient does not depend on the others"
        assert sum(_values(own)) > 0, "the patient of sixty visits counts at all"


def test_counting_visits_without_bounding_patients_is_caught(
    count: Count, planned: tuple[PlannedRelease, ...], patients: list[Patient], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pyspark.sql import functions as F

    from ppsehr_spark.spark.statistics import aggregation

    bound = aggregation.bound_items

    def bound_visits(items: Any, *args: Any) -> Any:
        return bound(items.withColumn("patient_key", F.concat("patient_key", "item")), *args)

    monkeypatch.setattr(aggregation, "bound_items", bound_visits)
    with pytest.raises(AssertionError, match="patients_total"):
        _assert_bounded(planned, count(patients[:1]), _nobody(planned))


def test_no_value_of_a_row_stands_in_a_plan(
    spark: Any, planned: tuple[PlannedRelease, ...], patients: list[Patient], tmp_path: Path
) -> None:
    from ppsehr_spark.spark.frames import read_table
    from ppsehr_spark.spark.statistics.aggregation import bound_items, list_visits, tables_of

    lake = Lake(str(tmp_path))
    write_lake(lake, patients)
    visits = [each for each in planned if tables_of(each.release) == (schemas.ENCOUNTERS,)]
    encounters = read_table(spark, lake, schemas.ENCOUNTERS, version=lake.version(schemas.ENCOUNTERS))
    bounded = bound_items(list_visits(encounters, visits), visits, load_public_lists(SETTINGS.files))
    spark.conf.set("spark.sql.redaction.string.regex", "(?!)")  # what is masked elsewhere must not be there at all
    try:
        plan = bounded._jdf.queryExecution().toString()
    finally:
        spark.conf.unset("spark.sql.redaction.string.regex")
    assert "not listed" not in plan and patients[0].key not in plan
    assert "心血管内科" not in plan and "department" in plan, "columns, and not even public values"


@pytest.mark.parametrize("n", [0, -1])
def test_a_bound_is_one_or_more(spark: Any, n: int) -> None:
    from ppsehr_spark.errors import UsageError
    from ppsehr_spark.spark.bounding import keep_first_by_hash

    with pytest.raises(UsageError, match="CONTRIBUTION_BOUND"):
        keep_first_by_hash(spark.range(3), by=["id"], key="id", purpose="test", n=n)


def test_a_patient_with_fifty_thousand_rows_is_bounded_like_any_other(spark: Any) -> None:
    from pyspark.sql import functions as F

    from ppsehr_spark.spark.bounding import keep_first_by_hash

    owner = F.when(F.col("id") < 50_000, "giant").otherwise(F.concat(F.lit("p"), F.col("id").cast("string")))
    rows = spark.range(50_100).select(owner.alias("patient"), F.sha2(F.col("id").cast("string"), 256).alias("key"))
    kept = keep_first_by_hash(rows, by=["patient"], key="key", purpose="test", n=3).groupBy("patient").count()
    assert {row["patient"]: row["count"] for row in kept.where("count > 1").collect()} == {"giant": 3}
    assert kept.count() == 101


def test_purposes_choose_independently_and_cells_are_not_favoured(spark: Any) -> None:
    """Two questions keep different rows, and no row is kept by everybody: the order is one of keyed hashes."""
    from pyspark.sql import functions as F

    from ppsehr_spark.spark.bounding import keep_first_by_hash

    people = spark.range(2000).select(F.md5(F.col("id").cast("string")).alias("patient"))
    rows = people.withColumn("cell", F.explode(F.array(*map(F.lit, range(4)))))
    rows = rows.withColumn("key", F.concat_ws(":", "patient", "cell"))
    first, second = (keep_first_by_hash(rows, by=["patient"], key="key", purpose=p, n=1) for p in ("a", "b"))
    kept = [row["n"] for row in first.groupBy("cell").agg(F.count("*").alias("n")).collect()]
    # 2000 patients over 4 cells: sd 19.4; 8 sd is less likely than 1e-14
    assert len(kept) == 4 and all(abs(n - 500) < 156 for n in kept)
    assert abs(first.intersect(second).count() - 500) < 156
