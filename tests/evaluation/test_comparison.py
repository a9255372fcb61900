"""Several annotators side by side: which figure stands where, in text and in Markdown."""

from __future__ import annotations

import json
from dataclasses import replace

from ppsehr_spark.domain.notes import Span
from ppsehr_spark.evaluation.annotation import AnnotationReport, evaluate_spans
from ppsehr_spark.evaluation.comparison import (
    Comparison,
    Entrant,
    render_comparison,
    tabulate_safety,
    tabulate_summary,
    tabulate_touch,
)

GOLD = {"a": [Span(0, 3, "NAME"), Span(10, 14, "STD", 3)], "b": [Span(0, 3, "NAME")], "clean": []}
LENGTHS = {"a": 50, "b": 50, "clean": 100}


def report(found: dict[str, list[Span]], *, n_replicates: int = 0) -> AnnotationReport:
    return evaluate_spans(GOLD, found, LENGTHS, n_replicates=n_replicates)


def two(n_replicates: int = 0) -> Comparison:
    ours = report(
        {"a": [Span(0, 3, "NAME"), Span(10, 14, "STD", 1)], "b": [Span(0, 3, "NAME")]}, n_replicates=n_replicates
    )
    theirs = report({"a": [Span(0, 2, "NAME")], "clean": [Span(5, 10, "NAME")]}, n_replicates=n_replicates)
    names = {key: [s for s in spans if s.category == "NAME"] for key, spans in GOLD.items()}
    own = evaluate_spans(names, {"a": [Span(0, 2, "NAME")], "clean": [Span(5, 10, "NAME")]}, LENGTHS)
    entrants = (Entrant("rules", ours, ("NAME", "STD")), Entrant("peer", theirs, ("NAME",), own))
    return Comparison("toy", "made for this test", ("NAME", "STD"), entrants)


def test_text_holds_a_row_per_category_that_is_covered_and_the_macro() -> None:
    lines = render_comparison(two(), has_markdown=False).split("\n")
    rows = [line.split() for line in lines]
    assert ["rules", "NAME", "2", "2", *["100.0"] * 6] in rows
    assert ["peer", "NAME", "2", "2", "0.0", "0.0", "0.0", "50.0", "50.0", "50.0"] in rows
    assert not [row for row in rows if row[:2] == ["peer", "STD"]]
    assert ["peer", "macro", "of", "2", "0.0", "0.0", "0.0", "25.0", "25.0", "25.0"] in rows


def test_safety_is_counted_by_hand() -> None:
    header, ours, theirs = tabulate_safety(two()).rows
    cells = dict(zip(header, ours, strict=True))
    assert (cells["gold chars open"], cells["clean notes touched"], cells["tier R"]) == ("0.0", "0.0", "0.0")
    assert cells["under-tiered"] == "100.0"
    cells = dict(zip(header, theirs, strict=True))
    assert cells["gold chars open"] == "80.0"  # 8 of 10: one of a's name, all of its STD mention, all of b's name
    assert cells["notes with a direct identifier open"] == "66.7"
    assert cells["plain chars covered"] == "2.6"  # 5 of 190
    assert cells["clean notes touched"] == "100.0"


def test_a_corpus_without_direct_identifiers_claims_nothing_about_leaking_notes() -> None:
    header = tabulate_safety(replace(two(), has_direct=False)).rows[0]
    assert "notes with a direct identifier open" not in header and "gold chars open" in header


def test_markdown_has_as_many_cells_in_every_row() -> None:
    text = render_comparison(two(n_replicates=20), has_markdown=True)
    assert text.startswith("### toy\n\nmade for this test\n\n| annotator |")
    for table in [part for part in text.split("\n\n") if part.startswith("|")]:
        assert len({line.count("|") for line in table.split("\n")}) == 1
    assert "100.0 (100.0–100.0)" in text


def test_text_without_gold_is_rated_per_ten_thousand_characters() -> None:
    gold: dict[str, list[Span]] = {"a": [], "b": []}
    found = evaluate_spans(gold, {"a": [Span(0, 5, "NAME")]}, {"a": 1_000, "b": 1_000})
    entrant = Entrant("rules", found, ("NAME",), hits={"NAME": 1, "STD": 0})
    header, row = tabulate_touch(Comparison("bare", "", (), (entrant,))).rows
    cells = dict(zip(header, row, strict=True))
    assert (cells["chars touched"], cells["notes touched"]) == ("0.25", "50.00")
    assert (cells["NAME per 10,000"], cells["STD per 10,000"]) == ("5.00", "-")


def test_json_names_what_an_annotator_covers() -> None:
    content = json.loads(json.dumps(two().to_dict(), allow_nan=False))
    assert content["annotators"]["peer"]["covered"] == ["NAME"]
    assert content["annotators"]["rules"]["values"]["strict.NAME.f1"] == 1


def test_the_summary_has_a_column_per_annotator_and_a_gap_where_one_did_not_run() -> None:
    bare = evaluate_spans({"a": []}, {"a": [Span(0, 5, "NAME")]}, {"a": 1_000})
    alone = Comparison("bare", "", (), (Entrant("third", bare, ("NAME",)),))
    header, labelled, unlabelled = tabulate_summary([two(), alone]).rows
    assert header == ("corpus", "rules", "peer", "third")
    assert labelled == ("toy", "100.0 (100.0 / 100.0)", "0.0 (0.0 / 0.0)", "-")
    assert unlabelled == ("bare", "-", "-", "touched 0.50")
