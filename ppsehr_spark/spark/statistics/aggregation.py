"""From rows of phi tables to one integer per public cell, each patient bounded: one Spark job for all releases.

Knows: which rows of a patient count for a release, and the bounds. Must not know: noise, budgets, what is released. A
*contribution* is (patient, release, cell, item): one visit or span category of one patient that falls into one cell.
Bounds are applied to contributions, all of one patient's within one release, before anything is summed; only then are
integers collected, and cells that nobody touches become 0 on the driver.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from functools import reduce

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.privacy.catalogue import COUNT, HISTOGRAM, SPANS, Release
from ppsehr_spark.privacy.releases import PlannedRelease
from ppsehr_spark.spark.bounding import keep_first_by_hash
from ppsehr_spark.spark.frames import read_table
from ppsehr_spark.spark.session import describe
from ppsehr_spark.spark.statistics.public_lists import (
    NO_TIER,
    PublicLists,
    locate_key,
    locate_value,
    measure_of,
)

Versions = Mapping[str, int | None]
_NO_BOUND = 2**31 - 1


def tables_of(release: Release) -> tuple[schemas.TableSpec, ...]:
    """Tables whose rows decide this release, and no others."""
    return (schemas.NOTES, schemas.ANNOTATIONS) if release.kind == SPANS else (schemas.ENCOUNTERS,)


def aggregate_releases(
    spark: SparkSession, lake: Lake, planned: Sequence[PlannedRelease], *, lists: PublicLists, versions: Versions
) -> dict[str, list[int]]:
    """Bounded integer counts of every release.

    Args:
        versions: table name -> the pinned version to read.

    Returns:
        Release id -> one integer per cell or, for quantiles, per candidate.
    """
    describe(spark, "stats: bound and aggregate")
    frames = []
    visits = [(at, each) for at, each in enumerate(planned) if each.release.kind != SPANS]
    if visits:
        encounters = read_table(spark, lake, schemas.ENCOUNTERS, version=versions[schemas.ENCOUNTERS.full_name])
        frames.append(contribute_visits(encounters, visits, lists))
    for at, each in enumerate(planned):
        if each.release.kind == SPANS:
            notes = read_table(spark, lake, schemas.NOTES, version=versions[schemas.NOTES.full_name])
            marks = read_table(spark, lake, schemas.ANNOTATIONS, version=versions[schemas.ANNOTATIONS.full_name])
            frames.append(contribute_spans(notes, marks, at, each))
    return sum_contributions(reduce(DataFrame.unionByName, frames), planned)


def sum_contributions(contributions: DataFrame, planned: Sequence[PlannedRelease]) -> dict[str, list[int]]:
    """Bound, sum and collect: integers, with 0 for cells that nobody touches."""
    bounded = bound_contributions(contributions, planned)
    summed = bounded.groupBy("release", "cell").agg(F.sum("amount").alias("amount")).collect()
    counts = [[0] * each.n_counted for each in planned]
    for row in summed:
        counts[row["release"]][row["cell"]] = int(row["amount"])
    return {each.release.id: vector for each, vector in zip(planned, counts, strict=True)}


def contribute_visits(
    encounters: DataFrame, planned: Sequence[tuple[int, PlannedRelease]], lists: PublicLists
) -> DataFrame:
    """One contribution per visit and release it counts for; visits without a patient count for nobody."""
    shared = encounters.where(F.col("patient_key").isNotNull())
    offers = F.array(*(_offer(at, _cell_of(each.release, lists)) for at, each in planned))
    exploded = shared.select("patient_key", F.col("encounter_key").alias("item"), F.explode(offers).alias("offer"))
    return exploded.select("patient_key", "item", "offer.release", "offer.cell").where("cell IS NOT NULL")


def contribute_spans(notes: DataFrame, annotations: DataFrame, at: int, planned: PlannedRelease) -> DataFrame:
    """One contribution per patient, category and tier that stands anywhere in the patient's notes."""
    owners = notes.where(F.col("patient_key").isNotNull()).select("note_key", "patient_key")
    spans = annotations.select("note_key", F.explode("spans").alias("span"))
    found = spans.select("note_key", "span.category", "span.tier").distinct().join(owners, "note_key")
    tier = F.coalesce(F.col("tier").cast("string"), F.lit(NO_TIER))
    names = ["\x1f".join(value for _, value in cell) for cell in planned.cells]
    # a last, unnamed place takes what no public cell names; it is dropped
    position = locate_value(F.concat_ws("\x1f", "category", tier), [*names, ""])
    placed = found.select("patient_key", position.alias("cell")).where(F.col("cell") < len(names)).distinct()
    item = F.col("cell").cast("string")
    return placed.select("patient_key", item.alias("item"), F.lit(at).alias("release"), "cell")


def bound_contributions(contributions: DataFrame, planned: Sequence[PlannedRelease]) -> DataFrame:
    """Rows (patient_key, release, cell, amount), each patient within the bounds of each release.

    First at most K visits of a patient, then at most ``max_per_cell`` of them per cell, then at most ``max_cells``
    cells; every choice by keyed hash. The sum over one patient's rows is what the plan promised the ledger.
    """
    releases = [each.release for each in planned]
    most_items = _by_release([release.max_encounters or _NO_BOUND for release in releases])
    kept = keep_first_by_hash(
        contributions, by=["patient_key", "release"], key="item", purpose="stats.items", n=most_items
    )
    per_cell = _by_release([_amount_bound(release) for release in releases])
    cells = kept.groupBy("patient_key", "release", "cell").agg(F.count(F.lit(1)).alias("n"))
    cells = cells.withColumn("amount", F.least("n", per_cell)).withColumn("place", _place_key())
    most_cells = _by_release([_cell_bound(each) for each in planned])
    chosen = keep_first_by_hash(cells, by=["patient_key", "release"], key="place", purpose="stats.cells", n=most_cells)
    return chosen.select("patient_key", "release", "cell", "amount")


def _amount_bound(release: Release) -> int:
    """A quantile's counts are bounded by visits alone, wherever they fall."""
    return release.max_encounters if release.candidates else release.max_per_cell


def _cell_bound(planned: PlannedRelease) -> int:
    return planned.release.max_encounters if planned.release.candidates else planned.parts[0].bounds.max_cells


def _place_key() -> Column:
    """Patient and cell together: by the cell alone, the same cells would lose out for everybody."""
    return F.concat_ws(":", "patient_key", F.col("cell").cast("string"))


def _by_release(values: Sequence[int]) -> Column:
    """The public number that belongs to the row's release."""
    return F.element_at(F.array(*(F.lit(value) for value in values)), F.col("release") + 1)


def _offer(at: int, cell: Column) -> Column:
    return F.struct(F.lit(at).alias("release"), cell.cast("int").alias("cell"))


def _cell_of(release: Release, lists: PublicLists) -> Column:
    """Position of a visit's cell, null when the visit does not count for this release."""
    if release.kind == COUNT:
        cell = F.lit(0)
        for key in release.keys:
            cell = cell * len(lists.values[key]) + locate_key(key, lists)
    else:
        lows = release.edges if release.kind == HISTOGRAM else release.candidates
        cell = _locate_measure(measure_of(release.measure), lows)
    for key, value in release.only.items():
        cell = F.when(locate_key(key, lists) == lists.values[key].index(value), cell)
    return cell


def _locate_measure(measure: Column, lows: Sequence[int]) -> Column:
    """Position of the last lower end that the measure reaches; what lies below the first falls into it."""
    step = lows[1] - lows[0]
    if all(high - low == step for low, high in itertools.pairwise(lows)):
        reached = F.floor((measure - lows[0]) / step)
    else:
        reached = sum((F.when(measure >= low, 1).otherwise(0) for low in lows[1:]), F.lit(0))
    position = F.least(F.greatest(reached, F.lit(0)), F.lit(len(lows) - 1))
    return F.when(measure.isNotNull(), position)
