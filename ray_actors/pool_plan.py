"""What a pool of workers consists of, read off the settings of the stage that needs one.

Knows: which settings size a pool. Must not know: Ray (``cluster`` builds the pool), what a worker does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from ppsehr_spark.config import Settings

_DEFAULT_START_TIMEOUT_S = 600.0


class PoolWishes(Protocol):
    """What a settings section says about its pool."""

    @property
    def engine(self) -> str: ...
    @property
    def n_actors(self) -> int: ...
    @property
    def cpus_per_actor(self) -> float: ...
    @property
    def gpus_per_actor(self) -> float: ...


@dataclass(frozen=True)
class PoolPlan:
    """What a pool consists of.

    Attributes:
        worker: ``module:class`` of a Worker.
        settings_json: handed to every worker.
        n_actors: workers side by side (at least one).
        cpus_per_actor, gpus_per_actor: what Ray reserves for each.
        start_timeout_s: how long a worker may take to load.
        call_timeout_s: a call that takes longer is given up and its actor replaced.
        depth: calls an actor may have at once, the one it works on included; two keep it busy while the driver commits.
    """

    worker: str
    settings_json: str
    n_actors: int = 1
    cpus_per_actor: float = 1.0
    gpus_per_actor: float = 0.0
    start_timeout_s: float = _DEFAULT_START_TIMEOUT_S
    call_timeout_s: float = 1_800.0
    depth: int = 1

    @property
    def n_cpus(self) -> int:
        """CPUs that a local Ray needs for all of them."""
        return max(1, math.ceil(self.n_actors * self.cpus_per_actor))


def plan_pool(
    settings: Settings, wishes: PoolWishes, *, worker: str, call_timeout_s: float, depth: int = 1
) -> PoolPlan:
    """The pool of one stage; how long loading may take stands in the options of its engine."""
    options = settings.engine.get(wishes.engine, {})
    return PoolPlan(
        worker=worker,
        settings_json=settings.to_json(),
        n_actors=wishes.n_actors,
        cpus_per_actor=wishes.cpus_per_actor,
        gpus_per_actor=wishes.gpus_per_actor,
        start_timeout_s=float(options.get("start_timeout_s", _DEFAULT_START_TIMEOUT_S)),
        call_timeout_s=call_timeout_s,
        depth=depth,
    )
