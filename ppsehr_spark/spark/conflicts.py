"""Two JVM writers on one table: the one that loses does its work again on what is there now.

Knows: Delta's conflict exceptions. Must not know: what is written. Safe only for what may be repeated: a merge by key,
a compaction, a purge. So a stage that merges survives an OPTIMIZE that was faster, and the other way round.
Reference: Delta Lake documentation, "Concurrency control" (isolation levels, conflict exceptions).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from delta.exceptions import (
    ConcurrentAppendException,
    ConcurrentDeleteDeleteException,
    ConcurrentDeleteReadException,
    ConcurrentTransactionException,
    ConcurrentWriteException,
    DeltaConcurrentModificationException,
    MetadataChangedException,
)

from ppsehr_spark.errors import InfrastructureError

ATTEMPTS = 5
_FIRST_BACKOFF_S = 0.5
#: In Python these share no base of their own.
CONFLICTS = (
    ConcurrentAppendException,
    ConcurrentDeleteDeleteException,
    ConcurrentDeleteReadException,
    ConcurrentTransactionException,
    ConcurrentWriteException,
    DeltaConcurrentModificationException,
    MetadataChangedException,
)

T = TypeVar("T")


def retry_conflicts(action: Callable[[], T], *, table: str, attempts: int = ATTEMPTS) -> T:
    """Run ``action`` until it meets no other commit.

    Args:
        table: name for the error.

    Raises:
        InfrastructureError: ``COMMIT_CONTENTION`` when other writers win every attempt; Delta's own message, which
            may quote statistics of a file, is not passed on.
    """
    for attempt in range(attempts):
        try:
            return action()
        except CONFLICTS:
            if attempt + 1 < attempts:
                time.sleep(_FIRST_BACKOFF_S * 2**attempt * (0.5 + random.random()))
    raise InfrastructureError("COMMIT_CONTENTION", table=table, attempts=attempts)
