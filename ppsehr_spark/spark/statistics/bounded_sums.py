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
Hashes: TypeAlias = NDArray[np.uint64]
#: Cells, and the amount of each.
_Amounts: TypeAlias = tuple[Integers, Integers]
#: Cell of an item that does not count for a release.
NO_CELL = -1
_ODD = np.uint64(0x9E3779B97F4A7C15)
_STEPS = ((np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)), (np.uint64(27), np.uint64(0x94D049BB133111EB)))
_LAST_SHIFT = np.uint64(31)
#: Cells stay below 2^31 (``key_forms.MOST_KEYS``); of patients and of hashes beside them there is room for these bits.
_CELL_BITS, _HEAD_BITS = 31, np.uint64(40)
#: Sums of so many batches are held one beside another before they are added up.
_KEPT_APART = 32
_NOTHING: Integers = np.empty(0, np.int64)


class BoundedSums:
    """Sums over patients, each within the bounds of each release.

    First at most ``max_encounters`` items of a patient that count for the release, then at most ``max_cells`` cells,
    then at most ``max_per_cell`` of each. What one patient adds is what the plan promised the ledger.
    """

    def __init__(self, releases: Sequence[Release]) -> None:
        self._releases = releases
        self._sums: list[list[_Amounts]] = [[] for _ in releases]

    def add(self, owners: Integers, keys: Integers, cells: Sequence[Integers]) -> None:
        """Add whole patients.

        Args:
            owners: (rows,) number of each row's patient, rising from 0; rows of a patient stand in hash order.
            keys: (rows,) keyed hash of the patient.
            cells: for each release (rows,), the cell of the row, ``NO_CELL`` where it does not count.
        """
        hashes = keys[_starts(owners)].view(np.uint64)
        for release, sums, places in zip(self._releases, self._sums, cells, strict=True):
            counted = np.flatnonzero(places != NO_CELL)
            sums.append(_sum_up(*_bound(release, owners[counted], hashes, places[counted])))
            if len(sums) > _KEPT_APART:
                sums[:] = [_join(sums)]

    def totals(self) -> tuple[Integers, Integers, Integers]:
        """Release, cell and sum of every cell that somebody touched."""
        joined = [_join(sums) for sums in self._sums]
        releases = [np.full(len(cells), at, np.int64) for at, (cells, _) in enumerate(joined)]
        cells, sums = ([pair[side] for pair in joined] for side in (0, 1))
        return np.concatenate(releases), np.concatenate(cells), np.concatenate(sums)


def _join(sums: Sequence[_Amounts]) -> _Amounts:
    cells, amounts = (np.concatenate([_NOTHING, *(pair[side] for pair in sums)]) for side in (0, 1))
    return _sum_up(cells, amounts)


def _bound(release: Release, owners: Integers, hashes: Hashes, cells: Integers) -> _Amounts:
    """Cells and amounts of all patients for one release.

    Args:
        hashes: (patients,) keyed hash of each patient, at its number.
    """
    if release.is_per_patient:
        return _bound_patients(release, owners)
    if release.max_encounters:
        kept = _rank(owners) < release.max_encounters
        owners, cells = owners[kept], cells[kept]
    if release.kind in MOMENTS:
        return _bound_measured(release, owners, hashes, cells)
    groups, amounts = np.unique(_pair(owners, cells), return_counts=True)
    owners, cells = _part(groups)
    if release.kind in (QUANTILE, *LEVELLED):  # bounded by visits alone, wherever they fall
        return cells, np.minimum(amounts, release.max_encounters)
    kept = _keep_cells(release.max_cells, owners, hashes, cells)
    return cells[kept], np.minimum(amounts[kept], release.max_per_cell)


def _bound_patients(release: Release, owners: Integers) -> _Amounts:
    """The bin of the number of a patient's items; none for a patient without any."""
    sizes = _sizes(_starts(owners), len(owners))
    return np.searchsorted(release.edges[1:], sizes, side="right").astype(np.int64), np.ones_like(sizes)


def _bound_measured(release: Release, owners: Integers, hashes: Hashes, codes: Integers) -> _Amounts:
    """At most ``max_per_cell`` visits in each of the cells that are kept.

    Args:
        codes: cell times the number of clamped values, plus the value above the lower clamp.
    """
    pairs = _pair(owners, codes // (release.span + 1))
    order = np.argsort(pairs, kind="stable")  # in a cell as they stood: by hash
    starts = _starts(pairs[order])
    of_group, cells = _part(pairs[order][starts])
    is_kept = _keep_cells(release.max_cells, of_group, hashes, cells)
    group = np.repeat(np.arange(len(starts)), _sizes(starts, len(order)))
    kept = order[is_kept[group] & (_rank(group) < release.max_per_cell)]
    return codes[kept], np.ones(len(kept), np.int64)


def _pair(owners: Integers, cells: Integers) -> Integers:
    """Patient and cell as one number that sorts like both; a cell takes 31 bits, a batch has fewer patients."""
    return (owners << _CELL_BITS) | cells


def _part(pairs: Integers) -> tuple[Integers, Integers]:
    return pairs >> _CELL_BITS, pairs & ((1 << _CELL_BITS) - 1)


def _keep_cells(n: int, owners: Integers, hashes: Hashes, cells: Integers) -> NDArray[np.bool_]:
    """The first ``n`` cells of each patient by the hash of both: by the cell alone, all would lose the same ones.

    Args:
        owners, cells: each pair once, in rising order.
    """
    starts = _starts(owners)
    sizes = _sizes(starts, len(owners))
    kept = np.ones(len(owners), np.bool_)
    many = np.flatnonzero(np.repeat(sizes > n, sizes))
    if len(many):
        kept[many] = _rank_cells(owners[many], hashes, cells[many]) < n
    return kept


def _rank_cells(owners: Integers, hashes: Hashes, cells: Integers) -> Integers:
    """Place of each cell among its patient's."""
    mixed = _mix(hashes[owners] ^ _mix(cells.view(np.uint64) + _ODD))
    # patient and the hash's upper bits sort at once; only where they are equal do the others have to be looked at
    heads = (owners.view(np.uint64) << _HEAD_BITS) | (mixed >> (np.uint64(64) - _HEAD_BITS))
    order = np.argsort(heads)
    if np.any(np.diff(heads[order]) == 0):
        order = np.lexsort((cells, mixed, owners))
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


def _sum_up(cells: Integers, amounts: Integers) -> _Amounts:
    """One amount per cell, in integers."""
    if not len(cells):
        return _NOTHING, _NOTHING
    order = np.argsort(cells)
    starts = _starts(cells[order])
    return cells[order][starts], np.add.reduceat(amounts[order], starts)
