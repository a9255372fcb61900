"""Patients that the source merged: which id stands for whom, and the rows that move to the survivor.

Knows: phi.patient_merges, in which every survivor is final (a merge of a survivor moves those who were merged into it).
Must not know: how a merge is written in a file. Nothing is collected: a chain is followed by joining the edges with
themselves, which halves every chain (pointer jumping).
"""

from __future__ import annotations

from dataclasses import dataclass

from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.storagelevel import StorageLevel

from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.crash_points import crash_point
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.spark.frames import delete_keys, merge_rows, read_table
from ppsehr_spark.spark.session import describe

_PLACE = ("_file", "_row")


@dataclass(frozen=True)
class ResolvedMerges:
    """What a delivery's merges come to.

    Attributes:
        changed: rows of phi.patient_merges that are new or lead to another survivor.
        refused: file, row and reason (``MERGE_CYCLE``, ``MERGE_CONFLICT``) of those that cannot be.
    """

    changed: DataFrame
    refused: DataFrame


def resolve_merges(spark: SparkSession, lake: Lake, delivered: DataFrame) -> ResolvedMerges:
    """Follow every merge to its survivor, through this delivery and all that were before.

    Args:
        delivered: ``patient_key``, ``surviving_key``, ``source``, ``_file``, ``_row``; one row per patient.
    """
    describe(spark, "ingest: follow merged patients")
    known = read_table(spark, lake, schemas.PATIENT_MERGES)
    prior = known.select("patient_key", F.col("surviving_key").alias("_prior"))
    onward = known.select(F.col("patient_key").alias("surviving_key"), F.col("surviving_key").alias("_onward"))
    edges = delivered.join(prior, "patient_key", "left").join(onward, "surviving_key", "left")
    edges = edges.withColumn("surviving_key", F.coalesce("_onward", "surviving_key"))
    refused = edges.where("_prior <> surviving_key").select(*_PLACE, F.lit("MERGE_CONFLICT").alias("_reason"))
    fresh = edges.where("_prior IS NULL").select("patient_key", "surviving_key", "source", *_PLACE)
    followed, is_open = _follow(fresh)
    cycles = followed.where(is_open).select(*_PLACE, F.lit("MERGE_CYCLE").alias("_reason"))
    final = followed.where(~is_open).select("patient_key", "surviving_key", "source")
    repointed = known.join(
        final.select(F.col("patient_key").alias("surviving_key"), F.col("surviving_key").alias("_next")),
        "surviving_key",
    )
    moved = repointed.select("patient_key", F.col("_next").alias("surviving_key"), "source")
    return ResolvedMerges(final.unionByName(moved).persist(StorageLevel.MEMORY_AND_DISK), refused.unionByName(cycles))


def _follow(edges: DataFrame) -> tuple[DataFrame, F.Column]:
    """The edges with final survivors, and a condition for those that lead into a circle.

    Every round lets fewer edges end at a merged patient, until only circles are left.
    """
    edges = _mark_open(edges)
    n_open, before = edges.where("_is_open").count(), -1
    while n_open and n_open != before:
        step = edges.select(F.col("patient_key").alias("surviving_key"), F.col("surviving_key").alias("_next"))
        edges = edges.drop("_is_open").join(step, "surviving_key", "left")
        edges = _mark_open(edges.withColumn("surviving_key", F.coalesce("_next", "surviving_key")).drop("_next"))
        n_open, before = edges.where("_is_open").count(), n_open
    return edges, F.col("_is_open")


def _mark_open(edges: DataFrame) -> DataFrame:
    """``_is_open``: the survivor is itself merged into somebody by this delivery."""
    merged = edges.select(F.col("patient_key").alias("surviving_key"), F.lit(True).alias("_is_open"))
    marked = edges.join(merged, "surviving_key", "left").withColumn("_is_open", F.coalesce("_is_open", F.lit(False)))
    return marked.localCheckpoint()  # keeps the plan short however many rounds there are


def apply_merges(spark: SparkSession, lake: Lake, changed: DataFrame) -> int:
    """Move notes and encounters to the survivors, drop the merged patients, then remember the merges.

    They are remembered last, so that a run that is killed here does all of it again.

    Returns:
        Patients that were merged or lead to another survivor now.
    """
    n_changed = changed.count()
    if n_changed == 0:
        return 0
    for spec in (schemas.NOTES, schemas.ENCOUNTERS):
        if lake.version(spec) is not None:
            describe(spark, f"ingest: move {spec.name} to surviving patients")
            target = DeltaTable.forPath(spark, lake.table_uri(spec)).alias("t")
            merge = target.merge(changed.alias("s"), "t.patient_key = s.patient_key")
            merge.whenMatchedUpdate(set={"patient_key": "s.surviving_key"}).execute()
        crash_point(f"ingest.after_moving_{spec.name}")
    delete_keys(spark, lake, schemas.PATIENTS, changed)
    merge_rows(spark, lake, schemas.PATIENT_MERGES, changed)
    return n_changed


def to_survivors(spark: SparkSession, lake: Lake, rows: DataFrame) -> DataFrame:
    """Rows that still come under a merged id get the survivor's key."""
    if lake.version(schemas.PATIENT_MERGES) is None:
        return rows
    merges = read_table(spark, lake, schemas.PATIENT_MERGES).select("patient_key", "surviving_key")
    joined = rows.join(merges, "patient_key", "left")
    return joined.withColumn("patient_key", F.coalesce("surviving_key", "patient_key")).drop("surviving_key")


def without_merged(spark: SparkSession, lake: Lake, patients: DataFrame) -> DataFrame:
    """Patients that are not merged into another."""
    if lake.version(schemas.PATIENT_MERGES) is None:
        return patients
    merges = read_table(spark, lake, schemas.PATIENT_MERGES).select("patient_key")
    return patients.join(merges, "patient_key", "left_anti")
