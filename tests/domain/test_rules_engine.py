"""The engine as a whole: offsets, thresholds, priorities, errors, versions, linear work."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ppsehr_spark.config import read_conf_files
from ppsehr_spark.domain.notes import Note, Span
from ppsehr_spark.domain.offsets import normalise_pattern, normalise_text
from ppsehr_spark.domain.rules import compile_rules
from ppsehr_spark.errors import ConfigurationError
from ppsehr_spark.evaluation.gold_markup import read_gold

_GOLD = Path(__file__).resolve().parents[1] / "data" / "gold"
_CATEGORY = 'id = "VEHICLE2"\nname = "车辆"\n'


def test_offsets_survive_every_kind_of_normalisation() -> None:
    text = "\ufeff姓\u200b名：張\u200d三，電話：１３８－００１３－８０００。"
    spans = compile_rules(read_conf_files()).propose(Note("k", text))
    assert [text[s.start : s.end] for s in spans] == ["張\u200d三", "１３８－００１３－８０００"]


def test_normalised_characters_never_stand_for_several() -> None:
    text = "①㎏…ﬁ𝟙２Ａ（【张】\u200b"
    normalised = normalise_text(text)
    assert normalised.positions is not None
    assert len(normalised.text) == len(normalised.positions) == len(text) - 1
    assert normalised.text == "①㎏…ﬁ12A([张]"


def test_patterns_keep_their_meaning_when_punctuation_is_folded() -> None:
    assert re.fullmatch(normalise_pattern("（[：:]？）"), "(:?)")


def test_an_unaccepted_span_never_displaces_an_accepted_one() -> None:
    files = dict(read_conf_files())
    files["categories/ZONE.toml"] = (
        'id = "ZONE"\nname = "区"\npriority = 999\naccept_at = 0.9\n'
        "[[pattern]]\nid = 'wide'\nregex = '电话.*'\nconfidence = 0.5\n"
    )
    note = Note("k", "电话：13812345678")
    assert [s.category for s in compile_rules(files).propose(note)] == ["CONTACT"]


def test_finalise_keeps_accepted_spans_and_decided_tiers() -> None:
    engine = compile_rules(read_conf_files())
    note = Note("k", "籍贯：浙江宁波，住址：浙江省宁波市")
    decided = Span(11, 17, "ADDRESS", tier=3, confidence=0.9, tier_rule="qwen.address")
    doubtful = Span(0, 2, "NAME", confidence=0.4)
    final = engine.finalise(note, [Span(3, 7, "ADDRESS", confidence=0.9), decided, doubtful])
    assert [(s.start, s.tier, s.tier_rule.split(".")[0]) for s in final] == [(3, 1, "ADDRESS"), (11, 3, "qwen")]


def test_where_all_is_accepted_finalise_returns_what_was_proposed() -> None:
    """The tier stage leaves such notes as they are, without looking at them again."""
    engine, n_settled = compile_rules(read_conf_files()), 0
    for gold in read_gold(_GOLD):
        note = Note(gold.note_id, gold.text)
        proposed = engine.propose(note)
        if all(span.confidence >= engine.categories[span.category].accept_at for span in proposed):
            n_settled += 1
            assert engine.finalise(note, proposed) == proposed
    assert n_settled > 500


def test_every_span_names_its_rule_and_can_be_explained() -> None:
    engine = compile_rules(read_conf_files())
    note = Note("k", "患者张伟，男，籍贯：浙江宁波，于北京协和医院就诊，电话13812345678，身份证11010519491231002X")
    spans = engine.propose(note)
    assert {s.category for s in spans} == {"NAME", "ADDRESS", "HOSPITAL", "CONTACT", "ID"}
    for span in spans:
        assert span.rule.startswith(span.category + ".") and 0 < span.confidence <= 1
        line = engine.explain(note, span)
        assert span.rule in line and note.text[span.start : span.end] in line


def test_the_same_contents_are_compiled_once_and_versions_follow_contents() -> None:
    files = read_conf_files()
    assert compile_rules(dict(files)) is compile_rules(files)
    changed = {**files, "categories/VEHICLE2.toml": _CATEGORY}
    assert compile_rules(changed).knowledge_version != compile_rules(files).knowledge_version


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("[[pattern]]\nid = 'x'\nregex = '('\nconfidence = 1\n", "CATEGORY_PATTERN"),
        ("[[pattern]]\nid = 'x'\nregex = 'a'\nconfidence = 1\nvalidator = 'none'\n", "CATEGORY_PATTERN"),
        ("[[pattern]]\nid = 'x'\nregexp = 'a'\nconfidence = 1\n", "CATEGORY_PATTERN"),
        ("[[lexicon]]\nid = 'x'\nfile = 'lexicons/none.tsv'\nconfidence = 1\n", "LEXICON_FILE"),
        ("recognisers = ['none']\n", "UNKNOWN_RECOGNISER"),
    ],
)
def test_a_wrong_category_file_is_refused_with_its_place(body: str, code: str) -> None:
    files = {**read_conf_files(), "categories/VEHICLE2.toml": _CATEGORY + body}
    with pytest.raises(ConfigurationError) as caught:
        compile_rules(files)
    assert caught.value.code == code and caught.value.fields["file"]


def test_a_lexicon_category_needs_only_conf() -> None:
    files = {
        **read_conf_files(),
        "lexicons/ward.tsv": "# 病区\n牡丹病区\n牡丹\n",
        "categories/VEHICLE2.toml": _CATEGORY + "negative_terms = ['牡丹花']\n"
        "[[lexicon]]\nid = 'ward'\nfile = 'lexicons/ward.tsv'\nconfidence = 0.9\n",
    }
    text = "转入牡丹病区，对牡丹花粉过敏，牡丹"
    spans = compile_rules(files).propose(Note("k", text))
    assert [text[s.start : s.end] for s in spans if s.category == "VEHICLE2"] == ["牡丹病区", "牡丹"]


@pytest.mark.parametrize("unit", ["1", "张", "北京市", "医院", "姓名：", "1-", "a@", "住", "张三、", "· ", "*"])
def test_hostile_repetition_yields_work_linear_in_length(unit: str) -> None:
    engine = compile_rules(read_conf_files())
    counts = []
    for n_chars in (2_000, 8_000):
        text = (unit * n_chars)[:n_chars]
        counts.append(sum(1 for _ in _trace_lines(lambda t=text: engine.propose(Note("k", t)))))
    assert counts[1] <= counts[0] * 4.8 + 2_000


def _trace_lines(run: Callable[[], object]) -> list[int]:
    """Lines of our own code executed by ``run``: a clock that no other process can disturb."""
    seen: list[int] = []

    def trace(frame: object, event: str, arg: object) -> object:
        if event == "line":
            seen.append(1)
        return trace

    sys.settrace(trace)
    try:
        run()
    finally:
        sys.settrace(None)
    return seen
