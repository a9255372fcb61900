"""Entries over conf: what each kind writes, what an engine then does, and which notes a change can touch."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ppsehr_spark.config import read_conf_files
from ppsehr_spark.domain.knowledge.applying import apply_entries, learned_file
from ppsehr_spark.domain.knowledge.category_toml import read_category, write_category
from ppsehr_spark.domain.knowledge.entries import (
    CLAUSE,
    EXEMPLAR,
    LEXICON,
    NEGATIVE,
    PATTERN,
    KnowledgeEntry,
    Provenance,
    entry_from_plain,
    entry_to_plain,
)
from ppsehr_spark.domain.knowledge.touching import touch_of
from ppsehr_spark.domain.notes import Note
from ppsehr_spark.domain.prompting import compile_prompts
from ppsehr_spark.domain.rules import compile_rules
from ppsehr_spark.domain.taxonomy import load_categories
from ppsehr_spark.errors import ConfigurationError

FILES = read_conf_files()
_CHOSEN = ("categories/STD.toml", "categories/HOSPITAL.toml", "categories/CONTACT.toml", "tiers.toml", "lexicons/")
SMALL = {path: text for path, text in FILES.items() if path.startswith((*_CHOSEN, "prompts/"))}
YAWS = KnowledgeEntry(LEXICON, "STD", "雅司病", "lexicons/std_terms.tsv", ("词",))
HOME = KnowledgeEntry(LEXICON, "HOSPITAL", "疗养所", "lexicons/hospital_kinds.tsv")
BADGE = KnowledgeEntry(PATTERN, "CONTACT", r"(?<![0-9])9[0-9]{4}#", columns=("0.9", "5"))
SCHOOL = KnowledgeEntry(NEGATIVE, "STD", "梅毒防治讲座")
FIXED = KnowledgeEntry(LEXICON, "HOSPITAL", "春和堂", learned_file("HOSPITAL"))
EXAMPLE = KnowledgeEntry(EXEMPLAR, "STD", "查雅司病 中的 雅司病", is_yes=True)
SENTENCE = KnowledgeEntry(CLAUSE, "STD", "热带密螺旋体病也算")


def found(entries: list[KnowledgeEntry], text: str) -> list[tuple[str, str]]:
    engine, note = compile_rules(apply_entries(SMALL, entries)), Note("n", text)
    return [(text[s.start : s.end], s.category) for s in engine.finalise(note, engine.propose(note))]


@pytest.mark.parametrize("path", sorted(path for path in FILES if path.startswith("categories/")))
def test_every_shipped_category_file_survives_being_written_again(path: str) -> None:
    values = read_category(FILES[path])
    assert read_category(write_category(values)) == values


def test_strings_that_toml_must_escape_survive() -> None:
    values = {
        "id": "X",
        "negative_terms": ['a"b\\c\n\x7f', ""],
        "prompt": {"e": ["中\t"]},
        "pattern": [{"r": "\\d{2}"}],
    }
    assert read_category(write_category(values)) == values


@pytest.mark.parametrize(
    ("entry", "text", "before", "after"),
    [
        (YAWS, "否认雅司病史。", [], [("否认雅司病史", "STD")]),
        (HOME, "在红星疗养所住院。", [], [("红星疗养所", "HOSPITAL")]),
        (BADGE, "工位90123#。", [], [("90123#", "CONTACT")]),
        (SCHOOL, "听梅毒防治讲座。", [("梅毒", "STD")], []),
        (FIXED, "到春和堂取药。", [], [("春和堂", "HOSPITAL")]),
    ],
)
def test_an_entry_changes_what_the_same_engine_finds(
    entry: KnowledgeEntry, text: str, before: list, after: list
) -> None:
    assert found([], text) == before
    assert found([entry], text) == after


def test_prompts_show_learned_examples_first_and_learned_sentences_last() -> None:
    files = apply_entries(SMALL, [EXAMPLE, SENTENCE])
    prefix = compile_prompts(files, load_categories(files)).prefixes["judge", "STD"]
    assert prefix.index("原文：查雅司病\n“雅司病”") < prefix.index("查TPPA阳性")
    assert "也算；热带密螺旋体病也算" in prefix
    assert (
        compile_prompts(files, load_categories(files)).version != compile_prompts(SMALL, load_categories(SMALL)).version
    )


def test_applying_leaves_conf_alone_and_repeats_nothing() -> None:
    before = dict(SMALL)
    entries = [YAWS, HOME, BADGE, SCHOOL, FIXED, EXAMPLE, SENTENCE]
    once = apply_entries(SMALL, entries)
    assert before == SMALL and apply_entries(SMALL, []) == SMALL
    assert apply_entries(once, entries) == once
    versions = {compile_rules(apply_entries(SMALL, [entry])).knowledge_version for entry in entries}
    assert len(versions | {compile_rules(SMALL).knowledge_version}) == len(entries) + 1


def test_an_entry_whose_file_is_gone_is_named_without_its_term() -> None:
    with pytest.raises(ConfigurationError, match="KNOWLEDGE_ENTRY") as caught:
        apply_entries(SMALL, [replace(YAWS, file="lexicons/gone.tsv")])
    assert caught.value.fields["file"] == "lexicons/gone.tsv" and "雅司" not in str(caught.value)


def test_identity_is_what_it_changes_and_plain_values_come_back() -> None:
    told = replace(YAWS, provenance=Provenance("induction", "c1", 3, ("n1",), "r1", "2024", 0.5, 0.6))
    assert told.entry_id == YAWS.entry_id != replace(YAWS, columns=("检验",)).entry_id
    assert entry_from_plain(entry_to_plain(told)) == told


@pytest.mark.parametrize(
    ("entry", "touched", "untouched"),
    [
        (YAWS, "查雅司病。", "查梅毒。"),
        (replace(YAWS, text="/第[0-9]期/", columns=("含值", "期")), "梅毒第1期", "查梅毒。"),
        (replace(YAWS, text="tppa", columns=("检验",)), "ＴＰＰＡ待查", "RPR待查"),
        (BADGE, "短号90123#", "短号90123"),
        (EXAMPLE, "", "查雅司病。"),
    ],
)
def test_a_change_touches_notes_that_hold_its_term(entry: KnowledgeEntry, touched: str, untouched: str) -> None:
    touch = touch_of([HOME], [HOME, entry])
    assert touch.holds(touched) is bool(touched) and not touch.holds(untouched)
    assert touch == touch_of([HOME, entry], [HOME])
    assert not touch_of([HOME, entry], [HOME, entry]).holds(touched)


def test_rows_that_change_places_count_as_changed() -> None:
    assert touch_of([HOME, YAWS], [YAWS, HOME]).holds("查雅司病")
