"""The public development corpora and our own gold, read into the guideline's terms.

Knows: file formats and how each corpus's labels map to annotation guideline v1. Must not know: rules, peers. A corpus
whose files are missing gives ``None``. Notes come in an order drawn by hash, so that the first n are a random sample.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench_addresses import read_address

from ppsehr_spark.domain.notes import Span
from ppsehr_spark.evaluation.gold_markup import GUIDELINE_CATEGORIES, read_gold
from ppsehr_spark.evaluation.partial_gold import PartialGold
from ppsehr_spark.evaluation.span_counts import DIRECT_IDENTIFIERS

_TEST_DATA = Path(__file__).resolve().parents[1] / "tests" / "data"
#: Our hand-written gold: rules are tuned on ``dev``, the weights of the pool on ``pool``; ``held`` is only scored.
GOLD_FOLDERS = {
    name: _TEST_DATA / folder for name, folder in (("dev", "gold"), ("pool", "gold_pool"), ("held", "gold_held"))
}
#: Sentences that an address or a hospital of a list stands in, by turns; written for this bench.
ADDRESS_FRAMES = ("{}", "现住址：{}。", "患者家住{}，由家属陪同就诊。", "联系地址：{}，电话未留。")
HOSPITAL_FRAMES = ("3天前于{}就诊，予抗感染治疗。", "遂转至{}进一步治疗。", "{}出院诊断：肺炎。", "曾在{}行手术治疗。")
#: Coarser than what the guideline calls a place; CLUENER labels them as addresses.
_NOT_PLACES_TEXT = """
    中国 美国 英国 法国 德国 日本 韩国 朝鲜 俄罗斯 苏联 意大利 西班牙 葡萄牙 荷兰 比利时 瑞士 瑞典 挪威 芬兰
    丹麦 冰岛 爱尔兰 奥地利 波兰 捷克 匈牙利 罗马尼亚 保加利亚 希腊 土耳其 乌克兰 白俄罗斯 塞尔维亚 克罗地亚
    印度 巴基斯坦 孟加拉国 尼泊尔 不丹 斯里兰卡 马尔代夫 缅甸 泰国 老挝 柬埔寨 越南 马来西亚 新加坡
    印度尼西亚 印尼 菲律宾 文莱 蒙古 哈萨克斯坦 阿富汗 伊朗 伊拉克 叙利亚 约旦 黎巴嫩 以色列 巴勒斯坦 沙特
    沙特阿拉伯 科威特 卡塔尔 阿联酋 也门 埃及 利比亚 突尼斯 阿尔及利亚 摩洛哥 苏丹 埃塞俄比亚 肯尼亚
    坦桑尼亚 尼日利亚 加纳 南非 安哥拉 赞比亚 津巴布韦 加拿大 墨西哥 古巴 巴西 阿根廷 智利 秘鲁 哥伦比亚
    委内瑞拉 乌拉圭 巴拉圭 澳大利亚 澳洲 新西兰 亚洲 欧洲 非洲 美洲 北美 南美 北美洲 南美洲 拉美 大洋洲 南极
    北极 中东 东南亚 西欧 东欧 太平洋 北太平洋 大西洋 印度洋 北冰洋 远东 远东地区 加勒比海域 芬兰湾 波罗的海
"""
_NOT_PLACES = frozenset(_NOT_PLACES_TEXT.split())
_COMPANY = re.compile(r"(?:公司|集团|有限|厂|银行|学校|大学|医院)$")
_LOOKS_LIKE_PLACE = re.compile(r"[省市区县镇乡村路街道巷弄号]")


@dataclass(frozen=True)
class Corpus:
    """Texts with what is known about them.

    Attributes:
        name: for the command line.
        basis: one or two sentences: what it is, how its labels became gold.
        categories: categories it labels; empty where it has no gold and only over-redaction can be seen.
        texts: note id -> text, in an order drawn by hash.
        gold: note id -> mentions.
        direct: direct identifiers it can judge.
    """

    name: str
    basis: str
    categories: tuple[str, ...]
    texts: Mapping[str, str]
    gold: Mapping[str, PartialGold] = field(default_factory=dict)
    direct: Mapping[str, int | None] = field(default_factory=lambda: DIRECT_IDENTIFIERS)


Item = tuple[str, str, PartialGold]


def load_corpus(name: str, data: Path, *, limit: int = 0) -> Corpus | None:
    """Read one corpus; ``limit`` keeps so many notes of the drawn order.

    Args:
        name: a key of ``READERS``.
        data: folder with one folder per public corpus.
        limit: 0 keeps all.
    """
    basis, categories, direct, read = READERS[name]
    try:
        items = sorted(read(data), key=lambda item: hashlib.sha256(f"{name}:{item[0]}".encode()).digest())
    except FileNotFoundError:
        return None
    kept = items[:limit] if limit else items
    texts, gold = {key: text for key, text, _ in kept}, {key: spans for key, _, spans in kept}
    return Corpus(name, basis, categories, texts, gold, direct)


def _read_our_gold(folder: Path) -> Callable[[Path], Iterator[Item]]:
    def read(_: Path) -> Iterator[Item]:
        return ((n.note_id, n.text, PartialGold(n.spans)) for n in read_gold(folder))

    return read


def _read_cluener(data: Path) -> Iterator[Item]:
    for number, line in enumerate(filter(None, _lines(data / "cluener" / "dev.json"))):
        fields = json.loads(line)
        yield str(number), fields["text"], read_cluener_labels(fields["label"])


def read_cluener_labels(labels: Mapping[str, Mapping[str, list[list[int]]]]) -> PartialGold:
    """``name`` and ``address`` as gold; their ends are inclusive in the files.

    Countries, continents and oceans among the addresses, and ``scene`` (sights), are left undecided: the guideline
    excludes the former, and does not say where a sight stops being a place.
    """
    spans, undecided = [], []
    for label, mentions in labels.items():
        for surface, ranges in mentions.items():
            is_open = label == "scene" or (label == "address" and surface in _NOT_PLACES)
            for first, last in ranges:
                if is_open:
                    undecided.append((first, last + 1))
                elif label in ("name", "address"):
                    spans.append(Span(first, last + 1, label.upper(), source="gold"))
    return PartialGold(tuple(sorted(spans, key=lambda s: (s.start, s.end))), tuple(undecided))


def _read_naacl(data: Path) -> Iterator[Item]:
    blocks = "\n".join(_lines(data / "address_naacl2019" / "dev.txt")).split("\n\n")
    for number, block in enumerate(filter(None, map(str.strip, blocks))):
        address = read_address([tuple(line.rsplit(" ", 1)) for line in block.split("\n")])
        if address is not None:
            yield _frame(str(number), address.text, ADDRESS_FRAMES[number % len(ADDRESS_FRAMES)], address.gold)


def _read_cpca(data: Path) -> Iterator[Item]:
    with gzip.open(data / "cpca_addr" / "addr.csv.gz", "rt", encoding="utf-8") as stream:
        column = [row["原始地址"].strip(" ，,。.;；") for row in csv.DictReader(stream)]
    for number, text in enumerate(dict.fromkeys(column)):
        if _LOOKS_LIKE_PLACE.search(text) and not _COMPANY.search(text):
            gold = PartialGold((Span(0, len(text), "ADDRESS", source="gold"),))
            yield _frame(str(number), text, ADDRESS_FRAMES[number % len(ADDRESS_FRAMES)], gold)


def _read_hospitals(data: Path) -> Iterator[Item]:
    script = (data / "hospitals" / "wuhan2020map_hospital.js").read_text(encoding="utf-8")
    names = (re.split(r"[(（]", name)[0].strip() for name in re.findall(r'"name":\s*"([^"]*)"', script))
    for number, name in enumerate(filter(None, dict.fromkeys(names))):
        gold = PartialGold((Span(0, len(name), "HOSPITAL", source="gold"),))
        yield _frame(str(number), name, HOSPITAL_FRAMES[number % len(HOSPITAL_FRAMES)], gold)


def _frame(key: str, text: str, frame: str, gold: PartialGold) -> Item:
    """``text`` inside a sentence, its gold moved along."""
    by = frame.index("{}")
    moved = tuple(Span(s.start + by, s.end + by, s.category, s.tier, s.source) for s in gold.spans)
    variants = {(a + by, b + by): (c + by, d + by) for (a, b), (c, d) in gold.variants.items()}
    return key, frame.format(text), PartialGold(moved, tuple((a + by, b + by) for a, b in gold.undecided), variants)


def _read_texts(*paths: str, key: str) -> Callable[[Path], Iterator[Item]]:
    """Bare texts: JSON lines or one JSON list with ``key``, or tab-separated lines whose last column counts."""

    def read(data: Path) -> Iterator[Item]:
        for path in paths:
            for number, text in enumerate(_texts(data / path, key)):
                yield f"{path}:{number}", text, PartialGold()

    return read


def _texts(path: Path, key: str) -> Iterable[str]:
    lines = _lines(path)
    if not key:
        return (line.rpartition("\t")[2].strip() for line in lines if line.strip())
    records = (
        json.loads("\n".join(lines)) if lines[0].lstrip().startswith("[") else map(json.loads, filter(None, lines))
    )
    return (record[key] for record in records)


def _lines(path: Path) -> list[str]:
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return raw.decode("utf-8-sig").replace("\r\n", "\n").split("\n")


_OUR_GOLD = "Our hand-written gold (`tests/data/{}`): seven categories and tiers of the guideline."
_NO_GOLD = "{} No gold: hardly any direct identifier stands in it, so what is touched is nearly all over-redaction."
_NAME_ONLY: Mapping[str, int | None] = {"NAME": None}
_ADDRESS_ONLY: Mapping[str, int | None] = {"ADDRESS": 3}
#: Corpus -> basis, labelled categories, direct identifiers it can judge, reader.
READERS: Mapping[
    str, tuple[str, tuple[str, ...], Mapping[str, int | None], Callable[[Path], Iterable[Item]]]
] = {
    **{
        f"gold-{side}": (
            _OUR_GOLD.format(folder.name), tuple(GUIDELINE_CATEGORIES), DIRECT_IDENTIFIERS, _read_our_gold(folder),
        )
        for side, folder in GOLD_FOLDERS.items()
    },
    "cluener": (
        "CLUENER dev: news sentences; name -> NAME, address -> ADDRESS, inclusive ends made half-open. Countries,"
        " continents, oceans (the guideline excludes them) and scene labels are left undecided. Addresses have no tier:"
        " only names count as direct identifiers.",
        ("NAME", "ADDRESS"), _NAME_ONLY, _read_cluener,
    ),
    "address_naacl2019": (
        "Chinese addresses (NAACL 2019 dev), bare and in three sentences by turns; the whole address is one span, its"
        " tier follows the finest level. Without a leading country; persons at the end stay outside; a trailing point"
        " of interest, a locating word and a repeated division may stand in or out. Hardly any is of tier 1.",
        ("ADDRESS",), _ADDRESS_ONLY, _read_naacl,
    ),
    "cpca": (
        "Company addresses as typed into forms (cpca), bare and in three sentences by turns; the whole field is one"
        " span. Lines that end like a company's name or hold no word for a place are left out; some noise remains.",
        ("ADDRESS",), _ADDRESS_ONLY, _read_cpca,
    ),
    "wuhan_hospitals": (
        "Names of a public hospital list, each in one of four sentences; what follows in brackets is left out.",
        ("HOSPITAL",), {}, _read_hospitals,
    ),
    "cmedtc": (
        _NO_GOLD.format("ChineseBLUE cMedTC: criteria of clinical trials (pregnancy and STD criteria are many)."),
        (), {}, _read_texts("chineseblue/cMedTC/dev.txt", "chineseblue/cMedTC/test.txt", key=""),
    ),
    "cehrner": (
        _NO_GOLD.format("ChineseBLUE cEHRNER: passages of real EMR."),
        (), {}, _read_texts("chineseblue/cEHRNER/dev.json", "chineseblue/cEHRNER/test.json", key="text"),
    ),
    "cmeee_v2": (
        _NO_GOLD.format("CMeEE-V2 dev: sentences of paediatric textbooks."),
        (), {}, _read_texts("cmeee_v2/CMeEE-V2_dev.json.gz", key="text"),
    ),
    "yidu_s4k": (
        _NO_GOLD.format("Yidu-S4K training parts: passages of real EMR."),
        (), {}, _read_texts("yidu_s4k/part1_train.jsonl.gz", "yidu_s4k/part2_train.jsonl.gz", key="originalText"),
    ),
}  # fmt: skip
