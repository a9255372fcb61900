"""Noise, once, under a Grant: integers in, noised integers out, by OpenDP's measurements.

Knows: how a reserved event becomes a scale. Must not know: how the integers were aggregated, ledgers. The caller passes
no scale, no epsilon and no l2_sensitivity: all of them stand in the grant, as they were reserved before the data were
read. OpenDP's own privacy map has the last word on whether a measurement stays within the event; its noise is drawn
from the operating system's randomness and has no seed.

Reference: Canonne, Kamath and Steinke 2020, Theorem 4 (discrete Gaussian); Cesar and Rogers 2021, Lemma 3.4 with Bun
and Steinke 2016 (bounded range of noisy max with Gumbel noise: rho = epsilon^2 / 8), both as OpenDP's maps state them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ppsehr_spark.errors import QualityGateError, UsageError
from ppsehr_spark.privacy.events import Exact, PureEpsilon, ZeroConcentrated
from ppsehr_spark.privacy.grants import Grant, Query, redeem_grant

#: Beyond this a sum or its noise could leave 64 bits.
_LARGEST = 2**62
#: Steps by which a scale grows until OpenDP's conservatively rounded map agrees with the closed form.
_SCALE_STEP = 1 + 1e-9
_SCALE_STEPS = 1000


def draw_counts(values: Sequence[int], *, grant: Grant) -> list[int]:
    """A vector of bounded integer aggregates with discrete noise on every cell.

    Args:
        values: one integer per cell; one patient changes at most ``bounds.max_cells`` of them by at most
            ``bounds.max_per_cell`` each. Floats are refused: their sums round, and their bits tell.
        grant: over ``ZeroConcentrated`` (discrete Gaussian), ``PureEpsilon`` (discrete Laplace) or ``Exact``.

    Returns:
        Integers of the same length; negative ones are possible and belong to the release.

    Raises:
        UsageError: ``VALUE_TYPE``, ``NOISE_EVENT``, or a grant that is forged, copied or used.
    """
    _require_integers(values)
    query = redeem_grant(grant)
    if isinstance(query.event, Exact):
        return list(values)
    measurement = _build_counts(query)
    return [int(value) for value in measurement(list(values))]


def draw_best(scores: Sequence[int], *, grant: Grant) -> int:
    """Index of an approximately largest score (noisy max with Gumbel noise: the exponential mechanism).

    Args:
        scores: one integer per public candidate; one patient changes each by at most ``bounds.max_per_cell``.
        grant: over ``ZeroConcentrated`` or ``Exact``.

    Raises:
        UsageError: as for ``draw_counts``.
    """
    _require_integers(scores)
    if not scores:
        raise UsageError("VALUE_TYPE", hint="there is no candidate to choose from")
    query = redeem_grant(grant)
    if isinstance(query.event, Exact):
        return max(range(len(scores)), key=lambda index: scores[index])
    return int(_build_best(query)(list(scores)))


def _build_counts(query: Query) -> Any:
    """OpenDP's discrete Gaussian or Laplace for an integer vector, never weaker than the event."""
    dp = _load_opendp()
    domain = dp.vector_domain(dp.atom_domain(T="i64"))
    if isinstance(query.event, ZeroConcentrated):
        distance, limit = query.bounds.l2_sensitivity, query.event.rho
        scale = distance / math.sqrt(2 * limit)
        return _within(lambda x: dp.m.make_gaussian(domain, dp.l2_distance(T="f64"), scale=x), scale, distance, limit)
    if isinstance(query.event, PureEpsilon):
        l1, limit = query.bounds.l1_sensitivity, query.event.epsilon
        return _within(lambda x: dp.m.make_laplace(domain, dp.l1_distance(T="i64"), scale=x), l1 / limit, l1, limit)
    raise UsageError("NOISE_EVENT", kind=type(query.event).__name__, hint="this mechanism draws no such event")


def _build_best(query: Query) -> Any:
    """OpenDP's noisy max; one patient moves every score, so the range of changes is twice the bound."""
    dp = _load_opendp()
    if not isinstance(query.event, ZeroConcentrated):
        raise UsageError("NOISE_EVENT", kind=type(query.event).__name__, hint="this mechanism draws no such event")
    domain = dp.vector_domain(dp.atom_domain(T="i64"))
    distance, limit = query.bounds.max_per_cell, query.event.rho
    space = (domain, dp.linf_distance(T="i64"))
    scale = 2 * distance / math.sqrt(8 * limit)
    return _within(
        lambda x: dp.m.make_noisy_max(*space, output_measure=dp.zero_concentrated_divergence(), scale=x),
        scale,
        distance,
        limit,
    )


def _within(build: Any, scale: float, distance: float, limit: float) -> Any:
    """The measurement of least scale from ``scale`` on whose own privacy map stays within the limit."""
    for _ in range(_SCALE_STEPS):
        measurement = build(scale)
        if measurement.map(distance) <= limit:
            return measurement
        scale *= _SCALE_STEP
    raise QualityGateError("NOISE_SCALE", hint="the library's privacy map does not agree with the closed form")


def _require_integers(values: Sequence[int]) -> None:
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= _LARGEST:
            hint = "mechanisms take Python integers below 2^62; scale to fixed point before you sum"
            raise UsageError("VALUE_TYPE", kind=type(value).__name__, hint=hint)


def _load_opendp() -> Any:
    """OpenDP with its contributed constructors, the only ones it has."""
    import opendp.prelude as dp

    dp.enable_features("contrib")
    return dp
