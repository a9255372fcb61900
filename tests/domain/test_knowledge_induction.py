"""Mistakes, clusters, what they suggest, and the gate; every note here is invented."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from ppsehr_spark.config import read_conf_files
from ppsehr_spark.domain.knowledge.clustering import Cluster, cluster_mistakes, gather_rest
from ppsehr_spark.domain.knowledge.entries import LEXICON, NEGATIVE, PATTERN, KnowledgeEntry
from ppsehr_spark.domain.knowledge.gate import CATEGORY_FALLS, NO_GAIN, TOO_FEW_NOTES, Figures, judge_change
from ppsehr_spark.domain.knowledge.induction import induce_entries
from ppsehr_spark.domain.knowledge.mistakes import FALSE, MISSED, ReviewedNote, find_mistakes
from ppsehr_spark.domain.knowledge.shapes import count_digits, expression_of, form_of, shape_of
from ppsehr_spark.domain.knowledge.slots import parse_plan
from ppsehr_spark.domain.notes import Note, Span
from ppsehr_spark.errors import ConfigurationError

FILES = read_conf_files()
PLAN = parse_plan(FILES)


def reviewed(key: str, marked: str, category: str, *, source: str = "gold") -> ReviewedNote:
    """A note from text in which ``[…]`` marks the true spans."""
    spans, text = [], ""
    for part in re.split(r"(\[[^\]]*\])", marked):
        if part.startswith("["):
            spans.append(Span(len(text), len(text) + len(part) - 2, category))
        text += part.strip("[]")
    return ReviewedNote(Note(key, text), tuple(spans), source)


def learn(notes: list[ReviewedNote], predicted: dict[str, list[Span]] | None = None) -> tuple[KnowledgeEntry, ...]:
    mistakes = find_mistakes(notes, predicted or {})
    return induce_entries(cluster_mistakes(mistakes, PLAN, notes), PLAN, FILES)


def said(entries: tuple[KnowledgeEntry, ...]) -> set[tuple[str, str]]:
    return {(entry.kind, entry.text) for entry in entries}


def test_a_wrong_border_is_one_missed_span_and_nothing_to_forbid() -> None:
    note = reviewed("a", "在[红星疗养院]住院，去年。", "HOSPITAL")
    kinds = [m.kind for m in find_mistakes([note], {"a": [Span(2, 6, "HOSPITAL"), Span(9, 11, "NAME")]})]
    assert kinds == [MISSED, FALSE]


def test_outside_what_was_looked_at_nothing_is_wrong() -> None:
    note = replace(
        reviewed("a", "查[梅毒]，王伟。王伟诉，李刚。", "STD", source="corrections"), judged=((1, 3), (7, 9))
    )
    found = [Span(4, 6, "NAME"), Span(7, 9, "NAME"), Span(1, 3, "NAME")]
    assert [(m.kind, m.start) for m in find_mistakes([note], {"a": found})] == [(MISSED, 1), (FALSE, 1), (FALSE, 7)]


def test_a_shared_end_becomes_a_kind_of_institution_and_a_lone_one_does_not() -> None:
    notes = [reviewed("a", "在[红星疗养所]住院。", "HOSPITAL"), reviewed("b", "转入[临江疗养所]。", "HOSPITAL")]
    assert (LEXICON, "疗养所") in said(learn(notes))
    assert not learn(notes[:1])
    (entry,) = (e for e in learn(notes) if e.text == "疗养所")
    assert entry.provenance.note_keys == ("a", "b") and entry.provenance.n_mistakes == 2


def test_a_term_that_mostly_stands_elsewhere_is_not_tried() -> None:
    notes = [reviewed("a", "查[雅司阳性]", "STD"), reviewed("b", "[雅司阳性]待复查", "STD")]
    others = [reviewed(f"c{i}", "乙肝抗体阳性，结核抗体阳性。", "STD") for i in range(3)]
    assert {"雅司阳性"} == {text for _, text in said(learn([*notes, *others]))}


def test_latin_words_and_numbers_are_not_cut() -> None:
    notes = [reviewed(key, f"查[HTLX抗体{n}]。", "STD") for key, n in (("a", "12"), ("b", "13"))]
    terms = {text for _, text in said(learn(notes))}
    assert "HTLX抗体1" not in terms and "LX抗体" not in terms and "HTLX抗体" in terms


def test_numbers_that_differ_in_digits_become_one_bounded_expression() -> None:
    notes = [reviewed(key, f"短号[{n}]。", "CONTACT") for key, n in (("a", "66-12345"), ("b", "66-789"))]
    pattern = next(e for e in learn(notes) if e.kind == PATTERN)
    assert re.fullmatch(pattern.text, "66-4321") and not re.search(pattern.text, "66-12")
    assert not re.search(pattern.text, "166-4321") and not re.search(pattern.text, "66-432101")


def test_what_is_found_where_nobody_wants_it_becomes_a_trap() -> None:
    text = "参加梅毒防治讲座。"
    notes = [ReviewedNote(Note(key, text), ()) for key in ("a", "b")]
    wrong = {key: [Span(2, 4, "STD")] for key in ("a", "b")}
    entries = learn(notes, wrong)
    assert {e.kind for e in entries} == {NEGATIVE} and ("negative", "梅毒防治讲座") in said(entries)
    true = reviewed("c", "否认[梅毒]。", "STD")
    assert (NEGATIVE, "梅毒") not in said(learn([*notes, true], {**wrong, "c": [Span(2, 4, "STD")]}))


def test_a_single_correction_is_tried_as_it_stands() -> None:
    note = reviewed("a", "[患者]诉头痛，患者、患者家属。", "NAME", source="corrections")
    assert (LEXICON, "患者") in said(learn([note]))


def test_what_lies_in_no_cluster_is_gathered_for_the_model() -> None:
    note = reviewed("a", "在[红星疗养所]住院。", "HOSPITAL")
    mistakes = find_mistakes([note], {})
    (rest,) = gather_rest(mistakes, cluster_mistakes(mistakes, PLAN, [note]), PLAN)
    assert rest.value == "" and rest.members == mistakes and rest.slots


def test_clusters_do_not_depend_on_the_order_of_notes_and_hold_no_text_in_their_id() -> None:
    notes = [
        reviewed(key, f"在[{name}疗养所]住院。", "HOSPITAL")
        for key, name in (("a", "红星"), ("b", "临江"), ("c", "西山"))
    ]

    def clusters(order: list[ReviewedNote]) -> tuple[Cluster, ...]:
        return cluster_mistakes(find_mistakes(order, {}), PLAN, order)

    assert clusters(notes) == clusters(notes[::-1])
    assert re.fullmatch(r"[0-9a-f]{12}", clusters(notes)[0].cluster_id)


@pytest.mark.parametrize(
    ("surface", "shape", "digits"),
    [("13812345678", "D", 11), ("0571-8765", "D-D", 8), ("wx_12", "W", 0), ("停经38天", "停经D天", 0), ("梅毒", "", 0)],
)
def test_shapes(surface: str, shape: str, digits: int) -> None:
    assert (shape_of(surface), count_digits(surface)) == (shape, digits)


def test_accounts_of_one_form_become_one_expression() -> None:
    surfaces = ["li.wei@mail.example.cn", "zhang_3@example.com"]
    assert {form_of(s) for s in surfaces} == {"A@A"} and form_of("12-345") == ""
    expression = expression_of(surfaces, is_bounded=True, is_form=True)
    assert re.fullmatch(expression, "wang-xiao.ming@a-hospital.example.org") and not re.search(expression, "a@b")


def test_a_word_that_is_listed_in_another_role_may_be_tried_in_a_new_one() -> None:
    files = {**FILES, "lexicons/name_labels.tsv": "主任会诊\tverb\n"}
    notes = [reviewed(key, f"请[{name}]主任会诊。", "NAME") for key, name in (("a", "王"), ("b", "李"))]
    mistakes = find_mistakes(notes, {})
    entries = induce_entries(cluster_mistakes(mistakes, PLAN, notes), PLAN, files)
    tried = {e.columns for e in entries if e.text == "主任会诊"}
    assert ("title",) in tried and ("verb",) not in tried


def test_an_expression_holds_its_members_and_stays_linear() -> None:
    surfaces = ["1381234567", "1399999999"]
    assert all(re.fullmatch(expression_of(surfaces, is_bounded=True), s) for s in surfaces)
    assert expression_of(["G2P1", "G3P0"], is_bounded=False) == "[A-Za-z0-9_]{2,8}"
    assert expression_of(["912-345", "912-3456"], is_bounded=False) == r"91[0-9]{1}\-[0-9]{3,4}"
    assert not re.search(expression_of(surfaces, is_bounded=True), "1" * 100_000)


@pytest.mark.parametrize(
    ("after", "outcome"),
    [
        (Figures(0.6, {"NAME": 0.7, "STD": 0.5}, {"a": 1, "b": 1}), "ACCEPTED"),
        (Figures(0.6, {"NAME": 0.8, "STD": 0.39}, {"a": 2, "b": 2}), CATEGORY_FALLS),
        (Figures(0.5, {"NAME": 0.6, "STD": 0.4}, {"a": 0, "b": 0}), NO_GAIN),
        (Figures(0.6, {"NAME": 0.7, "STD": 0.5}, {"a": 1, "b": 0}), TOO_FEW_NOTES),
        (Figures(0.6, {"NAME": 0.7, "STD": 0.5, "ID": 0.0}, {"a": 1, "b": 1}), CATEGORY_FALLS),
    ],
)
def test_the_gate(after: Figures, outcome: str) -> None:
    before = Figures(0.5, {"NAME": 0.6, "STD": 0.4}, {"a": 0, "b": 0})
    verdict = judge_change(before, after, min_notes=2)
    assert verdict.outcome == outcome and verdict.is_accepted is (outcome == "ACCEPTED")
    assert bool(verdict.fallen) is (outcome == CATEGORY_FALLS)


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('evidence = "tail"', 'evidence = "tale"', "evidence"),
        ('into = "lexicons/hospital_kinds.tsv"', 'into = "lexicons/nowhere.tsv"', "into"),
        ('category = "ID"', 'category = "IDENTITY"', "category"),
        ("min_share = 0.5", 'min_share = "half"', "induction.min_share"),
        ("max_proposals = 160", "max_proposal = 160", "induction.max_proposal"),
        ('name = "地名"\n', "", "slot"),
    ],
)
def test_a_wrong_key_of_the_plan_is_named(old: str, new: str, key: str) -> None:
    text = FILES["knowledge.toml"]
    assert old in text
    with pytest.raises(ConfigurationError, match="KNOWLEDGE_FILE") as caught:
        parse_plan({**FILES, "knowledge.toml": text.replace(old, new, 1)})
    assert caught.value.fields["key"] == key
