"""The annotate job on a pool of actors: open units out, parts in, within a token budget.

Knows: when units are claimed, submitted, committed and let go, and when a run ends. Must not know: Ray (``cluster``),
prompts, what an answer means. No engine, and not even Ray, starts before there is a unit that nobody else works on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, MutableMapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from ppsehr_spark.config import Settings
from ppsehr_spark.errors import InfrastructureError
from ppsehr_spark.lake.crash_points import crash_point
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.lake.unit_claims import UnitClaims, kept_leases
from ray_actors.annotate_counts import AnnotateCounts
from ray_actors.answer_sink import AnswerSink
from ray_actors.answer_watch import AnswerWatch
from ray_actors.cluster import ActorPool, actor_pool, ray_session, stop_on_sigterm
from ray_actors.dispatch import Dispatch, Task
from ray_actors.pool_plan import PoolPlan, plan_pool
from ray_actors.safe_actor import Failed
from ray_actors.unit_feed import UnitFeed
from ray_actors.unit_store import open_tasks
from ray_actors.unit_worker import Order, Receipt

WORKER = "ray_actors.unit_worker:UnitWorker"
#: Calls per actor: one is worked on while the answers of the one before are checked and committed.
_DEPTH = 2
_POLL_S = 1.0


def annotate_lake(
    lake: Lake,
    *,
    settings: Settings,
    run_id: str,
    progress: Any,
    only: Collection[str] | None = None,
    done: MutableMapping[str, int | float] | None = None,
) -> AnnotateCounts:
    """Ask about open segments until none is left or the token budget is spent, and commit the answers.

    Several drivers may do so at once; a segment that two of them ask about is stored once.

    Args:
        progress: a tqdm-like bar that counts segments.
        only: these segments and no others.
        done: takes the counts of a run that worked, also of one that fails: its tokens are spent all the same.

    Raises:
        InfrastructureError: ``INTERRUPTED`` after SIGTERM, ``ENGINE_DOWN`` when nothing but failures come back,
            ``PART_WRITE`` or ``PART_TORN`` when answers cannot be stored; what was answered before is committed.
    """
    watch = AnswerWatch(lake, settings.files)
    tasks = open_tasks(lake, settings.files, watch=watch, only=only)
    keys = [key for task in tasks for key in task.segment_keys]
    counts = AnnotateCounts(n_open_before=len(keys), n_open_after=len(keys))
    wants = settings.annotate
    if not tasks or wants.engine == "rules" or wants.token_budget <= 0:
        return counts
    crash_point("annotate.after_plan")
    claims = UnitClaims(lake, run_id, wants.lease_s, wants.max_clock_skew_s)
    feed = UnitFeed(lake, tasks, claims=claims, watch=watch, units_per_claim=wants.units_per_commit)
    sink = AnswerSink(lake, watch, run_id, wants.engine, wants.units_per_commit)
    dispatch = Dispatch(
        token_budget=wants.token_budget, max_attempts=wants.max_attempts, window_tokens=wants.window_tokens
    )
    progress.total = len(keys)
    run = _Run(lake, settings, run_id, dispatch=dispatch, feed=feed, sink=sink, counts=counts, progress=progress)
    try:
        with kept_leases(claims):
            run.work(claims)
    finally:
        counts.tally.update(sink.tally)
        counts.n_repeated = dispatch.n_repeated + sink.n_repeated
        counts.n_taken_over, counts.n_elsewhere = claims.n_taken_over, feed.n_left and claims.n_elsewhere
        counts.n_open_after = sum(key not in watch.answered for key in keys)
        if done is not None:
            done.update(counts.to_dict())
    return counts


@dataclass
class _Run:
    """One driver at work: what is claimed, what is out, what waits for a commit."""

    lake: Lake
    settings: Settings
    run_id: str
    dispatch: Dispatch
    feed: UnitFeed
    sink: AnswerSink
    counts: AnnotateCounts
    progress: Any
    _touched: list[Task] = field(default_factory=list)

    def work(self, claims: UnitClaims) -> None:
        """From the first claim to the last commit."""
        wants = self.settings.annotate
        plan = plan_pool(self.settings, wants, worker=WORKER, call_timeout_s=wants.unit_timeout_s, depth=_DEPTH)
        with ExitStack() as stack:
            stop = stack.enter_context(stop_on_sigterm())
            if self._wait_for_units(stop):
                self._work_with_engine(claims, plan)
        if stop.is_set():
            raise _interrupted()

    def _work_with_engine(self, claims: UnitClaims, plan: PoolPlan) -> None:
        with ray_session(plan.n_cpus), stop_on_sigterm() as stop, actor_pool(plan, stop) as pool:
            try:
                while not stop.is_set() and not self.dispatch.is_hopeless:
                    self.dispatch.drop(claims.take_lost())
                    self._fill(pool)
                    self._take_in(pool)
                    if self.dispatch.is_done and not self._wait_for_units(stop):
                        break
                self._drain(pool)
                if not stop.is_set():
                    self.dispatch.settle()
            finally:
                self._store()
        if stop.is_set():
            raise _interrupted()
        if self.dispatch.broken_by:
            raise InfrastructureError(self.dispatch.broken_by, hint="free space or mend the store, then run again")
        if self.dispatch.is_hopeless:
            hint = "every unit failed; nothing was given up, run again when the engine works"
            raise InfrastructureError("ENGINE_DOWN", engine=self.settings.annotate.engine, hint=hint)

    def _wait_for_units(self, stop: threading.Event) -> bool:
        """Have something to do; when others hold all that is left, wait as long as they get on.

        A driver that neither finishes a unit nor renews its lease for as long as a lease may run is no reason to wait.
        """
        wants = self.settings.annotate
        deadline, n_left = time.monotonic() + wants.lease_s + wants.max_clock_skew_s, self.feed.n_left
        while self.feed.n_left and self.dispatch.has_tokens and not stop.is_set():
            self._store()
            self.dispatch.add(self.feed.pull())
            if self.dispatch.n_waiting:
                return not self.dispatch.is_done
            if self.feed.n_left < n_left:
                deadline, n_left = time.monotonic() + wants.lease_s + wants.max_clock_skew_s, self.feed.n_left
            if time.monotonic() > deadline:
                return False
            stop.wait(_POLL_S)
        return False

    def _fill(self, pool: ActorPool) -> None:
        """Submit while actors and window have room; claim more before the claimed units run out."""
        while pool.n_idle:
            if self.feed.n_left and self.dispatch.n_waiting * 2 < self.settings.annotate.units_per_commit:
                self.dispatch.add(self.feed.pull() if self.dispatch.has_tokens else [])
            task = self.dispatch.take(pool.n_idle)
            if task is None:
                return
            order = Order(self.lake.uri, task.unit_id, self.run_id)
            pool.submit(task, "annotate_part", order, self.feed.rows(task), task.token_limit)

    def _take_in(self, pool: ActorPool) -> None:
        for task, outcome in pool.collect():
            self._book(task, outcome)
        if self.sink.is_full:
            self._store()

    def _book(self, task: Task, outcome: Receipt | Failed) -> None:
        self._touched.append(task)
        if isinstance(outcome, Failed):
            self.dispatch.fail(task, error_code=outcome.code)
            return
        crash_point("annotate.after_part")
        self.counts.add(outcome)
        error, n_rows = outcome.write_error, 0
        try:
            n_rows = self.sink.add(outcome.part) if outcome.part is not None else 0
        except InfrastructureError as torn:
            error = torn.code
        if error:
            self.dispatch.lose(task, spent_tokens=outcome.usage.charged, error_code=error)
            return
        self.dispatch.finish(task, spent_tokens=outcome.usage.charged, open_keys=outcome.open_keys, failed=outcome.dead)
        self.progress.update(n_rows)

    def _store(self) -> None:
        """Commit what has come together, then let its units go."""
        self.sink.commit()
        letters = self.dispatch.take_letters()
        self.counts.n_dead_letters += self.sink.bury(letters)
        busy = self.dispatch.open_units
        done = [task for task in self._touched if task.unit_id not in busy]
        self.feed.let_go({task.unit_id for task in done}, (key for task in done for key in task.segment_keys))
        self._touched = [task for task in self._touched if task.unit_id in busy]

    def _drain(self, pool: ActorPool) -> None:
        """Units that an actor works on may end, for a while; the others go back."""
        for task in pool.give_back_waiting():
            self.dispatch.give_back(task)
        deadline = time.monotonic() + self.settings.annotate.drain_s
        while pool.n_busy and time.monotonic() < deadline:
            self._take_in(pool)


def _interrupted() -> InfrastructureError:
    return InfrastructureError("INTERRUPTED", hint="finished units are committed; run again to go on")
