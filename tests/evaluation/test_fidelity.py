"""Distances of marginals on worked examples, and floors that hold against simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from ppsehr_spark.errors import UsageError
from ppsehr_spark.evaluation.fidelity import (
    NoisyMarginal,
    compute_distance,
    estimate_total,
    expect_sample_distance,
    measure_marginal,
    project_counts,
)


def _marginal(counts: list[float], noise_scale: float = 0.0) -> NoisyMarginal:
    return NoisyMarginal("m", np.array(counts, dtype=float), noise_scale)


def test_the_distance_is_half_the_sum_of_differences() -> None:
    assert compute_distance(np.array([0.5, 0.5, 0.0]), np.array([0.25, 0.25, 0.5])) == 0.5
    assert compute_distance(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == 1.0


@pytest.mark.parametrize(
    ("counts", "total", "expected"),
    [
        ([3.0, 1.0], 4.0, [3.0, 1.0]),
        ([5.0, 1.0], 4.0, [4.0, 0.0]),
        ([4.0, 3.0, -2.0], 4.0, [2.5, 1.5, 0.0]),
        ([-1.0, -3.0], 2.0, [2.0, 0.0]),
        ([1.0, 1.0, 1.0, 1.0], 8.0, [2.0, 2.0, 2.0, 2.0]),
    ],
)
def test_projection_on_worked_examples(counts: list[float], total: float, expected: list[float]) -> None:
    assert project_counts(np.array(counts), total=total) == pytest.approx(expected)


def test_the_projection_is_the_nearest_possible_point() -> None:
    generator = np.random.default_rng(1)
    for _ in range(20):
        counts = generator.normal(2, 4, 3)
        found = project_counts(counts, total=6.0)
        assert found.min() >= 0 and found.sum() == pytest.approx(6)
        grid = [
            np.array([a, b, 6 - a - b]) for a, b in itertools.product(np.linspace(0, 6, 61), repeat=2) if a + b <= 6
        ]
        nearest = min(float(((point - counts) ** 2).sum()) for point in grid)
        assert float(((found - counts) ** 2).sum()) <= nearest + 1e-9


def test_many_rows_are_projected_each_for_itself() -> None:
    rows = np.array([[4.0, 3.0, -2.0], [1.0, 1.0, 2.0]])
    assert project_counts(rows, total=4.0) == pytest.approx(np.array([[2.5, 1.5, 0.0], [1.0, 1.0, 2.0]]))


def test_clipping_would_have_inflated_what_noise_pushed_up() -> None:
    noisy = np.array([90.0, 10.0, *[5.0, -5.0] * 20])
    clipped = np.maximum(noisy, 0) / np.maximum(noisy, 0).sum()
    projected = project_counts(noisy, total=100.0) / 100.0
    truth = np.array([0.9, 0.1, *[0.0] * 40])
    assert compute_distance(projected, truth) < compute_distance(clipped, truth) / 2


def test_the_total_trusts_the_sums_with_least_noise() -> None:
    assert estimate_total([_marginal([60.0, 40.0], 1.0), _marginal([60.0, 60.0], 1e6)]) == pytest.approx(100, abs=1e-6)
    assert estimate_total([_marginal([60.0, 40.0], 2.0), _marginal([70.0, 40.0], 2.0)]) == pytest.approx(105)
    assert estimate_total([_marginal([60.0, 40.0], 0.0), _marginal([90.0, 40.0], 2.0)]) == 100
    assert estimate_total([_marginal([-60.0, 40.0], 5.0)]) == 1.0


def test_an_exact_marginal_met_exactly_is_at_distance_zero() -> None:
    found = measure_marginal(_marginal([30.0, 10.0]), np.array([3.0, 1.0]), total=40.0)
    assert (found.distance, found.noise_floor, found.n_synthetic) == (0.0, 0.0, 4)
    assert found.floor == pytest.approx(found.sample_floor, rel=0.2) and found.excess == 0.0


def test_a_wrong_model_stands_out_from_the_floor() -> None:
    truth = _marginal([500.0, 300.0, 150.0, 50.0], 5.0)
    right = measure_marginal(truth, np.array([250.0, 150.0, 75.0, 25.0]), total=1000.0)
    wrong = measure_marginal(truth, np.array([25.0, 75.0, 150.0, 250.0]), total=1000.0)
    assert right.excess == 0.0 and right.distance <= right.floor_high
    assert wrong.distance == pytest.approx(0.6) and wrong.excess > 0.5


def test_sampling_alone_on_a_fair_coin_is_exact() -> None:
    shares = np.array([0.5, 0.5])
    by_hand = sum(math.comb(10, k) * abs(k / 10 - 0.5) for k in range(11)) / 2**10
    assert expect_sample_distance(shares, 10) == pytest.approx(by_hand, rel=1e-12)
    assert expect_sample_distance(np.array([1.0, 0.0]), 5) == 0.0


def test_floors_agree_with_a_simulation_of_their_own() -> None:
    generator = np.random.default_rng(7)
    shares, total, scale, n = np.array([0.4, 0.3, 0.2, 0.1, 0.0]), 200.0, 15.0, 40
    noise, both = [], []
    for _ in range(3000):
        released = project_counts(shares * total + generator.normal(0, scale, 5), total=total) / total
        noise.append(compute_distance(released, shares))
        both.append(compute_distance(released, generator.multinomial(n, shares) / n))
    found = measure_marginal(_marginal(list(shares * total), scale), np.array([16.0, 12.0, 8.0, 4.0, 0.0]), total=total)
    assert found.noise_floor == pytest.approx(np.mean(noise), rel=0.1)
    assert found.floor == pytest.approx(np.mean(both), rel=0.1)
    assert found.floor_high == pytest.approx(np.quantile(both, 0.95), rel=0.1)


def test_other_cells_and_no_records_are_refused() -> None:
    for synthetic in ([1.0], [0.0, 0.0]):
        with pytest.raises(UsageError, match="MARGINAL_CELLS"):
            measure_marginal(_marginal([1.0, 2.0]), np.array(synthetic), total=3.0)
