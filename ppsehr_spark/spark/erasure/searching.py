"""The search for what is left of erased persons, over all files of a lake at once.

Knows: how the search is spread over tasks. Must not know: what a trace looks like in a file (``lake.trace_search``).
What other people's living notes hold as well (a ward's telephone, a sentence out of a template) is no trace of these
persons and is sorted out first. Strings are read by each task out of the working folder; none stands in a plan.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import pyarrow as pa
from pyarrow import fs
from pyspark.sql import DataFrame, SparkSession

from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.checkpoint_store import locate
from ppsehr_spark.lake.erasure_work import FOLDER, ErasureWork
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.lake.trace_search import ID, KEY, MIN_ID_CHARS, TEXT, Searcher, Trace, cut_pieces, list_files
from ppsehr_spark.lake.trace_search import search_file as search_one
from ppsehr_spark.spark.erasure.planning import ENCOUNTER, NOTE, PATIENT, SEGMENT
from ppsehr_spark.spark.frames import map_batches, read_table
from ppsehr_spark.spark.session import describe

TRACES, SOURCE_ID, GIVEN_ID, TEXTS = "traces", "source_id", "given_id", "text"
_FOUND = pa.schema([pa.field("position", pa.int64())])
_FINDING = pa.schema([pa.field("path", pa.string()), pa.field("position", pa.int64())])
#: Tables whose rows are other people's, or nobody's, once the rows of the persons are gone.
_LIVING = (schemas.NOTES, schemas.PROTECTED_NOTES, schemas.RELEASED_NOTES, schemas.SYNTHETIC_NOTES)
_REJECT = pa.schema([pa.field("key", pa.string())])


@dataclass(frozen=True)
class SearchReport:
    """What the search came to; counts only.

    Attributes:
        n_looked_for: kind -> strings looked for.
        n_shared: strings left out because living rows of others hold them.
        n_short_ids: ids left out because they are shorter than ``MIN_ID_CHARS``.
        hits: path below the lake -> strings found in it.
        hits_elsewhere: files outside the lake with a string in them.
    """

    n_looked_for: Mapping[str, int]
    n_shared: int
    n_short_ids: int
    n_files: int
    n_bytes: int
    n_files_elsewhere: int
    hits: Mapping[str, int]
    hits_elsewhere: Mapping[str, int]


def write_traces(work: ErasureWork) -> dict[str, int]:
    """Put together what to look for, from the lists of the working folder.

    Returns:
        ``short_ids``: ids that are too short to be looked for.
    """
    notes = work.read_rows(TEXTS)
    known = (work.read_keys(kind).to_pylist() for kind in (SOURCE_ID, GIVEN_ID))
    ids = {*notes["source_note_id"].to_pylist(), *(name for names in known for name in names)} - {None}
    long_ids = {name for name in ids if len(name) >= MIN_ID_CHARS}
    keys = {key for kind in (PATIENT, ENCOUNTER, NOTE, SEGMENT) for key in work.read_keys(kind).to_pylist()}
    keys |= set(notes["text_hash"].to_pylist())
    kinds = {KEY: keys, ID: long_ids, TEXT: cut_pieces(text for text in notes["text"].to_pylist() if text)}
    work.mark(TRACES, {kind: sorted(strings) for kind, strings in kinds.items()})
    return {"short_ids": len(ids) - len(long_ids)}


def find_named_rejects(spark: SparkSession, work: ErasureWork) -> DataFrame:
    """Keys of rejects whose file name holds an id of the persons, as one column ``key``."""
    rows = read_table(spark, work.lake, schemas.REJECTS).select("reject_key", "file")

    def find(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        searcher = _open_searcher(work, ())
        for batch in batches:
            kept = [row["reject_key"] for row in batch.to_pylist() if searcher.find(row["file"] or "")]
            yield pa.RecordBatch.from_pydict({"key": kept}, schema=_REJECT)

    return map_batches(rows, find, _REJECT)


def search_lake(
    spark: SparkSession, work: ErasureWork, *, elsewhere: Collection[Path], n_short_ids: int
) -> SearchReport:
    """Look through every file of the lake but the working folders, and through some folders of this machine."""
    describe(spark, "erase: what other notes hold as well")
    shared = _find_shared(spark, work)
    lake_place = locate(work.lake, "")
    root = lake_place.path.rstrip("/")
    files = list_files(lake_place.filesystem, root, without=f"{root}/{FOLDER}")
    outside: dict[str, int] = {}
    for folder in elsewhere:
        outside |= list_files(fs.LocalFileSystem(), str(folder.resolve()))
    describe(spark, f"erase: search {len(files)} files")
    hits = _search(spark, work, list(files), shared, is_in_lake=True)
    hits_elsewhere = _search(spark, work, list(outside), shared, is_in_lake=False)
    searcher = _open_searcher(work, shared)
    return SearchReport(
        n_looked_for=dict(searcher.kinds(range(len(searcher.traces)))),
        n_shared=len(shared),
        n_short_ids=n_short_ids,
        n_files=len(files),
        n_bytes=sum(files.values()),
        n_files_elsewhere=len(outside),
        hits={path.removeprefix(f"{root}/"): number for path, number in hits.items()},
        hits_elsewhere=hits_elsewhere,
    )


def _find_shared(spark: SparkSession, work: ErasureWork) -> frozenset[int]:
    """Positions of ids and texts that living rows of others hold."""
    texts = reduce(DataFrame.union, (read_table(spark, work.lake, spec).select("text") for spec in _LIVING))

    def find(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        searcher, found = _open_searcher(work, ()), set()
        for batch in batches:
            for text in batch.column(0).to_pylist():
                found |= searcher.find(text or "")
        yield pa.RecordBatch.from_pydict({"position": sorted(found)}, schema=_FOUND)

    kinds = [trace.kind for trace in _open_searcher(work, ()).traces]
    rows = map_batches(texts, find, _FOUND).distinct().collect()  # at most one row per string
    return frozenset(row["position"] for row in rows if kinds[row["position"]] != KEY)


def _search(
    spark: SparkSession, work: ErasureWork, paths: list[str], shared: frozenset[int], *, is_in_lake: bool
) -> dict[str, int]:
    """Path -> strings found, for files with any."""
    if not paths:
        return {}
    listed = spark.createDataFrame([(path,) for path in paths], "path string")
    lake: Lake = work.lake

    def search(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        searcher = _open_searcher(work, shared)
        filesystem = locate(lake, "").filesystem if is_in_lake else fs.LocalFileSystem()
        for batch in batches:
            for path in batch.column(0).to_pylist():
                n_found = len(search_one(filesystem, path, searcher))
                if n_found:
                    yield pa.RecordBatch.from_pylist([{"path": path, "position": n_found}], schema=_FINDING)

    n_tasks = min(len(paths), 4 * spark.sparkContext.defaultParallelism)
    return {
        row["path"]: row["position"] for row in map_batches(listed.repartition(n_tasks), search, _FINDING).collect()
    }


def _open_searcher(work: ErasureWork, without: Collection[int]) -> Searcher:
    """All strings of the working folder, less some positions of the sorted list."""
    strings = work.done(TRACES) or {}
    every = Searcher([Trace(kind, text) for kind, texts in strings.items() for text in texts])
    return Searcher([t for index, t in enumerate(every.traces) if index not in without]) if without else every
