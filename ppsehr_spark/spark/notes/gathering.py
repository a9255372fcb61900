"""Which notes the tier stage decides again: the change of their rule spans, an answered segment, a correction.

Knows: the tables that lead to phi.annotations. Must not know: how a span is decided (``tiering``). Notes that hold an
answered segment are found by the segment lists of phi.rule_annotations alone, without reading a text.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from ppsehr_spark.lake import schemas
from ppsehr_spark.spark.changes import StageInputs

INPUTS = (schemas.NOTES, schemas.RULE_ANNOTATIONS, schemas.SEGMENT_ANNOTATIONS, schemas.CORRECTIONS)
_RULE_COLUMNS = ("note_key", "text_hash", "context_hash", "spans", "segments")


@dataclass(frozen=True)
class Gathered:
    """Rule rows to decide (with ``found_under`` and ``_is_new``) and keys of notes that are no more."""

    rules: DataFrame
    gone: DataFrame


def gather_all(inputs: StageInputs) -> Gathered:
    """Every note; what did not change is told by its ``input_hash`` later."""
    rules = inputs.table(schemas.RULE_ANNOTATIONS)
    gone = inputs.written_beside(rules.select("note_key"), schemas.ANNOTATIONS)
    return Gathered(_shape(rules.withColumn("_is_new", F.lit(False))), gone)


def gather_changed(inputs: StageInputs) -> Gathered:
    """Notes whose rule row changed, that hold a newly answered segment, or that a person corrected."""
    changes = inputs.changes(schemas.RULE_ANNOTATIONS)
    told = changes.where("NOT _is_deleted")
    corrected = inputs.changed_values(schemas.CORRECTIONS, "note_key")
    touched = _holders(inputs, inputs.changed_values(schemas.SEGMENT_ANNOTATIONS, "segment_key"))
    others = inputs.keep(corrected.unionByName(touched).distinct().join(changes, "note_key", "left_anti"))
    rules = told.select(*schemas.RULE_ANNOTATIONS.schema.names, "_is_new")
    if not others.isEmpty():
        found = inputs.table(schemas.RULE_ANNOTATIONS).join(others, "note_key", "left_semi")
        rules = rules.unionByName(found.withColumn("_is_new", F.lit(False)))
    return Gathered(inputs.keep(_shape(rules)), changes.where("_is_deleted").select("note_key"))


def _holders(inputs: StageInputs, answered: DataFrame) -> DataFrame:
    """Notes with a segment among ``answered``; nothing is read where nothing was answered."""
    rules = inputs.table(schemas.RULE_ANNOTATIONS)
    if answered.isEmpty():
        return rules.select("note_key").limit(0)
    held = rules.select("note_key", F.explode("segments.segment_key").alias("segment_key"))
    return held.join(answered, "segment_key", "left_semi").select("note_key")


def _shape(rules: DataFrame) -> DataFrame:
    return rules.select(*_RULE_COLUMNS, F.col("knowledge_version").alias("found_under"), "_is_new")
