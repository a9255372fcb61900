"""Patients whom the source now merges into somebody who was erased: they are that person, so they leave, too.

Knows: tombstones and the merges of one delivery. Must not know: how a merge is followed (``patient_merging``), how an
erasure is certified. What stands of them goes first and their tombstones come last, so that a run that is killed here
does all of it again. Derived rows follow with the next refresh; history and files are ``ppsehr erase``'s to clean.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from datetime import UTC, datetime

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from ppsehr_spark.domain.identity import load_key
from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.crash_points import crash_point
from ppsehr_spark.lake.erasures import ErasureOrder, add_tombstones, hash_person
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.spark.frames import delete_keys, map_batches, read_table
from ppsehr_spark.spark.session import describe

#: Who orders it, and why: the person asked already, under another id.
_ACCOUNT, _REASON = "job:ingest", "MERGED_INTO_ERASED"
_FOUND = pa.schema([("patient_key", pa.string()), ("person_hash", pa.string())])


def forget_merged(
    spark: SparkSession, lake: Lake, changed: DataFrame, *, key_file: str, erased: Collection[str], run_id: str
) -> frozenset[str]:
    """Remove the patients of this delivery's merges whose survivor was erased, and give them tombstones.

    Args:
        changed: ``patient_key`` and ``surviving_key``, each survivor final.
        key_file: of the identity key; it is read in the workers.
        erased: hashes of everybody who was erased.

    Returns:
        Hashes of those who left; empty where nobody did.
    """
    if not erased:
        return frozenset()
    describe(spark, "ingest: look for patients merged into erased ones")
    found = _find(changed, key_file=key_file, erased=frozenset(erased)).persist()
    try:
        hashes = frozenset(found.agg(F.collect_set("person_hash")).first()[0])
        if hashes:
            _remove(spark, lake, found.select("patient_key"))
            crash_point("ingest.before_tombstones")
            add_tombstones(lake, _order(hashes), sorted(hashes), run_id=run_id)
    finally:
        found.unpersist()
    return hashes


def _find(changed: DataFrame, *, key_file: str, erased: frozenset[str]) -> DataFrame:
    def find(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        key = load_key(key_file)
        for batch in batches:
            rows = [
                {"patient_key": row["patient_key"], "person_hash": hash_person(key, row["patient_key"])}
                for row in batch.to_pylist()
                if hash_person(key, row["surviving_key"]) in erased
            ]
            yield pa.RecordBatch.from_pylist(rows, schema=_FOUND)

    return map_batches(changed.select("patient_key", "surviving_key"), find, _FOUND)


def _remove(spark: SparkSession, lake: Lake, patients: DataFrame) -> None:
    """Their rows in the tables that ingest writes; gold follows its note."""
    describe(spark, "ingest: remove patients merged into erased ones")
    notes, encounters = (
        read_table(spark, lake, spec).join(patients, "patient_key", "left_semi").select(*spec.keys)
        for spec in (schemas.NOTES, schemas.ENCOUNTERS)
    )
    for spec, keys in ((schemas.GOLD, notes), (schemas.NOTES, notes), (schemas.ENCOUNTERS, encounters)):
        delete_keys(spark, lake, spec, keys)
    for spec in (schemas.PATIENTS, schemas.PATIENT_MERGES):
        delete_keys(spark, lake, spec, patients)


def _order(hashes: Collection[str]) -> ErasureOrder:
    """Named by whom it is about, so that it is written once however often the run is killed."""
    name = hashlib.sha256("|".join(sorted(hashes)).encode()).hexdigest()[:20]
    return ErasureOrder(f"merge-{name}", _REASON, _ACCOUNT, datetime.now(UTC).isoformat(), len(hashes))
