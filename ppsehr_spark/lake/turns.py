"""Writers of one host take turns before a fenced commit, so that few attempts are made in vain.

Knows: two lock files beside a table on a local file system. Must not know: what is written. The fence stays the truth:
a turn excludes nobody who does not ask for one (another host, another engine), is let go by the kernel when its holder
dies, and is waited for ``LONGEST_WAIT_S`` at most; whoever waited longer, or cannot lock at all, goes on without it.

Reference: the two locks are a turnstile (Downey, "The Little Book of Semaphores", 3.7.5): who waits for the turn holds
the turnstile, so the one that has just finished cannot be first again; the longer a writer waits the oftener it asks.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ppsehr_spark.lake.table_spec import TableSpec
from ppsehr_spark.lake.tables import Lake

LONGEST_WAIT_S = 3.0
_FIRST_NAP_S = 0.008
_SHORTEST_NAP_S = 0.001
_HALF_LIFE_S = 0.1


@contextmanager
def take_turn(lake: Lake, spec: TableSpec) -> Iterator[bool]:
    """Hold the turn of a table for the length of the block; true when it is really held."""
    folder = _find_local_folder(lake.table_uri(spec))
    with ExitStack() as held:
        yield folder is not None and _take(folder, held)


def _take(folder: Path, held: ExitStack) -> bool:
    deadline = time.monotonic() + LONGEST_WAIT_S
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as passing:
            is_next = _lock(folder / ".writers.next", passing, deadline)
            return is_next and _lock(folder / ".writers.turn", held, deadline)
    except OSError:  # a file system without locks, or one that we may only read
        return False


def _lock(path: Path, held: ExitStack, deadline: float) -> bool:
    """Lock a file until ``held`` is closed, or until nobody lets it go before the deadline."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    held.callback(os.close, descriptor)  # closing lets go
    start = time.monotonic()
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            now = time.monotonic()
            if now >= deadline:
                return False
            nap = _FIRST_NAP_S * 0.5 ** ((now - start) / _HALF_LIFE_S)
            time.sleep(min(max(nap, _SHORTEST_NAP_S), deadline - now))


def _find_local_folder(uri: str) -> Path | None:
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return Path(uri)
    return Path(rest) if scheme == "file" and rest.startswith("/") else None
