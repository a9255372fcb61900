"""Hierarchies and tables: levels that agree, noise that shrinks as stated, bounds that hold at every level."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest

from ppsehr_spark.config import load_settings
from ppsehr_spark.lake.statistics_plan import load_public_lists, plan_stage
from ppsehr_spark.privacy.consistency import (
    Design,
    count_levels,
    design_hierarchy,
    design_table,
    make_consistent,
    measure_design,
    shrink_noise,
)

LISTS = {"system": ("内科", "外科"), "ward": tuple("abcde"), "sex": ("M", "F")}
PARENTS = {"ward": {"a": "内科", "b": "内科", "c": "外科", "d": "外科", "e": "外科"}}


def _designs() -> list[tuple[Any, Design]]:
    return [design_hierarchy(("system", "ward"), LISTS, PARENTS), design_table(("system", "sex"), LISTS)]


def test_cells_stand_from_coarse_to_fine_with_what_lies_below() -> None:
    cells, design = _designs()[0]
    assert cells[0] == () and design[0] == (0, 1, 2, 3, 4)
    assert cells[1:3] == ((("system", "内科"),), (("system", "外科"),)) and design[1:3] == ((0, 1), (2, 3, 4))
    assert cells[-1] == (("system", "外科"), ("ward", "e")) and count_levels(design) == 3
    cells, design = _designs()[1]
    assert len(cells) == 1 + 2 + 2 + 4 and count_levels(design) == 4
    assert design[cells.index((("sex", "F"),))] == (1, 3)


@pytest.mark.parametrize("at", [0, 1])
def test_estimates_agree_and_leave_what_agrees_alone(at: int) -> None:
    _, design = _designs()[at]
    generator = random.Random(6)
    counts = [generator.randrange(100) for _ in range(1 + max(map(max, design)))]
    exact = measure_design(counts, design)
    assert make_consistent(exact, design) == exact
    noised = [value + generator.gauss(0, 20) for value in exact]
    estimate = make_consistent(noised, design)
    base = [estimate[design.index((i,))] for i in range(len(counts))]
    assert estimate == pytest.approx(measure_design(base, design), abs=1e-4)  # type: ignore[arg-type]


@pytest.mark.parametrize("at", [0, 1])
def test_the_noise_left_is_what_is_stated_and_never_more_than_measured(at: int) -> None:
    _, design = _designs()[at]
    generator = np.random.default_rng(9)
    draws = np.array([make_consistent(list(row), design) for row in generator.normal(0, 1, (4000, len(design)))])
    stated = shrink_noise(design)
    # a standard deviation of 4000 draws has a relative error of 0.011; eight of them
    assert np.allclose(draws.std(axis=0), stated, rtol=0.09) and max(stated) <= 1
    assert stated[0] < 0.9, "the total profits from the levels below it"


@pytest.mark.parametrize("at", [0, 1])
def test_a_patient_changes_all_levels_by_the_norm_that_is_stated(at: int) -> None:
    _, design = _designs()[at]
    levels, generator = count_levels(design), random.Random(3)
    for n_visits in (1, 2, 4):
        largest = 0.0
        for _ in range(100):
            counts = [0] * (1 + max(map(max, design)))
            for _ in range(n_visits):
                counts[generator.choice([0, generator.randrange(len(counts))])] += 1
            largest = max(largest, math.hypot(*measure_design(counts, design)))
        assert largest == pytest.approx(math.sqrt(levels) * n_visits), "reached by visits that all fall into one cell"


def test_every_icd_code_of_the_public_lists_has_its_block_and_chapter() -> None:
    lists = load_public_lists(load_settings().files)
    planned = next(each for each in plan_stage(load_settings())[0] if each.release.id == "encounters_by_icd")
    assert set(lists.parents["icd_code"]) == set(lists.values["icd_code"])
    assert (("chapter", "IX"), ("block", "I20-I25"), ("icd_code", "I21")) in planned.cells
    leaves = [members for members in planned.part.design if len(members) == 1]
    assert {member for (member,) in leaves} == set(range(planned.n_counted))
