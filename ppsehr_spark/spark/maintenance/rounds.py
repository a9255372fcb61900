"""One round of maintenance over a lake: what each plan asks for, by the engine that writes the table.

Knows: the order of steps and what a lost race means. Must not know: how a step is done. Compaction and purge come
first, so that one VACUUM and one checkpoint serve them all; the log goes last, because a checkpoint must stand for it.
A table whose commits meet another writer again and again is left for the next round and counted.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from pyspark.sql import SparkSession

from ppsehr_spark.errors import InfrastructureError
from ppsehr_spark.lake.crash_points import crash_point
from ppsehr_spark.lake.maintenance import TablePlan
from ppsehr_spark.lake.table_care import checkpoint_table, compact_table, vacuum_table
from ppsehr_spark.lake.table_log import list_data_files, prune_log
from ppsehr_spark.lake.table_spec import TableSpec
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.spark.maintenance.jvm_tables import (
    checkpoint_jvm_table,
    compact_jvm_table,
    purge_jvm_table,
    vacuum_jvm_table,
)

_MIB = 1 << 20


@dataclass
class Caretaker:
    """The steps of maintenance, sent to the engine that writes a table.

    Attributes:
        start: opens the Spark session; called when a table of the JVM is due.
    """

    lake: Lake
    start: Callable[[], SparkSession]

    @cached_property
    def spark(self) -> SparkSession:
        """The one session of the round."""
        return self.start()

    def compact(self, spec: TableSpec, *, target_bytes: int) -> int:
        """Files that went."""
        if spec.engine == "spark":
            return compact_jvm_table(self.spark, self.lake, spec, target_bytes=target_bytes)
        return compact_table(self.lake, spec, target_bytes=target_bytes)

    def purge(self, spec: TableSpec) -> int:
        """Files that went; only the JVM writes deletion vectors."""
        return purge_jvm_table(self.spark, self.lake, spec) if spec.engine == "spark" else 0

    def vacuum(self, spec: TableSpec, *, retention_hours: int) -> None:
        """Delete what the retention no longer covers."""
        if spec.engine == "spark":
            vacuum_jvm_table(self.spark, self.lake, spec, retention_hours=retention_hours)
        else:
            vacuum_table(self.lake, spec, retention_hours=retention_hours)

    def checkpoint(self, spec: TableSpec) -> int:
        """Version that the new checkpoint stands for."""
        if spec.engine == "spark":
            return checkpoint_jvm_table(self.spark, self.lake, spec)
        return checkpoint_table(self.lake, spec)


def maintain_tables(
    caretaker: Caretaker, plans: Sequence[TablePlan], *, target_mib: int, on_table: Callable[[], object] = lambda: None
) -> dict[str, int]:
    """Do what the plans ask for.

    Args:
        on_table: called after each table.

    Returns:
        Counts: tables, compacted and purged ones, files that went, log entries that went, held back, cut, skipped.
    """
    counts = dict.fromkeys(
        ("tables", "compacted", "purged", "files_rewritten", "files_removed", "log_entries_removed"), 0
    )
    counts |= {"held_back": sum(bool(p.held_back_by) for p in plans), "feeds_cut": sum(p.is_feed_cut for p in plans)}
    counts["skipped"] = 0
    for plan in plans:
        try:
            for name, number in _maintain(caretaker, plan, target_mib * _MIB).items():
                counts[name] += number
        except InfrastructureError as error:
            if error.code != "COMMIT_CONTENTION":
                raise
            counts["skipped"] += 1
            print(f"maintain: {plan.table} skipped, another writer was faster each time", file=sys.stderr)
        on_table()
    return counts


def _maintain(caretaker: Caretaker, plan: TablePlan, target_bytes: int) -> dict[str, int]:
    spec, lake = plan.spec, caretaker.lake
    rewritten = 0
    if plan.is_purged:  # before compaction: what it writes is compact already
        rewritten += caretaker.purge(spec)
        crash_point("maintain.after_purge")
    if plan.is_compacted:
        rewritten += caretaker.compact(spec, target_bytes=target_bytes)
        crash_point("maintain.after_compact")
    before = len(list_data_files(lake, spec)) if plan.n_stale_files else 0
    if plan.n_stale_files:
        caretaker.vacuum(spec, retention_hours=plan.retention_hours)
        crash_point("maintain.after_vacuum")
    removed = before - len(list_data_files(lake, spec)) if plan.n_stale_files else 0
    if rewritten or plan.version > plan.keep_version:
        caretaker.checkpoint(spec)
        crash_point("maintain.after_checkpoint")
    return {
        "tables": 1,
        "compacted": int(plan.is_compacted),
        "purged": int(plan.is_purged),
        "files_rewritten": rewritten,
        "files_removed": max(0, removed),
        "log_entries_removed": len(prune_log(lake, spec, keep_version=plan.keep_version)),
    }
