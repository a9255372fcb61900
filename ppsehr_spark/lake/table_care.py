"""Compaction, VACUUM and checkpoints of the tables that deltalake writes.

Knows: deltalake's own maintenance calls. Must not know: why a table is due. Appends of other processes go on beside
all of them: a compaction takes no row and moves no transaction, and one that loses a race is tried again.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError

from ppsehr_spark.errors import InfrastructureError
from ppsehr_spark.lake.table_spec import TableSpec
from ppsehr_spark.lake.tables import Lake

_ATTEMPTS = 4
_FIRST_BACKOFF_S = 0.1

T = TypeVar("T")


def compact_table(lake: Lake, spec: TableSpec, *, target_bytes: int) -> int:
    """Write small files together; returns how many went.

    Raises:
        InfrastructureError: ``COMMIT_CONTENTION`` when other writers win every attempt.
    """

    def compact(table: DeltaTable) -> int:
        return int(table.optimize.compact(target_size=target_bytes)["numFilesRemoved"])

    return on_table(lake, spec, compact)


def vacuum_table(lake: Lake, spec: TableSpec, *, retention_hours: int) -> int:
    """Delete files that no version of the last ``retention_hours`` holds; returns how many went."""

    def vacuum(table: DeltaTable) -> int:
        options = {"retention_hours": retention_hours, "dry_run": False, "full": True}
        return len(table.vacuum(**options, enforce_retention_duration=False))

    return on_table(lake, spec, vacuum)


def checkpoint_table(lake: Lake, spec: TableSpec) -> int:
    """Write a checkpoint of the newest version, and return that."""

    def checkpoint(table: DeltaTable) -> int:
        table.create_checkpoint()
        return int(table.version())

    return on_table(lake, spec, checkpoint)


def on_table(lake: Lake, spec: TableSpec, action: Callable[[DeltaTable], T]) -> T:
    """Do something to the newest version of an existing table, again on a newer one when another writer was first.

    Raises:
        InfrastructureError: ``COMMIT_CONTENTION``.
    """
    for attempt in range(_ATTEMPTS):
        table = lake.open(spec)
        assert table is not None, "the caller has seen the table"
        try:
            return action(table)
        except CommitFailedError:
            time.sleep(_FIRST_BACKOFF_S * 2**attempt * (0.5 + random.random()))
    raise InfrastructureError("COMMIT_CONTENTION", table=spec.full_name, attempts=_ATTEMPTS)
