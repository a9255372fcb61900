"""Predictions read in the terms of a corpus that labels less, or draws borders otherwise, than the guideline."""

from __future__ import annotations

from ppsehr_spark.domain.notes import Span
from ppsehr_spark.evaluation.partial_gold import PartialGold, count_decided_chars, settle_predictions

GOLD = PartialGold(
    spans=(Span(0, 3, "NAME"), Span(10, 20, "ADDRESS", 3)),
    undecided=((30, 34), (33, 40)),
    variants={(10, 24): (10, 20), (8, 20): (10, 20)},
)


def settle(*predicted: Span) -> list[tuple[int, int, str]]:
    found = settle_predictions(predicted, GOLD, categories=("NAME", "ADDRESS"))
    return [(span.start, span.end, span.category) for span in found]


def test_categories_that_the_corpus_does_not_label_are_left_out() -> None:
    assert settle(Span(0, 3, "NAME"), Span(4, 9, "HOSPITAL")) == [(0, 3, "NAME")]


def test_a_variant_takes_the_borders_of_gold_and_nothing_else_does() -> None:
    assert settle(Span(10, 24, "ADDRESS")) == [(10, 20, "ADDRESS")]
    assert settle(Span(8, 20, "ADDRESS")) == [(10, 20, "ADDRESS")]
    assert settle(Span(9, 20, "ADDRESS")) == [(9, 20, "ADDRESS")]
    assert settle(Span(10, 24, "NAME")) == [(10, 24, "NAME")]  # the mention with these borders is an address


def test_undecided_text_counts_neither_for_nor_against() -> None:
    assert settle(Span(31, 33, "ADDRESS"), Span(39, 41, "NAME")) == []
    assert settle(Span(40, 41, "NAME")) == [(40, 41, "NAME")]


def test_a_prediction_that_touches_a_mention_counts_although_it_reaches_into_undecided_text() -> None:
    assert settle(Span(18, 31, "ADDRESS")) == [(18, 31, "ADDRESS")]
    assert settle(Span(18, 31, "NAME")) == []  # it touches a mention of another category only


def test_decided_characters_leave_the_union_of_undecided_ranges_out() -> None:
    assert count_decided_chars(50, GOLD) == 40
    assert count_decided_chars(50, PartialGold()) == 50
