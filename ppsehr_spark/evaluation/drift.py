"""Drift of a measure between two versions of a table, by t-digests that stay inside the phi zone.

Knows: how value counts become a sketch and how far two sketches lie apart. Must not know: tables, what is measured. A
t-digest is not differentially private: its centroids are values of single rows and it keeps the extremes exactly. No
sketch, and no figure made from one, is ever released. Reference: Dunning and Ertl 2019 (t-digest).
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from tdigest import TDigest  # type: ignore[import-untyped]  # the library ships no types

#: Any constant: the library breaks ties and orders merges by Python's random generator.
_MERGE_SEED = 20


def build_sketch(counts: Mapping[int, int]) -> str:
    """A t-digest as JSON; equal counts give equal text.

    Args:
        counts: value -> rows that hold it. Values are taken in rising order, so that neither the layout of a table nor
            the order of its partitions shows.
    """
    digest = TDigest()
    with _fixed_merges():
        for value, count in sorted(counts.items()):
            digest.update(value, count)
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
