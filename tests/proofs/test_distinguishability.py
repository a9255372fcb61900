"""Every mechanism as the product calls it, under a reservation of a real ledger: neighbours stay indistinguishable.

No seed is fixed. Each bound is wrong with chance 1e-7 at most (``distinguishing``); a test has ten bounds at most.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest

from ppsehr_spark.privacy import noise
from ppsehr_spark.privacy.accounting import compute_epsilon
from ppsehr_spark.privacy.calibration import calibrate_rho
from ppsehr_spark.privacy.events import Event, PureEpsilon, ZeroConcentrated
from ppsehr_spark.privacy.grants import Grant
from ppsehr_spark.privacy.units import Budget
from tests.privacy.small_ledger import DELTA, make_ledger, make_query
from tests.proofs.distinguishing import prove_epsilon

#: Cells of one draw are drawn independently: one call gives as many samples of a cell.
N_CELLS = 20_000
#: Draws of a whole vector, or of an index, each under a reservation of its own.
N_DRAWS = 1_500
ONE = ZeroConcentrated(calibrate_rho(Budget(1.0, DELTA)))
Draw = Callable[..., list[int]]


def grant_for(event: Event, bounds: tuple[int, int] = (1, 1)) -> Grant:
    outcome = make_ledger(math.inf).reserve(make_query(event=event, bounds=bounds))
    assert isinstance(outcome, Grant)
    return outcome


def sample_cells(draw: Draw, value: int, *, event: Event, most: int = 1, n: int = N_CELLS) -> list[int]:
    """Many draws of one cell that holds ``value`` and that one patient changes by ``most``."""
    return draw([value] * n, grant=grant_for(event, (1, most)))


def test_the_estimator_proves_what_is_there_and_no_more() -> None:
    """Dwork, McSherry, Nissim and Smith 2006: Laplace of scale 1 / epsilon is epsilon-DP and no better."""
    pairs = [
        [sample_cells(noise.draw_counts, value, event=PureEpsilon(epsilon)) for value in (0, 1)]
        for epsilon in (0.5, 2.0)
    ]
    assert 0.35 < prove_epsilon(*pairs[0]) <= 0.5
    assert 1.7 < prove_epsilon(*pairs[1]) <= 2.0


def test_a_discrete_laplace_cell_keeps_its_epsilon() -> None:
    """Ghosh, Roughgarden and Sundararajan 2009 (discrete Laplace), at a change of three by one patient."""
    event = PureEpsilon(1.0)
    seen = [sample_cells(noise.draw_counts, value, event=event, most=3) for value in (50, 53)]
    assert 0.8 < prove_epsilon(*seen) <= 1.0


def test_a_discrete_gaussian_cell_keeps_its_epsilon_at_every_delta() -> None:
    """Canonne, Kamath and Steinke 2020, Theorem 4; the claim is dp_accounting's for the event in the ledger."""
    for event, least in ((ONE, 0.0), (ZeroConcentrated(0.5), 0.6)):
        seen = [sample_cells(noise.draw_counts, value, event=event, most=4) for value in (50, 54)]
        for delta in (DELTA, 1e-4, 1e-2):
            assert least <= prove_epsilon(*seen, delta=delta) <= compute_epsilon([event], delta=delta)
    assert compute_epsilon([ONE], delta=DELTA) <= 1.0


@pytest.mark.parametrize("event", [PureEpsilon(1.0), ZeroConcentrated(0.125)], ids=lambda event: type(event).__name__)
def test_a_vector_keeps_its_epsilon_for_a_patient_in_all_of_its_cells(event: Event) -> None:
    """Canonne, Kamath and Steinke 2020, Theorem 4 and Dwork et al. 2006, on the sum over the cells a patient changed:
    for equal changes the sum is the sufficient statistic of Gaussian noise."""
    delta = 0.0 if isinstance(event, PureEpsilon) else DELTA
    claim = event.epsilon if isinstance(event, PureEpsilon) else compute_epsilon([event], delta=DELTA)
    seen = [
        [sum(noise.draw_counts([value] * 3, grant=grant_for(event, (3, 2)))) for _ in range(N_DRAWS)]
        for value in (0, 2)
    ]
    assert prove_epsilon(*seen, delta=delta) <= claim
    broken = [sample_sums(value, event, (1, 1)) for value in (0, 12)]
    assert prove_epsilon(*broken, delta=delta) > claim


def sample_sums(value: int, event: Event, bounds: tuple[int, int]) -> list[int]:
    """Sums over three cells of a draw whose bounds a patient exceeds."""
    drawn = noise.draw_counts([value] * 3 * N_DRAWS, grant=grant_for(event, bounds))
    return [sum(drawn[at : at + 3]) for at in range(0, len(drawn), 3)]


def test_noisy_max_keeps_its_epsilon() -> None:
    """Cesar and Rogers 2021, Lemma 3.4: bounded range of sqrt(8 rho); a patient lifts one score and lowers another."""
    event = ZeroConcentrated(0.5)
    seen = [_choose(scores, event) for scores in ([0, 2], [1, 1])]
    assert 0.2 < prove_epsilon(*seen) <= math.sqrt(8 * event.rho)
    assert prove_epsilon(*seen, delta=DELTA) <= compute_epsilon([event], delta=DELTA)


def test_quantiles_keep_their_epsilon_for_a_patient_with_several_visits() -> None:
    """Kaplan, Schnapp and Stemmer 2022: three quantiles of 19 visits in two rounds, without and with the four visits of
    one patient, which fall into two parts of the second round; the three choices are seen together."""
    event, without, extra = ZeroConcentrated(0.05), [4, 4, 2, 5, 4], [2, 0, 0, 0, 2]
    with_patient = [a + b for a, b in zip(without, extra, strict=True)]
    seen = [_choose_three(counts, event, most=4) for counts in (without, with_patient)]
    assert prove_epsilon(*seen, delta=DELTA) <= compute_epsilon([event], delta=DELTA)
    large = [[n + more for n, more in zip(without, row, strict=True)] for row in ([0] * 5, [0, 0, 0, 0, 40])]
    broken = [_choose_three(counts, event, most=1, n=500) for counts in large]
    assert prove_epsilon(*broken, delta=DELTA) > compute_epsilon([event], delta=DELTA), "bounded to 1, but 40 came"


def _choose_three(counts: Sequence[int], event: Event, *, most: int, n: int = N_DRAWS) -> list[int]:
    three = ((1, 4), (1, 2), (3, 4))
    drawn = [noise.draw_quantiles(counts, fractions=three, grant=grant_for(event, (5, most))) for _ in range(n)]
    return [25 * low + 5 * middle + high for low, middle, high in drawn]


def _choose(scores: Sequence[int], event: ZeroConcentrated) -> list[int]:
    """By the mechanism that ``draw_quantiles`` asks at every step, for scores that a patient moves by 1."""
    choose = noise._build_best(1, event.rho)
    return [choose(list(scores)) for _ in range(N_DRAWS)]


def test_many_releases_together_keep_the_epsilon_of_their_composition() -> None:
    """Bun and Steinke 2016, Lemma 2.3 (rho adds up): 16 answers, each reserved in one ledger, seen together."""
    share = ZeroConcentrated(ONE.rho / 16)
    seen, ledgers = [], [make_ledger(1.0), make_ledger(1.0)]
    for ledger, value in zip(ledgers, (50, 54), strict=True):
        sums = [0] * 5_000
        for k in range(16):
            grant = ledger.reserve(make_query(f"q{k}", event=share, bounds=(1, 4)))
            assert isinstance(grant, Grant)
            sums = [a + b for a, b in zip(sums, noise.draw_counts([value] * len(sums), grant=grant), strict=True)]
        seen.append(sums)
    assert all(0.99 < ledger.balances()[0].epsilon_spent <= 1.0 for ledger in ledgers)
    assert prove_epsilon(*seen, delta=DELTA) <= 1.0
