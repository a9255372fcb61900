"""Notes and their final spans become protected notes.

Knows: which columns may leave phi. Must not know: how an operator protects (``domain.protection``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from ppsehr_spark.config import Settings
from ppsehr_spark.domain.identity import load_key
from ppsehr_spark.domain.protection import Protector, compile_protector
from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.spark.frames import map_batches, merge_rows, read_table
from ppsehr_spark.spark.notes.rows import NOTE_COLUMNS, note_of, pack_rows, span_of
from ppsehr_spark.spark.session import describe

_PROTECTED = pa.schema([f for f in schemas.PROTECTED_NOTES.schema if f.name != "run_id"])
_CARRIED = ("patient_key", "encounter_key", "note_type", "department", "noted_month", "n_open_segments", "input_hash")


def protect_notes(spark: SparkSession, lake: Lake, *, settings: Settings, run_id: str) -> dict[str, int]:
    """Protect every note whose annotation, text or policy changed.

    Returns:
        Counts: rows inserted and updated.
    """
    policy_hash = settings.partial_hash(
        ("protect", "identity"), ("protection.toml", "categories/", "lexicons/surrogate")
    )
    annotations = read_table(spark, lake, schemas.ANNOTATIONS).select(
        "note_key", "text_hash", "spans", "n_open_segments", F.col("input_hash").alias("annotation_hash")
    )
    hashed = annotations.withColumn("input_hash", F.sha2(F.concat_ws("|", "annotation_hash", F.lit(policy_hash)), 256))
    done = read_table(spark, lake, schemas.PROTECTED_NOTES).select("note_key", "input_hash")
    todo = hashed.join(done, ["note_key", "input_hash"], "left_anti")
    columns = ["text_hash", "patient_key", "encounter_key", "department", "noted_at", *NOTE_COLUMNS]
    frame = todo.join(read_table(spark, lake, schemas.NOTES).select(*columns), ["note_key", "text_hash"])
    frame = frame.withColumn("noted_month", F.date_format("noted_at", "yyyy-MM"))
    describe(spark, "protect: rewrite notes")
    protected = map_batches(frame, _writer(settings), _PROTECTED).withColumn("run_id", F.lit(run_id))
    return merge_rows(spark, lake, schemas.PROTECTED_NOTES, protected)


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
        "text": protected.text,
        "n_spans": protected.n_spans,
        "policy": policy,
    }
