"""What it costs: epsilon at a delta of any composition of events, by Google's dp_accounting.

Knows: how each event is put to an accountant. Must not know: why an event happened or what comes next. Reference:
Mironov 2017 (RDP), Mironov et al. 2019 (sampled Gaussian), Koskela et al. 2020 and Doroshenko et al. 2022 (PLD),
Feldman and Zrnic 2021 (an RDP bound may be spent adaptively: events may depend on earlier results).

RDP takes every event on the list and is what the product states and admits by. PLD is tighter, takes no zCDP event and
stands beside it where it can. Delta of key thresholding adds up beside either (Bun and Steinke 2016, Lemma 8.2).
"""

from __future__ import annotations

import importlib.metadata
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, TypeAlias

from ppsehr_spark.errors import UsageError
from ppsehr_spark.privacy.events import (
    Event,
    Exact,
    Gaussian,
    KeyThreshold,
    Laplace,
    PureEpsilon,
    SampledGaussian,
    ZeroConcentrated,
    flatten_event,
)
from ppsehr_spark.privacy.units import Guarantee

Accountant: TypeAlias = Literal["rdp", "pld"]
#: A composition: its events one by one, or each with how often it happened.
Events: TypeAlias = Iterable[object] | Mapping[Any, int]


@dataclass(frozen=True)
class Condensed:
    """A composition in a form that costs exactly the same and depends on no order; the key of the cache.

    Attributes:
        rho: sum over zCDP events and over pure-epsilon events at epsilon^2 / 2.
        inverse_variance: sum of 1 / noise_multiplier^2 over Gaussian events; k of them are one with this sum.
        others: every other event with how often it happened, sorted.
        delta: sum over key thresholds.
        is_exact: an exact answer is among them.
    """

    rho: float
    inverse_variance: float
    others: tuple[tuple[Laplace | SampledGaussian, int], ...]
    delta: float
    is_exact: bool


@dataclass(frozen=True)
class Cost:
    """The stated guarantee of a composition.

    Attributes:
        stated: RDP composition over all events.
        pld_epsilon: the tighter figure at the same delta; ``None`` where an event has no PLD.
        accountant: library and version that computed it.
    """

    stated: Guarantee
    pld_epsilon: float | None
    accountant: str


def condense(events: Events) -> Condensed:
    """Put a composition into the form that is costed.

    Args:
        events: one by one, or each with how often it happened.

    Raises:
        UsageError: ``UNKNOWN_EVENT``.
    """
    parts = _count_parts(events)
    rhos = [part.rho * n for part, n in parts.items() if isinstance(part, ZeroConcentrated)]
    rhos += [part.epsilon**2 / 2 * n for part, n in parts.items() if isinstance(part, PureEpsilon)]
    variances = [part.noise_multiplier**-2 * n for part, n in parts.items() if isinstance(part, Gaussian)]
    others = [(part, n) for part, n in parts.items() if isinstance(part, (Laplace, SampledGaussian))]
    return Condensed(
        rho=math.fsum(rhos),
        inverse_variance=math.fsum(variances),
        others=tuple(sorted(others, key=repr)),
        delta=math.fsum(part.delta * n for part, n in parts.items() if isinstance(part, KeyThreshold)),
        is_exact=any(isinstance(part, Exact) for part in parts),
    )


def _count_parts(events: Events) -> Counter[Event]:
    """Simple events of a composition, with how often each happened."""
    counted = events.items() if isinstance(events, Mapping) else ((event, 1) for event in events)
    parts: Counter[Event] = Counter()
    for event, n_times in counted:
        for part in flatten_event(event):
            parts[part] += n_times
    return parts


def compute_epsilon(events: Events, *, delta: float, accountant: Accountant = "rdp") -> float:
    """Epsilon of all events together at ``delta``.

    Args:
        events: one by one, or each with how often it happened.
        delta: in (0, 1); what key thresholds take is taken off before the rest is costed.

    Returns:
        0 for no event; infinity for an exact answer or when the thresholds use up delta.

    Raises:
        UsageError: ``UNKNOWN_EVENT``, or ``UNSUPPORTED_EVENT`` when the accountant cannot take one of them.
    """
    return _epsilon_of(condense(events), delta, accountant)


def state_cost(events: Events, *, delta: float) -> Cost:
    """The guarantee to state for a composition, with the PLD figure beside it where every event has one."""
    condensed = condense(events)
    stated = Guarantee(_epsilon_of(condensed, delta, "rdp"), delta)
    pld_epsilon = None if condensed.rho else _epsilon_of(condensed, delta, "pld")
    version = importlib.metadata.version("dp-accounting")
    return Cost(stated, pld_epsilon, f"dp-accounting {version} RDP")


@lru_cache(maxsize=4096)
def _epsilon_of(condensed: Condensed, delta: float, accountant: Accountant) -> float:
    remaining = delta - condensed.delta
    if condensed.is_exact or remaining <= 0:
        return math.inf
    events = _library_events(condensed, accountant)
    return float(_compose(events, remaining, accountant)) if events else 0.0


def _library_events(condensed: Condensed, accountant: Accountant) -> list[tuple[Any, int]]:
    """The same composition as dp_accounting's events, each with its count."""
    import dp_accounting  # brings scipy, three seconds: only those who compute a cost pay for it

    if condensed.rho and accountant == "pld":
        raise UsageError(
            "UNSUPPORTED_EVENT", accountant=accountant, hint="a zCDP event has no privacy-loss distribution"
        )
    events: list[tuple[Any, int]] = [(dp_accounting.ZCDpEvent(condensed.rho), 1)] if condensed.rho else []
    if condensed.inverse_variance:
        events.append((dp_accounting.GaussianDpEvent(condensed.inverse_variance**-0.5), 1))
    for event, count in condensed.others:
        if isinstance(event, Laplace):
            events.append((dp_accounting.LaplaceDpEvent(event.noise_multiplier), count))
        else:
            step = dp_accounting.GaussianDpEvent(event.noise_multiplier)
            sampled = dp_accounting.PoissonSampledDpEvent(event.sampling_rate, step)
            events.append((sampled, count * event.n_steps))
    return events


def _compose(events: Sequence[tuple[Any, int]], delta: float, accountant: Accountant) -> float:
    from absl import logging
    from dp_accounting import NeighboringRelation, UnsupportedEventError, pld, rdp

    logging.set_verbosity(logging.ERROR)  # it warns of every order that does not converge; leaving one out is sound
    kind = rdp.RdpAccountant if accountant == "rdp" else pld.PLDAccountant
    account = kind(neighboring_relation=NeighboringRelation.ADD_OR_REMOVE_ONE)
    try:
        for event, count in events:
            account.compose(event, count)
    except UnsupportedEventError:
        raise UsageError("UNSUPPORTED_EVENT", accountant=accountant) from None
    return float(account.get_epsilon(delta))
