"""Sums, means and variances of a clamped whole number, measured as one vector of integers per release.

Knows: which integers are measured, how much one visit can change each, and what the noised integers say. Must not
know: how visits were counted, what is measured. Spark hands over how often each clamped value occurs per cell; every
measured integer is a fixed linear function of those counts.

With ``W = high - low`` and ``d = 2 (x - low) - W``, the doubled distance from the middle (``|d| <= W``):

* sum: the sum of x, changed by one visit by at most ``max(|low|, |high|)``;
* mean: ``a = W n`` and ``b = sum(d)``, each changed by at most W; the mean is ``middle + W b / (2 a)``;
* variance: ``a = W^2 n``, ``b = W sum(d)``, ``q = sum(2 d^2 - W^2)``, each changed by at most ``W^2``; the variance is
  ``W^2 / 4 ((1 + q / a) / 2 - (b / a)^2)``.

Centring halves what a visit can change; the common factor gives every integer the same share of rho.

**Intervals.** Each of the m noised integers lies within the half width of probability ``1 - 0.05 / m`` of its own, so
all of them do with 95% (union bound); the interval holds every value that they allow, within the clamp.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ppsehr_spark.privacy.catalogue import MEAN, SUM, VARIANCE, Release
from ppsehr_spark.privacy.units import ContributionBounds

#: Integers that are measured per cell.
N_BLOCKS = {SUM: 1, MEAN: 2, VARIANCE: 3}
_DIGITS = 6


@dataclass(frozen=True)
class Stated:
    """A value with its 95% interval."""

    value: float
    low: float
    high: float


def bound_moments(release: Release, n_cells: int) -> ContributionBounds:
    """What one patient can change of the measured vector."""
    width = release.span
    per_visit = {SUM: max(map(abs, release.clamp)), MEAN: width, VARIANCE: width * width}[release.kind]
    most_visits = min(release.max_per_cell, release.max_encounters)
    most_cells = min(release.max_cells, release.max_encounters, n_cells)
    return ContributionBounds(most_cells * N_BLOCKS[release.kind], most_visits * per_visit)


def measure_moments(release: Release, counts: Sequence[int]) -> list[int]:
    """The vector to be noised: all cells of the first integer, then of the second, then of the third.

    Args:
        counts: visits per cell and clamped value, the values of one cell next to each other.
    """
    width, low = release.span, min(release.clamp)
    distances = [2 * at - width for at in range(width + 1)]
    weights = {
        SUM: [[low + at for at in range(width + 1)]],
        MEAN: [[width] * (width + 1), distances],
        VARIANCE: [
            [width * width] * (width + 1),
            [width * d for d in distances],
            [2 * d * d - width * width for d in distances],
        ],
    }[release.kind]
    cells = [counts[at : at + width + 1] for at in range(0, len(counts), width + 1)]
    return [sum(n * w for n, w in zip(cell, block, strict=True)) for block in weights for cell in cells]


def state_moment(release: Release, measured: Sequence[float], half_width: float) -> Stated:
    """Mean or variance of one cell.

    Args:
        measured: the noised integers of the cell.
        half_width: of each of them, for the probability that the union bound asks for.

    Where the noise may have made everything of the number of visits, the interval is all that the clamp allows.
    """
    width, (low, high) = release.span, (float(end) for end in release.clamp)
    least, most = (low, high) if release.kind == MEAN else (0.0, width * width / 4)
    if measured[0] <= 0:
        return Stated((least + most) / 2, least, most)
    ratios = [each / measured[0] for each in measured[1:]]
    ends = _bound_ratios(measured, half_width)
    if release.kind == MEAN:
        values = [(low + high + width * ratio) / 2 for ratio in (ratios[0], *(ends[0] if ends else (-1.0, 1.0)))]
    else:
        values = [_variance(width, ratios[0], ratios[1])]
        values += _bound_variance(width, *ends) if ends else [least, most]
    value, lower, upper = (round(min(max(each, least), most), _DIGITS) for each in values)
    return Stated(value, min(lower, value), max(upper, value))


def _bound_ratios(measured: Sequence[float], half_width: float) -> list[tuple[float, float]]:
    """Least and largest ratio of each integer to the first; empty where the first may be 0."""
    base = (measured[0] - half_width, measured[0] + half_width)
    if base[0] <= 0:
        return []
    ends = [[(each + sign * half_width) / b for sign in (-1, 1) for b in base] for each in measured[1:]]
    return [(min(corners), max(corners)) for corners in ends]


def _bound_variance(width: int, means: tuple[float, float], squares: tuple[float, float]) -> list[float]:
    nearest = 0.0 if means[0] <= 0 <= means[1] else min(map(abs, means))
    farthest = max(map(abs, means))
    return [_variance(width, farthest, squares[0]), _variance(width, nearest, squares[1])]


def _variance(width: int, mean: float, square: float) -> float:
    return width * width / 4 * ((1 + square) / 2 - mean * mean)
