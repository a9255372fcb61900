"""Spans are values: equal by what they hold, unchangeable, and the same after a journey between processes."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, replace

import pytest

from ppsehr_spark.domain.notes import Span, resolve_overlaps
from ppsehr_spark.domain.offsets import fold_characters, has_invisible

SPAN = Span(3, 5, "ADDRESS", 2, "rule+qwen", 0.5, "ADDRESS.chain", "ADDRESS.2.town")


def test_a_span_holds_what_it_was_given_and_its_defaults() -> None:
    assert Span(3, 5, "NAME") == Span(3, 5, "NAME", None, "rule", 1.0, "", "")
    assert (SPAN.tier, SPAN.source, SPAN.confidence, SPAN.rule, SPAN.tier_rule) == (
        2, "rule+qwen", 0.5, "ADDRESS.chain", "ADDRESS.2.town",
    )  # fmt: skip


def test_a_span_cannot_be_changed_and_travels() -> None:
    with pytest.raises(FrozenInstanceError):
        SPAN.start = 4  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(SPAN)) == SPAN
    assert hash(pickle.loads(pickle.dumps(SPAN))) == hash(SPAN)


def test_the_short_ways_say_what_replace_says() -> None:
    assert SPAN.with_tier(None, "") == replace(SPAN, tier=None, tier_rule="")
    assert SPAN.moved(7, 9) == replace(SPAN, start=7, end=9)


def test_spans_that_lie_apart_stay_and_overlapping_ones_are_ranked() -> None:
    apart = [Span(6, 8, "NAME"), Span(0, 2, "ID"), Span(2, 6, "CONTACT")]
    assert [s.start for s in resolve_overlaps(apart, {})] == [0, 2, 6]
    kept = resolve_overlaps([*apart, Span(1, 3, "HOSPITAL"), Span(4, 4, "NAME")], {"HOSPITAL": 5})
    assert [(s.start, s.category) for s in kept] == [(1, "HOSPITAL"), (6, "NAME")]


@pytest.mark.parametrize("repeat", [1, 40])
def test_long_and_short_texts_are_folded_alike(repeat: int) -> None:
    text = "Ａb姓名：張三，β-hcg é ①\u2003\u200bHPV" * repeat
    assert fold_characters(text) == "Ab姓名:张三,β-hcg é ①\u2003\u200bHPV" * repeat
    assert fold_characters(text, is_upper=True) == "AB姓名:张三,β-HCG é ①\u2003\u200bHPV" * repeat
    assert has_invisible(text)
    assert not has_invisible(text.replace("\u200b", ""))
