"""Planned releases: cells, cost and noise of every statistic before any data are read; afterwards draws become rows.

Knows: how a share of the budget becomes events and noise, and what a draw means. Must not know: data beyond the
integers it is handed, where rows are stored, notes. Reference: Smith 2011 (quantiles by the exponential mechanism);
Bun and Steinke 2016, Lemma 2.3 (rho adds up); Canonne, Kamath and Steinke 2020 (discrete Gaussian).

**Quantiles.** For the fraction a/b and a candidate g, with ``lt`` values below g and ``gt`` above it, the score is
``-|(b - a) * lt - a * gt|``: zero where exactly a of b parts lie below. One value more moves ``lt`` by 1, or ``gt``
by 1, or neither, so the score by at most ``max(a, b - a)``; a patient with at most K values moves it by K times that.
Whole numbers throughout, and no number of values enters that would itself have to be released.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

from ppsehr_spark.privacy.calibration import calibrate_rho
from ppsehr_spark.privacy.catalogue import COUNT, HISTOGRAM, QUANTILE, Catalogue, Fraction, Release
from ppsehr_spark.privacy.events import Event, Exact, ZeroConcentrated, encode_event
from ppsehr_spark.privacy.grants import Grant
from ppsehr_spark.privacy.noise import draw_best, draw_counts
from ppsehr_spark.privacy.units import ContributionBounds

#: Public keys of one cell, such as (("department", "心血管内科"),).
Cell: TypeAlias = tuple[tuple[str, str], ...]
#: Raise it when the same definition starts to mean another aggregation: every release is then asked anew.
METHOD = 1
_RHO_STEPS = 1e6
_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Part:
    """What one grant pays for: the whole vector of a release, or one of its quantiles."""

    name: str
    event: Event
    bounds: ContributionBounds
    fraction: Fraction | None = None


@dataclass(frozen=True)
class PlannedRelease:
    """A release with everything that is known before data are read.

    Attributes:
        cells: public keys of every released cell, in order.
        n_counted: integers that are aggregated: one per cell, or one per candidate of a quantile.
        rho: cost of all parts together, 0 for an exact answer.
        noise_sd: standard deviation per cell in units of the value; ``None`` for quantiles, whose error is in ranks.
        half_width: 95% of the noise lies within this distance of the aggregate; ``None`` for quantiles.
        suppress_below: values below it are not shown.
    """

    release: Release
    cells: tuple[Cell, ...]
    n_counted: int
    parts: tuple[Part, ...]
    rho: float
    noise_sd: float | None
    half_width: int | None
    suppress_below: float


@dataclass(frozen=True)
class StatisticRow:
    """One released cell; ``position`` is that within its release."""

    position: int
    cell: Cell
    value: float
    low: float | None
    high: float | None
    is_suppressed: bool


def plan_releases(
    catalogue: Catalogue, *, lists: Mapping[str, Sequence[str]], span_cells: Sequence[Cell]
) -> tuple[PlannedRelease, ...]:
    """Cells, events and noise of every release.

    Args:
        lists: public list -> its values in order, the one for all others last.
        span_cells: category and tier pairs, in order.

    A budget of infinite epsilon, which only tests have, plans exact answers.
    """
    is_exact = math.isinf(catalogue.budget.epsilon)
    total = 0.0 if is_exact else math.floor(calibrate_rho(catalogue.budget) * _RHO_STEPS) / _RHO_STEPS
    limit = catalogue.suppress_below_sd
    return tuple(
        _plan(release, total * release.share, _list_cells(release, lists, span_cells), limit)
        for release in catalogue.releases
    )


def describe_definition(planned: PlannedRelease) -> dict[str, Any]:
    """Everything that decides the answer, as plain JSON: what the ask id is made of. Titles and units are not in it."""
    release = planned.release
    return {
        "method": METHOD,
        "id": release.id,
        "kind": release.kind,
        "measure": release.measure,
        "only": dict(release.only),
        "edges": list(release.edges),
        "candidates": list(release.candidates),
        "cells": [list(map(list, cell)) for cell in planned.cells],
        "max_encounters": release.max_encounters,
        "parts": [
            [part.name, encode_event(part.event), part.bounds.max_cells, part.bounds.max_per_cell]
            for part in planned.parts
        ],
    }


def draw_part(part: Part, counts: Sequence[int], *, grant: Grant) -> list[int]:
    """Draw once: the noised vector, or the index of the chosen candidate alone in a list.

    Args:
        counts: integers per cell or, for a quantile, per candidate.
    """
    if part.fraction is None:
        return draw_counts(counts, grant=grant)
    return [draw_best(score_quantile(counts, part.fraction), grant=grant)]


def score_quantile(counts: Sequence[int], fraction: Fraction) -> list[int]:
    """Score of every candidate, whole numbers of 0 or less (see the module's text).

    Args:
        counts: values that fall on each candidate.
    """
    part, whole = fraction
    at_most = list(itertools.accumulate(counts))
    n = at_most[-1] if at_most else 0
    return [-abs((whole - part) * (upto - own) - part * (n - upto)) for own, upto in zip(counts, at_most, strict=True)]


def make_rows(planned: PlannedRelease, part: Part, released: Sequence[int]) -> list[StatisticRow]:
    """The released integers of one part as rows; post-processing, so it costs nothing."""
    if part.fraction is not None:
        position = planned.parts.index(part)
        value = planned.release.candidates[released[0]]
        return [StatisticRow(position, planned.cells[position], float(value), None, None, False)]
    width = planned.half_width or 0
    return [
        StatisticRow(at, cell, float(value), float(value - width), float(value + width), value < planned.suppress_below)
        for at, (cell, value) in enumerate(zip(planned.cells, released, strict=True))
    ]


def _plan(release: Release, rho: float, cells: tuple[Cell, ...], suppress_below_sd: float) -> PlannedRelease:
    event: Event = ZeroConcentrated(rho) if rho else Exact()
    if release.kind == QUANTILE:
        parts = tuple(_plan_quantile(release, fraction, rho / len(release.quantiles)) for fraction in release.quantiles)
        return PlannedRelease(release, cells, len(release.candidates), parts, rho, None, None, -math.inf)
    bounds = ContributionBounds(min(release.max_cells, len(cells)), release.max_per_cell)
    scale = bounds.l2_sensitivity / math.sqrt(2 * rho) if rho else 0.0
    parts = (Part(release.id, event, bounds),)
    return PlannedRelease(release, cells, len(cells), parts, rho, scale, bound_noise(scale), suppress_below_sd * scale)


def _plan_quantile(release: Release, fraction: Fraction, rho: float) -> Part:
    change = release.max_encounters * max(fraction[0], fraction[1] - fraction[0])
    bounds = ContributionBounds(len(release.candidates), change)
    event: Event = ZeroConcentrated(rho) if rho else Exact()
    return Part(f"{release.id}.{_label_fraction(fraction)}", event, bounds, fraction)


@lru_cache(maxsize=256)
def bound_noise(scale: float) -> int:
    """Smallest whole distance within which discrete Gaussian noise lies with probability 0.95.

    Args:
        scale: parameter of the distribution, 0 for no noise. Masses are summed from the middle outwards.
    """
    if scale == 0:
        return 0
    masses = [math.exp(-((k / scale) ** 2) / 2) for k in range(math.ceil(12 * scale) + 1)]
    total = 2 * math.fsum(masses) - 1
    within = 1.0
    for distance, mass in enumerate(masses[1:], start=1):
        if within >= _CONFIDENCE * total:
            return distance - 1
        within += 2 * mass
    return len(masses)


def _list_cells(release: Release, lists: Mapping[str, Sequence[str]], span_cells: Sequence[Cell]) -> tuple[Cell, ...]:
    if release.kind == COUNT:
        values = itertools.product(*(lists[key] for key in release.keys))
        return tuple(tuple(zip(release.keys, row, strict=True)) for row in values)
    if release.kind == HISTOGRAM:
        return tuple(((release.measure, label),) for label in _label_bins(release.edges))
    if release.kind == QUANTILE:
        return tuple((("quantile", _label_fraction(fraction)),) for fraction in release.quantiles)
    return tuple(span_cells)


def _label_bins(edges: Sequence[int]) -> list[str]:
    """``0``, ``2-3``, ``31+``."""
    closed = [f"{low}" if high == low + 1 else f"{low}-{high - 1}" for low, high in itertools.pairwise(edges)]
    return [*closed, f"{edges[-1]}+"]


def _label_fraction(fraction: Fraction) -> str:
    """``P25`` for (1, 4)."""
    return f"P{100 * fraction[0] / fraction[1]:g}"
