"""Sums, means and variances: what one visit changes, exact values, and intervals that hold what they promise."""

from __future__ import annotations

import dataclasses
import math
import random
import statistics

import pytest

from ppsehr_spark.privacy.catalogue import Catalogue, Release
from ppsehr_spark.privacy.grants import Grant
from ppsehr_spark.privacy.ledger import Ledger
from ppsehr_spark.privacy.moments import bound_moments, measure_moments
from ppsehr_spark.privacy.releases import PlannedRelease, StatisticRow, draw_part, make_rows, plan_releases
from ppsehr_spark.privacy.units import Budget
from tests.privacy.small_ledger import make_ledger, make_query

LISTS = {"bed": tuple("abcd")}


def _release(kind: str, low: int = 0, high: int = 30) -> Release:
    return Release(
        "stay", "t", kind, 1.0, "u", keys=("bed",), measure="days", clamp=(low, high), max_encounters=3, max_cells=2,
        max_per_cell=2,
    )  # fmt: skip


def _plan(release: Release, epsilon: float) -> PlannedRelease:
    return plan_releases(Catalogue(Budget(epsilon, 1e-6), (release,), 2.0), lists=LISTS, span_cells=())[0]


def _draw(planned: PlannedRelease, counts: list[int], ledger: Ledger) -> list[StatisticRow]:
    part = planned.part
    grant = ledger.reserve(dataclasses.replace(make_query(part.name), event=part.event, bounds=part.bounds))
    assert isinstance(grant, Grant)
    return make_rows(planned, part, draw_part(part, counts, grant=grant))


@pytest.mark.parametrize("kind", ["sum", "mean", "variance"])
@pytest.mark.parametrize(("low", "high"), [(0, 30), (-7, 12), (20, 21)])
def test_a_patient_changes_the_vector_by_its_bounds_at_most_and_sometimes_by_all_of_them(
    kind: str, low: int, high: int
) -> None:
    release, generator, largest = _release(kind, low, high), random.Random(4), 0
    bounds = bound_moments(release, 4)
    n_values = high - low + 1
    for _ in range(200):
        cells = generator.sample(range(4), 2)
        values = [
            [generator.choice([0, n_values - 1, generator.randrange(n_values)]) for _ in range(n)] for n in (2, 1)
        ]
        counts = [0] * (4 * n_values)
        for cell, own in zip(cells, values, strict=True):
            for value in own:
                counts[cell * n_values + value] += 1
        vector = measure_moments(release, counts)
        largest = max(largest, *map(abs, vector))
        assert max(map(abs, vector)) <= bounds.max_per_cell and sum(v != 0 for v in vector) <= bounds.max_cells
        assert math.hypot(*vector) <= bounds.l2_sensitivity
    assert largest == bounds.max_per_cell


@pytest.mark.parametrize("kind", ["sum", "mean", "variance"])
def test_an_infinite_budget_gives_the_textbook_value(kind: str, open_ended: Ledger) -> None:
    generator, planned = random.Random(8), _plan(_release(kind), math.inf)
    values = [[generator.randrange(31) for _ in range(n)] for n in (40, 1, 7, 0)]
    counts = [own.count(value) for own in values for value in range(31)]
    rows = _draw(planned, counts, open_ended)
    textbook = {"sum": sum, "mean": statistics.fmean, "variance": statistics.pvariance}[kind]
    for own, row in zip(values, rows, strict=True):
        if own:
            assert row.value == pytest.approx(textbook(own), abs=1e-5)  # type: ignore[operator]
            assert row.low == pytest.approx(row.value) and row.high == pytest.approx(row.value)
    assert kind == "sum" or rows[3].is_suppressed, "nobody has no mean"


@pytest.mark.parametrize("kind", ["mean", "variance"])
@pytest.mark.parametrize("n", [60, 6000])
def test_intervals_hold_the_value_at_least_as_often_as_they_say(kind: str, n: int) -> None:
    planned, generator = _plan(_release(kind), 2.0), random.Random(2)
    own = [min(30, int(generator.expovariate(0.15))) for _ in range(n)]
    counts = [own.count(value) for _ in range(4) for value in range(31)]
    truth = statistics.fmean(own) if kind == "mean" else statistics.pvariance(own)
    rows = [row for _ in range(100) for row in _draw(planned, counts, make_ledger(5.0))]
    held = sum(row.low <= truth <= row.high for row in rows)  # type: ignore[operator]
    # 380 of 400 expected at least; 34 fewer is eight standard deviations
    assert held >= 346, held
    widths = [row.high - row.low for row in rows]  # type: ignore[operator]
    assert n < 6000 or min(widths) < (3 if kind == "mean" else 60), "an interval that says something"
