"""Rank errors of five private quantiles at epsilon 1, for ``bench.py dp``.

Knows: simulated values and how far, in ranks, a chosen candidate lies from the quantile that was asked. Must not know:
Spark. Values are log-normal, put on a public grid of 1,024 candidates; an error is |share at or below the chosen
candidate - fraction|, a mean over five quantiles and all repetitions. Epsilon 1 is meant twice: as pure epsilon (a
third per round of choices, basic composition) and as the ledger's epsilon 1 at delta 1e-7.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass

import numpy as np
from bench_dp_questions import FIVE, grant_for

from ppsehr_spark.privacy.calibration import calibrate_rho
from ppsehr_spark.privacy.events import Event, ZeroConcentrated
from ppsehr_spark.privacy.noise import draw_quantiles
from ppsehr_spark.privacy.quantiles import count_rounds, find_quantile
from ppsehr_spark.privacy.units import Budget

#: Values and the mean rank error that the first version reached.
FIGURES = ((300, 0.025), (3_000, 0.0030), (100_000, 0.0012))
_CANDIDATES = 1_024
_REPETITIONS = 40


@dataclass(frozen=True)
class QuantileError:
    """Mean rank errors at one number of values; ``exact`` is what the grid alone costs, ``spread`` the standard error
    of ``pure``."""

    n: int
    pure: float
    in_ledger: float
    exact: float
    to_beat: float
    spread: float


def measure_quantiles(n_repetitions: int = _REPETITIONS) -> list[QuantileError]:
    """One row per number of values; the noise has no seed, so the figures vary by some percent."""
    n_rounds = count_rounds(len(FIVE))
    # noisy max of range epsilon costs epsilon^2 / 8 (Cesar and Rogers 2021), one for each round
    pure = ZeroConcentrated(n_rounds * (1 / n_rounds) ** 2 / 8)
    in_ledger = ZeroConcentrated(calibrate_rho(Budget(1.0, 1e-7)))
    found = []
    for n, to_beat in FIGURES:
        errors = [[_error(n, seed, event) for seed in range(n_repetitions)] for event in (pure, in_ledger, None)]
        means = [float(np.mean(each)) for each in errors]
        spread = float(np.std(errors[0], ddof=1)) / math.sqrt(n_repetitions)
        found.append(QuantileError(n, *means, to_beat, spread))
    return found


def _error(n: int, seed: int, event: Event | None) -> float:
    values = np.random.default_rng(seed).lognormal(6.0, 0.5, n).astype(int)
    counts = np.bincount(np.clip(values, 0, _CANDIDATES - 1), minlength=_CANDIDATES)
    at_most = np.cumsum(counts) / n
    if event is None:
        chosen = [find_quantile(counts.tolist(), fraction) for fraction in FIVE]
    else:
        chosen = draw_quantiles(counts.tolist(), fractions=FIVE, grant=grant_for(event, 1))
    return float(np.mean([abs(at_most[at] - f[0] / f[1]) for at, f in zip(chosen, FIVE, strict=True)]))


if __name__ == "__main__":
    for row in measure_quantiles(int(sys.argv[1]) if len(sys.argv) > 1 else _REPETITIONS):
        print(row)
