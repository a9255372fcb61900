"""Recognisers over every new or changed note, and the doubtful text they leave.

Knows: phi.notes in, phi.rule_annotations and phi.segments out. Must not know: how a rule works.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.storagelevel import StorageLevel

from ppsehr_spark.config import Settings
from ppsehr_spark.domain.identity import load_key
from ppsehr_spark.domain.knowledge.touching import Touch
from ppsehr_spark.domain.rules import RuleEngine, compile_rules
from ppsehr_spark.domain.segments import Segment, plan_segments
from ppsehr_spark.domain.tagging import Tagger
from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.crash_points import crash_point
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.spark.frames import map_batches, merge_rows, read_table
from ppsehr_spark.spark.notes.rows import NOTE_COLUMNS, note_of, pack_rows, span_row
from ppsehr_spark.spark.session import describe
from ppsehr_spark.tagging import open_tagger, tagger_version

_CONTENT = pa.struct(
    [schemas.SEGMENTS.schema.field(n).with_nullable(True) for n in schemas.SEGMENTS.schema.names if n != "run_id"]
)
_RECOGNISED = pa.schema(
    [
        *(f for f in schemas.RULE_ANNOTATIONS.schema if f.name != "run_id"),
        pa.field("contents", pa.list_(_CONTENT)),
    ]
)
#: What one text of one note is known by.
_PLACE = ["note_key", "text_hash"]
_PLACE_SCHEMA = pa.schema([schemas.NOTES.schema.field(name) for name in _PLACE])
#: Rough cost of a prompt body in tokens: Qwen's tokenizer needs about 0.7 tokens per Hanzi, plus the frame.
_TOKENS_PER_CHAR = 0.7
_FRAME_TOKENS = 24


def recognise_notes(
    spark: SparkSession, lake: Lake, *, settings: Settings, run_id: str, touches: Mapping[str, Touch] | None = None
) -> dict[str, int]:
    """Annotate notes whose text, knowledge or segmentation has no row yet.

    Args:
        touches: other knowledge version -> what differs from the one in force (``lake.knowledge_scope``); a row under
            such a version stays, with that version on it, where its text holds nothing that differs.

    Returns:
        Counts: notes recognised, rows inserted and updated, new segments.
    """
    version = compile_rules(settings.files).knowledge_version
    segmentation = f"{settings.partial_hash(('partition',), ())}.{tagger_version(settings.partition.tagger)}"
    notes = read_table(spark, lake, schemas.NOTES)
    rows = read_table(spark, lake, schemas.RULE_ANNOTATIONS).where(F.col("segmentation_version") == segmentation)
    todo = notes.join(rows.where(F.col("knowledge_version") == version).select(*_PLACE), _PLACE, "left_anti")
    if touches:
        todo = todo.join(_untouched(notes, rows, touches), _PLACE, "left_anti")
    todo = todo.select("text_hash", *NOTE_COLUMNS)
    recognised = map_batches(todo, _recogniser(settings, version, segmentation), _RECOGNISED)
    recognised = recognised.withColumn("run_id", F.lit(run_id)).persist(StorageLevel.MEMORY_AND_DISK)
    try:
        describe(spark, "partition: recognise notes")
        # segments first: a rule annotation that points at a segment must never be seen without it
        segments = _new_segments(spark, lake, recognised)
        crash_point("partition.after_segments")
        merged = merge_rows(spark, lake, schemas.RULE_ANNOTATIONS, recognised)
    finally:
        recognised.unpersist()
    return {"notes": merged["inserted"] + merged["updated"], "segments": segments}


def _untouched(notes: DataFrame, rows: DataFrame, touches: Mapping[str, Touch]) -> DataFrame:
    """Notes whose row is of another version and whose text holds none of the terms that have changed since."""
    older = rows.where(F.col("knowledge_version").isin(sorted(touches))).select(*_PLACE, "knowledge_version")
    told = notes.select(*_PLACE, "text").join(older, _PLACE)

    def spare(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        # the terms travel in this closure: in a plan they would be readable
        for batch in batches:
            kept = (row for row in batch.to_pylist() if not touches[row["knowledge_version"]].holds(row["text"] or ""))
            yield from pack_rows(({name: row[name] for name in _PLACE} for row in kept), _PLACE_SCHEMA)

    return map_batches(told, spare, _PLACE_SCHEMA)


def _recogniser(settings: Settings, version: str, segmentation: str) -> Any:
    files, partition, key_file = dict(settings.files), settings.partition, settings.identity.key_file

    def recognise(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        engine, tagger, key = compile_rules(files), open_tagger(partition.tagger), load_key(key_file)
        for batch in batches:
            given = batch.to_pylist()
            engine.prepare((note_of(row) for row in given), tagger)
            rows = (_recognise(row, engine, tagger, partition, key) for row in given)
            stamped = ({**r, "knowledge_version": version, "segmentation_version": segmentation} for r in rows)
            yield from pack_rows(stamped, _RECOGNISED)

    return recognise


def _recognise(
    row: dict[str, Any], engine: RuleEngine, tagger: Tagger | None, partition: Any, key: bytes
) -> dict[str, Any]:
    note = note_of(row)
    spans = engine.propose(note, tagger)
    segments = plan_segments(note, spans, categories=engine.categories, settings=partition, hmac_key=key)
    return {
        "note_key": note.note_key,
        "text_hash": row["text_hash"],
        "spans": [span_row(span) for span in spans],
        "segments": [{"segment_key": s.key, "start": s.start, "end": s.end} for s in segments],
        "contents": [_content(segment) for segment in segments],
    }


def _content(segment: Segment) -> dict[str, Any]:
    n_questions = max(1, len(segment.candidates))
    return {
        "segment_key": segment.key,
        "task": segment.task,
        "text": segment.text,
        "note_type": segment.note_type,
        "candidates": [span_row(candidate) for candidate in segment.candidates],
        "n_chars": len(segment.text),
        "estimated_tokens": int((len(segment.text) * _TOKENS_PER_CHAR + _FRAME_TOKENS) * n_questions),
    }


def _new_segments(spark: SparkSession, lake: Lake, recognised: DataFrame) -> int:
    """Store each distinct segment once; recurrence across notes costs nothing."""
    contents = recognised.select("run_id", F.explode("contents").alias("c")).select("c.*", "run_id")
    distinct = contents.dropDuplicates(["segment_key"])
    return merge_rows(spark, lake, schemas.SEGMENTS, distinct, is_update=False)["inserted"]
