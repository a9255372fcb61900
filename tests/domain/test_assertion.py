"""The grammar ``clinical_assertion`` against the guideline's table of cases, and against hostile text."""

from __future__ import annotations

import json
import random
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ppsehr_spark.config import read_conf_files
from ppsehr_spark.domain.notes import Note
from ppsehr_spark.domain.rules import RuleEngine, compile_rules
from ppsehr_spark.errors import ConfigurationError

CASES = [
    json.loads(line)
    for line in (Path(__file__).parent / "data" / "clinical_cases.jsonl").read_text(encoding="utf-8").splitlines()
]
CLINICAL = ("categories/STD.toml", "categories/PREGNANCY.toml", "tiers.toml")


def clinical_files() -> dict[str, str]:
    """Conf files of the two clinical categories alone: other categories cannot hide or displace their spans."""
    return {p: t for p, t in read_conf_files().items() if p in CLINICAL or p.startswith("lexicons/")}


@pytest.fixture(scope="module")
def engine() -> RuleEngine:
    return compile_rules(clinical_files())


def find(engine: RuleEngine, case: dict[str, Any]) -> list[tuple[str, str, int | None]]:
    text = case["text"]
    note = Note(case.get("id", ""), text, sex=case.get("sex", ""), age_years=case.get("age_years"))
    return [(text[s.start : s.end], s.category, s.tier) for s in engine.propose(note)]


def test_there_are_enough_cases_and_they_are_consistent() -> None:
    assert len(CASES) >= 150
    assert sum(not case["spans"] for case in CASES) >= 30
    for case in CASES:
        for span in case["spans"]:
            assert case["text"][span["start"] : span["end"]] == span["text"]
            assert span["tier"] in (1, 2, 3)


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_case_of_the_guideline(engine: RuleEngine, case: dict[str, Any]) -> None:
    note = Note(case["id"], case["text"], sex=case.get("sex", ""), age_years=case.get("age_years"))
    found = [(s.start, s.end, s.category, s.tier) for s in engine.propose(note)]
    assert found == [(s["start"], s["end"], s["category"], s["tier"]) for s in case["spans"]], find(engine, case)


def test_offsets_are_those_of_the_original(engine: RuleEngine) -> None:
    text = "查ＴＰＰＡ\u200b阳性，ＲＰＲ　１：１６。"
    found = [text[s.start : s.end] for s in engine.propose(Note("n", text))]
    assert found == ["ＴＰＰＡ\u200b阳性", "ＲＰＲ　１：１６"]


def test_menses_count_only_in_a_pregnancy(engine: RuleEngine) -> None:
    assert find(engine, {"text": "月经规律，LMP 2023-05-01。"}) == []
    pregnant = find(engine, {"text": "停经40天，LMP 2023-05-01。"})
    assert ("LMP 2023-05-01", "PREGNANCY", 2) in pregnant
    negative = find(engine, {"text": "停经40天，LMP 2023-05-01，尿HCG阴性。"})
    assert [mention for mention, _, _ in negative] == ["停经40天", "尿HCG阴性"]


def test_each_kind_of_evidence_counts_for_its_own_rows() -> None:
    files = clinical_files()
    files["lexicons/std_terms.tsv"] = (
        "甲病\t需旁证\t甲病\t一\n甲证\t旁证\t\t一\n甲反\t反证\t\t一\n乙病\t需旁证\t乙病\n乙证\t旁证\n"
    )
    engine = compile_rules(files)

    def mentions(text: str) -> list[str]:
        return [mention for mention, _, _ in find(engine, {"text": text})]

    assert mentions("甲病，乙病") == []
    assert mentions("甲病，乙病，甲证") == ["甲病"]
    assert mentions("甲病，乙病，乙证，甲反") == ["乙病"]
    assert mentions("甲病，乙病，甲证，乙证，甲反") == ["乙病"]


def test_a_new_term_is_one_row_of_the_lexicon(engine: RuleEngine) -> None:
    case = {"text": "确诊雅司病2年。"}
    assert find(engine, case) == []
    files = clinical_files()
    files["lexicons/std_terms.tsv"] += "雅司病\t词\n"
    assert find(compile_rules(files), case) == [("雅司病", "STD", 3)]
    assert find(compile_rules(files), {"text": "否认雅司病、梅毒病史。"}) == [("否认雅司病、梅毒病史", "STD", 1)]


@pytest.mark.parametrize("row", ["某词\t不存在的作用", "某词", "/未闭合(/\t词\t未", "/没有锚词[0-9]+/\t词"])
def test_a_wrong_row_is_named_by_file_and_number(row: str) -> None:
    files = clinical_files()
    files["lexicons/std_terms.tsv"] = f"梅毒\t词\n{row}\n"
    with pytest.raises(ConfigurationError) as caught:
        compile_rules(files)
    assert caught.value.code == "ASSERTION_TERMS"
    assert caught.value.fields == {"file": "lexicons/std_terms.tsv", "row": 2}


def test_random_joins_of_cases_never_overlap_or_fail(engine: RuleEngine) -> None:
    dice = random.Random(7)
    for _ in range(200):
        text = "".join(dice.choice(CASES)["text"] for _ in range(4))
        spans = engine.propose(Note("n", text))
        assert all(0 <= s.start < s.end <= len(text) and s.tier in (1, 2, 3) for s in spans)
        assert all(a.end <= b.start for a, b in pairwise(spans))


@pytest.mark.parametrize(
    "unit", ["否认梅毒、", "HIV", "停经", "孕", "1-0-", "TPPA、", "梅毒，", "LMP2023-01-01 ", "高危", "其母TPPA阳性，"]
)
def test_time_grows_with_length_only(engine: RuleEngine, unit: str) -> None:
    def measure_s(n_units: int) -> float:
        note = Note("n", unit * n_units)
        best = min(_time_s(engine, note) for _ in range(3))
        return max(best, 1e-3)

    # 8 times the text may take 8 times as long; a quadratic scan would take 64 times.
    assert measure_s(2000) / measure_s(250) < 24


def _time_s(engine: RuleEngine, note: Note) -> float:
    started = time.process_time()
    engine.propose(note)
    return time.process_time() - started
