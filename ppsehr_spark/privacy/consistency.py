"""Tables and hierarchies: every level measured with its own noise, then made to agree by least squares.

Knows: which base cells each released cell sums, and the estimate that agrees at all levels. Must not know: data,
budgets, what a cell means. Post-processing: it sees noised integers alone and costs nothing.
Reference: Hay, Rastogi, Miklau and Suciu 2010, Theorem 3 (consistent estimates of least variance).

With the design matrix A (released x base cells, 0 or 1) and noise of equal variance, the estimate of all released cells
is ``P y`` with ``P = A pinv(A)``; their standard deviations are ``sd * sqrt(diag P)``, at most that of a cell's own
noise.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np

#: Base cells that each released cell sums, in the order of released cells.
Design: TypeAlias = tuple[tuple[int, ...], ...]
#: Public keys of one cell.
Cell: TypeAlias = tuple[tuple[str, str], ...]
_DIGITS = 6


def design_hierarchy(
    levels: Sequence[str], lists: Mapping[str, Sequence[str]], parents: Mapping[str, Mapping[str, str]]
) -> tuple[tuple[Cell, ...], Design]:
    """Cells of every level, from coarse to fine, with the base cells below each; a total stands first.

    Args:
        levels: list names, coarse to fine; the last one's values are the base cells.
        parents: list -> value -> the value of the next coarser list that it belongs to.
    """
    base = list(lists[levels[-1]])
    paths: list[Cell] = [((levels[-1], value),) for value in base]
    for name in reversed(levels[1:]):
        coarser = levels[levels.index(name) - 1]
        paths = [((coarser, parents[name][path[0][1]]), *path) for path in paths]
    cells: list[Cell] = [()]
    design = [tuple(range(len(base)))]
    for depth in range(1, len(levels) + 1):
        below: dict[Cell, list[int]] = {}
        for at, path in enumerate(paths):
            below.setdefault(path[:depth], []).append(at)
        cells += below
        design += [tuple(members) for members in below.values()]
    return tuple(cells), tuple(design)


def design_table(keys: Sequence[str], lists: Mapping[str, Sequence[str]]) -> tuple[tuple[Cell, ...], Design]:
    """The total, every margin over fewer keys, then the cells of the whole table."""
    base = list(itertools.product(*(lists[key] for key in keys)))
    cells: list[Cell] = []
    design = []
    for size in range(len(keys) + 1):
        for chosen in itertools.combinations(range(len(keys)), size):
            members: dict[Cell, list[int]] = {}
            for at, values in enumerate(base):
                members.setdefault(tuple((keys[i], values[i]) for i in chosen), []).append(at)
            cells += members
            design += [tuple(each) for each in members.values()]
    return tuple(cells), tuple(design)


def count_levels(design: Design) -> int:
    """How often each base cell is measured; the same number for all of them."""
    return sum(map(len, design)) // (1 + max(map(max, design)))


def measure_design(counts: Sequence[int], design: Design) -> list[int]:
    """The sum of every released cell."""
    return [sum(counts[at] for at in members) for members in design]


def make_consistent(measured: Sequence[float], design: Design) -> list[float]:
    """Estimates of all released cells that agree with each other."""
    estimate = _project(design) @ np.asarray(measured, dtype=np.float64)
    return [round(float(value), _DIGITS) + 0.0 for value in estimate]


def shrink_noise(design: Design) -> list[float]:
    """Standard deviation of every estimate as a share of that of one measurement."""
    return [round(float(value), _DIGITS) for value in np.sqrt(np.clip(np.diag(_project(design)), 0.0, 1.0))]


@lru_cache(maxsize=16)
def _project(design: Design) -> Any:
    """Onto what agrees; by the normal equations, whose matrix is whole because the base cells are measured, too."""
    matrix = np.zeros((len(design), 1 + max(map(max, design))))
    for row, members in enumerate(design):
        matrix[row, list(members)] = 1.0
    return matrix @ np.linalg.solve(matrix.T @ matrix, matrix.T)
