"""The one file that knows Ray: a pool of annotators works through the open units of a lake.

Knows: actors, time limits, signals, and how to leave no process behind. Must not know: prompts, what an answer means,
how rows are committed. No engine, and not even Ray, starts when there is nothing to ask.
"""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, RayError

from ppsehr_spark.config import Settings
from ppsehr_spark.errors import InfrastructureError, PpsehrError
from ppsehr_spark.lake.tables import Lake
from ray_actors.annotate_counts import AnnotateCounts
from ray_actors.annotator import Annotator, UnitResult
from ray_actors.dispatch import DeadLetter, Dispatch, Task
from ray_actors.unit_store import AnswerSink, SegmentSource, open_tasks

_POLL_S = 1.0
_CLOSE_TIMEOUT_S = 20.0
_OBJECT_STORE_BYTES = 128 * 2**20
_START_TIMEOUT_S = 600.0


class AnnotatorActor:
    """An Annotator whose errors are safe to pass on: class of a foreign one, never its message."""

    def __init__(self, settings_json: str) -> None:
        self._settings_json = settings_json
        self._annotator: Annotator | None = None

    def load(self) -> dict[str, str]:
        """Load the engine and say what it is; not in ``__init__``, whose errors Ray reports without their cause."""
        with _safe_errors("ENGINE_START"):
            self._annotator = self._annotator or Annotator(self._settings_json)
            return self._annotator.describe()

    def annotate_unit(self, segments: list[dict[str, Any]], token_limit: int) -> UnitResult:
        """As ``Annotator.annotate_unit``."""
        with _safe_errors("ENGINE_FAILED"):
            if self._annotator is None:
                raise InfrastructureError("ENGINE_START", hint="load() comes first")
            return self._annotator.annotate_unit(segments, token_limit)

    def close(self) -> None:
        """End the engine and its processes."""
        if self._annotator is not None:
            self._annotator.close()


@contextmanager
def _safe_errors(code: str) -> Iterator[None]:
    try:
        yield
    except PpsehrError:
        raise
    except Exception as error:
        raise InfrastructureError(code, error=type(error).__name__) from None


@dataclass
class ActorPool:
    """``n_actors`` annotators; one that dies or overstays is replaced."""

    settings: Settings
    stop: threading.Event
    _idle: list[Any] = field(default_factory=list)
    _busy: dict[Any, tuple[Any, Task, float]] = field(default_factory=dict)
    about: dict[str, str] = field(default_factory=dict)

    def start(self) -> None:
        """Create the actors and wait until their engines are loaded, or until a stop is asked for.

        Raises:
            PpsehrError: the engine's own complaint; ``ENGINE_START`` when it does not load in time.
        """
        actors = [self._create() for _ in range(max(1, self.settings.annotate.n_actors))]
        for actor in actors:
            self._wait_loaded(actor)
        self._idle = actors

    @property
    def n_idle(self) -> int:
        """Actors without work."""
        return len(self._idle)

    def submit(self, task: Task, rows: list[dict[str, Any]]) -> None:
        """Give a task to an idle actor."""
        actor = self._idle.pop()
        reference = actor.annotate_unit.remote(rows, task.token_limit)
        self._busy[reference] = (actor, task, time.monotonic() + self.settings.annotate.unit_timeout_s)

    def collect(self) -> Iterator[tuple[Task, UnitResult | str]]:
        """Tasks that ended within the next second, with their result or an error code."""
        ready, _ = ray.wait(list(self._busy), timeout=_POLL_S) if self._busy else ([], [])
        for reference in ready:
            actor, task, _ = self._busy.pop(reference)
            outcome, is_alive = _outcome_of(reference)
            self._take_back(actor, is_alive=is_alive)
            yield task, outcome
        now = time.monotonic()
        for reference, (actor, task, deadline) in list(self._busy.items()):
            if now > deadline:
                del self._busy[reference]
                self._take_back(actor, is_alive=False)
                yield task, "UNIT_TIMEOUT"

    def close(self) -> None:
        """End every engine and actor; one that does not answer in time is killed."""
        actors = [*self._idle, *(actor for actor, _, _ in self._busy.values())]
        closing = [actor.close.remote() for actor in self._idle]
        if closing:
            ray.wait(closing, num_returns=len(closing), timeout=_CLOSE_TIMEOUT_S)
        for actor in actors:
            ray.kill(actor)
        self._idle, self._busy = [], {}

    def _create(self) -> Any:
        wants = self.settings.annotate
        kind = ray.remote(num_cpus=wants.cpus_per_actor, num_gpus=wants.gpus_per_actor, max_restarts=0)(AnnotatorActor)
        return kind.remote(self.settings.to_json())

    def _wait_loaded(self, actor: Any) -> None:
        options: Mapping[str, Any] = self.settings.engine.get(self.settings.annotate.engine, {})
        deadline = time.monotonic() + float(options.get("start_timeout_s", _START_TIMEOUT_S))
        loaded = actor.load.remote()
        while not ray.wait([loaded], timeout=_POLL_S)[0]:
            if self.stop.is_set():
                return
            if time.monotonic() > deadline:
                raise InfrastructureError("ENGINE_START", hint="the engine did not load in time")
        self.about = _get(loaded)

    def _take_back(self, actor: Any, *, is_alive: bool) -> None:
        if not is_alive:
            ray.kill(actor)
            actor = self._create()
            self._wait_loaded(actor)
        self._idle.append(actor)


def _get(reference: Any) -> Any:
    """``ray.get`` whose errors are ours: Ray's own quote the arguments of the call."""
    try:
        return ray.get(reference)
    except RayError as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, PpsehrError):
            raise cause from None
        is_memory = isinstance(error, OutOfMemoryError)
        hint = "the machine ran out of memory; free some, or name a smaller model" if is_memory else ""
        raise InfrastructureError("ACTOR_DIED", error=type(error).__name__, hint=hint) from None


def _outcome_of(reference: Any) -> tuple[UnitResult | str, bool]:
    """Result or error code of a finished call, and whether its actor still lives."""
    try:
        return _get(reference), True
    except PpsehrError as error:
        return error.code, error.code != "ACTOR_DIED"


def annotate_lake(lake: Lake, *, settings: Settings, run_id: str, progress: Any) -> AnnotateCounts:
    """Ask about open segments until none is left or the token budget is spent, and commit the answers.

    Args:
        progress: a tqdm-like bar that counts units.

    Raises:
        InfrastructureError: ``INTERRUPTED`` after SIGTERM, ``ENGINE_DOWN`` when nothing but failures come back; what
            was answered before is committed in both cases.
    """
    tasks = open_tasks(lake)
    counts = AnnotateCounts(n_open_before=sum(len(task.segment_keys) for task in tasks))
    if not tasks or settings.annotate.engine == "rules" or settings.annotate.token_budget <= 0:
        return counts
    wants = settings.annotate
    dispatch = Dispatch(tasks, token_budget=wants.token_budget, max_attempts=wants.max_attempts)
    sink = AnswerSink(lake, run_id=run_id, engine=wants.engine, units_per_commit=wants.units_per_commit)
    source = SegmentSource(lake, (key for task in tasks for key in task.segment_keys))
    with _ray_session(settings), _stop_on_sigterm() as stop, _pool(settings, stop) as pool:
        try:
            _work(dispatch, pool=pool, source=source, sink=sink, counts=counts, progress=progress)
        finally:
            sink.commit()
    if stop.is_set():
        raise InfrastructureError("INTERRUPTED", hint="finished units are committed; run again to go on")
    if dispatch.is_hopeless:
        raise InfrastructureError("ENGINE_DOWN", engine=wants.engine, hint="every unit failed; see phi.dead_letters")
    return counts


def _work(
    dispatch: Dispatch,
    *,
    pool: ActorPool,
    source: SegmentSource,
    sink: AnswerSink,
    counts: AnnotateCounts,
    progress: Any,
) -> None:
    progress.total = len(dispatch.open_keys)
    while not (dispatch.is_done or dispatch.is_hopeless or pool.stop.is_set()):
        while pool.n_idle and (task := dispatch.take(pool.n_idle)):
            pool.submit(task, source.rows(task.segment_keys))
        for task, outcome in pool.collect():
            if isinstance(outcome, str):
                letters = dispatch.fail(task, error_code=outcome)
                rows: list[dict[str, Any]] = []
            else:
                dispatch.finish(task, spent_tokens=outcome.usage.charged, open_keys=outcome.open_keys)
                letters = [DeadLetter(k, task.unit_id, code, task.attempts + 1) for k, code in outcome.dead.items()]
                rows = outcome.rows
                counts.add(outcome)
            counts.n_dead_letters += len(letters)
            sink.add(task, rows, letters)
            progress.update(len(rows) + len(letters))


@contextmanager
def _ray_session(settings: Settings) -> Iterator[None]:
    """The Ray that is already there, or the one at ``RAY_ADDRESS``, else a local one just large enough.

    What this function starts or attaches to, it also leaves.
    """
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # the new meaning of num_gpus=0, and no warning about it
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    wants = settings.annotate
    n_cpus = max(1, math.ceil(wants.n_actors * wants.cpus_per_actor))
    local = {"num_cpus": n_cpus, "object_store_memory": _OBJECT_STORE_BYTES, "include_dashboard": False}
    ray.init(log_to_driver=False, logging_level="ERROR", **({} if os.environ.get("RAY_ADDRESS") else local))
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _pool(settings: Settings, stop: threading.Event) -> Iterator[ActorPool]:
    pool = ActorPool(settings, stop)
    try:
        pool.start()
        yield pool
    finally:
        pool.close()


@contextmanager
def _stop_on_sigterm() -> Iterator[threading.Event]:
    """An event that SIGTERM sets (Ray installs a handler of its own, so this comes after ``ray.init``)."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, before)
