"""Which unit goes next, with how many tokens, and what happens when it fails.

Knows: attempts, halving and the token budget of a run. Must not know: Ray, tables, models. A plain state machine:
``take`` hands out work, ``finish`` and ``fail`` bring it back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Task:
    """Some segments of one unit.

    Attributes:
        unit_id: unit they belong to.
        segment_keys: what is still to be asked.
        attempts: how often exactly this set has failed.
        needs_tokens: least share worth starting with, because less was tried in this run and held no batch.
        token_limit: what it may spend, set when it is handed out.
    """

    unit_id: str
    segment_keys: tuple[str, ...]
    attempts: int = 0
    needs_tokens: int = 1
    token_limit: int = 0


@dataclass(frozen=True)
class DeadLetter:
    """A segment that was given up."""

    segment_key: str
    unit_id: str
    error_code: str
    attempts: int


class Dispatch:
    """The open work of one run and what is left of its token budget."""

    def __init__(self, tasks: Iterable[Task], *, token_budget: int, max_attempts: int) -> None:
        self._waiting = deque(tasks)
        largest = max((len(task.segment_keys) for task in self._waiting), default=1)
        self._in_flight: list[Task] = []
        self._max_attempts = max(1, max_attempts)
        # One bad segment may fail every set that holds it on the way down; more failures in a row mean the engine.
        self._hopeless_from = self._max_attempts * (largest.bit_length() + 1) + 1
        self._failures_in_row = 0
        self._free_tokens = token_budget
        self.spent_tokens = 0

    @property
    def is_done(self) -> bool:
        """True when nothing is in flight and nothing may be handed out any more."""
        return not self._in_flight and not self._may_start()

    @property
    def is_hopeless(self) -> bool:
        """True after more failures in a row than one bad segment can cause."""
        return self._failures_in_row >= self._hopeless_from

    @property
    def open_keys(self) -> list[str]:
        """Segments that wait or are in flight."""
        return [key for task in (*self._in_flight, *self._waiting) for key in task.segment_keys]

    def take(self, n_idle: int) -> Task | None:
        """The next task with an even share of the unreserved budget, or ``None`` when there is none to give.

        Args:
            n_idle: actors that are free now, the asking one included (>= 1).
        """
        if not self._may_start():
            return None
        task = self._waiting.popleft()
        share = self._free_tokens // max(1, min(n_idle, len(self._waiting) + 1))
        task = replace(task, token_limit=max(share, task.needs_tokens))
        self._free_tokens -= task.token_limit
        self._in_flight.append(task)
        return task

    def finish(self, task: Task, *, spent_tokens: int, open_keys: Iterable[str]) -> None:
        """Book what a task spent; what its limit left open waits again, at the front, for a larger share.

        The larger share may never come: then the budget is used up and the rest stays open for the next run.
        """
        self._release(task, spent_tokens=spent_tokens)
        self._failures_in_row = 0
        left = tuple(open_keys)
        if left:
            needs = max(1, task.token_limit - spent_tokens + 1)
            self._waiting.appendleft(Task(task.unit_id, left, needs_tokens=needs))

    def fail(self, task: Task, *, error_code: str) -> list[DeadLetter]:
        """Try again, then halve, then give up; the tokens of a failed call are unknown and not booked.

        Returns:
            The dead letter when a single segment has failed ``max_attempts`` times, else nothing.
        """
        self._release(task, spent_tokens=0)
        self._failures_in_row += 1
        attempts = task.attempts + 1
        if attempts < self._max_attempts:
            self._waiting.appendleft(replace(task, attempts=attempts, token_limit=0))
            return []
        if len(task.segment_keys) == 1:
            return [DeadLetter(task.segment_keys[0], task.unit_id, error_code, attempts)]
        middle = len(task.segment_keys) // 2
        for half in (task.segment_keys[middle:], task.segment_keys[:middle]):
            self._waiting.appendleft(Task(task.unit_id, half))
        return []

    def _may_start(self) -> bool:
        return bool(self._waiting) and self._free_tokens >= self._waiting[0].needs_tokens

    def _release(self, task: Task, *, spent_tokens: int) -> None:
        self._in_flight.remove(task)
        self._free_tokens += task.token_limit - spent_tokens
        self.spent_tokens += spent_tokens
