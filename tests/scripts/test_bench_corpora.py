"""Public corpora in the guideline's terms: offsets, tiers, what is left undecided; on lines written for this test."""

from __future__ import annotations

import gzip
import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture
def corpora(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("bench_corpora")


@pytest.fixture
def addresses(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("bench_addresses")


def bio(*chunks: tuple[str, str]) -> list[tuple[str, str]]:
    return [(c, f"{'I' if at else 'B'}-{kind}") for text, kind in chunks for at, c in enumerate(text)]


def read(addresses: ModuleType, *chunks: tuple[str, str]) -> tuple[str, Any, set[str]]:
    """Surface and tier of gold, and the other surfaces that are as right."""
    address = addresses.read_address(bio(*chunks))
    (span,) = address.gold.spans
    assert set(address.gold.variants.values()) <= {(span.start, span.end)}
    others = {address.text[a:b] for a, b in address.gold.variants}
    return address.text[span.start : span.end], span.tier, others


def test_an_address_with_a_door_is_one_span_of_tier_3(addresses: ModuleType) -> None:
    found = read(addresses, ("宁波市", "city"), ("江东区", "district"), ("金家一路", "road"), ("8号", "roadno"))
    assert found == ("宁波市江东区金家一路8号", 3, set())


@pytest.mark.parametrize(
    ("chunks", "tier"),
    [
        ([("浙江省", "prov"), ("杭州市", "city")], 1),
        ([("浙江省", "prov"), ("桐庐县", "district")], 2),
        ([("下宅村", "community")], 2),
        ([("下宅村", "community"), ("5组", "road")], 3),
        ([("玉树路", "road"), ("5号库", "poi")], 2),
        ([("玉树路", "road"), ("美都大厦", "poi")], 3),
        ([("玉树路", "road"), ("美都广场", "poi")], 2),
        ([("玉树路", "road"), ("5号", "poi")], 3),
        ([("玉树路", "road"), ("卅六", "houseno")], 3),
    ],
)
def test_the_finest_level_decides_the_tier(addresses: ModuleType, chunks: list[tuple[str, str]], tier: int) -> None:
    assert read(addresses, *chunks)[1] == tier


def test_a_trailing_point_of_interest_may_stand_in_or_out(addresses: ModuleType) -> None:
    found = read(addresses, ("文三路", "road"), ("9号", "roadno"), ("美都广场", "poi"), ("旁边", "assist"))
    assert found == ("文三路9号美都广场", 3, {"文三路9号", "文三路9号美都广场旁边"})


def test_a_point_of_interest_inside_stays_inside(addresses: ModuleType) -> None:
    assert read(addresses, ("美都广场", "poi"), ("C座", "houseno"), ("1391", "roomno")) == ("美都广场C座1391", 3, set())


def test_countries_persons_and_marks_stay_outside(addresses: ModuleType) -> None:
    found = read(addresses, ("中国", "country"), ("杭州市", "city"), ("_", "redundant"), ("张三收", "person"))
    assert found == ("杭州市", 1, {"中国杭州市"})


def test_a_repeated_division_may_be_left_out(addresses: ModuleType) -> None:
    found = read(addresses, ("宁波", "redundant"), ("宁波市", "city"), ("海曙区", "district"))
    assert found == ("宁波宁波市海曙区", 2, {"宁波市海曙区"})


def test_a_person_in_the_middle_and_a_line_without_place_are_left_out(addresses: ModuleType) -> None:
    assert addresses.read_address(bio(("杭州市", "city"), ("张三", "person"), ("9号", "roadno"))) is None
    assert addresses.read_address(bio(("电联", "redundant"))) is None


def test_cluener_ends_are_inclusive_and_countries_undecided(corpora: ModuleType) -> None:
    labels = {
        "name": {"彭小军": [[0, 2]]},
        "address": {"台湾": [[15, 16]], "日本": [[20, 21]]},
        "scene": {"故宫": [[30, 31]]},
        "company": {"某银行": [[40, 42]]},
    }
    gold = corpora.read_cluener_labels(labels)
    assert [(s.start, s.end, s.category, s.tier) for s in gold.spans] == [
        (0, 3, "NAME", None),
        (15, 17, "ADDRESS", None),
    ]
    assert sorted(gold.undecided) == [(20, 22), (30, 32)]


def write_data(folder: Path) -> Path:
    """A data folder with one or two records per corpus."""
    for name in ("cluener", "address_naacl2019", "cpca_addr", "hospitals", "yidu_s4k"):
        (folder / name).mkdir(parents=True)
    record = {"text": "李四去了杭州", "label": {"name": {"李四": [[0, 1]]}, "address": {"杭州": [[4, 5]]}}}
    (folder / "cluener" / "dev.json").write_text(json.dumps(record) + "\n", encoding="utf-8")
    lines = "\n".join(f"{c} {label}" for c, label in bio(("杭州市", "city"), ("文三路", "road"), ("9号", "roadno")))
    (folder / "address_naacl2019" / "dev.txt").write_text(f"{lines}\n\n{lines}\n\n", encoding="utf-8")
    rows = "原始地址,规模\n杭州市文三路9号,1\n杭州某某公司,1\n,1\n"
    (folder / "cpca_addr" / "addr.csv.gz").write_bytes(gzip.compress(rows.encode()))
    script = '{"name": "东山县杏陈卫生院(新院区)", "tel": ""}, {"name": "东山县杏陈卫生院", "tel": ""}'
    (folder / "hospitals" / "wuhan2020map_hospital.js").write_text(script, encoding="utf-8")
    yidu = "\ufeff" + json.dumps({"originalText": "患者咳嗽3天。" * 100}) + "\r\n"
    for part in ("part1", "part2"):
        (folder / "yidu_s4k" / f"{part}_train.jsonl.gz").write_bytes(gzip.compress(yidu.encode()))
    return folder


def test_every_mention_lies_where_its_sentence_put_it(corpora: ModuleType, tmp_path: Path) -> None:
    data = write_data(tmp_path)
    expected = {
        "cluener": {"李四", "杭州"},
        "address_naacl2019": {"杭州市文三路9号"},
        "cpca": {"杭州市文三路9号"},
        "wuhan_hospitals": {"东山县杏陈卫生院"},
    }
    for name, surfaces in expected.items():
        corpus = corpora.load_corpus(name, data)
        found = {corpus.texts[key][s.start : s.end] for key, note in corpus.gold.items() for s in note.spans}
        assert found == surfaces, name
    assert len(corpora.load_corpus("wuhan_hospitals", data).texts) == 1
    assert len(corpora.load_corpus("address_naacl2019", data).texts) == 2
    assert len(corpora.load_corpus("yidu_s4k", data).texts) == 2


def test_a_missing_corpus_is_none_and_a_limit_keeps_the_first_of_the_order(corpora: ModuleType, tmp_path: Path) -> None:
    assert corpora.load_corpus("cluener", tmp_path) is None
    whole, part = (list(corpora.load_corpus("gold-dev", tmp_path, limit=n).texts) for n in (0, 7))
    assert part == whole[:7] and len(whole) > 100
    assert whole != sorted(whole)
    assert not set(whole) & set(corpora.load_corpus("gold-held", tmp_path).texts)
