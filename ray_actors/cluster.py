"""The one file that knows Ray: a session, a pool of actors around plain classes, ranks of a training, a clean end.

Knows: actors, ranks, time limits, signals, and how to leave no process behind. Must not know: what a worker or a rank
does, prompts, tables. Both are named by string, so that their libraries are imported there and nowhere else.
"""

from __future__ import annotations

import importlib
import math
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import ray
from ray.exceptions import OutOfMemoryError, RayError

from ppsehr_spark.errors import InfrastructureError, PpsehrError
from ppsehr_spark.lake.owners import this_process
from ray_actors.engine_processes import reap_engines
from ray_actors.pool_plan import PoolPlan
from ray_actors.safe_actor import ACTOR_DIED, OUT_OF_MEMORY, Failed, SafeActor, safe_errors
from ray_actors.workplace import ProgressBoard, Workplace, shown_progress

_POLL_S = 1.0
_CLOSE_TIMEOUT_S = 20.0
_OBJECT_STORE_BYTES = 128 * 2**20


@dataclass
class _Seat:
    """One actor and the calls that wait for it, the first of which runs; its time limit starts when it gets there."""

    actor: Any
    calls: deque[_Call] = field(default_factory=deque)
    deadline: float = math.inf


@dataclass
class _Call:
    task: Any
    method: str
    arguments: tuple[Any, ...]
    reference: Any = None


@dataclass
class ActorPool:
    """The actors of a plan; one that dies or overstays is replaced, and what waited behind goes to its successor.

    ``about`` is what the last one loaded said.
    """

    plan: PoolPlan
    stop: threading.Event
    _seats: list[_Seat] = field(default_factory=list)
    about: dict[str, str] = field(default_factory=dict)

    def start(self) -> None:
        """Create the actors and wait until their workers are loaded, or until a stop is asked for.

        Raises:
            PpsehrError: the worker's own complaint; ``ENGINE_START`` when it does not load in time.
        """
        reap_engines()
        self._seats = [_Seat(self._create()) for _ in range(max(1, self.plan.n_actors))]
        for seat in self._seats:
            self._wait_loaded(seat.actor)

    @property
    def n_idle(self) -> int:
        """Calls that may be submitted now."""
        return sum(max(1, self.plan.depth) - len(seat.calls) for seat in self._seats)

    @property
    def n_busy(self) -> int:
        """Calls that have not come back."""
        return sum(len(seat.calls) for seat in self._seats)

    def submit(self, task: Any, method: str, *arguments: Any) -> None:
        """Let the least busy actor call ``method``; ``task`` comes back beside the result."""
        seat = min(self._seats, key=lambda seat: len(seat.calls))
        self._send(seat, _Call(task, method, arguments))

    def collect(self) -> Iterator[tuple[Any, Any]]:
        """Tasks that ended within the next second, with their result or ``Failed``.

        Raises:
            InfrastructureError: ``RAY_LOST`` when Ray itself has gone.
        """
        running = {seat.calls[0].reference: seat for seat in self._seats if seat.calls}
        try:
            ready, _ = ray.wait(list(running), num_returns=1, timeout=_POLL_S) if running else ([], [])
        except RayError as error:
            raise InfrastructureError("RAY_LOST", error=type(error).__name__) from None
        for reference in ready:
            seat = running[reference]
            outcome, is_alive = _outcome_of(reference)
            yield self._take_back(seat, is_alive=is_alive), outcome
        now = time.monotonic()
        for seat in self._seats:
            if seat.calls and now > seat.deadline:
                yield self._take_back(seat, is_alive=False), Failed("UNIT_TIMEOUT")

    def give_back_waiting(self) -> list[Any]:
        """Take back every call that no actor has begun; returns their tasks."""
        waiting = [call for seat in self._seats for call in list(seat.calls)[1:]]
        for call in waiting:
            ray.cancel(call.reference)
        for seat in self._seats:
            while len(seat.calls) > 1:
                seat.calls.pop()
        return [call.task for call in waiting]

    def close(self) -> None:
        """End every worker and actor; one that does not answer in time is killed."""
        closing = [seat.actor.close.remote() for seat in self._seats if not seat.calls]
        if closing:
            ray.wait(closing, num_returns=len(closing), timeout=_CLOSE_TIMEOUT_S)
        for seat in self._seats:
            ray.kill(seat.actor)
        self._seats = []
        reap_engines()

    def _create(self) -> Any:
        plan = self.plan
        kind = ray.remote(num_cpus=plan.cpus_per_actor, num_gpus=plan.gpus_per_actor, max_restarts=0)(SafeActor)
        return kind.remote(plan.worker, plan.settings_json, this_process().name)

    def _wait_loaded(self, actor: Any) -> None:
        deadline = time.monotonic() + self.plan.start_timeout_s
        loaded = actor.load.remote()
        while not ray.wait([loaded], timeout=_POLL_S)[0]:
            if self.stop.is_set():
                return
            if time.monotonic() > deadline:
                raise InfrastructureError("ENGINE_START", hint="the engine did not load in time")
        self.about = _get(loaded)

    def _send(self, seat: _Seat, call: _Call) -> None:
        call.reference = seat.actor.call.remote(call.method, *call.arguments)
        if not seat.calls:
            seat.deadline = time.monotonic() + self.plan.call_timeout_s
        seat.calls.append(call)

    def _take_back(self, seat: _Seat, *, is_alive: bool) -> Any:
        """The task of the running call; the next one runs from now on, on a new actor if need be."""
        done = seat.calls.popleft()
        if is_alive:
            seat.deadline = time.monotonic() + self.plan.call_timeout_s
            return done.task
        ray.kill(seat.actor)
        waiting, seat.calls = list(seat.calls), deque()
        seat.actor = self._create()
        self._wait_loaded(seat.actor)
        for call in waiting:
            self._send(seat, call)
        return done.task


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
        code = OUT_OF_MEMORY if is_memory else ACTOR_DIED
        raise InfrastructureError(code, error=type(error).__name__, hint=hint) from None


def _outcome_of(reference: Any) -> tuple[Any, bool]:
    """Result or ``Failed`` of a finished call, and whether its actor still lives."""
    try:
        return _get(reference), True
    except PpsehrError as error:
        return Failed(error.code), error.code not in (ACTOR_DIED, OUT_OF_MEMORY)


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

    with ExitStack() as stack, safe_errors("TRAINING_FAILED"):
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
