"""Drift sketches on Spark: the same bytes for the same rows however they lie, and close to the exact ranks."""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pytest

from ppsehr_spark.evaluation.drift import build_sketch, count_rows, merge_sketches, read_quantiles
from ppsehr_spark.spark.statistics.sketches import sketch_partition, sketch_values

Row: TypeAlias = tuple[str, str, int | None]
_FRACTIONS = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99)
#: Largest rank error of any of these quantiles; measured .0005 for 2,000 rows of this kind and less for more.
_BOUND = 0.001
_COUNTED = pa.schema([("measure", pa.string()), ("bucket", pa.int32()), ("value", pa.float64()), ("count", pa.int64())])


def _make_rows(n: int) -> list[Row]:
    """Keys as random as HMACs, days with many ties, lengths with few, and some nulls."""
    dice = random.Random(8)
    keys = [hashlib.sha256(str(at).encode()).hexdigest() for at in range(n)]
    days = [("days", key, None if dice.random() < 0.01 else int(dice.expovariate(0.12))) for key in keys]
    return [*days, *(("chars", key, int(dice.lognormvariate(6.0, 1.0))) for key in keys)]


def _rank_error(values: Sequence[float], sketch: str) -> float:
    """Largest distance of a fraction from the ranks that its quantile, as a whole number, holds."""
    ordered = np.sort(np.array(values, dtype=np.float64))
    errors = [0.0]
    for fraction, found in zip(_FRACTIONS, read_quantiles(sketch, _FRACTIONS), strict=True):
        low, high = (np.searchsorted(ordered, round(found), side) / len(ordered) for side in ("left", "right"))
        errors.append(max(low - fraction, fraction - high))
    return max(errors)


@pytest.mark.spark
def test_a_sketch_is_the_same_for_the_same_rows_and_close_to_their_ranks(spark: Any) -> None:
    rows = _make_rows(5_000)
    shuffled = random.Random(1).sample(rows, len(rows))

    def sketch(told: Sequence[Row], n_partitions: int) -> Mapping[str, str]:
        columns = dict(zip(("measure", "key", "value"), map(list, zip(*told, strict=True)), strict=True))
        return sketch_values(spark.createDataFrame(pa.table(columns)).repartition(n_partitions))

    found = sketch(rows, 1)
    assert found == sketch(shuffled, 7)
    for measure in ("days", "chars"):
        values = [value for name, _, value in rows if name == measure and value is not None]
        assert count_rows(found[measure]) == len(values)
        assert _rank_error(values, found[measure]) <= _BOUND, measure
    assert sketch_values(spark.createDataFrame([], "measure string, key string, value int")) == {}


def test_a_sketch_has_the_packages_format_and_bounded_size() -> None:
    counts = Counter(int(random.Random(2).lognormvariate(6.0, 1.0)) for _ in range(50_000))
    counts.update(range(5_000))
    merged = json.loads(merge_sketches([build_sketch(counts), build_sketch({3: 4}), build_sketch({})]))
    assert set(merged) == {"n", "delta", "K", "centroids"} and merged["n"] == counts.total() + 4
    assert {frozenset(each) for each in merged["centroids"]} == {frozenset({"m", "c"})}
    assert len(merged["centroids"]) < 1_500


def _partition(rows: Sequence[tuple[str, int, float, int]], *, size: int) -> dict[tuple[str, int], str]:
    table = pa.Table.from_pylist([dict(zip(_COUNTED.names, row, strict=True)) for row in rows], schema=_COUNTED)
    found = [row for batch in sketch_partition(iter(table.to_batches(size))) for row in batch.to_pylist()]
    return {(row["measure"], row["bucket"]): row["sketch"] for row in found}


def test_a_partition_is_sketched_alike_however_its_batches_are_cut() -> None:
    dice = random.Random(4)
    rows = [(name, at, float(value), dice.randrange(1, 9)) for name in "ab" for at in (3, 0, 7) for value in range(40)]
    whole = _partition(rows, size=1_000)
    assert set(whole) == {(name, at) for name in "ab" for at in (0, 3, 7)}
    for size in (1, 7):
        assert _partition(dice.sample(rows, len(rows)), size=size) == whole
    assert list(sketch_partition(iter([]))) == []
    assert whole["a", 3] == build_sketch({value: count for name, at, value, count in rows if (name, at) == ("a", 3)})
