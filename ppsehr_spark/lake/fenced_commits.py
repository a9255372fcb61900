"""A commit that is true of the snapshot it was decided on, by any number of writing processes.

Knows: the recipe (load, compare, commit on that very handle, load again when somebody was first). Must not know: what
is compared or written. Reference: Delta protocol, "Transaction Identifiers". Every writer of a table uses one
application id and the next number, and deltalake is told not to retry: of two writers on a snapshot, one gets through.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError

from ppsehr_spark.errors import InfrastructureError
from ppsehr_spark.lake.table_spec import TableSpec
from ppsehr_spark.lake.tables import Lake

_ATTEMPTS = 100
_FIRST_BACKOFF_S = 0.02
_LONGEST_BACKOFF_S = 0.5

Outcome = TypeVar("Outcome")


@dataclass(frozen=True)
class Fence:
    """One snapshot and the right to be the next after it.

    Attributes:
        table: handle to decide and commit on.
        sequence: number of the commit, one above the last fenced one.
    """

    table: DeltaTable
    sequence: int
    app_id: str

    @property
    def properties(self) -> CommitProperties:
        """What a commit must carry to be refused when it is not the next."""
        return CommitProperties(app_transactions=[Transaction(self.app_id, self.sequence)], max_commit_retries=0)

    def append(self, rows: pa.Table) -> None:
        """Append rows, or raise ``CommitFailedError`` when somebody was first."""
        write_deltalake(self.table, rows, mode="append", commit_properties=self.properties)


def commit_fenced(lake: Lake, spec: TableSpec, attempt: Callable[[Fence], Outcome]) -> Outcome:
    """Let ``attempt`` compare and commit on a fresh snapshot, again and again until nobody else was first.

    Args:
        attempt: commits through the fence at most once, or returns without a commit.

    Raises:
        InfrastructureError: ``COMMIT_CONTENTION`` when others win every time, ``COMMIT_FAILED`` when the table cannot
            be written at all (a full disk, a lost store).
    """
    for number in range(_ATTEMPTS):
        table = lake.open(spec) or lake.create(spec)
        sequence = (table.transaction_version(spec.full_name) or 0) + 1
        try:
            return attempt(Fence(table, sequence, spec.full_name))
        except CommitFailedError:
            time.sleep(random.uniform(0.1, 1.0) * _longest_pause(number))
        except (DeltaError, OSError) as error:
            raise InfrastructureError("COMMIT_FAILED", table=spec.full_name, error=type(error).__name__) from None
    raise InfrastructureError("COMMIT_CONTENTION", table=spec.full_name, attempts=_ATTEMPTS)


def _longest_pause(number: int) -> float:
    """Seconds: long for those who have lost a few times, and shorter again for those who have lost most often."""
    return min(_FIRST_BACKOFF_S * 2 ** min(number, 10), _LONGEST_BACKOFF_S / max(1, number - 4))
