"""Notes that a snapshot no longer holds.

Knows: when absence may be believed. Must not know: how a file is read. A row that was rejected still says that its note
exists, where its id can be read; where it cannot, nothing is known to be absent.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from ppsehr_spark.errors import QualityGateError
from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.spark.frames import read_table
from ppsehr_spark.spark.session import describe


@dataclass(frozen=True)
class Absence:
    """Keys of notes to delete, and how many rows kept us from knowing (then there are none to delete)."""

    gone: DataFrame
    n_unreadable: int


def find_absent(spark: SparkSession, lake: Lake, landed: list[DataFrame], *, source: str, limit: float) -> Absence:
    """Compare a source's notes in the lake with the rows of its new snapshot.

    Args:
        landed: all rows of the snapshot's note files, rejects too, with ``note_key``, ``_reason``, ``_is_deleted``.
        source: source mapping name.
        limit: largest share of the source's notes that may vanish at once.

    Raises:
        QualityGateError: ``TOO_MANY_DELETIONS`` above the limit; nothing has been written then.
    """
    describe(spark, "ingest: compare the snapshot with phi.notes")
    stored = read_table(spark, lake, schemas.NOTES).where(F.col("source") == source).select("note_key")
    if not landed:
        return _gate(stored, stored.count(), stored.count(), limit)
    rows = reduce(DataFrame.unionByName, (r.select("note_key", "_reason", "_is_deleted") for r in landed))
    n_unreadable = rows.where("_reason IS NOT NULL AND note_key IS NULL").count()
    if n_unreadable:
        return Absence(stored.limit(0), n_unreadable)
    present = rows.where("NOT coalesce(_is_deleted, false)").select("note_key")
    gone = stored.join(present, "note_key", "left_anti")
    return _gate(gone, gone.count(), stored.count(), limit)


def _gate(gone: DataFrame, n_gone: int, n_stored: int, limit: float) -> Absence:
    if n_gone > limit * n_stored:
        hint = "is the snapshot complete? raise ingest.max_deleted_share only when these notes are really gone"
        raise QualityGateError("TOO_MANY_DELETIONS", notes=n_stored, absent=n_gone, hint=hint)
    return Absence(gone, 0)
