"""Noise multipliers that somebody else has published, from our accounting."""

from __future__ import annotations

import math

import pytest

from ppsehr_spark.privacy.accounting import compute_epsilon
from ppsehr_spark.privacy.calibration import calibrate_noise_multiplier
from ppsehr_spark.privacy.events import Gaussian
from ppsehr_spark.privacy.units import Budget

YELP, OPENREVIEW, PUBMED = 1_939_290, 8_396, 75_316
#: Samples, epsilon, published noise multiplier, and the epsilon that the notebook prints beside it.
PUBLISHED = (
    (YELP, 1, 15.34, 1.004455), (YELP, 2, 8.03, 2.002377), (YELP, 4, 4.24, 4.005258),
    (OPENREVIEW, 1, 11.60, 0.999986), (OPENREVIEW, 2, 6.22, 1.996654), (OPENREVIEW, 4, 3.38, 3.992231),
    (PUBMED, 1, 13.26, 0.999232), (PUBMED, 2, 7.01, 1.997191), (PUBMED, 4, 3.75, 3.999169),
)  # fmt: skip
#: Where the notebook's own search stops for Yelp at epsilon 1; the 15.34 of the table costs 1.0045.
SEARCHED = 15.40
N_STEPS = 10


def _cost(noise_multiplier: float, n: int) -> float:
    """Tight figure at Aug-PE's delta, 1 / (N ln N), of 10 steps on everybody."""
    return compute_epsilon([Gaussian(noise_multiplier)] * N_STEPS, delta=1 / (n * math.log(n)), accountant="pld")


@pytest.mark.parametrize(("n", "epsilon", "published", "printed"), PUBLISHED)
def test_aug_pe_multipliers_are_ours_within_a_hundredth(n: int, epsilon: int, published: float, printed: float) -> None:
    """Xie et al. 2024, "Differentially Private Synthetic Data via Foundation Model APIs 2: Text", table of noise
    multipliers; figures from the authors' repository AI-secure/aug-pe, notebook/dp_budget.ipynb at commit c4faa40.

    The least multiplier lies within 0.01 of the published one exactly when 0.01 more keeps epsilon and 0.01 less breaks
    it. Composition by PLD against the analytic curve that the authors use (Balle and Wang 2018, Theorem 8).
    """
    expected = SEARCHED if (n, epsilon) == (YELP, 1) else published
    assert _cost(expected + 0.01, n) <= epsilon < _cost(expected - 0.01, n)
    assert _cost(published, n) == pytest.approx(printed, abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "epsilon", "published", "_printed"), PUBLISHED)
def test_our_search_finds_the_published_multipliers(n: int, epsilon: int, published: float, _printed: float) -> None:
    """The same figures from the search that training plans use."""
    budget = Budget(epsilon, 1 / (n * math.log(n)))
    expected = SEARCHED if (n, epsilon) == (YELP, 1) else published
    found = calibrate_noise_multiplier(budget, n_steps=N_STEPS, accountant="pld")
    assert found == pytest.approx(expected, abs=0.01)


def test_what_is_asked_of_the_ledger_is_never_below_the_published_noise() -> None:
    """Mironov 2017: RDP is an upper bound, so the noise by which the ledger admits is more, never less."""
    for n, epsilon, published, _ in PUBLISHED[3:6]:
        ours = calibrate_noise_multiplier(Budget(epsilon, 1 / (n * math.log(n))), n_steps=N_STEPS)
        assert published < ours < 1.1 * published
