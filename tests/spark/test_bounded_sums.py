"""Patients are bounded alike however their rows are cut into Arrow batches; a giant patient spans many."""

from __future__ import annotations

import random
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from ppsehr_spark.privacy.catalogue import ENCOUNTERS, HISTOGRAM, MEAN, QUANTILE, Release
from ppsehr_spark.spark.statistics import aggregation, bounded_sums
from ppsehr_spark.spark.statistics.aggregation import sum_partition
from ppsehr_spark.spark.statistics.bounded_sums import NO_CELL, Integers

RELEASES = (
    Release("visits", "t", ENCOUNTERS, 0.2, "u", keys=("department",), max_cells=2, max_per_cell=3, max_encounters=6),
    Release("stay", "t", QUANTILE, 0.2, "u", measure="days", candidates=tuple(range(9)), max_encounters=2),
    Release("mean", "t", MEAN, 0.2, "u", keys=("sex",), measure="days", clamp=(0, 2), max_cells=1, max_per_cell=2),
    Release("size", "t", HISTOGRAM, 0.2, "u", measure="visits", edges=(1, 2, 5, 100)),
)
SCHEMA = pa.schema(
    [("patient_key", pa.string()), ("key", pa.int64()), *((f"c{at}", pa.int64()) for at in range(len(RELEASES)))]
)
Totals: TypeAlias = dict[tuple[int, int], int]


def list_cells(rows: pa.Table) -> list[Integers]:
    return [pc.fill_null(rows.column(f"c{at}"), NO_CELL).to_numpy() for at in range(len(RELEASES))]


def sum_cut(rows: pa.Table, size: int) -> Totals:
    (summed,) = sum_partition(iter(rows.to_batches(max_chunksize=size)), RELEASES, list_cells)
    return {(row["release"], row["cell"]): row["amount"] for row in summed.to_pylist()}


@pytest.fixture(scope="module")
def rows() -> pa.Table:
    """Patients of 1 to 4 rows around one of 300, in the order in which Spark hands them over."""
    dice = random.Random(5)
    sizes = [dice.randrange(1, 5) for _ in range(40)] + [300] + [dice.randrange(1, 5) for _ in range(40)]
    told = []
    for number, size in enumerate(sizes):
        key = dice.getrandbits(63)
        for _ in range(size):
            cells = [dice.choice([None, *range(5)]), dice.choice([None, *range(9)]), dice.randrange(6), 0]
            told.append({"patient_key": f"p{number:03d}", "key": key} | {f"c{at}": c for at, c in enumerate(cells)})
    return pa.Table.from_pylist(told, schema=SCHEMA)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 299, 300, 301])
def test_batches_cut_anywhere_give_the_same_sums(rows: pa.Table, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aggregation, "_ROWS_AT_ONCE", 1)
    assert sum_cut(rows, size) == sum_cut(rows, rows.num_rows)


def test_hashes_that_begin_alike_are_told_apart_by_the_rest(rows: pa.Table, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = sum_cut(rows, 64)
    monkeypatch.setattr(bounded_sums, "_HEAD_BITS", np.uint64(2))
    assert sum_cut(rows, 64) == expected


def test_a_giant_patient_adds_no_more_than_the_bounds_say(rows: pa.Table) -> None:
    giant = rows.filter(pc.equal(rows["patient_key"], "p040"))
    assert giant.num_rows == 300
    by_release: dict[int, list[int]] = {}
    for (release, _), amount in sum_cut(giant, 64).items():
        by_release.setdefault(release, []).append(amount)
    assert len(by_release[0]) <= 2 and max(by_release[0]) <= 3
    assert sum(by_release[1]) == 2
    assert sum(by_release[2]) == 2
    assert by_release[3] == [1]


def test_nobody_adds_nothing() -> None:
    assert sum_cut(SCHEMA.empty_table(), 5) == {}
