"""Bootstrap over notes: how far a figure would move if other notes had been drawn (Efron 1979, percentile method).

Knows: rows of counts that add up. Must not know: what the counts mean.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

_CHUNK_CELLS = 4_000_000
_MAX_ROWS = 5_000


def resample_sums(matrix: npt.NDArray[np.float64], *, n_replicates: int, seed: int) -> npt.NDArray[np.float64]:
    """Column sums of ``n_replicates`` resamples of the rows with replacement.

    More than 5,000 rows are first added up into 5,000 random groups, which are then resampled: sums over random groups
    of independent rows have the same expected variance, at a fraction of the cost.

    Args:
        matrix: counts, shape ``(n_rows, n_columns)``, at least one row.
        n_replicates: how many resamples.
        seed: same seed, same resamples.

    Returns:
        Array of shape ``(n_replicates, n_columns)``.
    """
    generator = np.random.default_rng(seed)
    rows = _group_rows(matrix, generator) if len(matrix) > _MAX_ROWS else matrix
    chunks = [weights @ rows for weights in _draw_weights(len(rows), n_replicates, generator)]
    return np.concatenate(chunks) if chunks else np.zeros((0, matrix.shape[1]))


def percentile_interval(values: npt.NDArray[np.float64], *, level: float = 0.95) -> tuple[float, float]:
    """Central interval of the finite replicates; ``(nan, nan)`` when there are none."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return float("nan"), float("nan")
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _group_rows(matrix: npt.NDArray[np.float64], generator: np.random.Generator) -> npt.NDArray[np.float64]:
    """Add the rows up in ``_MAX_ROWS`` random groups whose sizes differ by one at most."""
    shuffled = matrix[generator.permutation(len(matrix))]
    first_rows = np.linspace(0, len(matrix), _MAX_ROWS, endpoint=False).astype(np.intp)
    return np.add.reduceat(shuffled, first_rows, axis=0)


def _draw_weights(n_rows: int, n_replicates: int, generator: np.random.Generator) -> Iterator[npt.NDArray[np.float64]]:
    """How often each row is drawn, a bounded number of replicates at a time (shape ``(n, n_rows)``)."""
    step = max(1, _CHUNK_CELLS // n_rows)
    for first in range(0, n_replicates, step):
        n_here = min(step, n_replicates - first)
        drawn = (np.bincount(generator.integers(0, n_rows, n_rows), minlength=n_rows) for _ in range(n_here))
        yield np.stack(list(drawn)).astype(np.float64)
