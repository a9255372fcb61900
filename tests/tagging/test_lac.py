"""The real LAC weights: names found, order and batch without effect, any text survived."""

from __future__ import annotations

import pytest

from ppsehr_spark.config import read_conf_files
from ppsehr_spark.domain.notes import Note
from ppsehr_spark.domain.rules import compile_rules
from ppsehr_spark.errors import ConfigurationError
from ppsehr_spark.tagging import open_tagger
from ppsehr_spark.tagging.lac import LacTagger


@pytest.fixture(scope="module")
def tagger() -> LacTagger:
    return LacTagger()


def _people(tagger: LacTagger, text: str, at_least: float = 0.5) -> list[str]:
    tags = tagger.tag(text)
    return [text[t.start : t.end] for t in tags if t.label == "PER" and t.probability >= at_least]


@pytest.mark.parametrize(
    ("text", "people"),
    [
        ("财经报记者顾明远昨天在郑州采访了郭庆云。", ["顾明远", "郭庆云"]),
        ("主教练温格认为球队踢得不错。", ["温格"]),
        ("患者三天前受凉后咳嗽，咳白痰，无发热。", []),
        ("", []),
    ],
)
def test_people_in_prose(tagger: LacTagger, text: str, people: list[str]) -> None:
    assert _people(tagger, text) == people


def test_tags_do_not_depend_on_company() -> None:
    """Alone, in a batch of other lengths or read before: the same tags to the last digit."""
    text = "记者顾明远报道。总裁沈大伟出席。他说好。"
    alone = LacTagger().tag(text)
    crowded = LacTagger()
    crowded.prepare(["球队赢了。", text, "记者顾明远报道。李小红到场祝贺。", "一" * 400])
    assert crowded.tag(text) == alone and alone
    assert crowded.tag(text) == alone


def test_a_long_line_is_read_to_its_end(tagger: LacTagger) -> None:
    text = "病情平稳继续观察" * 60 + ",记者顾明远报道"
    tags = [t for t in tagger.tag(text) if t.label == "PER" and t.probability >= 0.5]
    assert [text[t.start : t.end] for t in tags] == ["顾明远"]


def test_odd_characters_are_survived(tagger: LacTagger) -> None:
    assert tagger.tag("\x00\ud7ff𠮷🙏\u200b" * 50 + "0" * 10_000) is not None


def test_with_the_shipped_weights_a_name_in_the_news_is_found_and_clean_prose_left_alone() -> None:
    engine, tagger = compile_rules(read_conf_files()), open_tagger("lac")
    text = "财经报记者顾明远昨天采访了总裁沈大伟。"
    note = Note("n", text)
    found = engine.finalise(note, engine.propose(note, tagger))
    assert [text[s.start : s.end] for s in found if s.category == "NAME"] == ["顾明远", "沈大伟"]
    clean = Note("n", "双肺呼吸音粗，可闻及湿性啰音，心率齐，腹软，肝脾肋下未触及，双下肢无水肿。")
    assert engine.finalise(clean, engine.propose(clean, tagger)) == ()


def test_taggers_go_by_name() -> None:
    assert open_tagger("none") is None
    assert open_tagger("lac") is open_tagger("lac")
    with pytest.raises(ConfigurationError, match="TAGGER"):
        open_tagger("bert")
