"""How far a synthetic marginal lies from the released one, and how far it would lie if the model were perfect.

Knows: counts per cell and the scale of the released noise. Must not know: records, tables, models. Both sides have left
the privacy boundary (noised marginals, synthetic rows), so every figure here is post-processing: basis public.

A noised marginal has negative cells. It is projected onto the counts that are possible, the nearest point with no
negative cell and the estimated total (Held, Wolfe and Crowder 1974; Duchi et al. 2008, Figure 1), not clipped and
rescaled, which would inflate every cell that noise pushed up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ppsehr_spark.errors import UsageError

Array = npt.NDArray[np.float64]
_DRAWS = 200
_CHUNK_CELLS = 2_000_000


@dataclass(frozen=True)
class NoisyMarginal:
    """A released marginal.

    Attributes:
        counts: noised patients per cell, flat.
        noise_scale: standard deviation of the noise per cell.
    """

    name: str
    counts: Array
    noise_scale: float


@dataclass(frozen=True)
class MarginalFidelity:
    """Distance of one synthetic marginal from the released one, with what it must be read against.

    Attributes:
        distance: total variation distance, 0 to 1.
        noise_floor: expected distance of the released marginal from the truth, through its noise alone.
        sample_floor: expected distance of the synthetic marginal from its own model, through its size alone.
        floor: expected distance of a perfect model, through both.
        floor_high: the distance that a perfect model stays below in 95 of 100 cases.
        n_synthetic: synthetic records in the marginal.
    """

    name: str
    distance: float
    noise_floor: float
    sample_floor: float
    floor: float
    floor_high: float
    n_synthetic: int

    @property
    def excess(self) -> float:
        """What noise and sample size cannot explain: the distance beyond ``floor_high``, 0 or more."""
        return max(0.0, self.distance - self.floor_high)


def compute_distance(first: Array, second: Array) -> float:
    """Total variation distance of two distributions over the same cells: half the sum of differences."""
    return float(np.abs(first - second).sum() / 2)


def project_counts(counts: Array, *, total: float) -> Array:
    """The nearest counts (Euclidean, on the last axis) without a negative cell that add up to ``total`` (above 0)."""
    ordered = np.sort(counts, axis=-1)[..., ::-1]
    excess = np.cumsum(ordered, axis=-1) - total
    ranks = np.arange(1, counts.shape[-1] + 1)
    n_kept = np.sum(ordered * ranks > excess, axis=-1, keepdims=True)
    cut = np.take_along_axis(excess, n_kept - 1, axis=-1) / n_kept
    projected: Array = np.maximum(counts - cut, 0.0)
    return projected


def estimate_total(marginals: Sequence[NoisyMarginal]) -> float:
    """Patients that several marginals of the same records tell of together, at least 1.

    Their sums are weighted by how little noise they hold (cells times variance), the least-squares estimate.
    """
    weights = [1 / (len(each.counts) * each.noise_scale**2) if each.noise_scale else math.inf for each in marginals]
    if math.inf in weights:
        weights = [float(weight == math.inf) for weight in weights]
    sums = [float(each.counts.sum()) * weight for each, weight in zip(marginals, weights, strict=True)]
    return max(1.0, math.fsum(sums) / math.fsum(weights))


def measure_marginal(released: NoisyMarginal, synthetic: Array, *, total: float, seed: int = 0) -> MarginalFidelity:
    """Compare a synthetic marginal with the released one.

    Args:
        synthetic: records per cell, same cells; at least one record.
        total: patients of the released marginal (``estimate_total``).
        seed: of the simulation that finds the floor; it draws no privacy noise and releases nothing.

    Raises:
        UsageError: ``MARGINAL_CELLS`` when the cells differ or there is no synthetic record.
    """
    n_synthetic = int(synthetic.sum())
    if synthetic.shape != released.counts.shape or n_synthetic < 1:
        raise UsageError("MARGINAL_CELLS", marginal=released.name, hint="same cells, at least one synthetic record")
    target = project_counts(released.counts, total=total) / total
    noise, both = _simulate(target, total, released.noise_scale, n_synthetic, np.random.default_rng(seed))
    return MarginalFidelity(
        name=released.name,
        distance=compute_distance(synthetic / n_synthetic, target),
        noise_floor=float(noise.mean()),
        sample_floor=expect_sample_distance(target, n_synthetic),
        floor=float(both.mean()),
        floor_high=float(np.quantile(both, 0.95)),
        n_synthetic=n_synthetic,
    )


def expect_sample_distance(shares: Array, n: int) -> float:
    """Expected distance of ``n`` records drawn from a distribution from that distribution, exactly.

    The mean absolute deviation of each cell's binomial count is de Moivre's (1730; Diaconis and Zabell 1991, (1.1)):
    2 m (1 - p) P[n records give m], m the least whole number above n p.
    """
    return math.fsum(_mean_deviation(float(share), n) for share in shares) / 2 / n


def _mean_deviation(share: float, n: int) -> float:
    m = math.floor(n * share) + 1
    if share <= 0 or m > n:
        return 0.0
    log_ways = math.lgamma(n + 1) - math.lgamma(m + 1) - math.lgamma(n - m + 1)
    log_chance = log_ways + m * math.log(share) + (n - m) * math.log1p(-share)
    return 2 * m * (1 - share) * math.exp(log_chance)


def _simulate(
    shares: Array, total: float, noise_scale: float, n_synthetic: int, generator: np.random.Generator
) -> tuple[Array, Array]:
    """Distances if these shares were the truth: of a noised release from it, of a sample of it from that release."""
    step = max(1, _CHUNK_CELLS // len(shares))
    noise, both = [], []
    exact = shares / shares.sum()
    for first in range(0, _DRAWS, step):
        n_draws = min(step, _DRAWS - first)
        noised = shares * total + generator.normal(0.0, noise_scale, (n_draws, len(shares)))
        released = project_counts(noised, total=total) / total
        sampled = generator.multinomial(n_synthetic, exact, size=n_draws) / n_synthetic
        noise.append(np.abs(released - shares).sum(axis=-1) / 2)
        both.append(np.abs(released - sampled).sum(axis=-1) / 2)
    return np.concatenate(noise), np.concatenate(both)
