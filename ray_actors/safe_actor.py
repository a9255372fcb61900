"""A worker behind a door that lets results and our own errors pass, and of foreign errors only the class.

Knows: what a worker is, how its engine's processes are written down. Must not know: Ray (``cluster`` makes an actor of
it), what a worker does. The worker is named by string, so that its libraries are imported there and nowhere else.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from ppsehr_spark.errors import InfrastructureError, PpsehrError
from ray_actors.engine_processes import forget_children, reap_engines, recorded_children

ACTOR_DIED, OUT_OF_MEMORY = "ACTOR_DIED", "OUT_OF_MEMORY"


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
    """A call without a result: the code of our own error, ``ACTOR_DIED``, ``OUT_OF_MEMORY`` or ``UNIT_TIMEOUT``."""

    code: str


class SafeActor:
    """A Worker whose errors are safe to pass on: class of a foreign one, never its message."""

    def __init__(self, worker: str, settings_json: str, driver: str) -> None:
        self._name = worker
        self._settings_json = settings_json
        self._driver = driver
        self._worker: Any = None

    def load(self) -> dict[str, str]:
        """Load the worker and say what it is; not in ``__init__``, whose errors Ray reports without their cause."""
        with safe_errors("ENGINE_START"):
            if self._worker is None:
                reap_engines()  # left on this machine by a driver that may have run on another one
                module, name = self._name.split(":")
                with recorded_children(self._driver):
                    self._worker = getattr(importlib.import_module(module), name)(self._settings_json)
            about: dict[str, str] = self._worker.describe()
            return about

    def call(self, method: str, *arguments: Any) -> Any:
        """One method of the worker."""
        with safe_errors("ENGINE_FAILED"):
            if self._worker is None:
                raise InfrastructureError("ENGINE_START", hint="load() comes first")
            return getattr(self._worker, method)(*arguments)

    def close(self) -> None:
        """End the worker and its processes."""
        if self._worker is not None:
            self._worker.close()
        forget_children()


@contextmanager
def safe_errors(code: str) -> Iterator[None]:
    """Turn a foreign error into ours with this code; one for lack of memory says so."""
    try:
        yield
    except PpsehrError:
        raise
    except MemoryError:
        raise InfrastructureError(OUT_OF_MEMORY, hint="the machine ran out of memory; free some") from None
    except Exception as error:
        raise InfrastructureError(code, error=type(error).__name__) from None
