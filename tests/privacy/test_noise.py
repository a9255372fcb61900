"""Mechanisms under a grant: their scale, their limits and the mistakes that the tests must catch.

No seed is fixed anywhere; the widths of the statistical checks are stated at each of them.
"""

from __future__ import annotations

import math
import random
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ppsehr_spark.errors import UsageError
from ppsehr_spark.privacy import noise
from ppsehr_spark.privacy.events import Event, Exact, Gaussian, PureEpsilon, ZeroConcentrated
from ppsehr_spark.privacy.grants import Grant
from tests.privacy.small_ledger import make_ledger, make_query

ROOT = Path(__file__).resolve().parents[2]
Draw = Callable[..., list[int]]
#: Cells per statistical check: the sample deviation of a Gaussian is then within 8% of the truth but for 1e-12 or so.
N_CELLS = 4_000
MEDIAN = ((1, 2),)


def grant_for(event: Event, bounds: tuple[int, int] = (1, 1)) -> Grant:
    grant = make_ledger(math.inf).reserve(make_query(event=event, bounds=bounds))
    assert isinstance(grant, Grant)
    return grant


def test_exact_answers_are_exact() -> None:
    assert noise.draw_counts([5, 0, -2], grant=grant_for(Exact())) == [5, 0, -2]
    assert draw_median([5, 9, 2], Exact()) == 1


def test_laplace_has_the_reserved_scale() -> None:
    """Discrete Laplace of scale b has deviation sqrt(2) b up to terms in 1 / b^2; 12% covers its heavier tail."""
    values = noise.draw_counts([0] * N_CELLS, grant=grant_for(PureEpsilon(0.05), (2, 1)))
    assert statistics.pstdev(values) == pytest.approx(math.sqrt(2) * 40, rel=0.12)


def test_the_librarys_own_map_stays_within_the_event() -> None:
    for rho, bounds in ((0.5, (1, 1)), (0.01, (7, 3)), (1e-6, (3, 1000))):
        query = make_query(event=ZeroConcentrated(rho), bounds=bounds)
        counts, best = noise._build_counts(query), noise._build_best(bounds[1], rho)
        assert 0.999 * rho <= counts.map(query.bounds.l2_sensitivity) <= rho
        assert 0.999 * rho <= best.map(bounds[1]) <= rho


def draw_median(counts: list[int], event: Event) -> int:
    return noise.draw_quantiles(counts, fractions=MEDIAN, grant=grant_for(event))[0]


def test_noisy_max_prefers_the_best_and_hides_the_close() -> None:
    far = [draw_median([0, 0, 1_000], ZeroConcentrated(0.1)) for _ in range(20)]
    close = {draw_median([10, 11], ZeroConcentrated(0.001)) for _ in range(60)}
    assert set(far) == {2}
    assert close == {0, 1}


def test_a_mechanism_draws_only_its_own_events() -> None:
    with pytest.raises(UsageError, match="NOISE_EVENT"):
        noise.draw_counts([1, 2], grant=grant_for(Gaussian(1.0)))
    for event in (Gaussian(1.0), PureEpsilon(1.0)):
        with pytest.raises(UsageError, match="NOISE_EVENT"):
            draw_median([1, 2], event)
    for counts in ([], [1, -1]):
        with pytest.raises(UsageError, match="VALUE_TYPE"):
            draw_median(counts, Exact())


# Named mistakes of dp.md: each check holds for our mechanism and fails on the planted one.


def _deviation(draw: Draw, value: int, bounds: tuple[int, int] = (1, 1), rho: float = 0.005) -> float:
    drawn = draw([value] * N_CELLS, grant=grant_for(ZeroConcentrated(rho), bounds))
    return statistics.pstdev(drawn)


def _check_scale(draw: Draw) -> None:
    """l2_sensitivity 1 at rho 0.005 is a deviation of 10."""
    assert _deviation(draw, 50) == pytest.approx(10, rel=0.08)


def _check_scale_ignores_the_data(draw: Draw) -> None:
    for value in (0, 3, 1_000_000):
        assert _deviation(draw, value) == pytest.approx(10, rel=0.08)


def _check_patient_level(draw: Draw) -> None:
    """Four cells with three notes each: six times the noise of one note."""
    assert _deviation(draw, 50, (4, 3)) == pytest.approx(60, rel=0.08)


def _check_integers_only(draw: Draw) -> None:
    for value in (1.5, np.float64(2.0), np.int64(3), True, "4", 2**62, None):
        with pytest.raises(UsageError, match="VALUE_TYPE"):
            draw([1, value], grant=grant_for(Exact()))


def _check_no_seed(draw: Draw) -> None:
    """Two draws after the same seeds of random and NumPy differ; 40 cells of deviation 10 agree by chance never."""
    drawn = []
    for _ in range(2):
        random.seed(1)
        np.random.seed(1)
        drawn.append(draw([50] * 40, grant=grant_for(ZeroConcentrated(0.005))))
    assert drawn[0] != drawn[1]


def _check_needs_a_grant(draw: Draw) -> None:
    with pytest.raises(UsageError, match="GRANT_FORGED"):
        draw([1], grant=None)
    grant = grant_for(ZeroConcentrated(0.005))
    draw([1], grant=grant)
    with pytest.raises(UsageError, match="GRANT_REDEEMED"):
        draw([1], grant=grant)


CHECKS = (
    _check_scale, _check_scale_ignores_the_data, _check_patient_level, _check_integers_only, _check_no_seed,
    _check_needs_a_grant,
)  # fmt: skip


@pytest.mark.parametrize("check", CHECKS)
def test_our_mechanism_holds(check: Callable[[Draw], None]) -> None:
    check(noise.draw_counts)


def _gauss(values: Sequence[Any], scale: float) -> list[int]:
    return [round(value + random.gauss(0, scale)) for value in values]


def _scaled_by_the_data(values: Sequence[int], *, grant: Grant) -> list[int]:
    return _gauss(values, 10 * max(values))


def _clipped_to_a_share_of_the_mean(values: Sequence[int], *, grant: Grant) -> list[int]:
    most = 0.1 * statistics.mean(values)
    return [round(v + min(max(random.gauss(0, 10), -most), most)) for v in values]


def _per_note(values: Sequence[int], *, grant: Grant) -> list[int]:
    return _gauss(values, 10)


def _fixed_seed(values: Sequence[int], *, grant: Grant) -> list[int]:
    noise_source = random.Random(7)
    return [round(value + noise_source.gauss(0, 10)) for value in values]


@pytest.mark.parametrize(
    ("check", "mistake"),
    [
        (_check_scale_ignores_the_data, _scaled_by_the_data),
        (_check_scale, _clipped_to_a_share_of_the_mean),
        (_check_patient_level, _per_note),
        (_check_integers_only, _per_note),
        (_check_no_seed, _fixed_seed),
        (_check_needs_a_grant, _per_note),
    ],
    ids=lambda value: value.__name__,
)
def test_a_planted_mistake_is_found(check: Callable[[Draw], None], mistake: Draw) -> None:
    with pytest.raises((AssertionError, TypeError, pytest.fail.Exception)):
        check(mistake)


@pytest.mark.slow
def test_two_processes_draw_differently() -> None:
    script = (
        "import random, numpy; random.seed(1); numpy.random.seed(1);"
        "from tests.privacy.test_noise import grant_for; from ppsehr_spark.privacy import noise;"
        "from ppsehr_spark.privacy.events import ZeroConcentrated;"
        "print(noise.draw_counts([0] * 40, grant=grant_for(ZeroConcentrated(0.005))))"
    )
    command = [sys.executable, "-c", script]
    runs = [subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout for _ in range(2)]
    assert runs[0].startswith("[") and runs[0] != runs[1]
