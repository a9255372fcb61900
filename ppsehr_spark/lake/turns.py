"""Writers of one host take turns before a fenced commit, so that few attempts are made in vain.

Knows: lock files beside a table on a local file system. Must not know: what is written. The fence stays the truth: a
turn excludes nobody who does not ask for one (another host, another engine), is let go by the kernel when its holder
dies, and is waited for ``LONGEST_WAIT_S`` at most; whoever waited longer, or cannot lock at all, goes on without it.

A lock alone is not fair: whoever has just let go is the first to ask again (measured with eight writers: a worst wait
of ten seconds). So each writer draws a ticket, and the oldest ticket of a living writer is served (L. Lamport, "A new
solution of Dijkstra's concurrent programming problem", CACM 17(8), 1974: the bakery).
"""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ppsehr_spark.lake.table_spec import TableSpec
from ppsehr_spark.lake.tables import Lake

LONGEST_WAIT_S = 3.0
_NAP_S = 0.002
_LONGEST_NAP_S = 0.02


@contextmanager
def take_turn(lake: Lake, spec: TableSpec) -> Iterator[bool]:
    """Hold the turn of a table for the length of the block; true when it is really held."""
    folder = _find_local_folder(lake.table_uri(spec))
    with ExitStack() as held:
        yield folder is not None and _take(folder, held)


def _take(folder: Path, held: ExitStack) -> bool:
    """Queue until this is the oldest living ticket and the turn is free, or until it has taken too long."""
    deadline = time.monotonic() + LONGEST_WAIT_S
    queue = folder / ".writers"
    try:
        queue.mkdir(parents=True, exist_ok=True)
        with ExitStack() as waiting:
            turn, name = _open(queue / ".turn", held), _draw_ticket(queue, waiting)
            while True:
                n_ahead = _count_ahead(queue, name)
                if not n_ahead and _try(turn):
                    return True
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    return False
                time.sleep(min(_NAP_S * (1 + n_ahead), _LONGEST_NAP_S, left_s))
    except OSError:  # a file system without locks, or one that we may only read
        return False


def _draw_ticket(queue: Path, waiting: ExitStack) -> str:
    """A file that is locked as long as its writer lives and waits; its name is the time of its arrival."""
    arrived = f"{time.time_ns():020d}-{secrets.token_hex(4)}"
    unborn, ticket = queue / f".new-{arrived}", queue / f".{arrived}"
    waiting.callback(ticket.unlink, missing_ok=True)
    _try(_open(unborn, waiting))
    unborn.rename(ticket)  # nobody sees it before it is locked
    return ticket.name


def _count_ahead(queue: Path, name: str) -> int:
    """Tickets before this one; the oldest is thrown away when its writer has died."""
    ahead = sorted(each for each in os.listdir(queue) if each[1:2].isdigit() and each < name)
    if ahead and _is_dead(queue / ahead[0]):
        (queue / ahead[0]).unlink(missing_ok=True)
        return len(ahead) - 1
    return len(ahead)


def _is_dead(ticket: Path) -> bool:
    try:
        with ExitStack() as looking:
            return _try(_open(ticket, looking, flags=os.O_RDWR))
    except FileNotFoundError:  # served meanwhile
        return True


def _open(path: Path, held: ExitStack, *, flags: int = os.O_RDWR | os.O_CREAT) -> int:
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o666)
    held.callback(os.close, descriptor)  # closing lets go of the lock
    return descriptor


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _find_local_folder(uri: str) -> Path | None:
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return Path(uri)
    return Path(rest) if scheme == "file" and rest.startswith("/") else None
