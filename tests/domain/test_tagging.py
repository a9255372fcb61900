"""How a tagger's word and a rule's become one confidence, and what the engine makes of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from ppsehr_spark.config import read_conf_files
from ppsehr_spark.domain.notes import Note, Span
from ppsehr_spark.domain.rules import RuleEngine, compile_rules
from ppsehr_spark.domain.tagging import HeardTag, Tag, TagWeights, read_weights, weigh_tags
from ppsehr_spark.errors import ConfigurationError

_TABLE: dict[str, Any] = {
    "label": "NAME", "max_chars": 6, "alone_intercept": -1.0, "alone_tag": 1.0, "alone_form": 0.0, "intercept": 0.5,
    "rule": 1.0, "tag": 0.5, "clash": 1.0, "silent": 2.0, "prose": ["NAME.x"], "keep_from": 0.9,
}  # fmt: skip
_WEIGHTS = TagWeights(**_TABLE)


@dataclass
class ListedTagger:
    """Says NAME wherever a listed word stands, and remembers what it was shown."""

    words: tuple[str, ...]
    probability: float = 0.95
    seen: list[str] = field(default_factory=list)

    def prepare(self, texts: Iterable[str]) -> None:
        self.seen.extend(texts)

    def tag(self, text: str) -> Sequence[Tag]:
        places = ((text.find(word), word) for word in self.words)
        return sorted(
            (Tag(at, at + len(word), "NAME", self.probability) for at, word in places if at >= 0),
            key=lambda tag: tag.start,
        )


def _engine(**changes: float | str) -> RuleEngine:
    files = read_conf_files()
    table = {**_TABLE, **changes}
    lines = [f"{key} = {value!r}" for key, value in table.items()]
    name = files["categories/NAME.toml"].split("[tagger]")[0]
    return compile_rules({**files, "categories/NAME.toml": name + "\n[tagger]\n" + "\n".join(lines) + "\n"})


def _span(confidence: float, *, rule: str = "NAME.x", start: int = 3) -> Span:
    return Span(start, 6, "NAME", confidence=confidence, rule=rule)


def _heard(probability: float, *, start: int = 3, form: float = 0.0) -> HeardTag:
    return HeardTag(_span(probability, rule="NAME.tagger", start=start), form)


def _logit(p: float) -> float:
    return math.log(p / (1 - p))


def _squash(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_both_voices_are_pooled() -> None:
    (found,) = weigh_tags([_span(0.6)], [_heard(0.8)], weights=_WEIGHTS)
    assert found.confidence == pytest.approx(_squash(0.5 + _logit(0.6) + 0.5 * _logit(0.8)), abs=1e-4)
    assert (found.source, found.rule) == ("rule+tagger", "NAME.x")


def test_silence_counts_where_the_tagger_is_at_home() -> None:
    (found,) = weigh_tags([_span(0.6)], [], weights=_WEIGHTS)
    assert found.confidence == pytest.approx(_squash(0.5 + _logit(0.6) - 2.0), abs=1e-4)
    assert found.source == "rule"
    (other,) = weigh_tags([_span(0.6, rule="NAME.label")], [], weights=_WEIGHTS)
    assert other.confidence == pytest.approx(_squash(0.5 + _logit(0.6)), abs=1e-4)


def test_another_range_that_the_tagger_is_sure_of_counts_against_a_rule() -> None:
    rule, _ = weigh_tags([_span(0.6, rule="NAME.label")], [_heard(0.8, start=4)], weights=_WEIGHTS)
    assert rule.confidence == pytest.approx(_squash(0.5 + _logit(0.6) - _logit(0.8)), abs=1e-4)
    rule, _ = weigh_tags([_span(0.6, rule="NAME.label")], [_heard(0.3, start=4)], weights=_WEIGHTS)
    assert rule.confidence == pytest.approx(_squash(0.5 + _logit(0.6)), abs=1e-4)


def test_a_sure_rule_is_not_talked_out_of_it() -> None:
    assert weigh_tags([_span(0.95)], [], weights=_WEIGHTS) == [_span(0.95)]
    assert weigh_tags([_span(0.95)], [_heard(0.999, start=4)], weights=_WEIGHTS) == [_span(0.95)]


def test_the_tagger_alone_proposes() -> None:
    (found,) = weigh_tags([], [_heard(0.95)], weights=_WEIGHTS)
    assert found.confidence == pytest.approx(_squash(-1.0 + _logit(0.95)), abs=1e-4)
    assert found.source == "tagger"


def test_the_form_of_a_name_speaks_for_a_tag() -> None:
    weights = replace(_WEIGHTS, alone_form=0.5)
    (found,) = weigh_tags([], [_heard(0.95, form=-3.0)], weights=weights)
    assert found.confidence == pytest.approx(_squash(-1.0 + _logit(0.95) - 1.5), abs=1e-4)


def test_a_certain_tag_stays_finite() -> None:
    (found,) = weigh_tags([], [_heard(1.0)], weights=_WEIGHTS)
    assert 0.5 < found.confidence < 1.0


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"label": 3}, "tagger.label"),
        ({"rule": "much"}, "tagger.rule"),
        ({"rules": 1.0}, "tagger.rules"),
        ({"prose": [1]}, "tagger.prose"),
    ],
)
def test_a_wrong_table_is_refused_by_key(change: dict[str, object], key: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_weights({**_TABLE, **change}, file="categories/NAME.toml")
    assert caught.value.fields["key"] == key


def test_no_table_no_word() -> None:
    assert read_weights({}, file="categories/NAME.toml") is None


def test_the_engine_takes_names_that_only_the_tagger_sees() -> None:
    """Offsets lead back to the original text, also behind characters that nobody sees."""
    text = "那本\u200b书豆丁写完了。"
    note, tagger = Note("n", text), ListedTagger(("豆丁",))
    engine = _engine()
    assert not [s for s in engine.propose(note) if s.category == "NAME" and s.confidence >= 0.5]
    (span,) = [s for s in engine.propose(note, tagger) if s.category == "NAME"]
    assert (text[span.start : span.end], span.source, span.rule) == ("豆丁", "tagger", "NAME.tagger")


def test_what_is_too_long_or_of_another_kind_does_not_count() -> None:
    note = Note("n", "那本书豆丁写完了。")
    assert not _engine(max_chars=1).propose(note, ListedTagger(("豆丁",)))
    assert not _engine(label="ORG").propose(note, ListedTagger(("豆丁",)))


def test_a_disease_named_after_a_person_is_no_name() -> None:
    note = Note("n", "诊断帕金森病。")
    assert not _engine().propose(note, ListedTagger(("帕金森",), 0.999))


def test_preparing_shows_the_tagger_what_it_will_read() -> None:
    engine, tagger = _engine(), ListedTagger(("豆丁",))
    engine.prepare([Note("a", "患者：发热"), Note("b", "咳嗽")], tagger)
    assert tagger.seen == ["患者:发热", "咳嗽"]
    engine.prepare([Note("a", "发热")], None)


@pytest.mark.parametrize(
    ("text", "tagged", "name"),
    [
        ("听说秦教授也来了。", "秦教授", "秦"),
        ("大家都听裘总的。", "裘总", "裘"),
        ("片中郝思源打了个电话。", "郝思源", "郝思源"),
        ("她把票给了婷婷。", "婷婷", "婷婷"),
        ("赛后Howard很高兴。", "Howard", "Howard"),
        ("昨晚夏侯静也到了。", "侯静", "夏侯静"),
    ],
)
def test_the_grammar_takes_the_title_off_a_tag(text: str, tagged: str, name: str) -> None:
    spans = compile_rules(read_conf_files()).propose(Note("n", text), ListedTagger((tagged,), 0.995))
    assert name in [text[s.start : s.end] for s in spans if s.category == "NAME" and s.confidence >= 0.5]


@pytest.mark.parametrize(
    ("text", "tagged"),
    [
        ("查体：霍夫曼征阴性。", "霍夫曼"),
        ("甄氏评分8分。", "甄氏"),
        ("验证码：840317，请勿告知。", "840317"),
        ("送到广林集团门口。", "广林"),
        ("三例均服达格列净。", "达格"),
    ],
)
def test_what_is_no_person_stays_none_whatever_the_tagger_says(text: str, tagged: str) -> None:
    spans = compile_rules(read_conf_files()).propose(Note("n", text), ListedTagger((tagged,), 0.9))
    assert not [s for s in spans if s.category == "NAME" and s.confidence >= 0.5]


def test_a_place_that_both_see_is_sure_and_one_alone_needs_near_certainty() -> None:
    weights = compile_rules(read_conf_files()).tag_weights["ADDRESS"]
    (both,) = weigh_tags([_span(0.45)], [_heard(0.98)], weights=weights)
    (hardly,) = weigh_tags([_span(0.45)], [_heard(0.6)], weights=weights)
    (certain,), (likely,) = (weigh_tags([], [_heard(p)], weights=weights) for p in (0.999, 0.9))
    assert weights.label == "ADDRESS"
    assert min(both.confidence, certain.confidence) >= 0.5 > max(hardly.confidence, likely.confidence)
