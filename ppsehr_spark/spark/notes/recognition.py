"""Recognisers over every new or changed note, and the doubtful text they leave.

Knows: phi.notes in, phi.rule_annotations and phi.segments out. Must not know: how a rule works.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from ppsehr_spark.config import Settings
from ppsehr_spark.domain.identity import load_key
from ppsehr_spark.domain.knowledge.touching import Touch
from ppsehr_spark.domain.rules import RuleEngine, compile_rules
from ppsehr_spark.domain.segments import Segment, plan_segments
from ppsehr_spark.domain.tagging import Tagger
from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.change_feeds import Reading, read_newest
from ppsehr_spark.lake.crash_points import crash_point
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.spark.changes import StageInputs, store
from ppsehr_spark.spark.frames import Changes, map_batches, merge_rows, write_changes
from ppsehr_spark.spark.notes.rows import NOTE_COLUMNS, note_of, pack_rows, span_row
from ppsehr_spark.spark.notes.units import pack_segments
from ppsehr_spark.spark.session import describe
from ppsehr_spark.tagging import open_tagger, tagger_version

_CONTENT = pa.struct(
    [schemas.SEGMENTS.schema.field(n).with_nullable(True) for n in schemas.SEGMENTS.schema.names if n != "run_id"]
)
_RECOGNISED = pa.schema(
    [
        *(f for f in schemas.RULE_ANNOTATIONS.schema if f.name != "run_id"),
        pa.field("contents", pa.list_(_CONTENT)),
        pa.field("_is_new", pa.bool_()),
    ]
)
#: What the rules see of a note beside its text.
_CONTEXT = ("note_type", "sex", "age_years")
#: What one text of one note in its context is known by.
_PLACE = ["note_key", "text_hash", "context_hash"]
_PLACE_SCHEMA = pa.schema([schemas.RULE_ANNOTATIONS.schema.field(name) for name in _PLACE])
#: Rough cost of a prompt body in tokens: Qwen's tokenizer needs about 0.7 tokens per Hanzi, plus the frame.
_TOKENS_PER_CHAR = 0.7
_FRAME_TOKENS = 24


def recognise_notes(
    spark: SparkSession,
    lake: Lake,
    *,
    settings: Settings,
    run_id: str,
    touches: Mapping[str, Touch] | None = None,
    reading: Reading | None = None,
) -> dict[str, int]:
    """Annotate notes whose text, context, knowledge or segmentation has no row yet; drop rows of deleted notes.

    New segments become work units first: a rule annotation that points at a segment must never be seen without it.

    Args:
        touches: other knowledge version -> what differs from the one in force (``lake.knowledge_scope``); a row under
            such a version stays, with that version on it, where its text holds nothing that differs.
        reading: versions to read, and whether changes are followed; by default whole tables as they are now.

    Returns:
        Counts: notes recognised, rows removed, new segments and units.
    """
    inputs = StageInputs(spark, lake, reading or read_newest(lake, (schemas.NOTES,)))
    version = compile_rules(settings.files).knowledge_version
    segmentation = f"{settings.partial_hash(('partition',), ())}.{tagger_version(settings.partition.tagger)}"
    try:
        if inputs.is_incremental:
            todo, gone = _changed_notes(inputs)
        else:
            todo, gone = _compared_notes(inputs, version, segmentation, touches or {})
        todo = todo.select("text_hash", "context_hash", *NOTE_COLUMNS, "_is_new")
        recognised = map_batches(todo, _recogniser(settings, version, segmentation), _RECOGNISED)
        recognised = inputs.keep(recognised.withColumn("run_id", F.lit(run_id)))
        describe(spark, "partition: recognise notes")
        segments, units = _store_segments(inputs, recognised, settings.partition.unit_tokens, run_id)
        crash_point("partition.after_segments")
        describe(spark, "partition: write rule annotations")
        merged = store(inputs, schemas.RULE_ANNOTATIONS, recognised, gone)
    finally:
        inputs.close()
    done = {"notes": merged["inserted"] + merged["updated"], **{n: merged[n] for n in ("deleted", "computed")}}
    return {**done, "segments": segments, "units": units}


def _with_context(notes: DataFrame, prefix: str = "") -> DataFrame:
    """``context_hash`` over what the rules see beside the text."""
    return notes.withColumn(f"{prefix}context_hash", F.xxhash64(*(f"{prefix}{name}" for name in _CONTEXT)))


def _changed_notes(inputs: StageInputs) -> tuple[DataFrame, DataFrame]:
    """Notes to recognise, and keys to drop, out of the change feed; moved to another patient is no reason."""
    before = ("text_hash", *_CONTEXT)
    changes = _with_context(_with_context(inputs.changes(schemas.NOTES, before=before)), "_before_")
    is_same = " AND ".join(f"{name} <=> _before_{name}" for name in ("text_hash", "context_hash"))
    todo = changes.where(f"NOT _is_deleted AND (_is_new OR NOT ({is_same}))")
    return todo, changes.where("_is_deleted").select("note_key")


def _compared_notes(
    inputs: StageInputs, version: str, segmentation: str, touches: Mapping[str, Touch]
) -> tuple[DataFrame, DataFrame]:
    """The same by comparing phi.notes with every row there is."""
    notes = _with_context(inputs.table(schemas.NOTES)).withColumn("_is_new", F.lit(False))
    gone = inputs.written_beside(notes.select("note_key"), schemas.RULE_ANNOTATIONS)
    if inputs.lake.version(schemas.RULE_ANNOTATIONS) is None:
        return notes, gone
    written = inputs.output(schemas.RULE_ANNOTATIONS)
    rows = written.where(F.col("segmentation_version") == segmentation)
    todo = notes.join(rows.where(F.col("knowledge_version") == version).select(*_PLACE), _PLACE, "left_anti")
    if touches:
        todo = todo.join(_untouched(notes, rows, touches), _PLACE, "left_anti")
    return todo, gone


def _store_segments(inputs: StageInputs, recognised: DataFrame, unit_tokens: int, run_id: str) -> tuple[int, int]:
    """Each distinct segment once, whatever number of notes holds it; returns new segments and new work units."""
    spec = schemas.SEGMENTS
    contents = recognised.select("run_id", F.explode("contents").alias("c")).select("c.*", "run_id")
    distinct = contents.dropDuplicates(["segment_key"])
    if not inputs.is_incremental:
        n_new = merge_rows(inputs.spark, inputs.lake, spec, distinct, is_update=False)["inserted"]
        crash_point("partition.between_segments_and_units")
        return n_new, pack_segments(inputs.spark, inputs.lake, unit_tokens=unit_tokens, run_id=run_id)
    known = inputs.output(spec).select("segment_key")
    fresh = inputs.keep(distinct.join(known, "segment_key", "left_anti").withColumn("_is_new", F.lit(True)))
    changes = Changes(fresh, fresh.select("segment_key").limit(0), inputs.reading.outputs[spec.full_name])
    n_new = write_changes(inputs.spark, inputs.lake, spec, changes)["inserted"]
    crash_point("partition.between_segments_and_units")
    return n_new, pack_segments(inputs.spark, inputs.lake, unit_tokens=unit_tokens, run_id=run_id, fresh=fresh)


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
        "context_hash": row["context_hash"],
        "_is_new": row["_is_new"],
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
