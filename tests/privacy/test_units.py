"""Guarantee, budget and bounds: three types that cannot stand for one another."""

from __future__ import annotations

import math

import pytest

from ppsehr_spark.errors import UsageError
from ppsehr_spark.privacy.units import Budget, ContributionBounds, Guarantee, require_small_delta


def test_budget_admits_what_is_at_least_as_strong() -> None:
    budget = Budget(1.0, 1e-6)
    assert budget.admits(Guarantee(1.0, 1e-6))
    assert not budget.admits(Guarantee(1.0001, 1e-6))
    assert not budget.admits(Guarantee(0.5, 2e-6))
    assert Budget(math.inf, 1e-6).admits(Guarantee(math.inf, 0))


def test_epsilons_do_not_add() -> None:
    for left, right in ((Guarantee(1, 1e-6), Guarantee(1, 1e-6)), (Budget(1, 1e-6), Budget(1, 1e-6))):
        with pytest.raises(TypeError):
            left + right  # type: ignore[operator]
    assert Budget(1, 1e-6) != Guarantee(1, 1e-6)


@pytest.mark.parametrize("unit", ["note", "encounter", "row", ""])
def test_only_a_patient_is_a_privacy_unit(unit: str) -> None:
    """dp.md, named mistakes: note-level DP sold as patient-level."""
    with pytest.raises(UsageError, match="PRIVACY_UNIT"):
        Guarantee(1.0, 1e-6, unit=unit)


@pytest.mark.parametrize(
    ("epsilon", "delta"), [(-1, 1e-6), (math.nan, 1e-6), (1, 0), (1, 1), (1, math.nan), (1, -1e-9)]
)
def test_impossible_budgets_are_refused(epsilon: float, delta: float) -> None:
    with pytest.raises(UsageError):
        Budget(epsilon, delta)


def test_delta_stays_below_one_over_patients() -> None:
    require_small_delta(Budget(1, 1e-6), n_patients=999_999)
    for n_patients in (1_000_000, 2_000_000, 0):
        with pytest.raises(UsageError, match="BUDGET_DELTA"):
            require_small_delta(Budget(1, 1e-6), n_patients=n_patients)


def test_bounds_give_the_change_by_one_patient() -> None:
    """A patient of four cells with three notes in each changes a vector by 12 in L1 and 6 in L2."""
    bounds = ContributionBounds(4, 3)
    assert (bounds.l1_sensitivity, bounds.l2_sensitivity) == (12, 6.0)


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "3"])
def test_bounds_are_whole_and_positive(value: object) -> None:
    with pytest.raises(UsageError, match="CONTRIBUTION_BOUND"):
        ContributionBounds(value, 1)  # type: ignore[arg-type]
