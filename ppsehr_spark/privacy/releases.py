"""Planned releases: cells, cost and noise of every statistic before any data are read; afterwards draws become rows.

Knows: how a share of the budget becomes events and noise, and what a draw means. Must not know: data beyond the
integers it is handed, where rows are stored, notes. Reference: Bun and Steinke 2016, Lemma 2.3 (rho adds up); Canonne,
Kamath and Steinke 2020 (discrete Gaussian).

Sums, means and variances stand in ``moments``, tables and hierarchies in ``consistency``, quantiles in ``quantiles``;
each release is one draw under one grant. A choice of the k best pays half for the choice and half for the counts of
what was chosen.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

from ppsehr_spark.privacy import catalogue as kinds
from ppsehr_spark.privacy.calibration import calibrate_rho
from ppsehr_spark.privacy.catalogue import Catalogue, Fraction, Release
from ppsehr_spark.privacy.consistency import (
    Cell,
    Design,
    count_levels,
    design_hierarchy,
    design_table,
    make_consistent,
    measure_design,
    shrink_noise,
)
from ppsehr_spark.privacy.events import Composed, Event, Exact, KeyThreshold, ZeroConcentrated, encode_event
from ppsehr_spark.privacy.grants import Grant
from ppsehr_spark.privacy.key_forms import decode_key
from ppsehr_spark.privacy.moments import N_BLOCKS, bound_moments, measure_moments, state_moment
from ppsehr_spark.privacy.noise import draw_counts, draw_keys, draw_quantiles, draw_top
from ppsehr_spark.privacy.units import Budget, ContributionBounds

#: What is aggregated: integers per position, or per key where the data choose the keys.
Counts: TypeAlias = Sequence[int] | Mapping[int, int]
Lists: TypeAlias = Mapping[str, Sequence[str]]
Parents: TypeAlias = Mapping[str, Mapping[str, str]]
#: Raise it when the same definition starts to mean another aggregation: every release is then asked anew.
METHOD = 2
_RHO_STEPS = 1e6
_CONFIDENCE = 0.95
#: Of the standard normal distribution, two-sided; estimates are sums of many discrete Gaussians.
Z_95 = 1.959964
_DIGITS = 6
#: Fields of a release that are told as they are.
_TOLD = (
    "id", "kind", "measure", "max_encounters", "edges", "candidates", "clamp", "levels", "months", "k", "form", "delta",
)  # fmt: skip


@dataclass(frozen=True)
class Part:
    """What one grant pays for: the whole vector of a release.

    Attributes:
        design: for tables and hierarchies, the base cells that each released cell sums.
    """

    name: str
    event: Event
    bounds: ContributionBounds
    release: Release | None = None
    design: Design = ()

    @property
    def noise_sd(self) -> float:
        """Scale of the noise on each integer, 0 for an exact answer."""
        events = self.event.events if isinstance(self.event, Composed) else (self.event,)
        rhos = [event.rho for event in events if isinstance(event, ZeroConcentrated)]
        return self.bounds.l2_sensitivity / math.sqrt(2 * rhos[-1]) if rhos else 0.0


@dataclass(frozen=True)
class PlannedRelease:
    """A release with everything that is known before data are read.

    Attributes:
        cells: public keys of every released cell, in order; of every candidate of a choice; none for private keys.
        n_counted: integers that are aggregated: one per cell, candidate, cell and clamped value, or possible key.
        rho: what it costs, 0 for an exact answer.
        noise_sd: standard deviation of each measured integer; ``None`` for quantiles, whose error is in ranks.
        half_width: 95% of that noise lies within this distance of the integer; ``None`` for quantiles.
        suppress_below: values below it are not shown; of a mean or variance, too small a number of visits in its units.
    """

    release: Release
    cells: tuple[Cell, ...]
    n_counted: int
    part: Part
    rho: float
    noise_sd: float | None
    half_width: int | None
    suppress_below: float

    @property
    def has_counts(self) -> bool:
        """True where a released value is an integer with the noise of one draw."""
        apart = (kinds.QUANTILE, kinds.MEAN, kinds.VARIANCE, kinds.TOP_K, kinds.THRESHOLD, *kinds.LEVELLED)
        return self.release.kind not in apart

    @property
    def n_rows(self) -> int | None:
        """Rows that are released; ``None`` where the data choose how many."""
        if self.release.kind == kinds.THRESHOLD:
            return None
        return self.release.k or len(self.cells)


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
    catalogue: Catalogue, *, lists: Lists, span_cells: Sequence[Cell], parents: Parents | None = None
) -> tuple[PlannedRelease, ...]:
    """Cells, events and noise of every release.

    Args:
        lists: public list -> its values in order, the one for all others last.
        span_cells: category and tier pairs, in order.
        parents: list -> value -> the value of the coarser list that it belongs to.

    A budget of infinite epsilon, which only tests have, plans exact answers.
    """
    total, limit = find_total_rho(catalogue), catalogue.suppress_below_sd
    planned = []
    for release in catalogue.releases:
        own = {**lists, kinds.MONTH: release.months}
        cells, design = _list_cells(release, own, span_cells, parents or {})
        planned.append(_plan(release, total * release.share, cells, limit, design))
    return tuple(planned)


def find_total_rho(catalogue: Catalogue) -> float:
    """rho that the shares divide, 0 for exact answers; what key thresholds add to delta is set aside first."""
    budget = catalogue.budget
    if math.isinf(budget.epsilon):
        return 0.0
    left = Budget(budget.epsilon, budget.delta - math.fsum(release.delta for release in catalogue.releases))
    return math.floor(calibrate_rho(left) * _RHO_STEPS) / _RHO_STEPS


def describe_definition(planned: PlannedRelease) -> dict[str, Any]:
    """Everything that decides the answer, as plain JSON: what the ask id is made of. Titles and units are not in it."""
    release, part = planned.release, planned.part
    return {
        **{name: getattr(release, name) for name in _TOLD},
        "method": METHOD,
        "design": part.design,
        "only": dict(release.only),
        "cells": [list(map(list, cell)) for cell in planned.cells],
        "parts": [[part.name, encode_event(part.event), part.bounds.max_cells, part.bounds.max_per_cell]],
    }


def draw_part(part: Part, counts: Counts, *, grant: Grant) -> list[int]:
    """Draw once: the noised vector; the candidate chosen per quantile; positions and counts of those chosen.

    Args:
        counts: integers per position, or per key that occurs.
    """
    kind = part.release.kind if part.release else kinds.COUNT
    if kind == kinds.THRESHOLD:
        return draw_keys(dict(counts) if isinstance(counts, Mapping) else dict(enumerate(counts)), grant=grant)
    values = [counts[at] for at in range(len(counts))]
    if kind == kinds.QUANTILE and part.release:
        return draw_quantiles(values, fractions=part.release.quantiles, grant=grant)
    if kind == kinds.TOP_K and part.release:
        return draw_top(values, k=part.release.k, grant=grant)
    return draw_counts(measure_part(part, values), grant=grant)


def measure_part(part: Part, counts: Sequence[int]) -> list[int]:
    """The integers that get noise, of which one patient changes no more than the part's bounds say."""
    if part.release and part.release.kind in kinds.MOMENTS:
        return measure_moments(part.release, counts)
    return measure_design(counts, part.design) if part.design else list(counts)


def make_rows(planned: PlannedRelease, part: Part, released: Sequence[int]) -> list[StatisticRow]:
    """The released integers of one part as rows; post-processing, so it costs nothing.

    Intervals follow from the event and bounds of the part alone.
    """
    kind = planned.release.kind
    if kind == kinds.QUANTILE:
        values = [float(planned.release.candidates[index]) for index in released]
        cells = enumerate(zip(planned.cells, values, strict=True))
        return [StatisticRow(at, cell, value, None, None, False) for at, (cell, value) in cells]
    if kind in (kinds.MEAN, kinds.VARIANCE):
        return _state_moments(planned, part, released)
    if kind in kinds.LEVELLED:
        return _state_levels(planned, part, released)
    if kind == kinds.TOP_K:
        k = planned.release.k
        pairs = [(planned.cells[at], value) for at, value in zip(released[:k], released[k:], strict=True)]
        named = [(("rank", str(rank)), *cell) for rank, (cell, _) in enumerate(pairs, start=1)]
        return _state_counts(planned, part, named, [value for _, value in pairs])
    if kind == kinds.THRESHOLD:
        name = planned.release.keys[0]
        found = [((name, decode_key(planned.release.form, key)),) for key in released[::2]]
        return _state_counts(planned, part, found, released[1::2])
    return _state_counts(planned, part, planned.cells, released)


def _state_counts(
    planned: PlannedRelease, part: Part, cells: Sequence[Cell], released: Sequence[int]
) -> list[StatisticRow]:
    width = bound_noise(part.noise_sd)
    return [
        StatisticRow(at, cell, float(value), float(value - width), float(value + width), value < planned.suppress_below)
        for at, (cell, value) in enumerate(zip(cells, released, strict=True))
    ]


def _state_moments(planned: PlannedRelease, part: Part, released: Sequence[int]) -> list[StatisticRow]:
    n_cells, n_blocks = len(planned.cells), N_BLOCKS[planned.release.kind]
    width = bound_noise(part.noise_sd, 1 - (1 - _CONFIDENCE) / n_blocks)
    rows = []
    for at, cell in enumerate(planned.cells):
        stated = state_moment(planned.release, released[at::n_cells], width)
        is_suppressed = released[at] <= 0 or released[at] < planned.suppress_below
        rows.append(StatisticRow(at, cell, stated.value, stated.low, stated.high, is_suppressed))
    return rows


def _state_levels(planned: PlannedRelease, part: Part, released: Sequence[int]) -> list[StatisticRow]:
    rows = []
    estimates, shares = make_consistent(released, part.design), shrink_noise(part.design)
    for at, (cell, value, share) in enumerate(zip(planned.cells, estimates, shares, strict=True)):
        half = Z_95 * part.noise_sd * share
        low, high = round(value - half, _DIGITS), round(value + half, _DIGITS)
        rows.append(StatisticRow(at, cell, value, low, high, value < planned.suppress_below * share))
    return rows


def _plan(
    release: Release, rho: float, cells: tuple[Cell, ...], suppress_below_sd: float, design: Design = ()
) -> PlannedRelease:
    event: Event = ZeroConcentrated(rho) if rho else Exact()
    if release.kind == kinds.QUANTILE:
        n, most = len(release.candidates), release.max_encounters
        part = Part(release.id, event, ContributionBounds(min(most, n), most), release)
        return PlannedRelease(release, cells, n, part, rho, None, None, -math.inf)
    if rho and release.kind == kinds.TOP_K:
        event = Composed((ZeroConcentrated(rho / 2), ZeroConcentrated(rho / 2)))
    if rho and release.kind == kinds.THRESHOLD:
        event = Composed((ZeroConcentrated(rho), KeyThreshold(release.delta)))
    part = Part(release.id, event, _bound(release, len(cells), design), release=release, design=design)
    scale = part.noise_sd
    n_counted = _count_integers(release, len(cells), design)
    return PlannedRelease(release, cells, n_counted, part, rho, scale, bound_noise(scale), suppress_below_sd * scale)


def _bound(release: Release, n_cells: int, design: Design) -> ContributionBounds:
    """What one patient can change, in norm; tables and hierarchies count a visit once per level, wherever it falls."""
    if design:
        return ContributionBounds(count_levels(design), release.max_encounters)
    if release.kind in kinds.MOMENTS:
        return bound_moments(release, n_cells)
    most = release.max_cells if release.kind == kinds.THRESHOLD else min(release.max_cells, release.k or n_cells)
    return ContributionBounds(most, release.max_per_cell)


def _count_integers(release: Release, n_cells: int, design: Design) -> int:
    if design:
        return 1 + max(map(max, design))
    if release.kind == kinds.THRESHOLD:
        return 0
    return n_cells * (release.span + 1) if release.kind in kinds.MOMENTS else n_cells


@lru_cache(maxsize=256)
def bound_noise(scale: float, confidence: float = _CONFIDENCE) -> int:
    """Smallest whole distance within which discrete Gaussian noise lies with this probability.

    Args:
        scale: parameter of the distribution, 0 for no noise. Masses are summed from the middle outwards.
    """
    if scale == 0:
        return 0
    masses = [math.exp(-((k / scale) ** 2) / 2) for k in range(math.ceil(12 * scale) + 1)]
    total = 2 * math.fsum(masses) - 1
    within = 1.0
    for distance, mass in enumerate(masses[1:], start=1):
        if within >= confidence * total:
            return distance - 1
        within += 2 * mass
    return len(masses)


def _list_cells(
    release: Release, lists: Lists, span_cells: Sequence[Cell], parents: Parents
) -> tuple[tuple[Cell, ...], Design]:
    """Public keys of the cells, and what they sum where they are measured at several levels."""
    if release.kind == kinds.HIERARCHY:
        return design_hierarchy(release.levels, lists, parents)
    if release.kind == kinds.CONTINGENCY:
        return design_table(release.keys, lists)
    if release.kind == kinds.HISTOGRAM:
        return tuple(((release.measure, label),) for label in _label_bins(release.edges)), ()
    if release.kind == kinds.QUANTILE:
        return tuple((("quantile", _label_fraction(fraction)),) for fraction in release.quantiles), ()
    if release.kind in (kinds.SPANS, kinds.THRESHOLD):
        return (tuple(span_cells) if release.kind == kinds.SPANS else ()), ()
    values = itertools.product(*(lists[key] for key in release.keys))
    return tuple(tuple(zip(release.keys, row, strict=True)) for row in values), ()


def _label_bins(edges: Sequence[int]) -> list[str]:
    """``0``, ``2-3``, ``31+``."""
    closed = [f"{low}" if high == low + 1 else f"{low}-{high - 1}" for low, high in itertools.pairwise(edges)]
    return [*closed, f"{edges[-1]}+"]


def _label_fraction(fraction: Fraction) -> str:
    """``P25`` for (1, 4)."""
    return f"P{100 * fraction[0] / fraction[1]:g}"
