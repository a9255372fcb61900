"""Resampling: repeatable, centred, as wide as theory says, and the same for grouped rows."""

from __future__ import annotations

import numpy as np
import pytest

from ppsehr_spark.domain.notes import Span
from ppsehr_spark.evaluation.annotation import evaluate_spans
from ppsehr_spark.evaluation.bootstrap import percentile_interval, resample_sums


@pytest.mark.parametrize("n_rows", [400, 20_000])
def test_spread_of_a_share_is_binomial(n_rows: int) -> None:
    hits = (np.arange(n_rows) % 10 < 3).astype(float)
    sums = resample_sums(np.column_stack([hits, np.ones(n_rows)]), n_replicates=2_000, seed=1)
    share = sums[:, 0] / sums[:, 1]
    assert sums[:, 1] == pytest.approx(n_rows, rel=1e-3)
    assert share.mean() == pytest.approx(0.3, abs=3 * (0.21 / n_rows) ** 0.5)
    assert share.std() == pytest.approx((0.21 / n_rows) ** 0.5, rel=0.1)


def test_same_seed_same_replicates() -> None:
    matrix = np.arange(60.0).reshape(20, 3)
    first, second = (resample_sums(matrix, n_replicates=10, seed=5) for _ in range(2))
    assert (first == second).all()
    assert (first != resample_sums(matrix, n_replicates=10, seed=6)).any()


def test_interval_ignores_undefined_replicates() -> None:
    low, high = percentile_interval(np.array([np.nan, 1.0, 2.0, 3.0]), level=1.0)
    assert (low, high) == (1.0, 3.0)
    assert np.isnan(percentile_interval(np.array([np.nan]))).all()


def test_intervals_cover_the_point_estimate() -> None:
    gold = {str(i): [Span(0, 4, "NAME")] for i in range(200)}
    predicted = {str(i): [Span(0, 4, "NAME")] if i % 4 else [] for i in range(200)}
    report = evaluate_spans(gold, predicted, dict.fromkeys(gold, 10), n_replicates=500)
    low, high = report.intervals["strict.NAME.recall"]
    assert low < 0.75 < high
    assert high - low == pytest.approx(2 * 1.96 * (0.75 * 0.25 / 200) ** 0.5, rel=0.2)
