"""The grammar of personal names in notes: labels, titles, kin, signatures, repeats.

Knows: where a name stands in a Chinese medical record. Must not know: other categories.
Reference: annotation guideline v1, row NAME. Word lists: ``lexicons/name_labels.tsv`` (column 2: label, title, kin).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ppsehr_spark.domain.notes import Note, Span
from ppsehr_spark.domain.offsets import Hit, NormalisedText
from ppsehr_spark.domain.rules.grammars import GrammarContext, register_grammar
from ppsehr_spark.domain.rules.name_parts import NameReader, NameReading, is_hanzi

_AFTER_LABEL = re.compile(r"[ ]{0,3}(?:\([^()\n]{0,8}\))?[ ]{0,3}[:：][ \u3000]{0,6}|[ ]{1,8}(?=[^ \n])")
_NEXT = re.compile(r"[ ]{0,2}[、,/;，和及与][ ]{0,2}|[ ]{1,3}")
_SEX_AFTER = re.compile(r"[ ]{0,2}[,，、(（][ ]?(?:男|女)(?:[,，、;。)） ]|性|[0-9])|[ ]{1,4}(?:男|女)(?:性|[,，、 ]|[0-9])")
_KIN_AFTER = re.compile(
    r"[(（](?:患者|病人)?(?:之|的)?(?:父亲?|母亲?|子|女|夫|妻子?|儿子?|女儿|丈夫|爱人|配偶|家属|本人|姐姐?|弟弟?|兄|妹妹?|哥哥?|孙子?|孙女|外孙|儿媳|女婿|媳妇|父子|母子|父女|母女|夫妻|朋友|同事|邻居|监护人|护工|外甥|侄子?|侄女|亲属|祖父|祖母|外婆|外公|奶奶|爷爷)(?:关系)?[)）]"
)
_LEFT_STOP = re.compile(
    r"(?:请|由|经|随|遵|与|和|及|同|跟|找|让|叫|示|报|报告|嘱|予|向|请示|告知|通知|联系|汇报|电话|今日?|今晨|昨日|上午|下午|后|前|日|时|院|科|区|组|室|医师|医生|主任|主治|护士|"
    r"家属|患者|病人|患儿|产妇|者|员|为|是|在|到|因|经管|主管|管床|上级|值班|主持|教授|博士|名|字|的|邀|邀请|陪|之|子|女|父|母|夫|妻|兄|弟|姐|妹|诉|有|被|把|对|给|于|从|按|据|陪同|称|说|当班|麻醉|会诊|外请|特请|现|师|士|专家|代|系|叫做|名叫|委托|授权|至|于|经过|此|再次|再|拟|故|已|特|我)$"
)
_SIGNATURE_LINE = re.compile(
    r"(?m)^[ ]{0,40}(?P<names>[\u4e00-\u9fff]{2,4}(?:[ ]?[/、][ ]?[\u4e00-\u9fff]{2,4}){0,3})[ ]{0,6}"
    r"(?P<date>[0-9]{4}[\-年./][0-9]{1,2}[\-月./][0-9]{1,2}日?(?:[ ]{0,3}[0-9]{1,2}[:：时][0-9]{0,2}分?(?::[0-9]{2})?)?)?[ ]{0,20}$"
)
_NOT_NAMES = frozenset(
    "患者 本人 家属 家长 同上 不详 未知 无名 医师 医生 护士 病人 患儿 父母 父亲 母亲 丈夫 妻子 儿子 女儿 无 略 保密 匿名 男 女 正常 同前 待查 未填 空缺 未婚 已婚 汉族".split()
)


@dataclass(frozen=True)
class _Found:
    start: int
    end: int
    confidence: float
    rule: str


@register_grammar("person_name")
class PersonNames:
    """Compiled name grammar; ``find`` proposes, with overlaps that the engine resolves by confidence."""

    def __init__(self, context: GrammarContext) -> None:
        self.category = context.category.id
        self.reader = NameReader(context)
        for term, kind in (row[:2] for row in context.lexicon("lexicons/name_labels.tsv")):
            context.terms.add(f"NAME.{kind}", [term])
        context.terms.add("NAME.eponym", [row[0] for row in context.lexicon("lexicons/eponyms.tsv")])
        context.terms.add("NAME.sex", [",男", ",女", "(男", "(女", " 男", " 女", ", 男", ", 女", "、男", "、女"])
        context.terms.add("NAME.some", ["某", "*", "×", "XX", "xx", "○"])
        context.terms.add("NAME.dot", ["·"])

    def find(self, text: NormalisedText, note: Note) -> Iterable[Span]:
        """Every name with its rule and confidence."""
        plain = text.text
        found = [f for read in (self._find_labelled, self._find_titled, self._find_kin, self._find_marked) for f in read(text)]
        found += self._find_signatures(plain)
        eponyms = text.hits.get("NAME.eponym", ())
        found = [f for f in found if not any(h.start <= f.start and f.end <= h.end for h in eponyms)]
        found += self._find_repeats(plain, found)
        for f in found:
            yield text.span(f.start, f.end, self.category, confidence=f.confidence, rule=f"NAME.{f.rule}")

    def _find_labelled(self, text: NormalisedText) -> Iterator[_Found]:
        """``姓名：张三``, ``医师签名：李四/王五``, ``姓名 张三``."""
        for hit in longest(text.hits.get("NAME.label", ())):
            gap = _AFTER_LABEL.match(text.text, hit.end)
            if gap is None:
                continue
            has_colon = ":" in gap.group()
            yield from self._read_list(text.text, gap.end(), ceiling=0.97 if has_colon else 0.85)

    def _read_list(self, text: str, at: int, *, ceiling: float) -> Iterator[_Found]:
        for _ in range(8):
            reading = self._read_field(text, at)
            is_next_field = reading is not None and text[reading.end : reading.end + 3].lstrip(" ")[:1] == ":"
            if reading is None or is_next_field:
                return
            strength = 1.0 if reading.is_bounded else 0.8
            certainty = ceiling * strength if reading.score >= 0.45 else ceiling * 0.7
            yield _Found(reading.start, reading.end, certainty, "label")
            gap = _NEXT.match(text, reading.end)
            if gap is None:
                return
            at = gap.end()
            ceiling = min(ceiling, 0.9 if gap.group().strip() in ("、", "/") else 0.6)

    def _read_field(self, text: str, at: int) -> NameReading | None:
        reading = self.reader.read_right(text, at, is_labelled=True)
        if reading is None:
            reading = self._read_spaced(text, at) or self._read_unknown_surname(text, at)
        if reading and (text[reading.start : reading.end] in _NOT_NAMES or text[at : at + 2] in _NOT_NAMES):
            return None
        return reading

    def _read_spaced(self, text: str, at: int) -> NameReading | None:
        """``张 三``: a two-character name padded with blanks on a form."""
        gap = re.compile(r"[\u4e00-\u9fff][ ]{1,3}[\u4e00-\u9fff](?![\u4e00-\u9fff:])").match(text, at)
        if gap and self.reader.surname_length(text, at):
            return NameReading(at, gap.end(), 0.6, True, "spaced")
        return None

    def _read_unknown_surname(self, text: str, at: int) -> NameReading | None:
        value = re.compile(r"[\u4e00-\u9fff]{2,4}(?![\u4e00-\u9fff])").match(text, at)
        if value is None or text[value.end() : value.end() + 1] == ":":
            return None
        return NameReading(at, value.end(), 0.4, True, "unknown")

    def _find_titled(self, text: NormalisedText) -> Iterator[_Found]:
        """``王主任`` -> 王, ``李建国主任医师`` -> 李建国; ``主治医师王芳`` -> 王芳."""
        for hit in longest(text.hits.get("NAME.title", ())):
            reading = self._read_left(text.text, hit.start)
            if reading:
                yield _Found(reading.start, reading.end, reading.score, "title")
            after = self.reader.read_right(text.text, hit.end)
            if after and after.is_bounded and after.score >= 0.6:
                yield _Found(after.start, after.end, 0.5 + 0.4 * after.score, "after_title")

    def _read_left(self, text: str, end: int) -> NameReading | None:
        """The best name that ends exactly at ``end``; a lone surname is allowed."""
        best: tuple[float, NameReading] | None = None
        for length in (4, 3, 2, 1):
            rated = self._rate_left(text, end - length, end)
            if rated and (best is None or rated[0] > best[0]):
                best = rated
        return best[1] if best else None

    def _rate_left(self, text: str, start: int, end: int) -> tuple[float, NameReading] | None:
        if start < 0:
            return None
        width = self.reader.surname_length(text, start)
        width = width if end - start >= width else 1
        given = text[start + width : end]
        if width == 0 or len(given) > 2 or any(not is_hanzi(c, 0) for c in text[start:end]):
            return None
        if self.reader.is_word(text[:end], start) or any(c in self.not_given for c in given):
            return None
        known = sum(c in self.reader.given for c in given)
        is_open = start == 0 or not is_hanzi(text, start - 1) or _LEFT_STOP.search(text, max(0, start - 4), start) is not None
        is_common = text[start] in self.reader.common or width == 2
        rank = 2.0 * is_common + known + 2.5 * is_open + (0.3 if given else 0.0)
        confidence = 0.95 if is_open and is_common else 0.8 if is_open else 0.7 if is_common and known == len(given) else 0.45
        if given and known == 0:
            confidence -= 0.25
        return rank, NameReading(start, end, confidence, is_open, "left")

    @property
    def not_given(self) -> frozenset[str]:
        """Characters that do not stand inside a given name."""
        from ppsehr_spark.domain.rules import name_parts

        return name_parts._NOT_GIVEN

    def _find_kin(self, text: NormalisedText) -> Iterator[_Found]:
        """``其子张三``, ``患者李四，``, ``家属王五``."""
        for hit in longest(text.hits.get("NAME.kin", ())):
            reading = self.reader.read_right(text.text, hit.end)
            if reading and text.text[reading.start : reading.end] not in _NOT_NAMES:
                confidence = 0.92 if reading.form != "han" else self._rate_kin(reading)
                yield _Found(reading.start, reading.end, confidence, "kin")

    @staticmethod
    def _rate_kin(reading: NameReading) -> float:
        if not reading.is_bounded:
            return 0.4 if reading.score >= 0.6 else 0.2
        return 0.92 if reading.score >= 0.9 else 0.8 if reading.score >= 0.75 else 0.5 if reading.score >= 0.6 else 0.3

    def _find_marked(self, text: NormalisedText) -> Iterator[_Found]:
        """Names betrayed by their own form or by what follows: 某, masks, middle dots, sex or kin in brackets."""
        plain = text.text
        for hit in text.hits.get("NAME.some", ()):
            yield from self._read_masked_before(plain, hit)
        for hit in text.hits.get("NAME.dot", ()):
            yield from self._read_around_dot(plain, hit)
        for hit in text.hits.get("NAME.sex", ()):
            if _SEX_AFTER.match(plain, hit.start):
                yield from self._read_before(plain, hit.start, "before_sex")
        for match in _KIN_AFTER.finditer(plain):
            yield from self._read_before(plain, match.start(), "before_kin")

    def _read_masked_before(self, text: str, hit: Hit) -> Iterator[_Found]:
        for start in (hit.start - 2, hit.start - 1):
            reading = self.reader.read_right(text, start) if start >= 0 else None
            if reading and reading.form == "masked" and reading.end >= hit.end:
                is_open = not is_hanzi(text, start - 1) or _LEFT_STOP.search(text, max(0, start - 4), start) is not None
                yield _Found(reading.start, reading.end, 0.93 if is_open else 0.75, "masked")
                return

    def _read_around_dot(self, text: str, hit: Hit) -> Iterator[_Found]:
        start = hit.start
        while start > 0 and hit.start - start < 8 and text[start - 1] in self.reader.transliteration | {"·"}:
            start -= 1
        reading = self.reader.read_right(text, start) if start < hit.start else None
        if reading and reading.form == "dotted":
            follows = text[reading.end : reading.end + 3]
            is_eponym = re.match(r"(?:氏|综合|病|征|试验|分级|分型|反射|定律|手术)", follows) is not None
            yield _Found(reading.start, reading.end, 0.0 if is_eponym else 0.93, "dotted")

    def _read_before(self, text: str, end: int, rule: str) -> Iterator[_Found]:
        reading = self._read_left(text, end)
        if reading and reading.end - reading.start >= 2:
            yield _Found(reading.start, reading.end, reading.score, rule)

    def _find_signatures(self, text: str) -> Iterator[_Found]:
        """A line that holds nothing but names, perhaps with a date: a signature."""
        for line in _SIGNATURE_LINE.finditer(text):
            base = 0.93 if line.group("date") else 0.6
            for part in re.finditer(r"[\u4e00-\u9fff]+", line.group("names")):
                start, end = line.start("names") + part.start(), line.start("names") + part.end()
                reading = self.reader.read_right(text, start)
                if reading and reading.end == end and reading.form == "han" and reading.score >= 0.7:
                    yield _Found(start, end, base, "signature_line")

    @staticmethod
    def _find_repeats(text: str, found: list[_Found]) -> Iterator[_Found]:
        """Other places of a full name that is certain somewhere in the note."""
        names = {text[f.start : f.end] for f in found if f.confidence >= 0.85 and f.end - f.start >= 2}
        names = {n for n in names if is_hanzi(n, 0) and is_hanzi(n, len(n) - 1) and "某" not in n}
        if not names or len(names) > 200:
            return
        taken = {(f.start, f.end) for f in found if f.confidence >= 0.85}
        for match in re.finditer("|".join(sorted(map(re.escape, names), key=len, reverse=True)), text):
            if match.span() not in taken:
                yield _Found(match.start(), match.end(), 0.9, "repeat")


def longest(hits: Iterable[Hit]) -> list[Hit]:
    """Hits without those that lie inside another hit, in order of start."""
    kept: list[Hit] = []
    for hit in sorted(hits, key=lambda h: (h.start, -h.end)):
        if not kept or hit.start >= kept[-1].end:
            kept.append(hit)
    return kept
