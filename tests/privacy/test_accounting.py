"""Accounting against closed forms and planted mistakes.

Sources: Balle and Wang 2018, Theorem 8 (analytic Gaussian); Bun and Steinke 2016. Published multipliers stand in
``tests/proofs``.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest
from scipy.stats import norm

from ppsehr_spark.errors import UsageError
from ppsehr_spark.privacy import accounting
from ppsehr_spark.privacy.accounting import compute_epsilon, condense, state_cost
from ppsehr_spark.privacy.calibration import calibrate_noise_multiplier, calibrate_rho
from ppsehr_spark.privacy.events import (
    Composed,
    Event,
    Exact,
    Gaussian,
    KeyThreshold,
    Laplace,
    PureEpsilon,
    SampledGaussian,
    ZeroConcentrated,
    decode_event,
    encode_event,
)
from ppsehr_spark.privacy.units import Budget

DELTA = 1e-6
ONE_OF_EACH: tuple[Event, ...] = (
    ZeroConcentrated(0.01), Gaussian(4.0), Laplace(3.0), PureEpsilon(0.1), SampledGaussian(0.8, 0.0066, 450),
    KeyThreshold(1e-7), Exact(), Composed((Gaussian(2.0), Composed((Laplace(1.5),)))),
)  # fmt: skip


@pytest.mark.parametrize(("noise_multiplier", "n_steps"), [(1.0, 1), (4.0, 10), (0.7, 3)])
def test_gaussians_equal_the_analytic_curve(noise_multiplier: float, n_steps: int) -> None:
    mu = math.sqrt(n_steps) / noise_multiplier
    epsilon = compute_epsilon([Gaussian(noise_multiplier)] * n_steps, delta=DELTA, accountant="pld")
    delta = norm.cdf(mu / 2 - epsilon / mu) - math.exp(epsilon) * norm.cdf(-mu / 2 - epsilon / mu)
    assert delta == pytest.approx(DELTA, rel=0.02)
    assert compute_epsilon([Gaussian(noise_multiplier)] * n_steps, delta=DELTA) > epsilon


def test_dp_sgd_has_no_rho() -> None:
    """Sampling makes two of what the rho of the same noise would call some five hundred."""
    sampled = compute_epsilon([SampledGaussian(0.8, 0.0066, 450)], delta=DELTA, accountant="pld")
    assert sampled == pytest.approx(2.05, abs=0.02)
    rho = 450 / (2 * 0.8**2)
    assert rho + 2 * math.sqrt(rho * math.log(1 / DELTA)) == pytest.approx(491, abs=1)
    assert compute_epsilon([ZeroConcentrated(rho)], delta=DELTA) > 480


def test_condensing_costs_the_same_as_composing_one_by_one() -> None:
    from dp_accounting import GaussianDpEvent, LaplaceDpEvent, ZCDpEvent
    from dp_accounting.rdp import RdpAccountant

    account = RdpAccountant()
    for event in (ZCDpEvent(0.01), GaussianDpEvent(4.0), GaussianDpEvent(5.0), ZCDpEvent(0.02), LaplaceDpEvent(3.0)):
        account.compose(event)
    ours = [ZeroConcentrated(0.01), Gaussian(4.0), Gaussian(5.0), ZeroConcentrated(0.02), Laplace(3.0)]
    assert compute_epsilon(ours, delta=DELTA) == pytest.approx(account.get_epsilon(DELTA), rel=1e-9)


def test_order_does_not_matter_to_the_last_bit() -> None:
    events = [ZeroConcentrated(0.1 / k) for k in range(1, 50)] + [Laplace(k) for k in range(1, 20)]
    stated = compute_epsilon(events, delta=DELTA)
    random.shuffle(events)
    assert compute_epsilon(events, delta=DELTA) == stated


def test_discrete_laplace_costs_more_than_laplace() -> None:
    """Kullback-Leibler divergences of one step at scale 1: the reason why ``PureEpsilon`` is an event of its own."""
    probability = {k: math.tanh(0.5) * math.exp(-abs(k)) for k in range(-60, 61)}
    discrete = sum(p * math.log(p / probability[k + 1]) for k, p in probability.items() if k + 1 in probability)
    laplace = math.exp(-1)
    assert laplace == pytest.approx(0.368, abs=1e-3)
    assert discrete == pytest.approx(0.462, abs=1e-3)
    assert laplace < discrete <= condense([PureEpsilon(1.0)]).rho


def test_a_pure_epsilon_alone_costs_no_more_than_its_rho() -> None:
    assert condense([PureEpsilon(0.4)] * 3).rho == pytest.approx(3 * 0.08)


def test_nothing_costs_nothing_and_exact_costs_everything() -> None:
    assert compute_epsilon([], delta=DELTA) == 0
    assert compute_epsilon([Gaussian(5.0), Exact()], delta=DELTA) == math.inf


def test_thresholds_take_their_delta_from_the_rest() -> None:
    noise = [Gaussian(3.0)]
    with_key = compute_epsilon([*noise, KeyThreshold(9e-7)], delta=DELTA)
    assert with_key == compute_epsilon(noise, delta=DELTA - 9e-7) > compute_epsilon(noise, delta=DELTA)
    assert compute_epsilon([*noise, KeyThreshold(6e-7), KeyThreshold(6e-7)], delta=DELTA) == math.inf


def test_pld_stands_beside_only_where_it_can() -> None:
    cost = state_cost([Gaussian(3.0), SampledGaussian(1.0, 0.01, 100)], delta=DELTA)
    assert cost.pld_epsilon is not None and 0 < cost.pld_epsilon < cost.stated.epsilon
    assert "RDP" in cost.accountant
    assert state_cost([Gaussian(3.0), ZeroConcentrated(0.01)], delta=DELTA).pld_epsilon is None
    with pytest.raises(UsageError, match="UNSUPPORTED_EVENT"):
        compute_epsilon([ZeroConcentrated(0.01)], delta=DELTA, accountant="pld")


def test_calibration_keeps_the_budget_and_wastes_little() -> None:
    budget = Budget(2.0, DELTA)
    sigma = calibrate_noise_multiplier(budget, n_steps=450, sampling_rate=0.0066)
    assert 1.999 < compute_epsilon([SampledGaussian(sigma, 0.0066, 450)], delta=DELTA) <= 2.0
    rho = calibrate_rho(budget)
    assert 1.999 < compute_epsilon([ZeroConcentrated(rho)], delta=DELTA) <= 2.0
    with pytest.raises(UsageError, match="CALIBRATION"):
        calibrate_rho(Budget(math.inf, DELTA))


@pytest.mark.parametrize("event", ONE_OF_EACH, ids=lambda event: type(event).__name__)
def test_events_survive_a_ledger_row(event: Event) -> None:
    assert decode_event(encode_event(event)) == event


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "null", '{"event":"Mystery"}', '{"event":["Gaussian"]}', '{"event":"Composed","events":[]}',
        '{"event":"Gaussian"}', '{"event":"Gaussian","noise_multiplier":0}',
        '{"event":"Gaussian","noise_multiplier":-1}',
        '{"event":"Gaussian","noise_multiplier":true}', '{"event":"Gaussian","noise_multiplier":NaN}',
        '{"event":"Gaussian","noise_multiplier":Infinity}', '{"event":"Gaussian","noise_multiplier":1,"steps":2}',
        '{"event":"SampledGaussian","noise_multiplier":1,"sampling_rate":1.5,"n_steps":2}',
        '{"event":"SampledGaussian","noise_multiplier":1,"sampling_rate":0.5,"n_steps":2.5}',
        '{"event":"Composed","events":[{"event":"Mystery"}]}', '{"event":"KeyThreshold","delta":1}',
    ],
)  # fmt: skip
def test_what_is_not_on_the_list_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"UNKNOWN_EVENT|EVENT_PARAMETER"):
        decode_event(text)


def test_foreign_events_are_refused_by_the_accountant() -> None:
    from dp_accounting import GaussianDpEvent

    class Cheaper(Gaussian):
        """A subclass could mean anything."""

    for event in (GaussianDpEvent(1.0), Cheaper(9.0), 0.5, None):
        with pytest.raises(UsageError, match="UNKNOWN_EVENT"):
            compute_epsilon([event], delta=DELTA)


def _check_composition(compute: Callable[..., float]) -> None:
    """Ten releases cost what one of ten times the rho costs, and more than one of them."""
    ten = compute([ZeroConcentrated(0.01)] * 10, delta=DELTA)
    assert ten == pytest.approx(compute([ZeroConcentrated(0.1)], delta=DELTA))
    assert ten > compute([ZeroConcentrated(0.01)], delta=DELTA) * 1.5


def _check_sampled_steps(compute: Callable[..., float]) -> None:
    """DP-SGD is charged for every step, and sampling is credited only where it is declared."""
    cost = [compute([SampledGaussian(1.0, 0.01, steps)], delta=DELTA) for steps in (1, 100, 1_000)]
    assert cost[0] < cost[1] < cost[2] < compute([Gaussian(1.0)] * 1_000, delta=DELTA) / 10


def _check_same_answer_twice(compute: Callable[..., float]) -> None:
    accounting._epsilon_of.cache_clear()
    first = compute([Laplace(3.0), Gaussian(4.0)], delta=DELTA)
    accounting._epsilon_of.cache_clear()
    assert compute([Laplace(3.0), Gaussian(4.0)], delta=DELTA) == first


def _last_only(events: list[Event], *, delta: float) -> float:
    return compute_epsilon(events[-1:], delta=delta)


def _one_step(events: list[Event], *, delta: float) -> float:
    return max(
        compute_epsilon([SampledGaussian(e.noise_multiplier, e.sampling_rate, 1)], delta=delta)
        if isinstance(e, SampledGaussian)
        else compute_epsilon([e], delta=delta)
        for e in events
    )


def _random_epsilon(events: list[Event], *, delta: float) -> float:
    return compute_epsilon(events, delta=delta) * random.uniform(0.9, 1.0)


@pytest.mark.parametrize("check", [_check_composition, _check_sampled_steps, _check_same_answer_twice])
def test_our_accounting_holds(check: Callable[[Callable[..., float]], None]) -> None:
    check(compute_epsilon)


@pytest.mark.parametrize(
    ("check", "mistake"),
    [
        (_check_composition, _last_only),
        (_check_composition, _random_epsilon),
        (_check_sampled_steps, _one_step),
        (_check_same_answer_twice, _random_epsilon),
    ],
)
def test_a_planted_mistake_is_found(
    check: Callable[[Callable[..., float]], None], mistake: Callable[..., float]
) -> None:
    """dp.md, named mistakes: no composition; a random epsilon shown as computed; steps not charged."""
    with pytest.raises(AssertionError):
        check(mistake)
