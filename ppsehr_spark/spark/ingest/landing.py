"""Files land in Delta: one task per file, good rows merged or deleted by key, bad rows written to phi.rejects.

Knows: the Spark side of ingest. Must not know: formats and types (``records``, ``conversion``).
"""

from __future__ import annotations

import fnmatch
import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Any

import pyarrow as pa
from pyarrow import fs
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.storagelevel import StorageLevel

from ppsehr_spark.config import Settings, hash_values
from ppsehr_spark.domain.identity import load_key
from ppsehr_spark.errors import InputError, QualityGateError
from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.crash_points import crash_point
from ppsehr_spark.lake.erasures import drop_erased, read_tombstones
from ppsehr_spark.lake.locations import open_file_system
from ppsehr_spark.lake.schemas import TableSpec
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.spark.frames import delete_keys, map_batches, merge_rows, read_table
from ppsehr_spark.spark.ingest.absence import Absence, find_absent
from ppsehr_spark.spark.ingest.conversion import Converter
from ppsehr_spark.spark.ingest.erased_merging import forget_merged
from ppsehr_spark.spark.ingest.mapping import FileGroup, SourceMapping
from ppsehr_spark.spark.ingest.patient_merging import (
    ResolvedMerges,
    apply_merges,
    resolve_merges,
    to_survivors,
    without_merged,
)
from ppsehr_spark.spark.ingest.records import Reject, read_records
from ppsehr_spark.spark.session import describe

_TARGETS: dict[str, TableSpec] = {
    "patients": schemas.PATIENTS,
    "encounters": schemas.ENCOUNTERS,
    "notes": schemas.NOTES,
    "gold": schemas.GOLD,
    "merges": schemas.PATIENT_MERGES,
}
_BATCH_ROWS = 512
_BATCH_CHARS = 4_000_000
_LANDING_FIELDS = (
    pa.field("_file", pa.string()),
    pa.field("_row", pa.int64()),
    pa.field("_field", pa.string()),
    pa.field("_reason", pa.string()),
    pa.field("_is_deleted", pa.bool_()),
)
_LAST_STEP_KEYS = ("_file", "_row")


@dataclass(frozen=True)
class SourceFile:
    """One file of a source: where it is, its path below the source root, size in bytes, its group's position."""

    uri: str
    relative: str
    size_bytes: int
    modified_ns: int
    group: int


def list_source(mapping: SourceMapping, root: str) -> list[SourceFile]:
    """Every file of every group, sorted, without hidden files and job markers.

    Raises:
        InputError: ``SOURCE_MISSING`` when the root or a group's folder is not there.
    """
    filesystem, base = open_file_system(root)
    prefix = root.split("://")[0] + "://" if "://" in root else ""
    found: list[SourceFile] = []
    for position, group in enumerate(mapping.groups):
        where = f"{base.rstrip('/')}/{group.path}".rstrip("/")
        info = filesystem.get_file_info(where)
        if info.type == fs.FileType.NotFound:
            if group.is_optional:
                continue
            raise InputError("SOURCE_MISSING", path=group.path or ".", hint="the source folder or file is not there")
        infos = [info] if info.is_file else filesystem.get_file_info(fs.FileSelector(where, recursive=True))
        for entry in sorted(infos, key=lambda e: e.path):
            is_hidden = entry.base_name.startswith(("_", "."))
            if entry.is_file and not is_hidden and fnmatch.fnmatch(entry.base_name, group.pattern):
                relative = entry.path.removeprefix(base.rstrip("/") + "/")
                found.append(SourceFile(prefix + entry.path, relative, entry.size, entry.mtime_ns or 0, position))
    return found


def measure_source(mapping: SourceMapping, root: str) -> dict[str, int]:
    """Files and KiB for a plan; 0 for a source that an earlier stage has still to write."""
    try:
        files = list_source(mapping, root)
    except InputError:
        files = []
    return {"files": len(files), "source_kib": sum(file.size_bytes for file in files) // 1024}


def source_fingerprint(mapping: SourceMapping, root: str) -> str:
    """Hash over names, sizes and times of all files: equal means there is nothing new to read."""
    return hash_values([(f.relative, f.size_bytes, f.modified_ns) for f in list_source(mapping, root)])


def ingest_source(
    spark: SparkSession,
    lake: Lake,
    *,
    mapping: SourceMapping,
    root: str,
    settings: Settings,
    run_id: str,
    is_snapshot: bool = False,
) -> dict[str, int]:
    """Read every group of the source into its table.

    Args:
        is_snapshot: the delivery is complete, so a note of this source that is not in it is deleted.

    Returns:
        Inserted, updated and deleted rows per table, the number of rejects, and ``deletions_withheld``: unreadable
        rows because of which a snapshot's absent notes were left alone.

    Raises:
        QualityGateError: ``TOO_MANY_REJECTS`` when the rejected share of a table's rows exceeds
            ``ingest.max_reject_share``, ``TOO_MANY_DELETIONS`` see ``absence``; rejects are written, tables are left
            as they were.
    """
    delivery, merges, n_forgotten = _land_without_erased(spark, lake, mapping, root, settings, run_id)
    try:
        counts = {"patients_forgotten": n_forgotten} if n_forgotten else {}
        counts |= {"rejects": _store_rejects(delivery, merges, run_id=run_id)}
        crash_point("ingest.after_rejects")
        counts["computed"] = _check_reject_share(delivery.landed, settings.ingest.max_reject_share)
        absence = _absence(delivery, settings.ingest.max_deleted_share) if is_snapshot else None
        if merges:
            counts["patients_merged"] = apply_merges(spark, lake, merges.changed)
        counts |= _store_all(delivery)
        if absence:
            counts |= _remove_absent(delivery, absence, counts.get("notes_deleted", 0))
    finally:
        for group in delivery.landed:
            group.rows.unpersist()
    return counts


@dataclass(frozen=True)
class _Landed:
    """What one file group holds: all rows read once, and among the good ones the row that counts of every key."""

    group: FileGroup
    rows: DataFrame
    chosen: DataFrame
    repeated: DataFrame


@dataclass(frozen=True)
class _Delivery:
    """Everything that came from one source."""

    spark: SparkSession
    lake: Lake
    source: str
    landed: list[_Landed]
    has_erased: bool


def _land_without_erased(
    spark: SparkSession, lake: Lake, mapping: SourceMapping, root: str, settings: Settings, run_id: str
) -> tuple[_Delivery, ResolvedMerges | None, int]:
    """The delivery without rows of erased persons, under whatever id; its merges; how many were found to be erased.

    A merge may name a patient whom nobody has erased under this id; then everything is read again with one tombstone
    more, because rows of that patient may stand in any file.
    """
    erased, n_forgotten = read_tombstones(lake), 0
    while True:
        landed = _land_all(spark, mapping, root, settings, erased)
        delivery = _Delivery(spark, lake, mapping.name, landed, bool(erased))
        merges = _resolve(delivery)
        told = {"key_file": settings.identity.key_file, "run_id": run_id}
        found = forget_merged(spark, lake, merges.changed, erased=erased, **told) if merges else frozenset()
        if not found:
            return delivery, merges, n_forgotten
        erased, n_forgotten = erased | found, n_forgotten + len(found)
        for frame in (merges.changed, *(group.rows for group in landed)) if merges else ():
            frame.unpersist()


def _land_all(
    spark: SparkSession, mapping: SourceMapping, root: str, settings: Settings, erased: frozenset[str]
) -> list[_Landed]:
    """Every group that has files, in the order in which their tables depend on one another."""
    files = list_source(mapping, root)
    order = sorted(range(len(mapping.groups)), key=lambda i: list(_TARGETS).index(mapping.groups[i].table))
    return [
        _land(
            spark, [f for f in files if f.group == position], mapping.groups[position], mapping.name, settings, erased
        )
        for position in order
        if any(f.group == position for f in files)
    ]


def _store_all(delivery: _Delivery) -> dict[str, int]:
    """Merge every group into its table; counts per table."""
    counts: dict[str, int] = {}
    for group in delivery.landed:
        table = group.group.table
        for name, value in _store(delivery, group).items():
            if name != "computed":
                counts[f"{table}_{name}"] = counts.get(f"{table}_{name}", 0) + value
        crash_point(f"ingest.after_{table}")
    return counts


def _resolve(delivery: _Delivery) -> ResolvedMerges | None:
    given = [g.chosen for g in delivery.landed if g.group.table == "merges"]
    if not given:
        return None
    rows = reduce(DataFrame.unionByName, given).dropDuplicates(["patient_key"])
    return resolve_merges(delivery.spark, delivery.lake, rows)


def _absence(delivery: _Delivery, limit: float) -> Absence:
    rows = [g.rows for g in delivery.landed if g.group.table == "notes"]
    return find_absent(delivery.spark, delivery.lake, rows, source=delivery.source, limit=limit)


def _remove_absent(delivery: _Delivery, absence: Absence, n_deleted: int) -> dict[str, int]:
    describe(delivery.spark, "ingest: delete absent notes")
    delete_keys(delivery.spark, delivery.lake, schemas.GOLD, absence.gone)
    n_deleted += delete_keys(delivery.spark, delivery.lake, schemas.NOTES, absence.gone)
    return {"notes_deleted": n_deleted, "deletions_withheld": absence.n_unreadable}


def _land(
    spark: SparkSession,
    files: list[SourceFile],
    group: FileGroup,
    source: str,
    settings: Settings,
    erased: frozenset[str],
) -> _Landed:
    """Typed rows and rejects of a group in one frame, read once; one task reads one file."""
    schema = pa.schema(
        [*(f.with_nullable(True) for f in _TARGETS[group.table].schema if f.name != "run_id"), *_LANDING_FIELDS]
    )
    describe(spark, f"ingest: read {len(files)} files into {group.table}")
    listed = spark.createDataFrame([(f.uri, f.relative) for f in files], "uri string, relative string")
    key_file, limit = settings.identity.key_file, settings.ingest.max_note_chars

    def read(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        key = load_key(key_file)
        for batch in batches:
            for uri, relative in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                converter = Converter(group, source, key, limit, relative)
                rows = drop_erased(_read_file(uri, converter), key=key, tombstones=erased)
                yield from _batches(rows, schema)

    rows = map_batches(listed.repartition(len(files)), read, schema).persist(StorageLevel.DISK_ONLY)
    key, good = _TARGETS[group.table].keys[0], rows.where("_reason IS NULL")
    return _Landed(group, rows, *_split_repeated(good, key, is_journal=group.is_journal))


def _read_file(uri: str, converter: Converter) -> Iterator[dict[str, Any]]:
    """Rows of one file as dictionaries; rejects carry ``_field`` and ``_reason``."""
    filesystem, path = open_file_system(uri)
    key_column = _TARGETS[converter.group.table].keys[0]
    with io.BufferedReader(filesystem.open_input_stream(path, compression=None)) as stream:
        for item in read_records(stream, converter.group, is_gzip=path.endswith(".gz")):
            outcome = item if isinstance(item, Reject) else converter.convert(item)
            place = {"_file": converter.file, "_row": item.row}
            if isinstance(outcome, Reject):
                known = {} if isinstance(item, Reject) else {key_column: converter.find_key(item)}
                yield {**place, **known, "_field": outcome.field, "_reason": outcome.reason}
            else:
                yield {**outcome, **place}


def _batches(rows: Iterator[dict[str, Any]], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Group rows into Arrow batches bounded in rows and in characters."""
    held: list[dict[str, Any]] = []
    n_chars = 0
    for row in rows:
        held.append(row)
        n_chars += row.get("n_chars") or 0
        if len(held) >= _BATCH_ROWS or n_chars >= _BATCH_CHARS:
            yield pa.RecordBatch.from_pylist(held, schema=schema)
            held, n_chars = [], 0
    if held:
        yield pa.RecordBatch.from_pylist(held, schema=schema)


def _store(delivery: _Delivery, landed: _Landed) -> dict[str, int]:
    spark, lake = delivery.spark, delivery.lake
    table, rows = landed.group.table, landed.chosen.where("NOT coalesce(_is_deleted, false)")
    spec = _TARGETS[table]
    if table == "merges":
        return {}  # resolved and stored before anything else
    if table == "patients":
        rows = without_merged(spark, lake, rows)
    elif "patient_key" in spec.schema.names:
        rows = to_survivors(spark, lake, rows)
    if table == "notes":
        rows = _add_context(spark, lake, rows)
    if table == "gold" and delivery.has_erased:  # gold names no patient: it follows its note
        rows = rows.join(read_table(spark, lake, schemas.NOTES).select("note_key"), "note_key", "left_semi")
    describe(spark, f"ingest: merge {table}")
    counts = merge_rows(spark, lake, spec, rows)
    if landed.group.is_journal:
        gone = landed.chosen.where("_is_deleted").select(*spec.keys)
        counts["deleted"] += delete_keys(spark, lake, spec, gone)
        if table == "notes":
            delete_keys(spark, lake, schemas.GOLD, gone)
    return counts


def _store_rejects(delivery: _Delivery, merges: ResolvedMerges | None, *, run_id: str) -> int:
    """Every reject of every group in one merge; returns how many are new."""
    if not delivery.landed:
        return 0
    places = ["_file", "_row", "_field", "_reason"]
    found = [_reject_rows(g.rows.where("_reason IS NOT NULL").select(*places), g.repeated) for g in delivery.landed]
    if merges:
        refused = merges.refused.withColumn("_field", F.lit("surviving_id")).select(*places)
        found.append(_reject_rows(refused, delivery.landed[0].repeated.limit(0)))
    named = {"source": F.lit(delivery.source), "run_id": F.lit(run_id)}
    describe(delivery.spark, "ingest: list rejects")
    rejects = reduce(DataFrame.unionByName, found).withColumns(named)
    return merge_rows(delivery.spark, delivery.lake, schemas.REJECTS, rejects, is_update=False)["inserted"]


def _split_repeated(rows: DataFrame, key: str, *, is_journal: bool) -> tuple[DataFrame, DataFrame]:
    """The row that counts of every key, and the others that are rejects, in file and row order.

    In a journal the last row counts and the ones before it are its history; elsewhere a repeated key is a defect, and
    the first row stands.
    """
    place = F.struct(*_LAST_STEP_KEYS)
    pick = F.max if is_journal else F.min
    repeated_keys = rows.groupBy(key).agg(pick(place).alias("_pick"), F.count("*").alias("_n")).where("_n > 1")
    marked = rows.join(F.broadcast(repeated_keys.select(key, "_pick")), key, "left")
    counts: Column = F.col("_pick").isNull() | (F.col("_pick") == place)
    rejected = marked.where(~counts & F.lit(not is_journal))
    return marked.where(counts).drop("_pick"), rejected.select(*_LAST_STEP_KEYS)


def _reject_rows(rejects: DataFrame, repeated: DataFrame) -> DataFrame:
    duplicates = repeated.withColumns({"_field": F.lit(""), "_reason": F.lit("DUPLICATE_KEY")})
    named = rejects.unionByName(duplicates)
    return named.select(
        F.sha2(F.concat_ws("|", "_file", "_row", "_field", "_reason"), 256).alias("reject_key"),
        *(F.col(f"_{name}").alias(name) for name in ("file", "row", "field", "reason")),
    ).dropDuplicates(["reject_key"])


def _check_reject_share(landed: list[_Landed], limit: float) -> int:
    """Rows read in all groups; refuses when too many of a table's are rejects."""
    marked = [g.rows.select(F.lit(g.group.table).alias("table"), "_reason") for g in landed]
    if not marked:
        return 0
    shares = reduce(DataFrame.union, marked).groupBy("table").agg(F.count("*"), F.count("_reason")).collect()
    for table, total, rejected in shares:
        if rejected / total > limit:
            hint = "see phi.rejects; raise ingest.max_reject_share only when the source is known to be so"
            raise QualityGateError("TOO_MANY_REJECTS", table=table, rows=total, rejected=rejected, hint=hint)
    return sum(row[1] for row in shares)


def _add_context(spark: SparkSession, lake: Lake, notes: DataFrame) -> DataFrame:
    """Sex and age at the note from phi.patients where the note itself does not say."""
    patients = read_table(spark, lake, schemas.PATIENTS).select(
        "patient_key", F.col("sex").alias("_sex"), F.col("birth_date").alias("_born")
    )
    joined = notes.join(patients, "patient_key", "left")
    age = F.floor(F.months_between(F.to_date("noted_at"), F.col("_born")) / 12).cast("int")
    return joined.withColumns(
        {
            "sex": F.when(F.coalesce(F.col("sex"), F.lit("")) == "", F.coalesce("_sex", F.lit(""))).otherwise(
                F.col("sex")
            ),
            "age_years": F.coalesce("age_years", F.when(age >= 0, age)),
        }
    ).drop("_sex", "_born")
