"""The real tagger with its shipped weights: mentions found, order and batch without effect, any text survived."""

from __future__ import annotations

import lzma
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

from ppsehr_spark.config import read_conf_files
from ppsehr_spark.domain.notes import Note
from ppsehr_spark.domain.rules import compile_rules
from ppsehr_spark.errors import ConfigurationError
from ppsehr_spark.evaluation.gold_markup import GUIDELINE_CATEGORIES
from ppsehr_spark.tagging import CRF_WEIGHTS, open_tagger, tagger_version
from ppsehr_spark.tagging.crf import CrfTagger, cut_sentences

ROOT = Path(__file__).resolve().parents[2]
PACKED = (resources.files("ppsehr_spark.tagging") / CRF_WEIGHTS).read_bytes()


@pytest.fixture(scope="module")
def tagger() -> CrfTagger:
    return CrfTagger(PACKED)


def _found(tagger: CrfTagger, text: str, category: str, at_least: float = 0.5) -> list[str]:
    tags = tagger.tag(text)
    return [text[t.start : t.end] for t in tags if t.label == category and t.probability >= at_least]


@pytest.mark.parametrize(
    ("text", "category", "surfaces"),
    [
        ("财经报记者顾明远昨天采访了郭庆云。", "NAME", ["顾明远", "郭庆云"]),
        ("3床由章丽萍陪护,夜间章丽萍呼叫一次。", "NAME", ["章丽萍", "章丽萍"]),
        ("年前在义乌打工,后转入武汉协和医院。", "HOSPITAL", ["武汉协和医院"]),
        ("患者三天前受凉后咳嗽，咳白痰，无发热。", "NAME", []),
        ("", "NAME", []),
    ],
)
def test_mentions_in_prose(tagger: CrfTagger, text: str, category: str, surfaces: list[str]) -> None:
    assert _found(tagger, text, category) == surfaces


def test_labels_are_the_categories_and_probabilities_are_probabilities(tagger: CrfTagger) -> None:
    text = "患者苗翠花,住临沂市兰山区柳青街道12号,电话13953920417,停经38天,TPPA阳性,曾在齐鲁医院就诊。"
    tags = tagger.tag(text)
    assert {tag.label for tag in tags} <= set(GUIDELINE_CATEGORIES)
    assert len({tag.label for tag in tags if tag.probability >= 0.5}) >= 4
    assert all(0.05 <= tag.probability <= 1 and 0 <= tag.start < tag.end <= len(text) for tag in tags)
    assert [tag.start for tag in tags] == sorted(tag.start for tag in tags)


def test_tags_do_not_depend_on_company(tagger: CrfTagger) -> None:
    """Alone, in a batch of other lengths or read before: the same tags to the last digit."""
    text = "记者顾明远报道。总裁沈大伟出席。他说好。"
    alone = CrfTagger(PACKED).tag(text)
    tagger.prepare(["球队赢了。", text, "记者顾明远报道。李小红到场祝贺。", "一" * 400])
    assert tagger.tag(text) == alone and alone
    assert tagger.tag(text) == alone


def test_a_long_line_is_read_to_its_end(tagger: CrfTagger) -> None:
    assert _found(tagger, "病情平稳继续观察" * 60 + ",记者顾明远报道", "NAME") == ["顾明远"]


def test_odd_characters_are_survived(tagger: CrfTagger) -> None:
    assert tagger.tag("\x00\ud7ff𠮷🙏\u200b" * 50 + "0" * 10_000) is not None


def test_windows_cover_the_text() -> None:
    text = "甲" * 500 + "。乙\n丙"
    windows = list(cut_sentences(text))
    assert {at for start, end in windows for at in range(start, end)} == set(range(len(text)))
    assert all(0 < end - start <= 120 for start, end in windows)


def test_with_the_shipped_weights_a_name_in_the_news_is_found_and_clean_prose_left_alone() -> None:
    engine, tagger = compile_rules(read_conf_files()), open_tagger("crf")
    text = "财经报记者顾明远昨天采访了总裁沈大伟。"
    note = Note("n", text)
    found = engine.finalise(note, engine.propose(note, tagger))
    assert [text[s.start : s.end] for s in found if s.category == "NAME"] == ["顾明远", "沈大伟"]
    clean = Note("n", "双肺呼吸音粗，可闻及湿性啰音，心率齐，腹软，肝脾肋下未触及，双下肢无水肿。")
    assert engine.finalise(clean, engine.propose(clean, tagger)) == ()


def test_taggers_go_by_name_and_state() -> None:
    assert open_tagger("none") is None and tagger_version("none") == "none"
    assert open_tagger("crf") is open_tagger("crf")
    assert tagger_version("crf").startswith("crf:") and len(tagger_version("crf")) == 16
    with pytest.raises(ConfigurationError, match="TAGGER"):
        open_tagger("bert")


@pytest.mark.slow
def test_what_the_script_trains_finds_what_it_was_shown(tmp_path: Path) -> None:
    gold = tmp_path / "gold"
    gold.mkdir()
    notes = [f"=== t-{n} | 病程 | - | -\n护工⟦NAME|章丽萍⟧第{n}次来。⟦STD.3|TPPA阳性⟧。\n" for n in range(30)]
    (gold / "a.gold.txt").write_text("".join(notes), encoding="utf-8")
    out = tmp_path / "weights.xz"
    arguments = ["--gold", str(gold), "--simulated", "0", "--out", str(out)]
    script = ROOT / "scripts" / "train_tagger.py"
    subprocess.run([sys.executable, str(script), *arguments], check=True, cwd=ROOT, capture_output=True)
    assert lzma.decompress(out.read_bytes())
    tagger = CrfTagger(out.read_bytes())
    assert _found(tagger, "护工章丽萍第99次来。", "NAME") == ["章丽萍"]
    assert _found(tagger, "TPPA阳性。", "STD") == ["TPPA阳性"]
