"""Where a rank of a training works: who it is, where it resumes, whom it reports to; and the bar a person looks at.

Knows: figures. Must not know: Ray (``cluster`` fills this in), models, data.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Between two looks, and how long the last one may take.
_POLL_S = 1.0


@dataclass(frozen=True)
class Workplace:
    """What a rank needs from whoever started it.

    Attributes:
        rank, world_size: this rank among all.
        device: torch device by name.
        restored: newest checkpoint of this training, on this machine; None at the start.
        report: hands over a checkpoint folder (None on all ranks but the first) with figures; every rank calls it
            equally often, and it returns when the checkpoint is stored.
        tell_progress: says how many steps are done, without waiting.
    """

    rank: int
    world_size: int
    device: str
    restored: Path | None
    report: Callable[[Path | None, Mapping[str, int]], None]
    tell_progress: Callable[[int], object]


class ProgressBoard:
    """How far a training is; an actor of its own, so that a dead rank takes nothing along."""

    def __init__(self) -> None:
        self._n_steps_done = 0

    def write(self, n_steps_done: int) -> None:
        """Called by the first rank; goes back after a restart from a checkpoint."""
        self._n_steps_done = n_steps_done

    def read(self) -> int:
        """Steps done."""
        return self._n_steps_done


@contextmanager
def shown_progress(read: Callable[[], int], progress: Any) -> Iterator[None]:
    """Copy a figure to a tqdm-like bar every second, and once more at the end.

    Args:
        read: may fail or hang when what it reads from is gone; the bar then stands still, and nothing waits for it.
    """
    is_over = threading.Event()

    def show() -> None:
        is_last = False
        while not is_last:
            is_last = is_over.wait(_POLL_S)
            progress.n = read()
            progress.refresh()

    shown = threading.Thread(target=show, daemon=True)
    shown.start()
    try:
        yield
    finally:
        is_over.set()
        shown.join(_POLL_S)
