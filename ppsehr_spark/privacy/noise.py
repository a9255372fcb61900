"""Noise, once, under a Grant: integers in, noised integers out, by OpenDP's measurements.

Knows: how a reserved event becomes a scale. Must not know: how the integers were aggregated, ledgers. The caller passes
no scale, no epsilon and no l2_sensitivity: all of them stand in the grant, as they were reserved before the data were
read. OpenDP's own privacy map has the last word on whether a measurement stays within the event; its noise is drawn
from the operating system's randomness and has no seed.

Reference: Canonne, Kamath and Steinke 2020, Theorem 4 (discrete Gaussian); Cesar and Rogers 2021, Lemma 3.4 with Bun
and Steinke 2016 (bounded range of noisy max with Gumbel noise: rho = epsilon^2 / 8); Durfee and Rogers 2019 (the k best
of one Gumbel draw are k draws one after the other); Rogers 2023 (keys by threshold with Gaussian noise), all as
OpenDP's maps state them; Kaplan, Schnapp and Stemmer 2022 (several quantiles by repeated halving, ``quantiles``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ppsehr_spark.errors import QualityGateError, UsageError
from ppsehr_spark.privacy.events import Composed, Exact, KeyThreshold, PureEpsilon, ZeroConcentrated
from ppsehr_spark.privacy.grants import Grant, Query, redeem_grant
from ppsehr_spark.privacy.quantiles import count_rounds, find_quantile, search_quantiles
from ppsehr_spark.privacy.units import ContributionBounds

#: Beyond this a sum or its noise could leave 64 bits.
_LARGEST = 2**62
#: Steps by which a scale grows until OpenDP's conservatively rounded map agrees with the closed form.
_SCALE_STEP = 1 + 1e-9
_SCALE_STEPS = 1000
_LARGEST_THRESHOLD = 2**40


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


def draw_quantiles(counts: Sequence[int], *, fractions: Sequence[tuple[int, int]], grant: Grant) -> list[int]:
    """Index of an approximate quantile per fraction, by noisy max at every step of ``search_quantiles``.

    Each of its rounds gets an equal part of the event's rho: rounds compose, the choices within a round read different
    rows of a patient and cost no more than one of them (``quantiles``, "Ties").

    Args:
        counts: values that fall on each public candidate, candidates rising; of one patient ``bounds.max_per_cell``
            values at most, over all candidates together.
        fractions: numerator and denominator, different ones in (0, 1).
        grant: over ``ZeroConcentrated`` or ``Exact``.

    Raises:
        UsageError: as for ``draw_counts``.
    """
    _require_integers(counts)
    if not counts or not fractions or min(counts) < 0:
        raise UsageError("VALUE_TYPE", hint="quantiles are of counts, 0 or more, over one candidate or more")
    query = redeem_grant(grant)
    if isinstance(query.event, Exact):
        return [find_quantile(counts, fraction) for fraction in fractions]
    if not isinstance(query.event, ZeroConcentrated):
        raise _refuse(query)
    rho = math.nextafter(query.event.rho / count_rounds(len(fractions)), 0.0)
    most = query.bounds.max_per_cell
    return search_quantiles(
        counts, fractions, lambda scores, change: int(_build_best(most * change, rho)(list(scores)))
    )


def draw_top(scores: Sequence[int], *, k: int, grant: Grant) -> list[int]:
    """The k candidates with the largest counts, best first, and then a noised count of each.

    Args:
        scores: patients per public candidate. One patient adds at most ``bounds.max_per_cell`` to some of them and
            takes nothing from any, so the range of changes is that bound, not twice it.
        k: candidates to name, at most as many as there are.
        grant: over two ``ZeroConcentrated`` (the choice, then the counts), or ``Exact``; ``bounds.max_cells`` is how
            many of k candidates one patient can touch.

    Returns:
        k positions, then k counts.

    Raises:
        UsageError: as for ``draw_counts``.
    """
    _require_integers(scores)
    if not 1 <= k <= len(scores):
        raise UsageError("VALUE_TYPE", hint="k is 1 or more, and no more than there are candidates")
    query = redeem_grant(grant)
    if isinstance(query.event, Exact):
        chosen = sorted(range(len(scores)), key=lambda at: (-scores[at], at))[:k]
        return [*chosen, *(scores[at] for at in chosen)]
    parts = query.event.events if isinstance(query.event, Composed) else ()
    if len(parts) != 2 or not all(isinstance(part, ZeroConcentrated) for part in parts):
        raise _refuse(query)
    choice, values = (part.rho for part in parts if isinstance(part, ZeroConcentrated))
    chosen = [int(at) for at in _build_top(query.bounds, choice, k)(list(scores))]
    noised = _build_gaussian(query.bounds, values)([scores[at] for at in chosen])
    return [*chosen, *(int(value) for value in noised)]


def draw_keys(counts: Mapping[int, int], *, grant: Grant) -> list[int]:
    """Keys whose noised count passes a threshold that OpenDP's map ties to the event's delta, largest count first.

    Args:
        counts: key -> patients, for keys that occur alone; one patient touches at most ``bounds.max_cells`` keys.
        grant: over ``ZeroConcentrated`` and ``KeyThreshold`` together, or ``Exact``.

    Returns:
        Key, count, key, count and so on.

    Raises:
        UsageError: as for ``draw_counts``.
    """
    _require_integers([*counts, *counts.values()])
    query = redeem_grant(grant)
    kept = dict(counts)
    if not isinstance(query.event, Exact):
        measurement = _build_keys(query)
        kept = measurement(kept) if kept else {}  # nobody there: nothing passes
    ranked = sorted(kept.items(), key=lambda item: (-item[1], item[0]))
    return [int(number) for item in ranked for number in item]


def _build_counts(query: Query) -> Any:
    """OpenDP's discrete Gaussian or Laplace for an integer vector, never weaker than the event."""
    dp = _load_opendp()
    domain = dp.vector_domain(dp.atom_domain(T="i64"))
    if isinstance(query.event, ZeroConcentrated):
        return _build_gaussian(query.bounds, query.event.rho)
    if isinstance(query.event, PureEpsilon):
        l1, limit = query.bounds.l1_sensitivity, query.event.epsilon
        return _within(lambda x: dp.m.make_laplace(domain, dp.l1_distance(T="i64"), scale=x), l1 / limit, l1, limit)
    raise _refuse(query)


def _build_gaussian(bounds: ContributionBounds, rho: float) -> Any:
    dp = _load_opendp()
    domain, distance = dp.vector_domain(dp.atom_domain(T="i64")), bounds.l2_sensitivity
    scale = distance / math.sqrt(2 * rho)
    return _within(lambda x: dp.m.make_gaussian(domain, dp.l2_distance(T="f64"), scale=x), scale, distance, rho)


def _build_top(bounds: ContributionBounds, rho: float, k: int) -> Any:
    """OpenDP's k noisy maxima of counts that a patient can only raise."""
    dp = _load_opendp()
    space = (dp.vector_domain(dp.atom_domain(T="i64")), dp.linf_distance(T="i64", monotonic=True))
    distance = bounds.max_per_cell
    measure = dp.zero_concentrated_divergence()
    scale = distance * math.sqrt(k / (8 * rho))
    return _within(lambda x: dp.m.make_noisy_top_k(*space, measure, k=k, scale=x), scale, distance, rho)


def _build_keys(query: Query) -> Any:
    """OpenDP's thresholded discrete Gaussian with the least threshold that keeps the event's rho and delta."""
    parts = query.event.events if isinstance(query.event, Composed) else ()
    if len(parts) != 2 or not (isinstance(parts[0], ZeroConcentrated) and isinstance(parts[1], KeyThreshold)):
        raise _refuse(query)
    dp = _load_opendp()
    domain = dp.map_domain(dp.atom_domain(T="i64"), dp.atom_domain(T="i64"))
    metric = dp.l02inf_distance(dp.absolute_distance(T="i64"))
    most, each, (rho, delta) = query.bounds.max_cells, query.bounds.max_per_cell, (parts[0].rho, parts[1].delta)
    distance = (most, most * each, each)

    def build(scale: float, threshold: int) -> Any:
        return dp.m.make_gaussian_threshold(domain, metric, scale=scale, threshold=threshold)

    scale = query.bounds.l2_sensitivity / math.sqrt(2 * rho)
    for _ in range(_SCALE_STEPS):
        if build(scale, _LARGEST_THRESHOLD).map(distance)[0] <= rho:
            break
        scale *= _SCALE_STEP
    low, high = each, _LARGEST_THRESHOLD
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if build(scale, middle).map(distance)[1] <= delta else (middle + 1, high)
    measurement = build(scale, low)
    spent = measurement.map(distance)
    if spent[0] > rho or spent[1] > delta:
        raise QualityGateError("NOISE_SCALE", hint="the library's privacy map does not agree with the closed form")
    return measurement


def _refuse(query: Query) -> UsageError:
    return UsageError("NOISE_EVENT", kind=type(query.event).__name__, hint="this mechanism draws no such event")


def _build_best(distance: int, limit: float) -> Any:
    """OpenDP's noisy max; one patient moves every score, so the range of changes is twice the distance."""
    dp = _load_opendp()
    domain = dp.vector_domain(dp.atom_domain(T="i64"))
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
