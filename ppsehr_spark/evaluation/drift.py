"""Drift of a measure between two versions of a table, by t-digests that stay inside the phi zone.

Knows: how value counts become a sketch, how sketches merge, what quantiles one holds and how far two lie apart. Must
not know: tables, what is measured. A t-digest is not differentially private: its centroids are values of single rows
and it keeps the extremes exactly. No sketch, and no figure made from one, is ever released. Algorithm and format are
those of the ``tdigest`` package; its order of merging is random and is fixed here. Reference: Dunning and Ertl 2019
(t-digest).
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from tdigest import TDigest  # type: ignore[import-untyped]  # the library ships no types

#: Any constant: the library breaks ties and orders merges by Python's random generator.
_MERGE_SEED = 20


def build_sketch(counts: Mapping[float, int]) -> str:
    """A t-digest as JSON; equal counts give equal text.

    Args:
        counts: value -> rows that hold it. Values are taken in an order of their own, so that neither the layout of a
            table nor the order of its partitions shows.
    """
    return _digest(sorted(counts.items()))


def merge_sketches(sketches: Sequence[str]) -> str:
    """One t-digest of the rows of all; equal sketches in equal order give equal text.

    All centroids go into the new sketch at once, as the package merges two: many merges one after the other would blur
    the middle again and again.
    """
    parts = [json.loads(sketch)["centroids"] for sketch in sketches]
    return _digest([(centroid["m"], centroid["c"]) for part in parts for centroid in part])


def count_rows(sketch: str) -> int:
    """Rows that went into a sketch."""
    return round(sum(float(centroid["c"]) for centroid in json.loads(sketch)["centroids"]))


def read_quantiles(sketch: str, fractions: Sequence[float]) -> list[float]:
    """Values below which these shares of the rows lie, on the curve of ``compare_sketches``; NaN of no rows."""
    means, shares = _read_curve(sketch)
    return [float(np.interp(each, shares, means)) if len(means) else float("nan") for each in fractions]


def _digest(weighted: Sequence[tuple[float, float]]) -> str:
    """Values of single rows or centroids, in a fixed shuffled order: in rising order hardly any are joined."""
    digest = TDigest()
    with _fixed_merges():
        for value, weight in random.sample(weighted, len(weighted)):
            digest.update(value, weight)
    return json.dumps(digest.to_dict(), sort_keys=True)


def compare_sketches(before: str, after: str) -> float:
    """Largest distance between the two distribution functions, 0 (same) to 1; 1 when just one of them is empty.

    The function rises linearly between centroids and stands at the middle of a centroid's mass at its mean.
    """
    curves = [_read_curve(before), _read_curve(after)]
    if not all(len(means) for means, _ in curves):
        return float(len(curves[0][0]) != len(curves[1][0]))
    points = np.concatenate([means for means, _ in curves])
    first, second = (np.interp(points, means, shares, left=0.0, right=1.0) for means, shares in curves)
    return float(np.abs(first - second).max())


def _read_curve(sketch: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rising means of the centroids, and the share of rows up to the middle of each."""
    centroids = json.loads(sketch)["centroids"]
    counts = np.array([centroid["c"] for centroid in centroids], dtype=np.float64)
    means = np.array([centroid["m"] for centroid in centroids], dtype=np.float64)
    return means, (np.cumsum(counts) - counts / 2) / max(counts.sum(), 1.0)


@contextmanager
def _fixed_merges() -> Iterator[None]:
    """Within, the library's choices are always the same; afterwards the generator is where it was."""
    state = random.getstate()
    random.seed(_MERGE_SEED)
    try:
        yield
    finally:
        random.setstate(state)
