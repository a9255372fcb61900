"""Files land in Delta: one task per file, good rows merged by key, bad rows written to phi.rejects.

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
from ppsehr_spark.lake.schemas import TableSpec
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.spark.frames import map_batches, merge_rows, read_table
from ppsehr_spark.spark.ingest.conversion import Converter
from ppsehr_spark.spark.ingest.mapping import FileGroup, SourceMapping
from ppsehr_spark.spark.ingest.records import Reject, read_records
from ppsehr_spark.spark.session import describe

_TARGETS: dict[str, TableSpec] = {
    "patients": schemas.PATIENTS,
    "encounters": schemas.ENCOUNTERS,
    "notes": schemas.NOTES,
    "gold": schemas.GOLD,
}
_BATCH_ROWS = 512
_BATCH_CHARS = 4_000_000
_LANDING_FIELDS = (
    pa.field("_file", pa.string()),
    pa.field("_row", pa.int64()),
    pa.field("_field", pa.string()),
    pa.field("_reason", pa.string()),
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
    filesystem, base = fs.FileSystem.from_uri(root) if "://" in root else (fs.LocalFileSystem(), root)
    prefix = root.split("://")[0] + "://" if "://" in root else ""
    found: list[SourceFile] = []
    for position, group in enumerate(mapping.groups):
        where = f"{base.rstrip('/')}/{group.path}".rstrip("/")
        info = filesystem.get_file_info(where)
        if info.type == fs.FileType.NotFound:
            raise InputError("SOURCE_MISSING", path=group.path or ".", hint="the source folder or file is not there")
        infos = [info] if info.is_file else filesystem.get_file_info(fs.FileSelector(where, recursive=True))
        for entry in sorted(infos, key=lambda e: e.path):
            is_hidden = entry.base_name.startswith(("_", "."))
            if entry.is_file and not is_hidden and fnmatch.fnmatch(entry.base_name, group.pattern):
                relative = entry.path.removeprefix(base.rstrip("/") + "/")
                found.append(SourceFile(prefix + entry.path, relative, entry.size, entry.mtime_ns or 0, position))
    return found


def source_fingerprint(mapping: SourceMapping, root: str) -> str:
    """Hash over names, sizes and times of all files: equal means there is nothing new to read."""
    return hash_values([(f.relative, f.size_bytes, f.modified_ns) for f in list_source(mapping, root)])


def ingest_source(
    spark: SparkSession, lake: Lake, *, mapping: SourceMapping, root: str, settings: Settings, run_id: str
) -> dict[str, int]:
    """Read every group of the source into its table.

    Returns:
        Inserted and updated rows per table and the number of rejects.

    Raises:
        QualityGateError: ``TOO_MANY_REJECTS`` when the rejected share of note rows exceeds
            ``ingest.max_reject_share``; rejects are written, tables are left as they were.
    """
    files = list_source(mapping, root)
    erased = read_tombstones(lake)
    order = sorted(range(len(mapping.groups)), key=lambda i: list(_TARGETS).index(mapping.groups[i].table))
    landed = [
        _land(
            spark, [f for f in files if f.group == position], mapping.groups[position], mapping.name, settings, erased
        )
        for position in order
        if any(f.group == position for f in files)
    ]
    try:
        counts = {"rejects": _store_rejects(spark, lake, landed, source=mapping.name, run_id=run_id)}
        crash_point("ingest.after_rejects")
        _check_reject_share(landed, settings.ingest.max_reject_share)
        for group in landed:
            for name, value in _store(spark, lake, group, has_erased=bool(erased)).items():
                counts[f"{group.table}_{name}"] = counts.get(f"{group.table}_{name}", 0) + value
            crash_point(f"ingest.after_{group.table}")
    finally:
        for group in landed:
            group.rows.unpersist()
    return counts


@dataclass(frozen=True)
class _Landed:
    """What one file group holds: all rows read once, and among the good ones the first of every key."""

    table: str
    rows: DataFrame
    first: DataFrame
    repeated: DataFrame


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
    return _Landed(group.table, rows, *_split_repeated(rows.where("_reason IS NULL"), _TARGETS[group.table].keys[0]))


def _read_file(uri: str, converter: Converter) -> Iterator[dict[str, Any]]:
    """Rows of one file as dictionaries; rejects carry ``_field`` and ``_reason``."""
    filesystem, path = fs.FileSystem.from_uri(uri) if "://" in uri else (fs.LocalFileSystem(), uri)
    with io.BufferedReader(filesystem.open_input_stream(path, compression=None)) as stream:
        for item in read_records(stream, converter.group, is_gzip=path.endswith(".gz")):
            outcome = item if isinstance(item, Reject) else converter.convert(item)
            place = {"_file": converter.file, "_row": item.row}
            if isinstance(outcome, Reject):
                yield {**place, "_field": outcome.field, "_reason": outcome.reason}
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


def _store(spark: SparkSession, lake: Lake, landed: _Landed, *, has_erased: bool) -> dict[str, int]:
    rows = _add_context(spark, lake, landed.first) if landed.table == "notes" else landed.first
    if has_erased and landed.table == "gold":  # gold names no patient: it follows its note
        rows = rows.join(read_table(spark, lake, schemas.NOTES).select("note_key"), "note_key", "left_semi")
    describe(spark, f"ingest: merge {landed.table}")
    return merge_rows(spark, lake, _TARGETS[landed.table], rows)


def _store_rejects(spark: SparkSession, lake: Lake, landed: list[_Landed], *, source: str, run_id: str) -> int:
    """Every reject of every group in one merge; returns how many are new."""
    if not landed:
        return 0
    places = [f.name for f in _LANDING_FIELDS]
    found = [_reject_rows(g.rows.where("_reason IS NOT NULL").select(*places), g.repeated) for g in landed]
    rejects = reduce(DataFrame.unionByName, found).withColumns({"source": F.lit(source), "run_id": F.lit(run_id)})
    describe(spark, "ingest: list rejects")
    return merge_rows(spark, lake, schemas.REJECTS, rejects, is_update=False)["inserted"]


def _split_repeated(rows: DataFrame, key: str) -> tuple[DataFrame, DataFrame]:
    """First occurrence of every key, and the later ones (in file and row order)."""
    place = F.struct(*_LAST_STEP_KEYS)
    repeated_keys = rows.groupBy(key).agg(F.min(place).alias("_first"), F.count("*").alias("_n")).where("_n > 1")
    marked = rows.join(F.broadcast(repeated_keys.select(key, "_first")), key, "left")
    is_first: Column = F.col("_first").isNull() | (F.col("_first") == place)
    return marked.where(is_first).drop("_first"), marked.where(~is_first).select(*_LAST_STEP_KEYS)


def _reject_rows(rejects: DataFrame, repeated: DataFrame) -> DataFrame:
    duplicates = repeated.withColumns({"_field": F.lit(""), "_reason": F.lit("DUPLICATE_KEY")})
    named = rejects.unionByName(duplicates)
    return named.select(
        F.sha2(F.concat_ws("|", "_file", "_row", "_field", "_reason"), 256).alias("reject_key"),
        *(F.col(f"_{name}").alias(name) for name in ("file", "row", "field", "reason")),
    ).dropDuplicates(["reject_key"])


def _check_reject_share(landed: list[_Landed], limit: float) -> None:
    marked = [g.rows.select(F.lit(g.table).alias("table"), "_reason") for g in landed]
    if not marked:
        return
    shares = reduce(DataFrame.union, marked).groupBy("table").agg(F.count("*"), F.count("_reason")).collect()
    for table, total, rejected in shares:
        if rejected / total > limit:
            hint = "see phi.rejects; raise ingest.max_reject_share only when the source is known to be so"
            raise QualityGateError("TOO_MANY_REJECTS", table=table, rows=total, rejected=rejected, hint=hint)


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
