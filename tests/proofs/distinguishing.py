"""How well somebody who sees one output tells two neighbours apart: a lower bound on epsilon from samples.

The event is chosen on one half of the samples and judged on the other, so it may be chosen freely and one exact pair of
binomial limits is enough (Bichsel, Steffen, Bogunovic and Vechev 2021, "DP-Sniper"; Gilbert and McMillan 2018,
"Property testing for differential privacy"). For (epsilon, delta)-DP every event S has P(S) <= e^epsilon P'(S) + delta,
so ln((P(S) - delta) / P'(S)) with Clopper-Pearson limits is above the true epsilon with chance ``ERROR_RATE`` at most.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from ppsehr_spark.privacy.auditing import bound_by_rates

#: Chance that one bound is wrong, and with it the chance that an honest mechanism fails a test.
ERROR_RATE = 1e-7
_CHOICES = 512


def prove_epsilon(first: Sequence[float], second: Sequence[float], *, delta: float = 0.0) -> float:
    """The greatest epsilon that samples of one number each refute, for either direction.

    Args:
        first, second: what was seen of the outputs for two neighbours, drawn independently.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    (a_choose, a_judge), (b_choose, b_judge) = (np.split(side, [len(side) // 2]) for side in (a, b))
    sides = ((a_choose, b_choose, a_judge, b_judge), (b_choose, a_choose, b_judge, a_judge))
    return max(_judge(*side, delta=delta) for side in sides)


def _judge(
    targets: np.ndarray, others: np.ndarray, held: np.ndarray, held_others: np.ndarray, *, delta: float
) -> float:
    event = _choose_event(targets, others, delta)
    hits, false = int(event(held).sum()), int(event(held_others).sum())
    return bound_by_rates(hits, len(held), false, len(held_others), delta=delta, error_rate=ERROR_RATE / 2)


def _choose_event(targets: np.ndarray, others: np.ndarray, delta: float) -> Callable[[np.ndarray], np.ndarray]:
    """Above, below or equal to some value: whichever promises most, by the limits on the samples for choosing."""
    values = np.unique(targets)
    values = values[np.linspace(0, len(values) - 1, min(len(values), _CHOICES)).astype(int)]
    kinds = (np.greater_equal, np.less_equal, np.equal)

    def promise(choice: tuple[float, np.ufunc]) -> float:
        hits, false = (int(choice[1](side, choice[0]).sum()) for side in (targets, others))
        return bound_by_rates(hits, len(targets), false, len(others), delta=delta, error_rate=ERROR_RATE / 2)

    value, kind = max(itertools.product(values, kinds), key=promise)
    return lambda seen: kind(seen, value)
