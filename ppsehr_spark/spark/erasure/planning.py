"""Who the persons are in the lake, and which rows of which table are theirs.

Knows: how keys lead from a patient to notes, visits and segments. Must not know: how rows are removed. Keys are joined
as tables; none stands in a plan. A segment that the notes of another patient hold as well keeps its text and answers;
one that no note holds (of an earlier text, say) goes with the rest, because nobody can say whose it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.storagelevel import StorageLevel

from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.schemas import TableSpec
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.spark.frames import read_table

PATIENT, ENCOUNTER, NOTE, SEGMENT, OWN_SEGMENT = "patient", "encounter", "note", "segment", "own_segment"
#: Table -> (its column, the list of keys that names its rows), in the order in which rows go: what is made from a
#: note before the note, so that no stage finds a note whose derived rows are half there.
REMOVED: Mapping[str, tuple[str, str]] = {
    schemas.PROTECTED_NOTES.full_name: ("note_key", NOTE),
    schemas.ANNOTATIONS.full_name: ("note_key", NOTE),
    schemas.CORRECTIONS.full_name: ("note_key", NOTE),
    schemas.SEGMENT_ANNOTATIONS.full_name: ("segment_key", SEGMENT),
    schemas.DEAD_LETTERS.full_name: ("segment_key", SEGMENT),
    schemas.SEGMENTS.full_name: ("segment_key", SEGMENT),
    schemas.RULE_ANNOTATIONS.full_name: ("note_key", NOTE),
    schemas.GOLD.full_name: ("note_key", NOTE),
    schemas.MEMBERSHIP_SCORES.full_name: ("patient_key", PATIENT),
    schemas.NOTES.full_name: ("patient_key", PATIENT),
    schemas.ENCOUNTERS.full_name: ("patient_key", PATIENT),
    schemas.PATIENTS.full_name: ("patient_key", PATIENT),
    schemas.PATIENT_MERGES.full_name: ("patient_key", PATIENT),
}
#: Tables that name a note's patient.
_NOTE_TABLES = (schemas.NOTES, schemas.PROTECTED_NOTES, schemas.RELEASED_NOTES)


@dataclass(frozen=True)
class PersonKeys:
    """Frames of one column ``key`` each.

    Attributes:
        segments: segments that go.
        own_segments: segments that notes of the persons hold, shared ones included.
    """

    patients: DataFrame
    encounters: DataFrame
    notes: DataFrame
    segments: DataFrame
    own_segments: DataFrame

    def by_kind(self) -> Mapping[str, DataFrame]:
        """Kind of key -> frame."""
        return {
            PATIENT: self.patients,
            ENCOUNTER: self.encounters,
            NOTE: self.notes,
            SEGMENT: self.segments,
            OWN_SEGMENT: self.own_segments,
        }


def find_keys(spark: SparkSession, lake: Lake, patients: DataFrame) -> PersonKeys:
    """Everything that hangs on some patients, as the lake is now.

    Args:
        patients: one column ``key``.
    """

    def of_patients(spec: TableSpec, column: str) -> DataFrame:
        rows = read_table(spark, lake, spec).select("patient_key", F.col(column).alias("key"))
        return rows.join(F.broadcast(patients.withColumnRenamed("key", "patient_key")), "patient_key").select("key")

    notes = reduce(DataFrame.union, (of_patients(spec, "note_key") for spec in _NOTE_TABLES)).distinct()
    encounters = of_patients(schemas.ENCOUNTERS, "encounter_key").distinct()
    held = read_table(spark, lake, schemas.RULE_ANNOTATIONS).select(
        F.col("note_key").alias("key"), F.explode("segments.segment_key").alias("segment_key")
    )
    living = _segment_keys(held.join(notes, "key", "left_anti"))
    own = _segment_keys(held.join(notes, "key", "left_semi"))
    segments = _named_segments(spark, lake).join(living, "key", "left_anti")
    return PersonKeys(patients, encounters, notes, segments, own)


@contextmanager
def held(keys: PersonKeys) -> Iterator[PersonKeys]:
    """Keys that are in no folder yet, each list computed once for everything that is counted with it."""
    frames = [frame.persist(StorageLevel.MEMORY_AND_DISK) for frame in keys.by_kind().values()]
    try:
        yield keys
    finally:
        for frame in frames:
            frame.unpersist()


def count_rows(spark: SparkSession, lake: Lake, keys: PersonKeys) -> dict[str, int]:
    """Table -> rows that would go, for tables that are there; released notes included."""
    by_kind = keys.by_kind()
    chosen = {**REMOVED, schemas.RELEASED_NOTES.full_name: ("patient_key", PATIENT)}
    present = {name: told for name, told in chosen.items() if lake.version(schemas.TABLES[name]) is not None}

    def held(name: str, column: str, kind: str) -> DataFrame:
        rows = read_table(spark, lake, schemas.TABLES[name]).select(F.col(column).alias("key"))
        return rows.join(by_kind[kind], "key", "left_semi").select(F.lit(name).alias("table"))

    if not present:
        return {}
    every = reduce(DataFrame.union, (held(name, *told) for name, told in present.items()))
    counted = {row["table"]: int(row["count"]) for row in every.groupBy("table").count().collect()}  # one row per table
    return {name: counted.get(name, 0) for name in present}


def count_segments(keys: PersonKeys) -> dict[str, int]:
    """Segments that go, those of them that no note held, and those that stay because others hold them."""
    n_removed, n_own = keys.segments.count(), keys.own_segments.count()
    n_own_removed = keys.own_segments.join(keys.segments, "key", "left_semi").count()
    return {"removed": n_removed, "of_no_note": n_removed - n_own_removed, "shared_and_kept": n_own - n_own_removed}


def texts_of(spark: SparkSession, lake: Lake, keys: PersonKeys) -> DataFrame:
    """What is looked for afterwards: text, text hash and source id of every note."""
    notes = read_table(spark, lake, schemas.NOTES).withColumnRenamed("note_key", "key")
    return notes.join(keys.notes, "key", "left_semi").select("text", "text_hash", "source_note_id")


def source_ids_of(spark: SparkSession, lake: Lake, keys: PersonKeys) -> DataFrame:
    """Source ids of the patients and their visits, as one column ``key``."""
    patients = read_table(spark, lake, schemas.PATIENTS).withColumnRenamed("patient_key", "key")
    encounters = read_table(spark, lake, schemas.ENCOUNTERS).withColumnRenamed("encounter_key", "key")
    first = patients.join(keys.patients, "key", "left_semi").select(F.col("source_patient_id").alias("key"))
    second = encounters.join(keys.encounters, "key", "left_semi").select(F.col("source_encounter_id").alias("key"))
    return first.union(second).distinct()


def _segment_keys(held: DataFrame) -> DataFrame:
    return held.select(F.col("segment_key").alias("key")).distinct()


def _named_segments(spark: SparkSession, lake: Lake) -> DataFrame:
    """Every segment key that any table names."""
    columns: Mapping[str, Callable[[DataFrame], DataFrame]] = {
        schemas.SEGMENTS.full_name: lambda rows: rows.select(F.col("segment_key").alias("key")),
        schemas.SEGMENT_ANNOTATIONS.full_name: lambda rows: rows.select(F.col("segment_key").alias("key")),
        schemas.DEAD_LETTERS.full_name: lambda rows: rows.select(F.col("segment_key").alias("key")),
        schemas.WORK_UNITS.full_name: lambda rows: rows.select(F.explode("segment_keys").alias("key")),
    }
    frames = (select(read_table(spark, lake, schemas.TABLES[name])) for name, select in columns.items())
    return reduce(DataFrame.union, frames).distinct()
