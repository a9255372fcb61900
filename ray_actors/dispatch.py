"""Which unit goes next, with how many tokens, and what happens when it fails.

Knows: attempts, halving, the token budget of a run, the window of what may be out at once. Must not know: Ray, tables,
leases, models. A plain state machine: ``add`` brings work, ``take`` hands it out, ``finish``, ``fail``, ``lose`` and
``give_back`` bring it back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping
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
        estimated_tokens: what its prompts come to by estimate; counts against the window.
    """

    unit_id: str
    segment_keys: tuple[str, ...]
    attempts: int = 0
    needs_tokens: int = 1
    token_limit: int = 0
    estimated_tokens: int = 0

    def narrow(self, keys: Iterable[str]) -> Task:
        """The same unit with fewer segments, not yet tried, its estimate in proportion."""
        left = tuple(keys)
        estimate = -(-self.estimated_tokens * len(left) // max(1, len(self.segment_keys)))
        return Task(self.unit_id, left, estimated_tokens=estimate)


@dataclass(frozen=True)
class DeadLetter:
    """A segment that was given up."""

    segment_key: str
    unit_id: str
    error_code: str
    attempts: int


class Dispatch:
    """The claimed work of one run and what is left of its token budget.

    Attributes:
        spent_tokens: what finished tasks spent.
        n_repeated: segments that went to an engine in an attempt that failed; they were or will be asked once more.
        broken_by: error code when units could not be stored, again and again; ``""`` otherwise.
    """

    def __init__(
        self, tasks: Iterable[Task] = (), *, token_budget: int, max_attempts: int, window_tokens: int = 0
    ) -> None:
        self._waiting: deque[Task] = deque()
        self._in_flight: list[Task] = []
        self._max_attempts = max(1, max_attempts)
        self._window_tokens = window_tokens
        self._largest = 1
        self._failures_in_row = self._losses_in_row = 0
        self._free_tokens = token_budget
        self._letters: list[DeadLetter] = []
        self._suspected: list[DeadLetter] = []
        self.spent_tokens = self.n_repeated = 0
        self.broken_by = ""
        self.add(tasks)

    def add(self, tasks: Iterable[Task]) -> None:
        """More work, behind what waits."""
        self._waiting.extend(tasks)
        self._largest = max([self._largest, *(len(task.segment_keys) for task in self._waiting)])

    @property
    def is_done(self) -> bool:
        """True when nothing is in flight and nothing may be handed out any more."""
        return not self._in_flight and not self._has_budget()

    @property
    def is_hopeless(self) -> bool:
        """True after more failures in a row than one bad segment can cause, or when nothing can be stored."""
        # One bad segment may fail every set that holds it on the way down; more failures in a row mean the engine.
        limit = self._max_attempts * (self._largest.bit_length() + 1) + 1
        return bool(self.broken_by) or self._failures_in_row >= limit

    @property
    def has_tokens(self) -> bool:
        """True while the budget may hold another prompt."""
        return self._free_tokens > 0

    @property
    def n_waiting(self) -> int:
        """Tasks that nobody works on."""
        return len(self._waiting)

    @property
    def open_keys(self) -> list[str]:
        """Segments that wait or are in flight."""
        return [key for task in (*self._in_flight, *self._waiting) for key in task.segment_keys]

    @property
    def open_units(self) -> set[str]:
        """Units that wait or are in flight."""
        return {task.unit_id for task in (*self._in_flight, *self._waiting)}

    def take(self, n_idle: int) -> Task | None:
        """The next task with an even share of the unreserved budget, or ``None`` when there is none to give.

        Args:
            n_idle: calls that may be made now, this one included (>= 1).
        """
        if not self._has_budget() or not self._has_room():
            return None
        task = self._waiting.popleft()
        share = self._free_tokens // max(1, min(n_idle, len(self._waiting) + 1))
        task = replace(task, token_limit=max(share, task.needs_tokens))
        self._free_tokens -= task.token_limit
        self._in_flight.append(task)
        return task

    def finish(
        self, task: Task, *, spent_tokens: int, open_keys: Collection[str], failed: Mapping[str, str] | None = None
    ) -> None:
        """Book what a task spent; what its limit left open waits again, at the front, for a larger share.

        The larger share may never come: then the budget is used up and the rest stays open for the next run.

        Args:
            failed: segment -> error code where the engine gave no reply; tried again until it becomes a dead letter.
        """
        self._release(task, spent_tokens=spent_tokens)
        failed = failed or {}
        if len(failed) + len(open_keys) < len(task.segment_keys):
            self._succeed()
        if open_keys:
            needs = max(1, task.token_limit - spent_tokens + 1)
            self._waiting.appendleft(replace(task.narrow(open_keys), needs_tokens=needs))
        if failed:
            self._failures_in_row += len(failed) == len(task.segment_keys)
            self._retry_failed(task, failed)

    def fail(self, task: Task, *, error_code: str) -> None:
        """Try again, then halve, then give up; the tokens of a failed call are unknown and not booked."""
        self._release(task, spent_tokens=0)
        self._failures_in_row += 1
        self.n_repeated += len(task.segment_keys)
        attempts = task.attempts + 1
        if attempts < self._max_attempts:
            self._waiting.appendleft(replace(task, attempts=attempts, token_limit=0))
        elif len(task.segment_keys) == 1:
            self._suspected.append(DeadLetter(task.segment_keys[0], task.unit_id, error_code, attempts))
        else:
            middle = len(task.segment_keys) // 2
            for half in (task.segment_keys[middle:], task.segment_keys[:middle]):
                self._waiting.appendleft(task.narrow(half))

    def lose(self, task: Task, *, spent_tokens: int, error_code: str) -> None:
        """The engine answered, but the answers could not be stored: try again, and stop when that goes on.

        No segment is at fault, so none is halved out or given up.
        """
        self._release(task, spent_tokens=spent_tokens)
        self._losses_in_row += 1
        self.n_repeated += len(task.segment_keys)
        self._waiting.appendleft(replace(task, token_limit=0))
        if self._losses_in_row >= self._max_attempts:
            self.broken_by = error_code

    def give_back(self, task: Task) -> None:
        """Nobody began it."""
        self._release(task, spent_tokens=0)
        self._waiting.appendleft(replace(task, token_limit=0))

    def drop(self, unit_ids: Collection[str]) -> None:
        """Forget waiting tasks of units that somebody else works on now."""
        self._waiting = deque(task for task in self._waiting if task.unit_id not in unit_ids)

    def take_letters(self) -> list[DeadLetter]:
        """Dead letters since the last call, of segments that failed while others succeeded."""
        letters, self._letters = self._letters, []
        return letters

    def settle(self) -> None:
        """The run ends: what failed last is a dead letter too, unless nothing but failures came back."""
        if not self.is_hopeless:
            self._succeed()

    def _retry_failed(self, task: Task, failed: Mapping[str, str]) -> None:
        attempts = task.attempts + 1
        self.n_repeated += len(failed)
        if attempts < self._max_attempts:
            self._waiting.appendleft(replace(task.narrow(failed), attempts=attempts))
        else:
            self._suspected += [DeadLetter(key, task.unit_id, code, attempts) for key, code in failed.items()]

    def _succeed(self) -> None:
        """The engine works, so whoever failed before did so by itself."""
        self._failures_in_row = self._losses_in_row = 0
        self._letters += self._suspected
        self._suspected = []

    def _has_budget(self) -> bool:
        return bool(self._waiting) and self._free_tokens >= self._waiting[0].needs_tokens

    def _has_room(self) -> bool:
        """True when the next task fits the window; one task always does."""
        if not self._in_flight or self._window_tokens <= 0:
            return True
        out = sum(task.estimated_tokens for task in self._in_flight)
        return out + self._waiting[0].estimated_tokens <= self._window_tokens

    def _release(self, task: Task, *, spent_tokens: int) -> None:
        self._in_flight.remove(task)
        self._free_tokens += task.token_limit - spent_tokens
        self.spent_tokens += spent_tokens
