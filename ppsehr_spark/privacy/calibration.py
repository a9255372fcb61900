"""What to choose: the least noise that keeps a composition within a budget.

Knows: the search over one parameter. Must not know: data, ledgers. Reference: dp_accounting's mechanism calibration
(a bisection whose answer always keeps the target); Balle and Wang 2018 for the Gaussian special case.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ppsehr_spark.errors import UsageError
from ppsehr_spark.privacy.accounting import Accountant, compute_epsilon
from ppsehr_spark.privacy.events import Event, Gaussian, SampledGaussian, ZeroConcentrated
from ppsehr_spark.privacy.units import Budget

_RELATIVE_TOLERANCE = 1e-5
_MOST_DOUBLINGS = 60


def calibrate_noise_multiplier(
    budget: Budget, *, n_steps: int, sampling_rate: float = 1.0, accountant: Accountant = "rdp"
) -> float:
    """Smallest noise multiplier with which ``n_steps`` (Poisson-sampled) Gaussian steps stay within the budget.

    Args:
        sampling_rate: chance of each patient per step, in (0, 1]; 1 for steps on everybody.
        accountant: ``rdp`` to ask the ledger for it, ``pld`` for the tight figure.

    Returns:
        A multiplier within 0.001% of the least one, never below it.

    Raises:
        UsageError: ``CALIBRATION`` when the budget is infinite (ask for ``Exact`` then) or no noise keeps it.
    """

    def events(noise_multiplier: float) -> list[Event]:
        if sampling_rate == 1:
            return [Gaussian(noise_multiplier)] * n_steps
        return [SampledGaussian(noise_multiplier, sampling_rate, n_steps)]

    return _least(lambda x: compute_epsilon(events(x), delta=budget.delta, accountant=accountant), budget.epsilon)


def calibrate_rho(budget: Budget) -> float:
    """Largest rho that one zCDP release may have within the budget, by RDP; never above it."""
    inverse = _least(lambda x: compute_epsilon([ZeroConcentrated(1 / x)], delta=budget.delta), budget.epsilon)
    return 1 / inverse


def _least(cost: Callable[[float], float], target: float) -> float:
    """Smallest x with ``cost(x) <= target`` for a falling cost, by doubling and bisection from above."""
    if math.isinf(target):
        raise UsageError("CALIBRATION", hint="an infinite budget needs no noise; ask for an exact answer")
    low, high = 0.0, 1.0
    for _ in range(_MOST_DOUBLINGS):
        if cost(high) <= target:
            break
        low, high = high, high * 2
    else:
        raise UsageError("CALIBRATION", hint="no finite noise keeps this budget")
    while high - low > _RELATIVE_TOLERANCE * high:
        middle = (low + high) / 2
        low, high = (low, middle) if cost(middle) <= target else (middle, high)
    return high
