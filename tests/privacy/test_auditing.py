"""Lower bounds on epsilon: never above a known epsilon (in 95 of 100 runs), above 0 for what leaks."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ppsehr_spark.errors import UsageError
from ppsehr_spark.privacy.auditing import Audit, audit_scores, bound_by_guesses, bound_by_rates

DELTA = 1e-7
RATE = 0.8


def _audit_randomised_response(epsilon: float, *, n: int, seed: int, share_scored: float = 1.0) -> Audit:
    """One bit per patient, told truly with odds e^epsilon: exactly epsilon-DP, and scored as such."""
    generator = np.random.default_rng(seed)
    is_member = generator.random(n) < RATE
    is_true = generator.random(n) < 1 / (1 + math.exp(-epsilon))
    scores = np.where(is_true, is_member, ~is_member) + generator.random(n) * 1e-3
    members, others = scores[is_member], scores[~is_member]
    members = members[: max(1, round(share_scored * len(members)))]
    return audit_scores(list(members), list(others), delta=DELTA, inclusion_rate=RATE)


@pytest.mark.slow
@pytest.mark.parametrize("epsilon", [0.0, 0.5, 2.0])
def test_the_bounds_stay_below_the_epsilon_of_randomised_response(epsilon: float) -> None:
    audits = [_audit_randomised_response(epsilon, n=300, seed=seed) for seed in range(150)]
    n_wrong = sum(audit.epsilon_low > epsilon for audit in audits)
    assert n_wrong <= 0.05 * len(audits)


def test_scoring_as_many_of_each_side_proves_nothing_by_itself() -> None:
    audits = [_audit_randomised_response(0.0, n=400, seed=seed, share_scored=0.25) for seed in range(100)]
    assert sum(audit.epsilon_low > 0 for audit in audits) <= 5


def test_what_leaks_is_proved_to_leak() -> None:
    audit = _audit_randomised_response(4.0, n=2000, seed=1)
    assert 2.0 < audit.by_rates <= 4.0 and 2.0 < audit.by_guesses <= 4.0
    assert audit.epsilon_low == max(audit.by_rates, audit.by_guesses)


def test_a_perfect_attack_reaches_what_so_few_patients_can_prove() -> None:
    audit = audit_scores([1.0] * 96, [0.0] * 24, delta=DELTA, inclusion_rate=RATE)
    assert audit.by_rates == audit.most_provable == pytest.approx(2.387, abs=1e-3)
    more = audit_scores([1.0] * 960, [0.0] * 240, delta=DELTA, inclusion_rate=RATE)
    assert more.most_provable > audit.most_provable + 2


def test_equal_scores_prove_nothing_whoever_comes_first() -> None:
    for sides in (([1.0] * 50, [1.0] * 10), ([1.0] * 10, [1.0] * 50)):
        audit = audit_scores(*sides, delta=DELTA, inclusion_rate=RATE)
        assert (audit.by_rates, audit.by_guesses) == (0.0, 0.0)


def test_the_bound_by_rates_is_the_formula() -> None:
    from scipy.stats import beta

    low, high = beta.ppf(0.025, 40, 61), beta.ppf(0.975, 3, 98)
    assert bound_by_rates(40, 100, 2, 100, delta=0.01) == pytest.approx(math.log((low - 0.01) / high))
    assert bound_by_rates(2, 100, 40, 100, delta=0.0) == 0.0 == bound_by_rates(0, 10, 0, 10, delta=0.0)


def test_the_bound_by_guesses_is_the_binomial_tail_at_fair_coins() -> None:
    from scipy.stats import binom

    epsilon = bound_by_guesses(90, n_in=50, n_out=50, n_patients=100, delta=0.0, rates=(0.5, 0.5))
    assert binom.sf(89, 100, 1 / (1 + math.exp(-epsilon))) == pytest.approx(0.05, rel=1e-6)
    assert bound_by_guesses(50, n_in=50, n_out=50, n_patients=100, delta=0.0, rates=(0.5, 0.5)) == 0.0


def test_guessing_by_the_coin_alone_proves_nothing() -> None:
    assert bound_by_guesses(80, n_in=100, n_out=0, n_patients=1000, delta=0.0, rates=(0.8, 0.2)) == 0.0


def test_delta_and_a_stricter_error_rate_lower_the_bounds() -> None:
    guesses = {"n_in": 50, "n_out": 50, "n_patients": 100, "rates": (0.5, 0.5)}
    free = bound_by_guesses(90, delta=0.0, **guesses)  # type: ignore[arg-type]
    assert bound_by_guesses(90, delta=1e-3, **guesses) < free  # type: ignore[arg-type]
    assert bound_by_guesses(90, delta=0.0, error_rate=0.001, **guesses) < free  # type: ignore[arg-type]
    assert bound_by_rates(40, 100, 2, 100, delta=1e-2) < bound_by_rates(40, 100, 2, 100, delta=0.0)
    assert bound_by_rates(40, 100, 2, 100, delta=0.0, error_rate=1e-3) < bound_by_rates(40, 100, 2, 100, delta=0.0)


@pytest.mark.parametrize(
    ("members", "others", "rate"), [([], [1.0], 0.5), ([1.0], [math.inf], 0.5), ([1.0], [1.0], 1.0)]
)
def test_scores_that_cannot_be_audited_are_refused(members: list[float], others: list[float], rate: float) -> None:
    with pytest.raises(UsageError, match="AUDIT_SCORES"):
        audit_scores(members, others, delta=DELTA, inclusion_rate=rate)
