"""Quantiles of released histograms: right without noise, and inside their intervals as often as those say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from ppsehr_spark.lake.histogram_quantiles import FRACTIONS, quantiles_sql

_LABELS = ("0", "1", "2-3", "4-7", "8-14", "15-30", "31+")
_FIRST = (0, 1, 2, 4, 8, 15, 31)
_N_DRAWS = 400
#: Visits per bin: broad, nearly all in one bin, and few.
_SHAPES = ((40, 90, 200, 300, 150, 60, 30), (0, 0, 5_000, 30, 0, 0, 0), (0, 9, 30, 40, 20, 3, 2))


def _ask(histograms: Sequence[Sequence[float]], *, half: float) -> dict[int, list[dict[str, Any]]]:
    """Histogram -> its rows of the view, P10 first."""
    rows = [
        {"query": str(at), "title": "t", "cell": cell, "value": float(value), "low": value - half, "high": value + half,
         "kind": "histogram", "k": {"name": "days", "value": _LABELS[cell]}}
        for at, histogram in enumerate(histograms)
        for cell, value in enumerate(histogram)
    ]  # fmt: skip
    rows.append({**rows[0], "query": "-1", "kind": "count"})
    table = pa.Table.from_pylist(rows)
    with duckdb.connect() as connection:
        connection.register("statistics", table)
        found = connection.sql(quantiles_sql("SELECT * FROM statistics") + " ORDER BY query, quantile").to_arrow_table()
    grouped: dict[int, list[dict[str, Any]]] = {}
    for row in found.to_pylist():
        grouped.setdefault(int(row["query"]), []).append(row)
    return grouped


def test_without_noise_a_quantile_stands_in_its_bin() -> None:
    (rows,) = _ask([(110, 0, 100, 0, 0, 80, 110)], half=0).values()
    assert [row["quantile"] for row in rows] == ["P10", "P25", "P50", "P75", "P90"]
    expected = [(0, 0, 0), (0, 0, 0), (2.9, 2, 3), (31, 31, None), (31, 31, None)]
    assert [(row["value"], row["low"], row["high"]) for row in rows] == expected
    assert {(row["title"], row["measure"]) for row in rows} == {("t", "days")}


def test_negative_bins_count_as_empty_and_an_empty_histogram_has_no_quantile() -> None:
    clamped, empty = _ask([(-9, -9, 50, 50, -9, -9, -9), (-3, -2, -1, 0, -1, -2, -3)], half=6).values()
    assert [row["value"] for row in clamped] == [2.2, 2.5, 3.0, 5.5, 6.4]
    assert {row["value"] for row in empty} == {None}


def test_the_intervals_hold_what_they_say() -> None:
    """95% for each fraction; of 400 draws, 26 misses more than expected are less likely than 1e-7."""
    sd, generator = 6.0, np.random.default_rng()
    for shape in _SHAPES:
        noised = np.rint(np.array(shape) + generator.normal(0, sd, (_N_DRAWS, len(shape))))
        found = _ask(noised.tolist(), half=12)
        at_most = np.cumsum(shape) / sum(shape)
        for at, fraction in enumerate(FRACTIONS):
            truth = _FIRST[int(np.searchsorted(at_most, float(fraction)))]
            rows = [each[at] for each in found.values()]
            inside = sum(row["low"] <= truth <= (np.inf if row["high"] is None else row["high"]) for row in rows)
            assert inside >= 0.95 * _N_DRAWS - 26, (shape, fraction)
            assert all(row["low"] <= row["value"] <= (row["high"] or 1e9) for row in rows if row["value"] is not None)


def test_a_large_histogram_is_read_to_one_bin_and_a_small_one_is_not() -> None:
    large, small = _ask([(0, 0, 9_000, 300, 0, 0, 0), (1, 0, 2, 1, 0, 0, 1)], half=12).values()
    assert [(row["low"], row["high"]) for row in large] == [(2, 3)] * 5
    assert {(row["low"], row["high"]) for row in small} == {(0, None)}
