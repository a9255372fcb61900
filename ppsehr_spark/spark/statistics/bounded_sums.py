"""Bounded sums of one partition: rows in the order of patient and hash in, one integer per release and cell out.

Knows: the bounds of every release, as array operations over whole batches. Must not know: Spark, noise, what a cell
stands for. All numbers are 64-bit integers. Order within a patient is that of a keyed hash; cells are chosen by the
patient's keyed hash mixed with the cell. Reference: Steele, Lea and Flood 2014 (SplitMix64), a mixer and not a source
of randomness: whoever knows neither the lake's key nor the patient's hash cannot tell which cells are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ppsehr_spark.privacy.catalogue import LEVELLED, MOMENTS, QUANTILE, Release

Integers: TypeAlias = NDArray[np.int64]
#: Cell of an item that does not count for a release.
NO_CELL = -1
_ODD = np.uint64(0x9E3779B97F4A7C15)
_STEPS = ((np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)), (np.uint64(27), np.uint64(0x94D049BB133111EB)))
_LAST_SHIFT = np.uint64(31)


class BoundedSums:
    """Sums over patients, each within the bounds of each release.

    First at most ``max_encounters`` items of a patient that count for the release, then at most ``max_cells`` cells,
    then at most ``max_per_cell`` of each. What one patient adds is what the plan promised the ledger.
    """

    def __init__(self, releases: Sequence[Release]) -> None:
        self._releases = releases
        self._sums: list[tuple[Integers, Integers]] = [_nothing() for _ in releases]

    def add(self, owners: Integers, keys: Integers, cells: Integers) -> None:
        """Add whole patients.

        Args:
            owners: (rows,) number of each row's patient, rising; rows of a patient stand in hash order.
            keys: (rows,) keyed hash of the patient.
            cells: (rows, releases) cell of the row for each release, ``NO_CELL`` where it does not count.
        """
        for at, release in enumerate(self._releases):
            counted = np.flatnonzero(cells[:, at] != NO_CELL)
            bounded = _bound(release, owners[counted], keys[counted], cells[counted, at])
            known = self._sums[at]
            self._sums[at] = _sum_up(*(np.concatenate(pair) for pair in zip(known, bounded, strict=True)))

    def totals(self) -> tuple[Integers, Integers, Integers]:
        """Release, cell and sum of every cell that somebody touched."""
        releases = [np.full(len(cells), at, np.int64) for at, (cells, _) in enumerate(self._sums)]
        cells, sums = ([pair[side] for pair in self._sums] for side in (0, 1))
        return np.concatenate(releases), np.concatenate(cells), np.concatenate(sums)


def _bound(release: Release, owners: Integers, keys: Integers, cells: Integers) -> tuple[Integers, Integers]:
    """Cells and amounts of all patients for one release."""
    if release.is_per_patient:
        return _bound_patients(release, owners)
    if release.max_encounters:
        kept = _rank(owners) < release.max_encounters
        owners, keys, cells = owners[kept], keys[kept], cells[kept]
    if release.kind in MOMENTS:
        return _bound_measured(release, owners, keys, cells)
    order, starts = _group(owners, cells)
    amounts = _sizes(starts, len(cells))
    first = order[starts]
    if release.kind in (QUANTILE, *LEVELLED):  # bounded by visits alone, wherever they fall
        return cells[first], np.minimum(amounts, release.max_encounters)
    kept = _rank_cells(owners[first], keys[first], cells[first]) < release.max_cells
    return cells[first[kept]], np.minimum(amounts[kept], release.max_per_cell)


def _bound_patients(release: Release, owners: Integers) -> tuple[Integers, Integers]:
    """The bin of the number of a patient's items; none for a patient without any."""
    sizes = _sizes(_starts(owners), len(owners))
    return np.searchsorted(release.edges[1:], sizes, side="right").astype(np.int64), np.ones_like(sizes)


def _bound_measured(release: Release, owners: Integers, keys: Integers, codes: Integers) -> tuple[Integers, Integers]:
    """At most ``max_per_cell`` visits in each of the cells that are kept.

    Args:
        codes: cell times the number of clamped values, plus the value above the lower clamp.
    """
    cells = codes // (release.span + 1)
    order, starts = _group(owners, cells)
    first = order[starts]
    is_kept = _rank_cells(owners[first], keys[first], cells[first]) < release.max_cells
    group = np.repeat(np.arange(len(starts)), _sizes(starts, len(order)))
    kept = order[is_kept[group] & (_rank(group) < release.max_per_cell)]
    return codes[kept], np.ones(len(kept), np.int64)


def _group(owners: Integers, cells: Integers) -> tuple[Integers, Integers]:
    """Rows by patient and cell, in a cell as they stood, and where each group starts in that order."""
    order = np.lexsort((cells, owners))
    changes = (np.diff(owners[order]) != 0) | (np.diff(cells[order]) != 0)
    return order, np.flatnonzero(np.concatenate(([len(order) > 0], changes))) if len(order) else order


def _rank_cells(owners: Integers, keys: Integers, cells: Integers) -> Integers:
    """Place of each cell among its patient's by the hash of both: by the cell alone, all would lose the same ones."""
    hashes = _mix(keys.view(np.uint64) ^ _mix(cells.view(np.uint64) + _ODD))
    order = np.lexsort((cells, hashes, owners))
    ranks = np.empty(len(order), np.int64)
    ranks[order] = _rank(owners[order])
    return ranks


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's finaliser: one to one, and every bit depends on every bit."""
    for shift, factor in _STEPS:
        values = (values ^ (values >> shift)) * factor
    return values ^ (values >> _LAST_SHIFT)


def _rank(groups: Integers) -> Integers:
    """0-based place of each row within its run of equal groups."""
    starts = _starts(groups)
    return np.arange(len(groups)) - np.repeat(starts, _sizes(starts, len(groups)))


def _starts(groups: Integers) -> Integers:
    return np.flatnonzero(np.concatenate(([True], np.diff(groups) != 0))) if len(groups) else groups


def _sizes(starts: Integers, n_rows: int) -> Integers:
    return np.diff(np.concatenate((starts, [n_rows])))


def _sum_up(cells: Integers, amounts: Integers) -> tuple[Integers, Integers]:
    """One amount per cell, in integers."""
    if not len(cells):
        return _nothing()
    order = np.argsort(cells, kind="stable")
    starts = _starts(cells[order])
    return cells[order][starts], np.add.reduceat(amounts[order], starts)


def _nothing() -> tuple[Integers, Integers]:
    return np.empty(0, np.int64), np.empty(0, np.int64)
