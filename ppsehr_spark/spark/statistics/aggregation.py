"""From rows of phi tables to one integer per public cell, each patient bounded: one Spark job for all releases.

Knows: which rows of a patient count for a release, and the bounds. Must not know: noise, budgets, what is released. An
*item* is one visit, or one kind of marked span, of one patient; for each release it falls into a cell or does not
count. All items of a patient meet once, the bounds of every release are applied there over whole batches, and only
then are integers summed and collected; cells that nobody touches become 0 on the driver.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.statistics_plan import AGE, MARKS_PER_PATIENT, NO_TIER, OF_PATIENTS, PublicLists
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.privacy.catalogue import HISTOGRAM, MOMENTS, MONTH, QUANTILE, SPANS, THRESHOLD, Release
from ppsehr_spark.privacy.releases import Counts, PlannedRelease
from ppsehr_spark.spark.bounding import order_by_hash
from ppsehr_spark.spark.frames import map_batches, read_table
from ppsehr_spark.spark.session import describe
from ppsehr_spark.spark.statistics.bounded_sums import NO_CELL, BoundedSums, Integers
from ppsehr_spark.spark.statistics.public_lists import (
    add_category,
    add_positions,
    count_reached,
    encode_diagnosis,
    locate_month,
    locate_value,
    measure_of,
    position_of,
)

Versions = Mapping[str, int | None]
_BOUNDED = pa.schema([("release", pa.int64()), ("cell", pa.int64()), ("amount", pa.int64())])


def tables_of(release: Release) -> tuple[schemas.TableSpec, ...]:
    """Tables whose rows decide this release, and no others."""
    if _is_about_marks(release):
        return (schemas.NOTES, schemas.ANNOTATIONS)
    return (schemas.ENCOUNTERS, schemas.PATIENTS) if _needs_patients(release) else (schemas.ENCOUNTERS,)


def aggregate_releases(
    spark: SparkSession, lake: Lake, planned: Sequence[PlannedRelease], *, lists: PublicLists, versions: Versions
) -> dict[str, Counts]:
    """Bounded integer counts of every release.

    Args:
        versions: table name -> the pinned version to read.

    Returns:
        Release id -> one integer per cell, candidate, or cell and clamped value; key -> integer for private keys.
    """
    describe(spark, "stats: bound and aggregate")

    def read(spec: schemas.TableSpec) -> DataFrame:
        return read_table(spark, lake, spec, version=versions[spec.full_name])

    frames = []
    if any(not _is_about_marks(each.release) for each in planned):
        visits = read(schemas.ENCOUNTERS)
        if any(_needs_patients(each.release) for each in planned):
            people = read(schemas.PATIENTS).select("patient_key", *sorted(OF_PATIENTS), "birth_date")
            visits = visits.join(people, "patient_key", "left")
        frames.append(list_visits(visits, planned, lists))
    if any(_is_about_marks(each.release) for each in planned):
        frames.append(list_marks(read(schemas.NOTES), read(schemas.ANNOTATIONS), planned))
    return sum_items(reduce(DataFrame.unionByName, frames), planned)


def sum_items(items: DataFrame, planned: Sequence[PlannedRelease]) -> dict[str, Counts]:
    """Bound, sum and collect: integers, with 0 for cells that nobody touches."""
    bounded = bound_items(items, planned)
    summed = bounded.groupBy("release", "cell").agg(F.sum("amount").alias("amount")).collect()
    found: list[dict[int, int]] = [{} for _ in planned]
    for row in summed:
        found[row["release"]][row["cell"]] = int(row["amount"])
    return {each.release.id: _fill(each, counts) for each, counts in zip(planned, found, strict=True)}


def _fill(planned: PlannedRelease, counts: dict[int, int]) -> Counts:
    if planned.release.kind == THRESHOLD:
        return counts
    return [counts.get(cell, 0) for cell in range(planned.n_counted)]


def list_visits(encounters: DataFrame, planned: Sequence[PlannedRelease], lists: PublicLists) -> DataFrame:
    """Items (patient_key, item, cells), one per visit; visits without a patient count for nobody."""
    cells = [F.lit(None) if _is_about_marks(each.release) else _cell_of(each.release, lists) for each in planned]
    asked = [name for each in planned for name in _lists_of(each.release)]
    owned = add_positions(add_category(encounters.where(F.col("patient_key").isNotNull())), asked, lists)
    return owned.select("patient_key", F.col("encounter_key").alias("item"), _pack(cells))


def list_marks(notes: DataFrame, annotations: DataFrame, planned: Sequence[PlannedRelease]) -> DataFrame:
    """Items, one per category and tier that stands in a patient's notes; what no public cell names counts nowhere."""
    owners = notes.where(F.col("patient_key").isNotNull()).select("note_key", "patient_key")
    spans = annotations.select("note_key", F.explode("spans").alias("span"))
    mark = F.concat_ws("\x1f", "span.category", F.coalesce(F.col("span.tier").cast("string"), F.lit(NO_TIER)))
    marks = spans.select("note_key", mark.alias("item")).join(owners, "note_key").select("patient_key", "item")
    cells = [_locate_mark(each) for each in planned]
    return marks.distinct().select("patient_key", "item", _pack(cells))


def bound_items(items: DataFrame, planned: Sequence[PlannedRelease]) -> DataFrame:
    """Rows (release, cell, amount): what the patients of a partition add, each within the bounds of each release.

    Every choice is by keyed hash, so it is the same under any order, partitioning and retry (``bounded_sums``). All
    items of a patient meet in one partition, side by side, and no more than one patient's are held beyond a batch.
    """
    told = items.select(
        "patient_key",
        order_by_hash("patient_key", purpose="stats.cells").alias("key"),
        order_by_hash("item", purpose="stats.items").alias("hash"),
        "cells",
    )
    met = told.repartition("patient_key").sortWithinPartitions("key", "patient_key", "hash", "cells")
    releases = [each.release for each in planned]

    def bound(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from sum_partition(batches, releases)

    return map_batches(met.select("patient_key", "key", "cells"), bound, _BOUNDED)


def sum_partition(batches: Iterator[pa.RecordBatch], releases: Sequence[Release]) -> Iterator[pa.RecordBatch]:
    """One batch (release, cell, amount) for all patients of a partition.

    Args:
        batches: patient_key, the patient's hash as ``key``, and ``cells`` by release; a patient's rows side by side and
            in hash order, cut anywhere.
    """
    sums = BoundedSums(releases)
    for whole in _whole_patients(batches):
        sums.add(*_to_arrays(whole, len(releases)))
    yield pa.RecordBatch.from_arrays([pa.array(column) for column in sums.totals()], schema=_BOUNDED)


def _whole_patients(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    """The same rows, cut between patients."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        if not batch.num_rows:
            continue
        keys = batch.column("patient_key")
        # the rows of the last patient may go on in the next batch
        cut = pc.index(keys, keys[-1]).as_py()
        if held and (cut or held[-1].column("patient_key")[-1] != keys[0]):
            yield pa.Table.from_batches([*held, batch.slice(0, cut)])
            held = []
        elif cut:
            yield pa.Table.from_batches([batch.slice(0, cut)])
        held.append(batch.slice(cut))
    if held:
        yield pa.Table.from_batches(held)


def _to_arrays(rows: pa.Table, n_releases: int) -> tuple[Integers, Integers, Integers]:
    """Number of the patient, the patient's hash, and cells by release."""
    names = rows.column("patient_key").combine_chunks()
    is_other = pc.not_equal(names[1:], names[:-1]).to_numpy(zero_copy_only=False)
    owners = np.concatenate(([0], np.cumsum(is_other, dtype=np.int64)))
    cells = pc.fill_null(pc.list_flatten(rows.column("cells")), NO_CELL).cast(pa.int64())
    return owners, rows.column("key").to_numpy(), cells.to_numpy().reshape(-1, n_releases)


def _pack(cells: Sequence[Column]) -> Column:
    return F.array(*(cell.cast("int") for cell in cells)).alias("cells")


def _is_about_marks(release: Release) -> bool:
    return release.kind == SPANS or release.measure == MARKS_PER_PATIENT


def _needs_patients(release: Release) -> bool:
    return not OF_PATIENTS.isdisjoint((*release.keys, *release.levels, *release.only)) or release.measure == AGE


def _locate_mark(planned: PlannedRelease) -> Column:
    """Position of a mark, null where it does not count."""
    if not _is_about_marks(planned.release):
        return F.lit(None)
    if planned.release.is_per_patient:
        return F.lit(0)
    names = ["\x1f".join(value for _, value in cell) for cell in planned.cells]
    position = locate_value(F.col("item"), [*names, ""])  # the unnamed last place takes what no public cell names
    return F.when(position < len(names), position)


def _cell_of(release: Release, lists: PublicLists) -> Column:
    """Position of a visit's cell, null when the visit does not count for this release."""
    if release.kind == THRESHOLD:
        cell = encode_diagnosis(release.form)
    elif release.is_per_patient:
        cell = F.lit(0)
    elif release.kind in (HISTOGRAM, QUANTILE):
        cell = _locate_measure(measure_of(release.measure), release.edges or release.candidates)
    else:
        cell = _locate_keys(release, lists)
    if release.kind in MOMENTS:
        values = range(min(release.clamp), max(release.clamp) + 1)
        cell = cell * len(values) + _locate_measure(measure_of(release.measure), values)
    for key, value in release.only.items():
        cell = F.when(position_of(key) == lists.values[key].index(value), cell)
    return cell


def _placed_by(release: Release) -> Sequence[str]:
    return release.levels[-1:] or release.keys


def _lists_of(release: Release) -> list[str]:
    """Public lists in which a visit's place decides about this release."""
    by = () if release.kind == THRESHOLD else _placed_by(release)  # the data choose those keys, no list holds them
    return [key for key in (*by, *release.only) if key != MONTH]


def _locate_keys(release: Release, lists: PublicLists) -> Column:
    """Position within the product of the lists; of a hierarchy, within its finest list."""
    cell = F.lit(0)
    for key in _placed_by(release):
        if key == MONTH:
            cell = cell * len(release.months) + locate_month(release.months)
        else:
            cell = cell * len(lists.values[key]) + position_of(key)
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
