"""From rows of phi tables to one integer per public cell, each patient bounded: one Spark job for all releases.

Knows: which rows of a patient are items, and that they meet. Must not know: noise, budgets, what is released. An
*item* is one visit, or one kind of marked span, of one patient, with the facts that releases ask for; for each release
it falls into a cell or does not count. All items of a patient meet once, cells are found and the bounds of every
release applied there over whole batches, and only then are integers summed and collected; cells that nobody touches
become 0 on the driver.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.statistics_plan import AGE, NO_TIER, OF_PATIENTS, PublicLists
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.privacy.catalogue import THRESHOLD, Release
from ppsehr_spark.privacy.releases import Counts, PlannedRelease
from ppsehr_spark.spark.bounding import order_by_hash
from ppsehr_spark.spark.frames import map_batches, read_table
from ppsehr_spark.spark.session import describe
from ppsehr_spark.spark.statistics.bounded_sums import BoundedSums, Integers
from ppsehr_spark.spark.statistics.cells import BETWEEN, MARK, CellFinder, facts_of, is_about_marks
from ppsehr_spark.spark.statistics.facts import fact

Versions = Mapping[str, int | None]
FindCells = Callable[[pa.Table], Sequence[Integers]]
_BOUNDED = pa.schema([("release", pa.int64()), ("cell", pa.int64()), ("amount", pa.int64())])
_FACTS_OF_PATIENTS = OF_PATIENTS | {AGE}
#: Rows worked on at a time: array operations are cheap per row from here on, and a few MiB are held.
_ROWS_AT_ONCE = 1 << 16


def tables_of(release: Release) -> tuple[schemas.TableSpec, ...]:
    """Tables whose rows decide this release, and no others."""
    if is_about_marks(release):
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
    if any(not is_about_marks(each.release) for each in planned):
        visits = read(schemas.ENCOUNTERS)
        if any(_needs_patients(each.release) for each in planned):
            people = read(schemas.PATIENTS).select("patient_key", *sorted(OF_PATIENTS), "birth_date")
            visits = visits.join(people, "patient_key", "left")
        frames.append(list_visits(visits, planned))
    if any(is_about_marks(each.release) for each in planned):
        frames.append(list_marks(read(schemas.NOTES), read(schemas.ANNOTATIONS)))
    return sum_items(reduce(_unite, frames), planned, lists)


def _unite(some: DataFrame, others: DataFrame) -> DataFrame:
    """Items of both; a fact that one kind of item does not have is null there."""
    return some.unionByName(others, allowMissingColumns=True)


def sum_items(items: DataFrame, planned: Sequence[PlannedRelease], lists: PublicLists) -> dict[str, Counts]:
    """Bound, sum and collect: integers, with 0 for cells that nobody touches."""
    bounded = bound_items(items, planned, lists)
    summed = bounded.groupBy("release", "cell").agg(F.sum("amount").alias("amount")).collect()
    found: list[dict[int, int]] = [{} for _ in planned]
    for row in summed:
        found[row["release"]][row["cell"]] = int(row["amount"])
    return {each.release.id: _fill(each, counts) for each, counts in zip(planned, found, strict=True)}


def _fill(planned: PlannedRelease, counts: dict[int, int]) -> Counts:
    if planned.release.kind == THRESHOLD:
        return counts
    return [counts.get(cell, 0) for cell in range(planned.n_counted)]


def list_visits(encounters: DataFrame, planned: Sequence[PlannedRelease]) -> DataFrame:
    """Items (patient_key, item, facts), one per visit; visits without a patient count for nobody."""
    asked = [facts_of(each.release) for each in planned if not is_about_marks(each.release)]
    facts = [fact(name).alias(name) for name in sorted(set().union(*asked))]
    owned = encounters.where(F.col("patient_key").isNotNull())
    return owned.select("patient_key", F.col("encounter_key").alias("item"), *facts)


def list_marks(notes: DataFrame, annotations: DataFrame) -> DataFrame:
    """Items (patient_key, item, mark), one per category and tier that stands in a patient's notes."""
    owners = notes.where(F.col("patient_key").isNotNull()).select("note_key", "patient_key")
    spans = annotations.select("note_key", F.explode("spans").alias("span"))
    mark = F.concat_ws(BETWEEN, "span.category", F.coalesce(F.col("span.tier").cast("string"), F.lit(NO_TIER)))
    marks = spans.select("note_key", mark.alias("item")).join(owners, "note_key").select("patient_key", "item")
    return marks.distinct().withColumn(MARK, F.col("item"))


def bound_items(items: DataFrame, planned: Sequence[PlannedRelease], lists: PublicLists) -> DataFrame:
    """Rows (release, cell, amount): what the patients of a partition add, each within the bounds of each release.

    Every choice is by keyed hash, so it is the same under any order, partitioning and retry (``bounded_sums``). All
    items of a patient meet in one partition, side by side, and of more than ``_ROWS_AT_ONCE`` rows only one
    patient's are held at once.
    """
    facts = [name for name in items.columns if name not in ("patient_key", "item")]
    told = items.select(
        "patient_key",
        order_by_hash("patient_key", purpose="stats.cells").alias("key"),
        order_by_hash("item", purpose="stats.items").alias("hash"),
        *facts,
    )
    met = told.repartition("patient_key").sortWithinPartitions("key", "patient_key", "hash", *facts)
    releases = [each.release for each in planned]
    finder = CellFinder(releases, lists)

    def bound(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from sum_partition(batches, releases, finder.find)

    return map_batches(met.select("patient_key", "key", *facts), bound, _BOUNDED)


def sum_partition(
    batches: Iterator[pa.RecordBatch], releases: Sequence[Release], find_cells: FindCells
) -> Iterator[pa.RecordBatch]:
    """One batch (release, cell, amount) for all patients of a partition.

    Args:
        batches: patient_key, the patient's hash as ``key``, and facts; a patient's rows side by side and in hash
            order, cut anywhere.
        find_cells: rows -> their cells for each release.
    """
    sums = BoundedSums(releases)
    for whole in _whole_patients(batches):
        sums.add(_number_patients(whole), whole.column("key").to_numpy(), find_cells(whole))
    yield pa.RecordBatch.from_arrays([pa.array(column) for column in sums.totals()], schema=_BOUNDED)


def _whole_patients(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    """The same rows in larger pieces, cut between patients."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        if not batch.num_rows:
            continue
        held.append(batch)
        if sum(each.num_rows for each in held) < _ROWS_AT_ONCE:
            continue
        rows = pa.Table.from_batches(held)
        keys = rows.column("patient_key")
        # the rows of the last patient may go on in the next batch
        cut = pc.index(keys, keys[-1]).as_py()
        if cut:
            yield rows.slice(0, cut)
            held = rows.slice(cut).to_batches()
    if held:
        yield pa.Table.from_batches(held)


def _number_patients(rows: pa.Table) -> Integers:
    """0 for the rows of the first patient, 1 for those of the next, and so on."""
    names = rows.column("patient_key").combine_chunks()
    is_other = pc.not_equal(names[1:], names[:-1]).to_numpy(zero_copy_only=False)
    return np.concatenate(([0], np.cumsum(is_other, dtype=np.int64)))


def _needs_patients(release: Release) -> bool:
    return bool(facts_of(release) & _FACTS_OF_PATIENTS)
