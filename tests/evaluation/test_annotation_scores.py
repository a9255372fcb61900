"""The annotation report against cases small enough to count by hand, and against brute force."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ppsehr_spark.domain.notes import Span
from ppsehr_spark.evaluation.annotation import AnnotationReport, evaluate_spans
from ppsehr_spark.evaluation.annotation_table import render_table
from ppsehr_spark.evaluation.span_counts import merge_intervals, overlap_chars

NOTE = "n1"


def report_of(gold: Sequence[Span], predicted: Sequence[Span], *, n_chars: int = 100) -> AnnotationReport:
    return evaluate_spans({NOTE: gold}, {NOTE: predicted}, {NOTE: n_chars})


def test_strict_needs_both_borders_relaxed_any_overlap() -> None:
    gold = [Span(0, 3, "NAME"), Span(10, 14, "NAME"), Span(20, 25, "NAME")]
    predicted = [Span(0, 3, "NAME"), Span(11, 14, "NAME"), Span(40, 42, "NAME"), Span(50, 52, "NAME")]
    report = report_of(gold, predicted)
    assert report.score("strict", "NAME").precision == pytest.approx(1 / 4)
    assert report.score("strict", "NAME").recall == pytest.approx(1 / 3)
    assert report.score("strict", "NAME").f1 == pytest.approx(2 / 7)
    assert report.score("relaxed", "NAME").precision == pytest.approx(2 / 4)
    assert report.score("relaxed", "NAME").recall == pytest.approx(2 / 3)


def test_same_place_in_another_category_does_not_match_but_covers() -> None:
    report = report_of([Span(0, 4, "HOSPITAL")], [Span(0, 4, "ADDRESS")])
    assert report.score("relaxed", "HOSPITAL").recall == 0
    assert report.values["leak.chars"] == 0


def test_adjacent_spans_do_not_overlap() -> None:
    assert report_of([Span(0, 4, "NAME")], [Span(4, 6, "NAME")]).score("relaxed", "NAME").recall == 0


def test_a_range_predicted_twice_counts_once() -> None:
    report = report_of([Span(0, 4, "NAME")], [Span(0, 4, "NAME"), Span(0, 4, "NAME", confidence=0.2)])
    assert report.score("strict", "NAME").precision == 1


def test_macro_averages_over_categories_with_gold_only() -> None:
    gold = [Span(0, 3, "NAME"), Span(10, 14, "ID")]
    report = report_of(gold, [Span(0, 3, "NAME"), Span(30, 33, "STD", 3)])
    assert report.score("strict").recall == pytest.approx(0.5)
    assert report.score("strict").precision == pytest.approx(0.5)  # ID without predictions counts as 0, STD not at all
    assert math.isnan(report.score("strict", "STD").recall)
    assert report.score("strict", "STD").precision == 0


def test_tiers_are_scored_over_relaxed_matches() -> None:
    gold = [Span(0, 4, "STD", 3), Span(10, 14, "STD", 3), Span(20, 24, "ADDRESS", 2), Span(30, 34, "STD", 1)]
    predicted = [Span(0, 4, "STD", 3), Span(11, 14, "STD", 1), Span(20, 24, "ADDRESS", 3), Span(50, 54, "STD", 3)]
    report = report_of(gold, predicted)
    assert report.score("tier", "3").recall == pytest.approx(1 / 2)
    assert report.score("tier", "3").precision == pytest.approx(1 / 2)
    assert report.score("tier", "2").recall == 0
    assert report.score("tier", "STD.3").precision == 1
    assert report.values["tier.under"] == pytest.approx(1 / 3)
    assert report.values["tier.over"] == pytest.approx(1 / 3)
    assert report.score("tier").recall == pytest.approx((1 / 2 + 0) / 2)  # no matched gold of tier 1


def test_tier_comes_from_the_prediction_that_overlaps_most() -> None:
    predicted = [Span(0, 2, "ADDRESS", 1), Span(2, 9, "ADDRESS", 3)]
    assert report_of([Span(0, 9, "ADDRESS", 3)], predicted).score("tier", "3").recall == 1


def test_a_prediction_without_tier_is_counted_apart() -> None:
    report = report_of([Span(0, 4, "STD", 2)], [Span(0, 4, "STD")])
    assert report.values["tier.untiered"] == 1
    assert report.values["tier.under"] == 0
    assert report.score("tier", "2").recall == 0


def test_leaks_count_characters_and_notes_with_an_open_identifier() -> None:
    gold = {
        "covered": [Span(0, 4, "NAME"), Span(10, 20, "STD", 3)],
        "cut": [Span(0, 10, "ID")],
        "missed": [Span(0, 4, "CONTACT")],
        "city": [Span(0, 4, "ADDRESS", 1)],
        "door": [Span(0, 4, "ADDRESS", 3)],
    }
    predicted = {"covered": [Span(0, 4, "NAME")], "cut": [Span(0, 9, "ID")]}
    report = evaluate_spans(gold, predicted, dict.fromkeys(gold, 50))
    assert report.values["leak.notes"] == pytest.approx(3 / 5)  # cut, missed, door
    assert report.values["leak.notes_missed"] == pytest.approx(2 / 5)
    assert report.values["leak.chars"] == pytest.approx((10 + 1 + 4 + 4 + 4) / (14 + 10 + 4 + 4 + 4))
    assert report.counts["n_without_prediction"] == 3


def test_over_redaction_is_the_share_of_plain_characters_covered() -> None:
    report = report_of([Span(0, 10, "NAME")], [Span(5, 15, "NAME"), Span(12, 20, "ID")], n_chars=60)
    assert report.values["over_redaction"] == pytest.approx(10 / 50)


def test_empty_gold_gives_no_figures_and_no_error() -> None:
    report = evaluate_spans({}, {"x": [Span(0, 1, "NAME")]}, {}, n_replicates=20)
    assert report.counts["n_unknown"] == 1
    assert all(math.isnan(value) for value in report.values.values())
    assert "notes 0" in render_table(report)
    json.loads(json.dumps(report.to_dict(), allow_nan=False))


_SPANS = st.lists(
    st.builds(
        lambda start, length, category, tier: Span(start, start + length, category, tier),
        st.integers(0, 40), st.integers(1, 8), st.sampled_from(["NAME", "STD"]), st.sampled_from([1, 2, 3]),
    ),
    max_size=8,
)  # fmt: skip


@given(_SPANS, _SPANS)
@settings(max_examples=200, deadline=None)
def test_counts_agree_with_brute_force(gold: list[Span], predicted: list[Span]) -> None:
    report = report_of(gold, predicted, n_chars=60)
    for category in ("NAME", "STD"):
        a = {(s.start, s.end) for s in gold if s.category == category}
        b = {(s.start, s.end) for s in predicted if s.category == category}
        if a:
            assert report.score("strict", category).recall == pytest.approx(len(a & b) / len(a))
            met = sum(any(x[0] < y[1] and y[0] < x[1] for y in b) for x in a)
            assert report.score("relaxed", category).recall == pytest.approx(met / len(a))
        if b:
            met = sum(any(x[0] < y[1] and y[0] < x[1] for y in a) for x in b)
            assert report.score("relaxed", category).precision == pytest.approx(met / len(b))
    sensitive = {i for s in gold for i in range(s.start, s.end)}
    covered = {i for s in predicted for i in range(s.start, s.end)}
    if sensitive:
        assert report.values["leak.chars"] == pytest.approx(len(sensitive - covered) / len(sensitive))
    assert report.values["over_redaction"] == pytest.approx(len(covered - sensitive) / (60 - len(sensitive)))


@given(_SPANS)
@settings(deadline=None)
def test_gold_against_itself_is_perfect(gold: list[Span]) -> None:
    unique = list({(s.start, s.end, s.category): s for s in gold}.values())
    report = report_of(unique, unique)
    assert report.values["over_redaction"] == 0
    if unique:
        assert report.score("strict").f1 == report.score("relaxed").f1 == 1
        assert report.values["leak.chars"] == report.values["leak.notes"] == 0


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=10), st.integers(0, 30), st.integers(0, 9))
@settings(deadline=None)
def test_interval_union_matches_sets(intervals: list[tuple[int, int]], start: int, length: int) -> None:
    merged = merge_intervals(intervals)
    points = {i for a, b in intervals for i in range(a, b)}
    assert {i for a, b in merged for i in range(a, b)} == points
    assert overlap_chars((start, start + length), merged) == len(points & set(range(start, start + length)))
    assert all(a[1] < b[0] for a, b in pairwise(merged))


def test_table_holds_every_category_and_the_leaks() -> None:
    gold = {str(i): [Span(0, 4, "NAME"), Span(5, 9, "STD", 3)] for i in range(20)}
    predicted = {str(i): [Span(0, 4, "NAME"), *([Span(5, 9, "STD", 1)] if i % 2 else [])] for i in range(20)}
    report = evaluate_spans(gold, predicted, dict.fromkeys(gold, 30), n_replicates=50)
    table = render_table(report)
    assert all(word in table for word in ("NAME", "STD", "macro", "tiered too low", "uncovered"))
    assert "100.0 [100.0, 100.0]" in table
    assert max(map(len, table.split("\n"))) <= 120
