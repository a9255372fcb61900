"""Bounded aggregates on Spark against a count in plain Python, and what a patient can change at most."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from ppsehr_spark.config import load_settings
from ppsehr_spark.domain.codelists import load_codelists
from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.privacy.releases import PlannedRelease, plan_releases, score_quantile
from ppsehr_spark.privacy.units import Budget
from tests.spark.worked_visits import Patient, count_plainly, list_hashed, make_patients, write_lake

pytestmark = pytest.mark.spark
SETTINGS = load_settings()
Counts = Mapping[str, Sequence[int]]
Count = Callable[[Sequence[Patient]], Counts]


def _plan() -> tuple[PlannedRelease, ...]:
    from ppsehr_spark.spark.statistics.public_lists import load_public_lists
    from ppsehr_spark.spark.statistics.releasing import read_catalogue

    lists = load_public_lists(SETTINGS.files)
    catalogue = dataclasses.replace(read_catalogue(SETTINGS), budget=Budget(1.0, 1e-7))
    # bounds that bite: two of everything and two visits per bin
    releases = [
        dataclasses.replace(release, max_cells=min(release.max_cells, 3), max_per_cell=2 if release.edges else 1)
        for release in catalogue.releases
    ]
    return plan_releases(
        dataclasses.replace(catalogue, releases=tuple(releases)), lists=lists.values, span_cells=lists.span_cells
    )


@pytest.fixture(scope="module")
def planned() -> tuple[PlannedRelease, ...]:
    return _plan()


@pytest.fixture(scope="module")
def patients() -> list[Patient]:
    return make_patients(80)


@pytest.fixture(scope="module")
def count(spark: Any, planned: tuple[PlannedRelease, ...], tmp_path_factory: pytest.TempPathFactory) -> Count:
    """Counts of some patients, from a lake that holds them."""

    def run(chosen: Sequence[Patient]) -> Counts:
        from ppsehr_spark.spark.statistics.aggregation import aggregate_releases
        from ppsehr_spark.spark.statistics.public_lists import load_public_lists

        lake = Lake(str(tmp_path_factory.mktemp("visits")))
        write_lake(lake, chosen)
        lists = load_public_lists(SETTINGS.files)
        names = (schemas.ENCOUNTERS, schemas.NOTES, schemas.ANNOTATIONS)
        versions = {spec.full_name: lake.version(spec) for spec in names}
        return aggregate_releases(spark, lake, planned, lists=lists, versions=versions)

    return run


@pytest.fixture(scope="module")
def counted(count: Count, patients: list[Patient]) -> Counts:
    return count(patients)


def test_counts_equal_a_count_in_plain_python(
    spark: Any, planned: tuple[PlannedRelease, ...], patients: list[Patient], counted: Counts
) -> None:
    from pyspark.sql import functions as F

    pairs = list_hashed(patients, max(len(each.cells) for each in planned))
    frame = spark.createDataFrame(pairs, "key string, purpose string")
    hashed = frame.select("key", "purpose", F.xxhash64("key", "purpose").alias("hash")).collect()
    known = {(row["key"], row["purpose"]): row["hash"] for row in hashed}
    for each in planned:
        expected = count_plainly(each, patients, SETTINGS.files, lambda key, purpose: known[key, purpose])
        assert counted[each.release.id] == expected, each.release.id
        assert sum(expected) > 10 and all(type(value) is int for value in counted[each.release.id])


def test_a_chapter_on_spark_is_the_chapter_of_the_code_lists(spark: Any) -> None:
    from ppsehr_spark.spark.statistics.public_lists import add_category, load_public_lists, locate_key

    lists, codes = load_public_lists(SETTINGS.files), load_codelists(SETTINGS.files)
    tried = [f"{letter}{number:02d}.1" for letter in "ABDEHKSTUVZ" for number in range(0, 100, 3)]
    tried += [" i10", "", "?", "A", "ZZZ", "病", *(chapter.last + ".9" for chapter in codes.chapters)]
    frame = spark.createDataFrame([([code],) for code in tried], "diagnosis_codes array<string>")
    found = [row[0] for row in add_category(frame).select(locate_key("chapter", lists)).collect()]
    assert [lists.values["chapter"][at] for at in found] == [codes.find_chapter(code) for code in tried]


def test_the_same_rows_are_kept_in_any_order_and_partitioning(
    spark: Any, planned: tuple[PlannedRelease, ...], patients: list[Patient], counted: Counts
) -> None:
    from ppsehr_spark.spark.frames import spark_schema
    from ppsehr_spark.spark.statistics.aggregation import list_visits, sum_items
    from ppsehr_spark.spark.statistics.public_lists import load_public_lists

    names = schemas.ENCOUNTERS.schema.names
    rows = [tuple(visit.get(name) for name in names) for patient in patients for visit in patient.visits]
    random.Random(3).shuffle(rows)
    frame = spark.createDataFrame([(*row[:2], "", *row[3:]) for row in rows], spark_schema(schemas.ENCOUNTERS.schema))
    visits = [each for each in planned if each.release.kind != "spans"]
    lists = load_public_lists(SETTINGS.files)
    again = sum_items(list_visits(frame.repartition(7), visits, lists), visits)
    assert again == {each.release.id: counted[each.release.id] for each in visits}


def _assert_bounded(planned: Sequence[PlannedRelease], with_patient: Counts, without: Counts) -> None:
    """One patient changes each part by no more than its bounds say, in every norm that scales noise."""
    for each in planned:
        for part in each.parts:
            vectors = [side[each.release.id] for side in (with_patient, without)]
            if part.fraction:
                vectors = [score_quantile(vector, part.fraction) for vector in vectors]
            changes = [abs(a - b) for a, b in zip(*vectors, strict=True)]
            assert max(changes) <= part.bounds.max_per_cell, part.name
            assert sum(changes) <= part.bounds.l1_sensitivity, part.name
            assert math.dist(*vectors) <= part.bounds.l2_sensitivity + 1e-9, part.name


@pytest.fixture(scope="module")
def outlier(count: Count, patients: list[Patient]) -> Counts:
    """The patient of sixty visits alone: a neighbour of nobody."""
    return count(patients[:1])


def _nobody(planned: Sequence[PlannedRelease]) -> Counts:
    return {each.release.id: [0] * each.n_counted for each in planned}


def test_a_neighbour_changes_no_more_than_stated(
    count: Count, planned: tuple[PlannedRelease, ...], patients: list[Patient], counted: Counts, outlier: Counts
) -> None:
    without = count(patients[1:])
    _assert_bounded(planned, counted, without)
    _assert_bounded(planned, outlier, _nobody(planned))
    for name, vector in counted.items():
        together = [a + b for a, b in zip(without[name], outlier[name], strict=True)]
        assert vector == together, "what is kept of one patient does not depend on the others"
        assert sum(outlier[name]) > 0, "the patient of sixty visits counts at all"


def test_counting_visits_without_bounding_patients_is_caught(
    count: Count, planned: tuple[PlannedRelease, ...], patients: list[Patient], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pyspark.sql import functions as F

    from ppsehr_spark.spark.statistics import aggregation

    def count_everything(items: Any, _: object) -> Any:
        rows = items.select("patient_key", F.posexplode("cells").alias("release", "cell"))
        return rows.where("cell IS NOT NULL").withColumn("amount", F.lit(1))

    monkeypatch.setattr(aggregation, "bound_items", count_everything)
    with pytest.raises(AssertionError, match="patients_by_department"):
        _assert_bounded(planned, count(patients[:1]), _nobody(planned))


def test_no_value_of_a_row_stands_in_a_plan(
    spark: Any, planned: tuple[PlannedRelease, ...], patients: list[Patient], tmp_path: Path
) -> None:
    from ppsehr_spark.spark.frames import read_table
    from ppsehr_spark.spark.statistics.aggregation import bound_items, list_visits
    from ppsehr_spark.spark.statistics.public_lists import load_public_lists

    lake = Lake(str(tmp_path))
    write_lake(lake, patients)
    visits = [each for each in planned if each.release.kind != "spans"]
    encounters = read_table(spark, lake, schemas.ENCOUNTERS, version=lake.version(schemas.ENCOUNTERS))
    bounded = bound_items(list_visits(encounters, visits, load_public_lists(SETTINGS.files)), visits)
    spark.conf.set("spark.sql.redaction.string.regex", "(?!)")  # what is masked elsewhere must not be there at all
    try:
        plan = bounded._jdf.queryExecution().toString()
    finally:
        spark.conf.unset("spark.sql.redaction.string.regex")
    assert "not listed" not in plan and patients[0].key not in plan
    assert "心血管内科" in plan, "public values do stand there"


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
