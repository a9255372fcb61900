"""Notes and their final spans become protected notes.

Knows: which columns may leave phi. Must not know: how an operator protects (``domain.protection``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from ppsehr_spark.config import Settings
from ppsehr_spark.domain.identity import load_key
from ppsehr_spark.domain.protection import Protector, compile_protector
from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.change_feeds import Reading, read_newest
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.spark.changes import StageInputs, store
from ppsehr_spark.spark.frames import map_batches
from ppsehr_spark.spark.notes.rows import note_of, pack_rows, span_of
from ppsehr_spark.spark.session import describe

INPUTS = (schemas.NOTES, schemas.ANNOTATIONS)
_PROTECTED = pa.schema(
    [*(f for f in schemas.PROTECTED_NOTES.schema if f.name != "run_id"), pa.field("_is_new", pa.bool_())]
)
#: Columns of a note that a protected row shows or is computed from, its text apart (the annotation knows its hash).
_COMPARED = ("patient_key", "encounter_key", "department", "noted_at", "note_type", "sex", "age_years")
_FROM_NOTES = ("note_key", "text_hash", *_COMPARED)
_CARRIED = ("patient_key", "encounter_key", "note_type", "department", "noted_month", "n_open_segments", "input_hash")


def protect_notes(
    spark: SparkSession, lake: Lake, *, settings: Settings, run_id: str, reading: Reading | None = None
) -> dict[str, int]:
    """Protect every note whose annotation, text, patient, context or policy changed; drop those that are no more.

    Args:
        reading: versions to read, and whether changes are followed; by default whole tables as they are now.

    Returns:
        Counts: rows inserted, updated and deleted.
    """
    inputs = StageInputs(spark, lake, reading or read_newest(lake, INPUTS))
    policy_hash = settings.partial_hash(
        ("protect", "identity"), ("protection.toml", "categories/", "lexicons/surrogate")
    )
    try:
        frame, gone = _changed(inputs, policy_hash) if inputs.is_incremental else _compared(inputs, policy_hash)
        frame = frame.withColumn("noted_month", F.date_format("noted_at", "yyyy-MM"))
        describe(spark, "protect: rewrite notes")
        protected = map_batches(frame, _writer(settings), _PROTECTED).withColumn("run_id", F.lit(run_id))
        return store(inputs, schemas.PROTECTED_NOTES, protected, gone)
    finally:
        inputs.close()


def _changed(inputs: StageInputs, policy_hash: str) -> tuple[DataFrame, DataFrame]:
    """Notes and annotations that changed, each with its counterpart; keys that went from either."""
    notes, annotations = inputs.changes(schemas.NOTES), inputs.changes(schemas.ANNOTATIONS)
    gone = notes.where("_is_deleted").select("note_key")
    gone = inputs.keep(gone.unionByName(annotations.where("_is_deleted").select("note_key")).distinct())
    keys = notes.select("note_key").unionByName(annotations.select("note_key")).distinct()
    keys = inputs.keep(keys.join(gone, "note_key", "left_anti"))
    new = annotations.where("_is_new").select("note_key", F.lit(True).alias("_is_new"))
    told = inputs.rows_of(schemas.ANNOTATIONS, keys, annotations).join(new, "note_key", "left")
    told = told.withColumn("_is_new", F.coalesce("_is_new", F.lit(False)))
    texts = inputs.rows_of(schemas.NOTES, keys, notes)
    joined = _annotated(told).join(texts.select(*_FROM_NOTES, "text"), ["note_key", "text_hash"])
    return joined.withColumn("input_hash", _input_hash(policy_hash)), gone


def _compared(inputs: StageInputs, policy_hash: str) -> tuple[DataFrame, DataFrame]:
    """The same by comparing whole tables; texts are read for what is to be written only."""
    annotations, notes = inputs.table(schemas.ANNOTATIONS), inputs.table(schemas.NOTES)
    told = _annotated(annotations.withColumn("_is_new", F.lit(False)))
    is_first = inputs.lake.version(schemas.PROTECTED_NOTES) is None
    seen = (*_FROM_NOTES, "text") if is_first else _FROM_NOTES
    hashed = told.join(notes.select(*seen), ["note_key", "text_hash"])
    hashed = hashed.withColumn("input_hash", _input_hash(policy_hash))
    todo = inputs.without_written(hashed, schemas.PROTECTED_NOTES, keys=("note_key", "input_hash"))
    if not is_first:
        todo = todo.join(notes.select("note_key", "text_hash", "text"), ["note_key", "text_hash"])
    alive = annotations.select("note_key").join(notes.select("note_key"), "note_key")
    return todo, inputs.written_beside(alive, schemas.PROTECTED_NOTES)


def _annotated(annotations: DataFrame) -> DataFrame:
    names = ("note_key", "text_hash", "spans", "n_open_segments", "_is_new")
    return annotations.select(*names, F.col("input_hash").alias("annotation_hash"))


def _input_hash(policy_hash: str) -> Column:
    """Over all that a protected row shows or depends on; a merged patient changes its surrogates."""
    parts = [F.coalesce(F.col(name).cast("string"), F.lit("")) for name in ("annotation_hash", *_COMPARED)]
    return F.sha2(F.concat_ws("|", *parts, F.lit(policy_hash)), 256)


def _writer(settings: Settings) -> Any:
    files, policy, key_file = dict(settings.files), settings.protect.policy, settings.identity.key_file

    def write(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        protector = compile_protector(files, policy, load_key(key_file))
        for batch in batches:
            yield from pack_rows((_protect(row, protector, policy) for row in batch.to_pylist()), _PROTECTED)

    return write


def _protect(row: Mapping[str, Any], protector: Protector, policy: str) -> dict[str, Any]:
    spans = tuple(span_of(span) for span in row["spans"])
    protected = protector.protect(note_of(row), spans, row["patient_key"])
    carried = {name: row[name] for name in _CARRIED}
    return {
        **carried,
        "note_key": row["note_key"],
        "_is_new": row["_is_new"],
        "text": protected.text,
        "n_spans": protected.n_spans,
        "policy": policy,
    }
