"""What happened: the closed list of events that may touch real records, and their form in a ledger row.

Knows: the parameters that decide the cost of each mechanism. Must not know: what an event costs (``accounting``) or
which parameters to choose (``calibration``). Whatever is not listed here is refused, never guessed.

Reference: Canonne, Kamath and Steinke 2020 (discrete Gaussian, Theorem 4: rho = l2^2 / (2 scale^2)); Bun and Steinke
2016 (zCDP; Proposition 1.4: a pure epsilon is rho = epsilon^2 / 2); Cesar and Rogers 2021 (bounded range: the
exponential mechanism is rho = epsilon^2 / 8).
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

from ppsehr_spark.errors import UsageError


@dataclass(frozen=True)
class ZeroConcentrated:
    """A rho-zCDP release: a discrete-Gaussian vector, or noisy max with the rho of its library's privacy map."""

    rho: float

    def __post_init__(self) -> None:
        _require_positive(self)


@dataclass(frozen=True)
class Gaussian:
    """Continuous Gaussian noise of ``noise_multiplier`` times the l2_sensitivity, on everybody, once."""

    noise_multiplier: float

    def __post_init__(self) -> None:
        _require_positive(self)


@dataclass(frozen=True)
class Laplace:
    """Continuous Laplace noise of ``noise_multiplier`` times the l1_sensitivity, once."""

    noise_multiplier: float

    def __post_init__(self) -> None:
        _require_positive(self)


@dataclass(frozen=True)
class PureEpsilon:
    """Any epsilon-DP release (discrete Laplace among them); discrete Laplace is not the ``Laplace`` event.

    Its privacy loss has two values where the continuous one has a slope between them, so it costs more under RDP:
    at scale 1 and a change of 1, a Kullback-Leibler divergence of 0.462 against 0.368.
    """

    epsilon: float

    def __post_init__(self) -> None:
        _require_positive(self)


@dataclass(frozen=True)
class SampledGaussian:
    """DP-SGD: ``n_steps`` Gaussian steps, each on patients drawn independently with ``sampling_rate`` (Poisson)."""

    noise_multiplier: float
    sampling_rate: float
    n_steps: int

    def __post_init__(self) -> None:
        _require_positive(self)
        if self.sampling_rate > 1:
            raise _refuse(self, "sampling_rate")


@dataclass(frozen=True)
class KeyThreshold:
    """Keys kept when their noisy count passes a threshold: the delta it adds beside the noise's own event."""

    delta: float

    def __post_init__(self) -> None:
        _require_positive(self)
        if self.delta >= 1:
            raise _refuse(self, "delta")


@dataclass(frozen=True)
class Exact:
    """An answer without noise; its epsilon is infinite, so only a cap of infinite epsilon (tests) admits it."""


@dataclass(frozen=True)
class Composed:
    """Several events of one release, on the same patients."""

    events: tuple[Event, ...]

    def __post_init__(self) -> None:
        if not self.events or not all(isinstance(event, EVENT_TYPES) for event in self.events):
            raise _refuse(self, "events")


Event: TypeAlias = (
    ZeroConcentrated | Gaussian | Laplace | PureEpsilon | SampledGaussian | KeyThreshold | Exact | Composed
)
EVENT_TYPES = (ZeroConcentrated, Gaussian, Laplace, PureEpsilon, SampledGaussian, KeyThreshold, Exact, Composed)
_BY_NAME: Mapping[str, Callable[..., Event]] = {kind.__name__: kind for kind in EVENT_TYPES}


def flatten_event(event: object) -> tuple[Event, ...]:
    """The simple events of an event, in order.

    Raises:
        UsageError: ``UNKNOWN_EVENT`` for anything that is not on the list, also inside a composition.
    """
    if isinstance(event, Composed):
        return tuple(part for inner in event.events for part in flatten_event(inner))
    if type(event) not in EVENT_TYPES:
        raise UsageError("UNKNOWN_EVENT", kind=type(event).__name__, hint="no accountant of ours knows its cost")
    return (event,)  # type: ignore[return-value]  # the line above is the check


def encode_event(event: Event) -> str:
    """Canonical JSON; equal events have equal text, floats keep every digit."""
    flatten_event(event)
    return json.dumps(_to_plain(event), sort_keys=True, separators=(",", ":"))


@lru_cache(maxsize=65_536)  # a ledger folds each of its events again and again
def decode_event(text: str) -> Event:
    """The event that ``encode_event`` wrote.

    Raises:
        UsageError: ``UNKNOWN_EVENT`` or ``EVENT_PARAMETER`` for a name, field or value that is not on the list.
    """
    try:
        plain = json.loads(text)
    except ValueError:
        raise UsageError("UNKNOWN_EVENT", kind="unreadable") from None
    return _from_plain(plain)


def _to_plain(event: Event) -> dict[str, Any]:
    if isinstance(event, Composed):
        return {"event": "Composed", "events": [_to_plain(part) for part in event.events]}
    return {"event": type(event).__name__, **dataclasses.asdict(event)}


def _from_plain(plain: object) -> Event:
    fields = dict(plain) if isinstance(plain, dict) else {}
    name = fields.pop("event", None)
    build = _BY_NAME.get(name) if isinstance(name, str) else None
    if build is None:
        raise UsageError("UNKNOWN_EVENT", kind="unlisted", hint="no accountant of ours knows its cost")
    if build is Composed and isinstance(fields.get("events"), list):
        fields["events"] = tuple(_from_plain(part) for part in fields["events"])
    try:
        return build(**fields)
    except TypeError:
        raise UsageError("EVENT_PARAMETER", kind=name, hint="a field is missing, unknown or of a wrong kind") from None


def _require_positive(event: Any) -> None:
    """Every parameter is a finite number above 0; counts are whole."""
    for field in dataclasses.fields(event):
        value = getattr(event, field.name)
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value) or value <= 0:
            raise _refuse(event, field.name)
        if field.name.startswith("n_") and not isinstance(value, int):
            raise _refuse(event, field.name)


def _refuse(event: object, field: str) -> UsageError:
    return UsageError("EVENT_PARAMETER", kind=type(event).__name__, field=field, hint="the value is out of range")
