"""The proposed division of rho: least among all divisions, by either error."""

from __future__ import annotations

import random

import pytest

from ppsehr_spark.privacy.allocation import ABSOLUTE, SQUARED, Claim, allocate_rho, sum_error

CLAIMS = (Claim("a", 1.0, 1.0), Claim("b", 2.8, 1.0, 40.0), Claim("c", 120.0, 3.0, 300.0))


@pytest.mark.parametrize("power", [SQUARED, ABSOLUTE])
def test_no_other_division_of_the_total_has_a_smaller_error(power: int) -> None:
    best = allocate_rho(CLAIMS, 0.04, power=power)
    assert sum(best.values()) == pytest.approx(0.04)
    least, generator = sum_error(CLAIMS, best, power=power), random.Random(7)
    for _ in range(500):
        parts = [value * generator.uniform(0.5, 2) for value in best.values()]
        other = {name: 0.04 * part / sum(parts) for name, part in zip(best, parts, strict=True)}
        assert sum_error(CLAIMS, other, power=power) >= least * (1 - 1e-12)


def test_the_closed_forms_are_the_square_and_the_cube_root() -> None:
    pair = (Claim("a", 1.0, 1.0), Claim("b", 8.0, 1.0))
    squared, absolute = (allocate_rho(pair, 1.0, power=power) for power in (SQUARED, ABSOLUTE))
    assert squared["b"] / squared["a"] == pytest.approx(8) and absolute["b"] / absolute["a"] == pytest.approx(4)
