"""Rank errors of five private quantiles at epsilon 1, for ``bench.py dp``.

Knows: simulated values and how far, in ranks, a chosen candidate lies from the quantile that was asked. Must not know:
Spark. Values are log-normal, put on a public grid of 1,024 candidates; an error is |share at or below the chosen
candidate - fraction|, a mean over five quantiles and all repetitions. Epsilon 1 is meant twice: as pure epsilon (0.2
per quantile, basic composition) and as the ledger's epsilon 1 at delta 1e-7.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from bench_dp_questions import FIVE, grant_for

from ppsehr_spark.privacy.calibration import calibrate_rho
from ppsehr_spark.privacy.events import Event, ZeroConcentrated
from ppsehr_spark.privacy.noise import draw_best
from ppsehr_spark.privacy.releases import score_quantile
from ppsehr_spark.privacy.units import Budget

#: Values and the mean rank error that the first version reached.
FIGURES = ((300, 0.025), (3_000, 0.0030), (100_000, 0.0012))
_CANDIDATES = 1_024
_REPETITIONS = 40


@dataclass(frozen=True)
class QuantileError:
    """Mean rank errors at one number of values; ``exact`` is what the grid alone costs."""

    n: int
    pure: float
    in_ledger: float
    exact: float
    to_beat: float


def measure_quantiles() -> list[QuantileError]:
    """One row per number of values; the noise has no seed, so the figures vary by some percent."""
    pure = ZeroConcentrated((1 / len(FIVE)) ** 2 / 8)  # noisy max of range epsilon: Cesar and Rogers 2021
    in_ledger = ZeroConcentrated(calibrate_rho(Budget(1.0, 1e-7)) / len(FIVE))
    found = []
    for n, to_beat in FIGURES:
        errors = [np.mean([_error(n, seed, event) for seed in range(_REPETITIONS)]) for event in (pure, in_ledger)]
        exact = np.mean([_error(n, seed, None) for seed in range(_REPETITIONS)])
        found.append(QuantileError(n, float(errors[0]), float(errors[1]), float(exact), to_beat))
    return found


def _error(n: int, seed: int, event: Event | None) -> float:
    values = np.random.default_rng(seed).lognormal(6.0, 0.5, n).astype(int)
    counts = np.bincount(np.clip(values, 0, _CANDIDATES - 1), minlength=_CANDIDATES)
    at_most = np.cumsum(counts) / n
    return float(np.mean([abs(at_most[_choose(counts.tolist(), f, event)] - f[0] / f[1]) for f in FIVE]))


def _choose(counts: Sequence[int], fraction: tuple[int, int], event: Event | None) -> int:
    scores = score_quantile(counts, fraction)
    if event is None:
        return int(np.argmax(scores))
    most = max(fraction[0], fraction[1] - fraction[0])
    return draw_best(scores, grant=grant_for(event, most))
