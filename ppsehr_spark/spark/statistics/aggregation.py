"""From rows of phi tables to one integer per public cell, each patient bounded: one Spark job for all releases.

Knows: which rows of a patient count for a release, and the bounds. Must not know: noise, budgets, what is released. An
*item* is one visit, or one kind of marked span, of one patient; for each release it falls into a cell or does not
count. All items of a patient meet once, the bounds of every release are applied there, and only then are integers
summed and collected; cells that nobody touches become 0 on the driver.
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
from ppsehr_spark.spark.bounding import order_by_hash
from ppsehr_spark.spark.frames import read_table
from ppsehr_spark.spark.session import describe
from ppsehr_spark.spark.statistics.public_lists import (
    NO_TIER,
    PublicLists,
    add_category,
    count_reached,
    locate_key,
    locate_value,
    measure_of,
)

Versions = Mapping[str, int | None]


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

    def read(spec: schemas.TableSpec) -> DataFrame:
        return read_table(spark, lake, spec, version=versions[spec.full_name])

    frames = []
    if any(each.release.kind != SPANS for each in planned):
        frames.append(list_visits(read(schemas.ENCOUNTERS), planned, lists))
    if any(each.release.kind == SPANS for each in planned):
        frames.append(list_marks(read(schemas.NOTES), read(schemas.ANNOTATIONS), planned))
    return sum_items(reduce(DataFrame.unionByName, frames), planned)


def sum_items(items: DataFrame, planned: Sequence[PlannedRelease]) -> dict[str, list[int]]:
    """Bound, sum and collect: integers, with 0 for cells that nobody touches."""
    bounded = bound_items(items, planned)
    summed = bounded.groupBy("release", "cell").agg(F.sum("amount").alias("amount")).collect()
    counts = [[0] * each.n_counted for each in planned]
    for row in summed:
        counts[row["release"]][row["cell"]] = int(row["amount"])
    return {each.release.id: vector for each, vector in zip(planned, counts, strict=True)}


def list_visits(encounters: DataFrame, planned: Sequence[PlannedRelease], lists: PublicLists) -> DataFrame:
    """Items (patient_key, item, cells), one per visit; visits without a patient count for nobody."""
    cells = [F.lit(None) if each.release.kind == SPANS else _cell_of(each.release, lists) for each in planned]
    owned = add_category(encounters.where(F.col("patient_key").isNotNull()))
    return owned.select("patient_key", F.col("encounter_key").alias("item"), _pack(cells))


def list_marks(notes: DataFrame, annotations: DataFrame, planned: Sequence[PlannedRelease]) -> DataFrame:
    """Items, one per category and tier that stands in a patient's notes; what no public cell names counts nowhere."""
    owners = notes.where(F.col("patient_key").isNotNull()).select("note_key", "patient_key")
    spans = annotations.select("note_key", F.explode("spans").alias("span"))
    mark = F.concat_ws("\x1f", "span.category", F.coalesce(F.col("span.tier").cast("string"), F.lit(NO_TIER)))
    marks = spans.select("note_key", mark.alias("item")).join(owners, "note_key").select("patient_key", "item")
    cells = [_locate_mark(each) if each.release.kind == SPANS else F.lit(None) for each in planned]
    return marks.distinct().select("patient_key", "item", _pack(cells))


def bound_items(items: DataFrame, planned: Sequence[PlannedRelease]) -> DataFrame:
    """Rows (patient_key, release, cell, amount), each patient within the bounds of each release.

    First at most ``max_encounters`` items of a patient that count for the release, then at most ``max_cells`` cells,
    then at most ``max_per_cell`` of each; every choice is by keyed hash. The sum over one patient's rows is what the
    plan promised the ledger. All items of one patient meet in one row, a few bytes per item.
    """
    item = F.struct(order_by_hash("item", purpose="stats.items").alias("hash"), "cells")
    owned = items.groupBy("patient_key").agg(F.sort_array(F.collect_list(item)).alias("items"))
    entries = F.concat(*(_bound_release(at, each) for at, each in enumerate(planned)))
    return owned.select("patient_key", F.explode(entries).alias("entry")).select("patient_key", "entry.*")


def _bound_release(at: int, planned: PlannedRelease) -> Column:
    """Array of (release, cell, amount) of one patient, from the items in hash order."""
    release = planned.release
    cells = F.filter(F.transform("items", lambda item: item["cells"][at]), lambda cell: cell.isNotNull())
    if release.max_encounters:
        cells = F.slice(cells, 1, release.max_encounters)
    chosen, most_each = F.array_distinct(cells), release.max_per_cell
    if release.candidates:  # bounded by visits alone, wherever they fall
        most_each = release.max_encounters
    else:
        chosen = _keep_cells(chosen, planned.parts[0].bounds.max_cells)

    def amount(cell: Column) -> Column:
        if most_each == 1:
            return F.lit(1)
        return F.least(F.size(F.filter(cells, lambda other: other == cell)), F.lit(most_each))

    return F.transform(
        chosen, lambda cell: F.struct(F.lit(at).alias("release"), cell.alias("cell"), amount(cell).alias("amount"))
    )


def _keep_cells(cells: Column, most: int) -> Column:
    """The first cells by the hash of patient and cell: by the cell alone, all patients would lose the same ones."""

    def rank(cell: Column) -> Column:
        place = F.concat_ws(":", "patient_key", cell.cast("string"))
        return F.struct(order_by_hash(place, purpose="stats.cells").alias("hash"), cell.alias("cell"))

    return F.transform(F.slice(F.sort_array(F.transform(cells, rank)), 1, most), lambda ranked: ranked["cell"])


def _pack(cells: Sequence[Column]) -> Column:
    return F.array(*(cell.cast("int") for cell in cells)).alias("cells")


def _locate_mark(planned: PlannedRelease) -> Column:
    names = ["\x1f".join(value for _, value in cell) for cell in planned.cells]
    position = locate_value(F.col("item"), [*names, ""])  # the unnamed last place takes what no public cell names
    return F.when(position < len(names), position)


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
        reached = count_reached(measure, lows[1:])
    position = F.least(F.greatest(reached, F.lit(0)), F.lit(len(lows) - 1))
    return F.when(measure.isNotNull(), position)
