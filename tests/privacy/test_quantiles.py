"""Quantiles by repeated halving: the score and its bound, what one patient moves in each round, ties, exact answers."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest

from ppsehr_spark.errors import UsageError
from ppsehr_spark.privacy import noise, quantiles
from ppsehr_spark.privacy.events import Exact, PureEpsilon, ZeroConcentrated
from ppsehr_spark.privacy.grants import Grant
from ppsehr_spark.privacy.quantiles import (
    bound_score,
    count_rounds,
    deal_rows,
    divide_rows,
    find_quantile,
    score_quantile,
    search_quantiles,
)
from tests.privacy.small_ledger import make_ledger, make_query

FIVE = ((1, 10), (1, 4), (1, 2), (3, 4), (9, 10))
_MOST = 4


def _grant(event: Exact | PureEpsilon | ZeroConcentrated, most: int = 1) -> Grant:
    outcome = make_ledger(float("inf")).reserve(make_query(event=event, bounds=(1, most)))
    assert isinstance(outcome, Grant)
    return outcome


def _brute_scores(values: Sequence[int], candidates: Sequence[int], fraction: tuple[int, int]) -> list[int]:
    part, whole = fraction
    return [-abs((whole - part) * sum(v < g for v in values) - part * sum(v > g for v in values)) for g in candidates]


@pytest.mark.parametrize("fraction", [(1, 4), (1, 2), (3, 4), (9, 10)])
def test_one_value_more_moves_a_score_by_its_bound_at_most_and_sometimes_by_all_of_it(
    fraction: tuple[int, int],
) -> None:
    generator, largest = random.Random(5), 0
    for _ in range(200):
        values = [generator.randrange(7) for _ in range(generator.randrange(30))]
        counts = [values.count(g) for g in range(7)]
        scores = score_quantile(counts, fraction)
        assert scores == _brute_scores(values, range(7), fraction)
        for added in range(7):
            after = score_quantile([n + (g == added) for g, n in enumerate(counts)], fraction)
            largest = max(largest, *(abs(a - b) for a, b in zip(scores, after, strict=True)))
    assert largest == bound_score(fraction)


def _list_rounds(n: int) -> list[int]:
    """Round of every choice among n quantiles, in the order in which they are made."""
    if not n:
        return []
    return [0, *(1 + each for each in _list_rounds(n // 2)), *(1 + each for each in _list_rounds(n - n // 2 - 1))]


def _record(counts: Sequence[int], fractions: Sequence[tuple[int, int]], seed: int) -> list[tuple[list[int], int]]:
    """Scores and bounds of every choice, when the choices are those of a seed and not of the data."""
    generator, seen = random.Random(seed), []

    def choose(scores: Sequence[int], change: int) -> int:
        seen.append((list(scores), change))
        return generator.randrange(len(scores))

    search_quantiles(counts, fractions, choose)
    return seen


def _move(n: int, seed: int) -> list[float]:
    """Per round, how many rows' worth of change a patient of at most four visits makes in all its choices together."""
    generator = random.Random(seed)
    counts = [generator.choice((0, 0, 1, 3, 20, 41)) for _ in range(8)]
    fractions = [(at + 1, n + 1) for at in range(n)]
    with_patient = list(counts)
    for _ in range(generator.randint(1, _MOST)):
        with_patient[generator.randrange(8)] += 1
    moved = [0.0] * count_rounds(n)
    pair = zip(_record(counts, fractions, seed), _record(with_patient, fractions, seed), strict=True)
    for at, ((before, change), (after, again)) in zip(_list_rounds(n), pair, strict=True):
        assert change == again and len(before) == len(after), "what is chosen from is public"
        moved[at] += max(abs(a - b) for a, b in zip(before, after, strict=True)) / change
    return moved


def test_all_choices_of_a_round_together_change_no_more_than_one_choice() -> None:
    """The cost rests on it: rounds compose, the choices of one round read different rows."""
    for n in range(1, 8):
        found = [_move(n, seed) for seed in range(60)]
        assert len(found[0]) == max(_list_rounds(n)) + 1
        assert max(max(moved) for moved in found) <= _MOST


def test_rows_that_are_copied_to_both_sides_would_be_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def copy(rows: Sequence[int], at: int) -> tuple[list[int], list[int]]:
        return list(rows), list(rows[at:])

    monkeypatch.setattr(quantiles, "divide_rows", copy)
    assert max(max(_move(5, seed)) for seed in range(60)) > _MOST


def test_a_row_is_dealt_to_one_place_and_the_others_stay() -> None:
    for own in range(70):
        before, after = deal_rows([own]), deal_rows([own + 1])
        assert sum(before) == own and sorted(b - a for a, b in zip(before, after, strict=True)) == [0] * 15 + [1]
        sides = [[sum(side) for side in divide_rows([3, n, 2], 1)] for n in (own, own + 1)]
        assert sorted(b - a for a, b in zip(*sides, strict=True)) == [0, 1] and sum(sides[0]) == own + 5


def _best(scores: Sequence[int], _: int) -> int:
    return max(range(len(scores)), key=scores.__getitem__)


@pytest.mark.parametrize("choose", [_best, None], ids=["halving", "direct"])
def test_without_noise_the_quantiles_are_those_of_the_rows_also_where_most_rows_are_equal(
    choose: Callable[[Sequence[int], int], int] | None,
) -> None:
    """Values 0 to 9; six of ten rows hold 1, so it is the median although nobody has less."""
    spike = [0, 6_000, 1_000, 1_100, 500, 300, 600, 300, 100, 100]
    smooth = [1_000] * 10
    for counts, expected in ((spike, [1, 1, 1, 3, 6]), (smooth, [0, 2, 4, 7, 8])):
        found = search_quantiles(counts, FIVE, choose) if choose else [find_quantile(counts, f) for f in FIVE]
        assert all(abs(a - b) <= (counts is smooth) for a, b in zip(found, expected, strict=True)), found


def test_drawn_quantiles_rise_and_stand_in_the_order_of_their_fractions() -> None:
    counts = [0, *[40] * 30]
    mixed = ((3, 4), (1, 10), (1, 2))
    for _ in range(20):
        drawn = noise.draw_quantiles(counts, fractions=mixed, grant=_grant(ZeroConcentrated(1e-4)))
        assert drawn[1] <= drawn[2] <= drawn[0] <= 30
    close = noise.draw_quantiles(counts, fractions=mixed, grant=_grant(ZeroConcentrated(50.0)))
    assert all(abs(a - b) <= 1 for a, b in zip(close, (23, 3, 15), strict=True))
    assert noise.draw_quantiles([7], fractions=FIVE, grant=_grant(ZeroConcentrated(0.1))) == [0] * 5


def test_the_rounds_cost_what_was_reserved_by_the_librarys_own_map(monkeypatch: pytest.MonkeyPatch) -> None:
    """A patient of three visits, split in any way between the two choices of a round."""
    event, spent, build = ZeroConcentrated(0.3), [], noise._build_best

    def watch(distance: int, limit: float) -> object:
        measurement = build(distance, limit)
        spent.append(measurement.map(distance))
        one = distance // 3
        assert measurement.map(one) + measurement.map(2 * one) <= measurement.map(distance)
        return measurement

    monkeypatch.setattr(noise, "_build_best", watch)
    noise.draw_quantiles([5] * 9, fractions=FIVE, grant=_grant(event, most=3))
    rounds = [max(cost for at, cost in zip(_list_rounds(5), spent, strict=True) if at == each) for each in range(3)]
    assert 0.999 * event.rho <= sum(rounds) <= event.rho


def test_what_is_no_count_is_refused_before_the_grant_is_used() -> None:
    grant = _grant(ZeroConcentrated(0.1))
    for counts in ([1, 2.0], [], [1, -1]):
        with pytest.raises(UsageError, match="VALUE_TYPE"):
            noise.draw_quantiles(counts, fractions=FIVE, grant=grant)  # type: ignore[arg-type]
    assert not grant.is_redeemed
    with pytest.raises(UsageError, match="NOISE_EVENT"):
        noise.draw_quantiles([1], fractions=FIVE, grant=_grant(PureEpsilon(1.0)))
