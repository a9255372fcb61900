"""Drift of a measure between two versions of a table, by t-digests that stay inside the phi zone.

Knows: how value counts become a sketch, how sketches merge, what quantiles one holds and how far two lie apart. Must
not know: tables, what is measured. A t-digest is not differentially private: its centroids are values of single rows
and it keeps the extremes exactly. No sketch, and no figure made from one, is ever released. The format is that of the
``tdigest`` package, which reads what is stored here; the engine is ``fastdigest``, which adds whole arrays and draws
nothing at random. Reference: Dunning and Ertl 2019 (t-digest).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np
from fastdigest import TDigest
from numpy.typing import NDArray

#: Most centroids of a sketch: some 40 KB as JSON. Fewer different values than this are kept exactly.
_CENTROIDS = 1_000
#: What the ``tdigest`` package compresses by when it goes on with a stored sketch: its own defaults.
_DELTA, _K = 0.01, 25


def build_sketch(counts: Mapping[float, int]) -> str:
    """A t-digest as JSON; equal counts give equal text.

    Args:
        counts: value -> rows that hold it. Values are taken in rising order, so that neither the layout of a table nor
            the order of its partitions shows.
    """
    return sketch_arrays(np.array(list(counts), np.float64), np.array(list(counts.values()), np.int64))


def sketch_arrays(values: NDArray[np.float64], counts: NDArray[np.int64]) -> str:
    """The same from (n,) different values and (n,) rows that hold each."""
    order = np.argsort(values)
    return _digest(values[order].tolist(), counts[order].tolist())


def merge_sketches(sketches: Sequence[str]) -> str:
    """One t-digest of the rows of all; equal sketches in equal order give equal text.

    All centroids go into the new sketch at once: many merges one after the other would blur the middle again and again.
    """
    centroids = [centroid for sketch in sketches for centroid in json.loads(sketch)["centroids"]]
    return _digest([centroid["m"] for centroid in centroids], [centroid["c"] for centroid in centroids])


def count_rows(sketch: str) -> int:
    """Rows that went into a sketch."""
    return round(sum(float(centroid["c"]) for centroid in json.loads(sketch)["centroids"]))


def read_quantiles(sketch: str, fractions: Sequence[float]) -> list[float]:
    """Values below which these shares of the rows lie, on the curve of ``compare_sketches``; NaN of no rows."""
    means, shares = _read_curve(sketch)
    return [float(np.interp(each, shares, means)) if len(means) else float("nan") for each in fractions]


def _digest(values: Sequence[float], weights: Sequence[float]) -> str:
    """Values of single rows or centroids, in the order given."""
    made = TDigest.from_values(values, weights, max_centroids=_CENTROIDS) if len(values) else TDigest(_CENTROIDS)
    centroids = [{"m": mean, "c": weight} for mean, weight in made.centroids]
    return json.dumps({"n": made.mass(), "delta": _DELTA, "K": _K, "centroids": centroids}, sort_keys=True)


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
