"""Drift sketches: the same for the same rows, and a distance that tells drift from none."""

from __future__ import annotations

import json
import random
from bisect import bisect_left
from collections import Counter

import pytest
import tdigest  # type: ignore[import-untyped]  # the library ships no types

from ppsehr_spark.evaluation.drift import build_sketch, compare_sketches


def _lengths(n: int, *, mean: float, seed: int) -> Counter[int]:
    generator = random.Random(seed)
    return Counter(int(generator.lognormvariate(mean, 1.0)) for _ in range(n))


def _largest_distance(first: Counter[int], second: Counter[int]) -> float:
    """Of the two distribution functions, each taken in the middle of a value's mass."""
    values, below, largest = sorted(first | second), [0.0, 0.0], 0.0
    for value in values:
        shares = [first[value] / first.total(), second[value] / second.total()]
        middles = [under + share / 2 for under, share in zip(below, shares, strict=True)]
        largest = max(largest, abs(middles[0] - middles[1]))
        below = [under + share for under, share in zip(below, shares, strict=True)]
    return largest


def test_equal_counts_give_an_equal_sketch() -> None:
    counts = _lengths(20_000, mean=6.0, seed=1)
    assert build_sketch(counts) == build_sketch(dict(sorted(counts.items(), reverse=True)))


def test_the_tdigest_package_reads_a_stored_sketch_and_goes_on_with_it() -> None:
    counts = _lengths(20_000, mean=6.0, seed=1)
    theirs = tdigest.TDigest().update_from_dict(json.loads(build_sketch(counts)))
    ordered = sorted(counts.elements())
    for share in (1, 10, 50, 90, 99):
        assert bisect_left(ordered, theirs.percentile(share)) / len(ordered) == pytest.approx(share / 100, abs=0.005)
    assert theirs.n == counts.total()


@pytest.mark.parametrize("mean", [6.0, 6.1, 7.0])
def test_the_distance_is_that_of_the_rows(mean: float) -> None:
    before, after = _lengths(20_000, mean=6.0, seed=1), _lengths(20_000, mean=mean, seed=2)
    found = compare_sketches(build_sketch(before), build_sketch(after))
    assert found == pytest.approx(_largest_distance(before, after), abs=0.01)
    assert (found > 0.03) == (mean > 6.0)


def test_an_empty_table_differs_from_any_other_and_not_from_itself() -> None:
    empty, one = build_sketch({}), build_sketch({3: 1})
    assert [compare_sketches(*pair) for pair in ((empty, empty), (empty, one), (one, empty), (one, one))] == [
        0,
        1,
        1,
        0,
    ]
