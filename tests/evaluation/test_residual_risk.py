"""How many notes may leak: the exact bound against closed forms, the sample, and what each source may be called."""

from __future__ import annotations

from collections import Counter

import pytest

from ppsehr_spark.domain.notes import Span
from ppsehr_spark.evaluation.annotation import evaluate_spans
from ppsehr_spark.evaluation.residual_risk import describe_risk, draw_sample, judge_gold, judge_review
from ppsehr_spark.evaluation.review_sheet import ReviewedNote

CLEAN = ReviewedNote(0, ())


def test_no_leak_in_300_notes_bounds_the_rate_below_one_percent() -> None:
    risk = judge_review([CLEAN] * 300)
    assert risk.upper_bound == pytest.approx(1 - 0.05 ** (1 / 300))  # (1 - p)^300 = 0.05
    assert risk.upper_bound == pytest.approx(0.00994, abs=5e-6)
    assert (risk.n_notes, risk.n_leaking, risk.rate) == (300, 0, 0.0)


def test_one_leak_solves_the_binomial_tail() -> None:
    risk = judge_review([ReviewedNote(2, ("NAME",)), *[CLEAN] * 9])
    p = risk.upper_bound
    assert (1 - p) ** 10 + 10 * p * (1 - p) ** 9 == pytest.approx(0.05)  # chance of at most one leak in ten
    assert risk.rate == pytest.approx(0.1)


def test_all_leaking_and_no_note_at_all_prove_nothing() -> None:
    assert judge_review([ReviewedNote(1, ("ID",))] * 5).upper_bound == 1
    assert judge_review([]).upper_bound == 1


def test_identifiers_and_notes_are_counted_apart() -> None:
    notes = [ReviewedNote(3, ("NAME", "CONTACT")), ReviewedNote(1, ("NAME",)), ReviewedNote(0, ("STD",)), CLEAN]
    risk = judge_review(notes)
    assert (risk.n_leaking, risk.n_missed, dict(risk.categories)) == (2, 4, {"NAME": 2, "CONTACT": 1})


def test_gold_is_called_gold() -> None:
    gold = {"a": [Span(0, 3, "NAME")], "b": [Span(0, 3, "STD", 3)], "c": [], "d": [Span(0, 4, "ADDRESS", 1)]}
    risk = judge_gold(evaluate_spans(gold, {}, dict.fromkeys(gold, 10)))
    assert (risk.basis, risk.n_notes, risk.n_leaking) == ("gold", 4, 1)  # STD and a city identify nobody directly
    said = describe_risk(risk)
    assert "from gold" in said and "1 of 4" in said and "ppsehr review" in said
    assert "from review" in describe_risk(judge_review([CLEAN]))


def test_the_sample_repeats_by_seed_and_keeps_the_order() -> None:
    drawn, n_seen = draw_sample(iter(range(1_000)), n_sample=20, seed=4)
    assert n_seen == 1_000 and len(drawn) == 20
    assert [at for at, _ in drawn] == [item for _, item in drawn] == sorted(item for _, item in drawn)
    assert drawn == draw_sample(range(1_000), n_sample=20, seed=4)[0]
    assert drawn != draw_sample(range(1_000), n_sample=20, seed=5)[0]


def test_a_sample_larger_than_the_notes_takes_them_all() -> None:
    assert draw_sample("abc", n_sample=9, seed=1) == ([(0, "a"), (1, "b"), (2, "c")], 3)
    assert draw_sample([], n_sample=9, seed=1) == ([], 0)


def test_every_note_is_as_likely_as_every_other() -> None:
    n_draws = 4_000
    seen = Counter(item for seed in range(n_draws) for _, item in draw_sample(range(10), n_sample=3, seed=seed)[0])
    spread = (n_draws * 0.3 * 0.7) ** 0.5
    assert all(abs(seen[item] - 0.3 * n_draws) < 4 * spread for item in range(10))
