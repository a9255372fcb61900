"""Keys: public forms as numbers, the k best of public candidates, and keys that pass a threshold with their delta."""

from __future__ import annotations

import math
import random

import pytest

from ppsehr_spark.errors import UsageError
from ppsehr_spark.privacy.accounting import compute_epsilon
from ppsehr_spark.privacy.events import Composed, Event, Exact, KeyThreshold, ZeroConcentrated
from ppsehr_spark.privacy.grants import Grant
from ppsehr_spark.privacy.key_forms import MOST_KEYS, count_keys, decode_key, encode_key
from ppsehr_spark.privacy.ledger import Ledger
from ppsehr_spark.privacy.noise import draw_keys, draw_top
from tests.privacy.small_ledger import make_ledger, make_query

FORM = "A99.X99"


def _grant(ledger: Ledger, event: Event, bounds: tuple[int, int] = (1, 1), name: str = "keys") -> Grant:
    grant = ledger.reserve(make_query(name, event=event, bounds=bounds))
    assert isinstance(grant, Grant)
    return grant


def test_a_key_of_the_form_is_one_number_and_no_other_text_is() -> None:
    assert count_keys(FORM) == 26 * 100 * 11 * 100 <= MOST_KEYS
    for text in ("I21.900", "Z99.X99", "A00.000", "I10.X00"):
        number = encode_key(FORM, text)
        assert number is not None and decode_key(FORM, number) == text
    assert (encode_key(FORM, "A00.000"), encode_key(FORM, "Z99.X99")) == (0, count_keys(FORM) - 1)
    for text in ("", "I21", "i21.900", "I21.9O0", "I21-900", "I21.9000", "王建国", "I21.９00"):
        assert encode_key(FORM, text) is None


def test_the_best_are_found_when_they_stand_out_and_each_gets_noise_of_its_own() -> None:
    scores, rho = [0, 900, 20, 5000, 0, 2500, 1], 0.05
    event = Composed((ZeroConcentrated(rho), ZeroConcentrated(rho)))
    drawn = [draw_top(scores, k=3, grant=_grant(make_ledger(9.0), event, (2, 1))) for _ in range(300)]
    assert all(values[:3] == [3, 5, 1] for values in drawn)
    noise = [value - scores[at] for values in drawn for at, value in zip(values[:3], values[3:], strict=True)]
    variance = 2 / (2 * rho)
    # 900 squares: relative sd 0.047; eight of them
    assert 0.62 < sum(z * z for z in noise) / len(noise) / variance < 1.38


def test_the_choice_has_the_odds_of_its_share_of_rho_and_no_better() -> None:
    """Two candidates 10 apart: Gumbel noise of scale sqrt(k / (8 rho)) puts the better first by a logistic chance."""
    rho, gap, n = 0.01, 10, 2000
    event = Composed((ZeroConcentrated(rho), ZeroConcentrated(1.0)))
    won = sum(draw_top([gap, 0], k=1, grant=_grant(make_ledger(99.0), event))[0] == 0 for _ in range(n))
    expected = 1 / (1 + math.exp(-gap / math.sqrt(1 / (8 * rho))))
    assert abs(won - n * expected) < 8 * math.sqrt(n * expected * (1 - expected))


def test_only_keys_well_above_the_threshold_come_out_and_none_that_one_patient_made() -> None:
    rho, delta = 0.02, 1e-10
    event = Composed((ZeroConcentrated(rho), KeyThreshold(delta)))
    counts = {7: 4000, 70_000: 900, **{key: 1 for key in range(100, 400)}}
    for _ in range(20):
        drawn = draw_keys(counts, grant=_grant(make_ledger(9.0), event, (2, 1)))
        assert drawn[::2] == [7, 70_000] and abs(drawn[1] - 4000) < 100
    assert draw_keys({}, grant=_grant(make_ledger(9.0), event)) == []


def test_the_ledger_composes_the_delta_of_the_threshold_beside_the_noise() -> None:
    ledger, rho = make_ledger(9.0), 0.02
    draw_keys({1: 5}, grant=_grant(ledger, Composed((ZeroConcentrated(rho), KeyThreshold(9e-7)))))
    spent = ledger.balances()[0].epsilon_spent
    assert (
        spent
        == compute_epsilon([ZeroConcentrated(rho)], delta=1e-6 - 9e-7)
        > compute_epsilon([ZeroConcentrated(rho)], delta=1e-6)
    )


@pytest.mark.parametrize("event", [ZeroConcentrated(0.1), Composed((KeyThreshold(1e-9), ZeroConcentrated(0.1)))])
def test_a_grant_for_something_else_is_refused(event: Event) -> None:
    with pytest.raises(UsageError, match="NOISE_EVENT"):
        draw_keys({1: 5}, grant=_grant(make_ledger(9.0), event))
    with pytest.raises(UsageError, match="NOISE_EVENT"):
        draw_top([1, 2], k=1, grant=_grant(make_ledger(9.0), event))


def test_an_infinite_budget_answers_exactly(open_ended: Ledger) -> None:
    scores = [random.Random(1).randrange(50) for _ in range(30)]
    drawn = draw_top(scores, k=5, grant=_grant(open_ended, Exact()))
    assert drawn[5:] == sorted(scores, reverse=True)[:5] and [scores[at] for at in drawn[:5]] == drawn[5:]
    assert draw_keys({3: 1, 9: 8}, grant=_grant(open_ended, Exact(), name="more")) == [9, 8, 3, 1]
