"""AUC and operating points, exact on worked scores; intervals that hold what they promise."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from ppsehr_spark.errors import UsageError
from ppsehr_spark.evaluation.attacks import compute_auc, loss_scores, measure_attack
from ppsehr_spark.privacy.proportions import bound_share, bound_share_above, bound_share_below


def test_a_small_loss_is_a_high_score() -> None:
    assert loss_scores([0.5, 2.0]) == [-0.5, -2.0]


@pytest.mark.parametrize(
    ("members", "others", "auc"),
    [
        ([3.0, 2.0, 1.0], [0.0, 2.0, 1.0], 7 / 9),
        ([1.0], [0.0], 1.0),
        ([0.0], [1.0], 0.0),
        ([1.0, 1.0], [1.0], 0.5),
        ([0.9, 0.8, 0.35], [0.7, 0.4, 0.3, 0.1], 10 / 12),
    ],
)
def test_auc_on_worked_scores(members: list[float], others: list[float], auc: float) -> None:
    assert measure_attack(members, others).auc.value == pytest.approx(auc)


def test_auc_counts_pairs() -> None:
    generator = np.random.default_rng(3)
    members, others = generator.integers(0, 6, 40).astype(float), generator.integers(0, 5, 30).astype(float)
    pairs = [(a > b) + (a == b) / 2 for a, b in itertools.product(members, others)]
    assert compute_auc(members, others) == pytest.approx(np.mean(pairs))


def test_rates_where_false_alarms_are_rare() -> None:
    others = [float(value) for value in range(200)]
    members = [198.5, 199.5, 197.5, 10.0]
    report = measure_attack(members, others)
    at_1_percent, at_01_percent = report.points
    assert (at_1_percent.rate.value, at_1_percent.n_false, at_1_percent.is_resolved) == (0.75, 2, True)
    assert (at_01_percent.rate.value, at_01_percent.n_false, at_01_percent.is_resolved) == (0.25, 0, False)
    assert at_01_percent.rate.low == pytest.approx(0.00631, abs=1e-5)
    assert at_01_percent.rate.high == pytest.approx(0.80588, abs=1e-5)
    assert (report.n_members, report.n_others) == (4, 200)


def test_ties_with_a_false_alarm_do_not_count_as_hits() -> None:
    assert measure_attack([1.0, 1.0], [1.0, 0.0]).points[0].rate.value == 0.0


def test_the_interval_of_the_auc_has_a_width_at_both_ends() -> None:
    perfect, reversed_ = measure_attack([2.0] * 20, [1.0] * 10).auc, measure_attack([1.0] * 20, [2.0] * 10).auc
    assert perfect.value == perfect.high == 1.0 and 0.7 < perfect.low < 0.95
    assert reversed_.value == reversed_.low == 0.0 and 0.05 < reversed_.high < 0.3


def test_the_interval_of_the_auc_covers_the_truth() -> None:
    generator, n_covered = np.random.default_rng(11), 0
    for _ in range(400):
        auc = measure_attack(list(generator.normal(1, 1, 40)), list(generator.normal(0, 1, 20))).auc
        n_covered += auc.low <= 0.76025 <= auc.high  # Phi(1 / sqrt 2)
    assert n_covered >= 0.92 * 400


def test_shares_have_the_textbook_limits() -> None:
    assert bound_share(0, 10) == pytest.approx((0.0, 0.30850), abs=1e-5)
    assert bound_share(10, 10) == pytest.approx((0.69150, 1.0), abs=1e-5)
    assert bound_share(5, 10) == pytest.approx((0.18709, 0.81291), abs=1e-5)
    assert bound_share(0, 0) == (0.0, 1.0)
    assert bound_share_above(0, 59) == pytest.approx(0.0495, abs=1e-4) and bound_share_below(59, 59) == pytest.approx(
        0.9505, abs=1e-4
    )


@pytest.mark.parametrize(("members", "others"), [([], [1.0]), ([1.0], []), ([float("nan")], [1.0])])
def test_scores_that_say_nothing_are_refused(members: list[float], others: list[float]) -> None:
    with pytest.raises(UsageError, match="ATTACK_SCORES"):
        measure_attack(members, others)
