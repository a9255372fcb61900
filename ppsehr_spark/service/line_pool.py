"""Lines through one or several processes, in order, with bounded memory.

Knows: chunks, processes, order. Must not know: what is done with a line.
"""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice
from typing import Any, TypeVar

from ppsehr_spark.errors import InfrastructureError

#: Below this many lines a second process costs more than it saves.
MIN_PARALLEL_LINES = 2_000
_CHUNK_LINES = 100
_CHUNKS_AHEAD = 4

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_work: Callable[[list[Any]], list[Any]] | None = None


def map_in_order(
    items: Iterable[_Item],
    open_work: Callable[..., Callable[[list[_Item]], list[_Result]]],
    arguments: tuple[Any, ...],
    *,
    n_processes: int,
) -> Iterator[_Result]:
    """Apply the function that ``open_work(*arguments)`` returns to chunks of ``items``; results keep their order.

    Args:
        items: any number; read ahead by a few chunks only.
        open_work: module-level function, called once per process.
        arguments: picklable.
        n_processes: 1 works in this process; more are used from ``MIN_PARALLEL_LINES`` items on.

    Raises:
        InfrastructureError: ``WORKER_DIED`` when a process was killed (usually out of memory).
    """
    stream = iter(items)
    head = list(islice(stream, MIN_PARALLEL_LINES)) if n_processes > 1 else []
    chunks = _cut(chain(head, stream))
    work = open_work(*arguments)  # before any fork: a wrong conf fails here, and what is cached is shared
    if len(head) < MIN_PARALLEL_LINES:
        for chunk in chunks:
            yield from work(chunk)
        return
    pool = ProcessPoolExecutor(n_processes, initializer=_open_in_process, initargs=(open_work, arguments))
    try:
        yield from _map_by_pool(pool, chunks, n_processes * _CHUNKS_AHEAD)
    except BrokenProcessPool:
        raise InfrastructureError("WORKER_DIED", hint="a worker was killed; try fewer --jobs") from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _map_by_pool(pool: ProcessPoolExecutor, chunks: Iterator[list[Any]], n_ahead: int) -> Iterator[Any]:
    pending: deque[Future[list[Any]]] = deque(pool.submit(_work_in_process, chunk) for chunk in islice(chunks, n_ahead))
    while pending:
        done = pending.popleft().result()
        pending.extend(pool.submit(_work_in_process, chunk) for chunk in islice(chunks, 1))
        yield from done


def _cut(items: Iterator[_Item]) -> Iterator[list[_Item]]:
    while chunk := list(islice(items, _CHUNK_LINES)):
        yield chunk


def _open_in_process(open_work: Callable[..., Callable[[list[Any]], list[Any]]], arguments: tuple[Any, ...]) -> None:
    global _work  # one compiled engine per worker process, set by the pool's initializer
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    _work = open_work(*arguments)


def _work_in_process(chunk: list[Any]) -> list[Any]:
    if _work is None:
        raise InfrastructureError("WORKER_NOT_OPEN")
    return _work(chunk)
