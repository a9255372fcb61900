"""The one file that knows Ray: a session, a pool of actors around plain classes, ranks of a training, a clean end.

Knows: actors, ranks, time limits, signals, and how to leave no process behind. Must not know: what a worker or a rank
does, prompts, tables. Both are named by string, so that their libraries are imported there and nowhere else.
"""

from __future__ import annotations

import importlib
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, Protocol

import ray
from ray.exceptions import OutOfMemoryError, RayError

from ppsehr_spark.errors import InfrastructureError, PpsehrError
from ray_actors.pool_plan import PoolPlan
from ray_actors.workplace import ProgressBoard, Workplace, shown_progress

_POLL_S = 1.0
_CLOSE_TIMEOUT_S = 20.0
_OBJECT_STORE_BYTES = 128 * 2**20


class Worker(Protocol):
    """What a pool runs: a plain class made from the settings as JSON; making it loads its engine."""

    def __init__(self, settings_json: str) -> None: ...

    def describe(self) -> dict[str, str]:
        """What was loaded, for provenance columns."""
        ...

    def close(self) -> None:
        """Free the engine and its processes; safe to call twice."""
        ...


@dataclass(frozen=True)
class Failed:
    """A call that brought no result: the code of our own error, ``ACTOR_DIED`` or ``UNIT_TIMEOUT``."""

    code: str


class SafeActor:
    """A Worker whose errors are safe to pass on: class of a foreign one, never its message."""

    def __init__(self, worker: str, settings_json: str) -> None:
        self._name = worker
        self._settings_json = settings_json
        self._worker: Any = None

    def load(self) -> dict[str, str]:
        """Load the worker and say what it is; not in ``__init__``, whose errors Ray reports without their cause."""
        with _safe_errors("ENGINE_START"):
            if self._worker is None:
                module, name = self._name.split(":")
                self._worker = getattr(importlib.import_module(module), name)(self._settings_json)
            about: dict[str, str] = self._worker.describe()
            return about

    def call(self, method: str, *arguments: Any) -> Any:
        """One method of the worker."""
        with _safe_errors("ENGINE_FAILED"):
            if self._worker is None:
                raise InfrastructureError("ENGINE_START", hint="load() comes first")
            return getattr(self._worker, method)(*arguments)

    def close(self) -> None:
        """End the worker and its processes."""
        if self._worker is not None:
            self._worker.close()


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
    """The actors of a plan; one that dies or overstays is replaced. ``about`` is what the last one loaded said."""

    plan: PoolPlan
    stop: threading.Event
    _idle: list[Any] = field(default_factory=list)
    _busy: dict[Any, tuple[Any, Any, float]] = field(default_factory=dict)
    about: dict[str, str] = field(default_factory=dict)

    def start(self) -> None:
        """Create the actors and wait until their workers are loaded, or until a stop is asked for.

        Raises:
            PpsehrError: the worker's own complaint; ``ENGINE_START`` when it does not load in time.
        """
        actors = [self._create() for _ in range(max(1, self.plan.n_actors))]
        for actor in actors:
            self._wait_loaded(actor)
        self._idle = actors

    @property
    def n_idle(self) -> int:
        """Actors without work."""
        return len(self._idle)

    def submit(self, task: Any, method: str, *arguments: Any) -> None:
        """Let an idle actor call ``method``; ``task`` comes back beside the result."""
        actor = self._idle.pop()
        reference = actor.call.remote(method, *arguments)
        self._busy[reference] = (actor, task, time.monotonic() + self.plan.call_timeout_s)

    def collect(self) -> Iterator[tuple[Any, Any]]:
        """Tasks that ended within the next second, with their result or ``Failed``."""
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
                yield task, Failed("UNIT_TIMEOUT")

    def close(self) -> None:
        """End every worker and actor; one that does not answer in time is killed."""
        actors = [*self._idle, *(actor for actor, _, _ in self._busy.values())]
        closing = [actor.close.remote() for actor in self._idle]
        if closing:
            ray.wait(closing, num_returns=len(closing), timeout=_CLOSE_TIMEOUT_S)
        for actor in actors:
            ray.kill(actor)
        self._idle, self._busy = [], {}

    def _create(self) -> Any:
        plan = self.plan
        kind = ray.remote(num_cpus=plan.cpus_per_actor, num_gpus=plan.gpus_per_actor, max_restarts=0)(SafeActor)
        return kind.remote(plan.worker, plan.settings_json)

    def _wait_loaded(self, actor: Any) -> None:
        deadline = time.monotonic() + self.plan.start_timeout_s
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


def _outcome_of(reference: Any) -> tuple[Any, bool]:
    """Result or ``Failed`` of a finished call, and whether its actor still lives."""
    try:
        return _get(reference), True
    except PpsehrError as error:
        return Failed(error.code), error.code != "ACTOR_DIED"


@contextmanager
def ray_session(n_cpus: int) -> Iterator[None]:
    """The Ray that is already there, or the one at ``RAY_ADDRESS``, else a local one just large enough.

    What this function starts or attaches to, it also leaves.

    Args:
        n_cpus: CPUs of a local Ray.
    """
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # the new meaning of num_gpus=0, and no warning about it
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    local = {"num_cpus": n_cpus, "object_store_memory": _OBJECT_STORE_BYTES, "include_dashboard": False}
    ray.init(log_to_driver=False, logging_level="ERROR", **({} if os.environ.get("RAY_ADDRESS") else local))
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def actor_pool(plan: PoolPlan, stop: threading.Event) -> Iterator[ActorPool]:
    """The loaded actors of a plan, ended at the end."""
    pool = ActorPool(plan, stop)
    try:
        pool.start()
        yield pool
    finally:
        pool.close()


@contextmanager
def stop_on_sigterm() -> Iterator[threading.Event]:
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


@dataclass(frozen=True)
class TrainingSpec:
    """A distributed training: the same function on every rank, over gloo, resumed from its newest checkpoint.

    Attributes:
        loop: ``module:function``, called as ``function(order, workplace)`` on every rank.
        order: what every rank is told; names and figures, never rows.
        n_workers: ranks.
        gpus_per_worker: 0 for CPUs.
        filesystem, path: Arrow file system and folder that every rank can write; states live there.
        max_failures: restarts after dead or failing workers.
    """

    loop: str
    order: str
    n_workers: int
    filesystem: Any
    path: str
    gpus_per_worker: float = 0.0
    max_failures: int = 3


def run_torch_training(spec: TrainingSpec, *, progress: Any) -> tuple[Any, str]:
    """Run a training to its end, inside a ``ray_session``.

    Args:
        progress: a tqdm-like bar that counts steps.

    Returns:
        Arrow file system and folder of the last checkpoint.

    Raises:
        InfrastructureError: ``TRAINING_FAILED`` when restarts are used up, ``INTERRUPTED`` after SIGTERM.
    """
    from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    # ranks keep the driver's folder: key file, lake and models may be named relative to it
    os.environ["RAY_CHDIR_TO_TRIAL_DIR"] = "0"
    if not os.environ.get("RAY_ADDRESS"):
        os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")  # an actor that a Ray of our own never needs
    board = ray.remote(num_cpus=0)(ProgressBoard).remote()
    resources = {"CPU": 1.0, **({"GPU": spec.gpus_per_worker} if spec.gpus_per_worker else {})}
    trainer = TorchTrainer(
        _run_ranked,
        train_loop_config={"loop": spec.loop, "order": spec.order, "board": board},
        torch_config=TorchConfig(backend="gloo"),
        scaling_config=ScalingConfig(
            num_workers=spec.n_workers, use_gpu=spec.gpus_per_worker > 0, resources_per_worker=resources
        ),
        run_config=RunConfig(
            name="states",
            storage_path=spec.path,
            storage_filesystem=spec.filesystem,
            failure_config=FailureConfig(max_failures=spec.max_failures),
            checkpoint_config=CheckpointConfig(num_to_keep=2),
        ),
    )
    with _raise_on_sigterm(), shown_progress(lambda: ray.get(board.read.remote()), progress):
        checkpoint = _fit(trainer).checkpoint
    if checkpoint is None:
        raise InfrastructureError("TRAINING_FAILED", hint="it ended without a checkpoint")
    return checkpoint.filesystem, checkpoint.path


def _run_ranked(config: Mapping[str, Any]) -> None:
    """One rank; its errors leave by class only, because a foreign message may quote what it worked on."""
    from ray import train
    from ray.train.torch import get_device

    def report(folder: Path | None, metrics: Mapping[str, int]) -> None:
        train.report(dict(metrics), checkpoint=train.Checkpoint.from_directory(str(folder)) if folder else None)

    with ExitStack() as stack, _safe_errors("TRAINING_FAILED"):
        context, newest = train.get_context(), train.get_checkpoint()
        workplace = Workplace(
            rank=context.get_world_rank(),
            world_size=context.get_world_size(),
            device=str(get_device()),
            restored=Path(stack.enter_context(newest.as_directory())) if newest else None,
            report=report,
            tell_progress=config["board"].write.remote,
        )
        module, name = config["loop"].split(":")
        getattr(importlib.import_module(module), name)(config["order"], workplace)


def _fit(trainer: Any) -> Any:
    from ray.train import TrainingFailedError

    interrupt = signal.getsignal(signal.SIGINT)
    try:
        return trainer.fit()
    except TrainingFailedError as error:
        causes = getattr(error, "worker_failures", {}).values()
        for cause in (getattr(failure, "cause", failure) for failure in causes):
            if isinstance(cause, PpsehrError):
                raise cause from None
        raise InfrastructureError("TRAINING_FAILED", error=type(error).__name__) from None
    except RayError as error:
        raise InfrastructureError("TRAINING_FAILED", error=type(error).__name__) from None
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, interrupt)  # fit() leaves a handler of its own behind


@contextmanager
def _raise_on_sigterm() -> Iterator[None]:
    """SIGTERM ends the wait for a training; the session around it ends its processes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    is_asked = threading.Event()

    def interrupt(*_: Any) -> NoReturn:
        is_asked.set()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    except BaseException:  # Ray's waiting call turns what a handler raises into an error of its own
        if not is_asked.is_set():
            raise
        hint = "the reservation stays spent; run again to ask anew"
        raise InfrastructureError("INTERRUPTED", hint=hint) from None
    finally:
        signal.signal(signal.SIGTERM, before)
