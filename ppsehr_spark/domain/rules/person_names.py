"""The grammar of personal names in notes: labels, titles, kin, signatures, table cells, repeats.

Knows: where a name stands in a Chinese medical record. Must not know: other categories.
Reference: annotation guideline v1, row NAME. Words: ``lexicons/name_labels.tsv`` (column 2: label, weak_label, title,
kin, verb), ``lexicons/eponyms.tsv``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ppsehr_spark.domain.notes import Note, Span
from ppsehr_spark.domain.offsets import Hit, NormalisedText
from ppsehr_spark.domain.rules.grammars import GrammarContext, register_grammar
from ppsehr_spark.domain.rules.name_parts import FUNCTION_SURNAMES, NameReader, NameReading, is_hanzi
from ppsehr_spark.domain.rules.terms import is_covered, longest

_AFTER_LABEL = re.compile(r"[ ]{0,3}(?:\([^()\n]{0,8}\))?[ ]{0,3}(?P<colon>:)[ ]{0,8}|[ ]{1,8}(?=[^ \n])")
_NEXT = re.compile(r"[ ]{0,2}[、,/;][ ]{0,2}|[ ]?[和及与][ ]?|[ ]{1,3}")
_SEX_AFTER = re.compile(
    r"[ ]{0,2}[,、(][ ]?(?:男|女)(?:[,、;。)） ]|性|[0-9])|[ ]{1,4}(?:男|女)(?:性|[,、 ]|[0-9])|"
    r"[ ]{0,2}[,、(][ ]?[0-9]{1,3}岁"
)
_KIN_AFTER = re.compile(
    r"\((?:系|为|是)?(?:患者|病人)?(?:之|的)?(?:父亲?|母亲?|子|女|夫|妻子?|儿子?|女儿|丈夫|爱人|配偶|家属|"
    r"本人|姐姐?|弟弟?|兄|妹妹?|哥哥?|孙子?|孙女|外孙|"
    r"儿媳|女婿|媳妇|父子|母子|父女|母女|夫妻|朋友|同事|邻居|监护人|护工|外甥|侄子?|侄女|亲属|祖父|祖母|"
    r"外婆|外公|奶奶|爷爷|长子|次子|长女|次女)(?:关系)?[,)、]"
)
_SIGNATURE_LINE = re.compile(
    r"(?m)^[ ]{0,40}(?P<names>[\u4e00-\u9fff]{2,7}(?:[ ]?[/、][ ]?[\u4e00-\u9fff]{2,4}){0,3})[ ]{0,6}"
    r"(?P<date>[0-9]{4}[\-年./][0-9]{1,2}[\-月./][0-9]{1,2}日?"
    r"(?:[ ]{0,3}[0-9]{1,2}[:时][0-9]{0,2}分?(?::[0-9]{2})?)?)?[ ]{0,20}$"
)
#: After a bare preposition a name does something; a word closed by punctuation is an item of a list.
_LISTED = re.compile(r"[\u4e00-\u9fff]{2,4}(?![\u4e00-\u9fff])")
#: What persons do in a note, straight after their name.
_ACTS = re.compile(
    r"已(?:向|核对|签|告|与|知|到|离|于|将)|诉|要求|表示|在场|到场|同意|签[名字署]|陪|看过|查看|查房|复核|"
    r"汇报|补充|指出|认为|主刀|[一二三]助|巡回|器械|来电|致电|"
    r"接听|送[餐饭药来]|巡视|到达|到床旁|"
    r"赶到|代诉|询问|告知|解释|交代|执行|核对|意见|及其(?:丈夫|妻子|家属|父|母|儿|女|配偶)|之(?:父|母|子|"
    r"女|夫|妻)|的(?:家属|父亲|母亲|丈夫|妻子|儿子|女儿)|主任|"
    r"副主任|医[师生]|护士|教授|大夫|等[三四五0-9]?人|先生|女士|与患者|向患者|向家属|为患者|协助|陈述|"
    r"搀扶|推送|报告|接诊|接班|交班|术后查看"
)
_MAX_COMPANIONS = 60
_COMPANION = re.compile(r"(?:副?主任医?师?|主治医?师?|住院医师|医师|医生|护士长?|主管护师|护师|教授|老师|大夫)?[、/]")
_CELL = re.compile(
    r"(?:(?<=[ ]{2})|(?<=床[ ]))(?P<name>[\u4e00-\u9fff]{2,4})(?=[ ]{2,}|[ ]+(?:男|"
    r"女)[ ])(?P<next>[ ]{1,12}(?:[0-9+]{1,4}床|男|女|[0-9]{1,3}岁))?"
)
_EPONYM_AFTER = re.compile(r"(?:氏|综合|病|征|试验|分级|分型|分期|反射|定律|手术|细胞|淋巴瘤|体)")
#: How sure a name read to the left of each kind of mark may become.
_CEILING = {"title": 0.97, "before_sex": 0.95, "before_kin": 0.95, "verb": 0.85}


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
        rows = context.lexicon("lexicons/name_labels.tsv")
        for term, kind in (row[:2] for row in rows):
            context.terms.add(f"NAME.{kind}", [term])
        self.not_names = frozenset(row[0] for row in rows if row[1] == "not_name")
        self.vague_kin = frozenset(row[0] for row in rows if row[1] == "vague_kin")
        eponyms = [row[0] for row in context.lexicon("lexicons/eponyms.tsv")]
        context.terms.add("NAME.eponym", eponyms)
        context.terms.add("NAME.negative", eponyms)  # also against what a tagger proposes
        context.terms.add("NAME.sex", [",男", ",女", "(男", "(女", " 男", " 女", "、男", "、女", "岁"])
        context.terms.add("NAME.some", ["某", "*", "×", "XX", "xx", "○"])
        context.terms.add("NAME.dot", ["·"])
        surnames = "".join(sorted(self.reader.common - FUNCTION_SURNAMES))
        self._edge = re.compile(rf"(?:(?<![^\n])|[,。;、:()/! ]|已向|同意|巡回)(?=[{surnames}][\u4e00-\u9fff])")
        self._readers = (
            self._find_labelled,
            self._find_titled,
            self._find_kin,
            self._find_agents,
            self._find_masked,
            self._find_left_marked,
        )

    def find(self, text: NormalisedText, note: Note) -> Iterable[Span]:
        """Every name with its rule and confidence."""
        found = [f for read in self._readers for f in read(text)]
        found += self._find_signatures(text.text)
        found += self._find_cells(text.text)
        found += self._find_unmarked(text.text)
        eponyms = longest(text.hits.get("NAME.eponym", ()))
        starts = [h.start for h in eponyms]
        found = [f for f in found if not is_covered(starts, eponyms, f.start, f.end)]
        found += self._find_companions(text.text, found)
        found += _find_repeats(text.text, found)
        for f in found:
            yield text.span(f.start, f.end, self.category, confidence=f.confidence, rule=f"NAME.{f.rule}")

    def _find_labelled(self, text: NormalisedText) -> Iterator[_Found]:
        """``姓名：张三``, ``医师签名：李四/王五``, ``姓名 张三``; weak labels need the colon."""
        for name, is_strict in (("NAME.label", True), ("NAME.weak_label", False)):
            for hit in longest(text.hits.get(name, ())):
                gap = _AFTER_LABEL.match(text.text, hit.end)
                if gap is None and is_strict:
                    yield from self._read_person(text.text, hit.end, "after_label")
                elif gap and (is_strict or gap.group("colon")):
                    ceiling = 0.97 if gap.group("colon") else 0.85
                    yield from self._read_list(text.text, gap.end(), ceiling=ceiling, is_strict=is_strict)

    def _read_list(self, text: str, at: int, *, ceiling: float, is_strict: bool) -> Iterator[_Found]:
        """A name and, separated by 、 or /, its companions."""
        for place in range(8):
            reading = self.reader.read_field(text, at, is_strict=is_strict and place == 0)
            is_next_label = reading is not None and text[reading.end : reading.end + 3].lstrip(" ")[:1] == ":"
            if reading is None or is_next_label or self._says_nothing(text, reading):
                return
            strength = 0.7 if reading.score < 0.45 else 1.0 if reading.is_bounded else 0.8
            yield _Found(reading.start, reading.end, ceiling * strength, "label")
            gap = _NEXT.match(text, reading.end)
            if gap is None:
                return
            at = gap.end()
            ceiling = min(ceiling, 0.9 if gap.group().strip() in ("、", "/") else 0.55 if gap.group().strip() else 0.4)

    def _find_titled(self, text: NormalisedText) -> Iterator[_Found]:
        """``王主任`` -> 王, ``李建国主任医师`` -> 李建国; ``主治医师王芳`` -> 王芳."""
        for hit in longest(text.hits.get("NAME.title", ())):
            yield from self._read_before(text.text, hit.start, "title")
            after = self.reader.read_right(text.text, hit.end)
            if after and after.is_bounded and after.score >= 0.65 and not self._says_nothing(text.text, after):
                yield _Found(after.start, after.end, 0.4 + 0.5 * after.score, "after_title")

    def _says_nothing(self, text: str, reading: NameReading) -> bool:
        """True for words that forms carry in place of a name (``同上``, ``患者本人``)."""
        start = reading.start
        return text[start : reading.end] in self.not_names or text[start : start + 2] in self.not_names

    def _find_kin(self, text: NormalisedText) -> Iterator[_Found]:
        """``其子张三``, ``患者李四，``, ``家属王五``."""
        for hit in longest(text.hits.get("NAME.kin", ())):
            is_spaced = text.text[hit.end : hit.end + 1] == " "
            reading = self.reader.read_right(text.text, hit.end + is_spaced)
            if reading and not self._says_nothing(text.text, reading):
                is_certain_kin = hit.value not in self.vague_kin
                is_masked_word = reading.form == "masked" and text.text[reading.start] in FUNCTION_SURNAMES
                confidence = (
                    0.3
                    if is_masked_word
                    else 0.92
                    if reading.form != "han"
                    else _rate_kin(reading, is_function=text.text[reading.start] in FUNCTION_SURNAMES)
                )
                is_likely = is_certain_kin and reading.is_bounded and reading.score >= 0.5
                confidence = max(
                    confidence, 0.55 if is_likely and text.text[reading.start] not in FUNCTION_SURNAMES else 0.0
                )
                yield _Found(reading.start, reading.end, confidence, "kin")

    def _find_agents(self, text: NormalisedText) -> Iterator[_Found]:
        """``由刘娟解释``, ``告知张敏，``: a name straight after a preposition or verb that takes a person."""
        for hit in longest(text.hits.get("NAME.agent", ())):
            if is_hanzi(text.text, hit.end) and (len(hit.value) > 1 or not _LISTED.match(text.text, hit.end)):
                yield from self._read_person(text.text, hit.end, "agent")

    def _read_person(self, text: str, at: int, rule: str) -> Iterator[_Found]:
        reading = self.reader.read_right(text, at)
        if reading and reading.form != "masked" and not self._says_nothing(text, reading):
            is_clear = reading.is_bounded and reading.score >= 0.78 and text[at] not in FUNCTION_SURNAMES
            is_full = reading.score >= 0.65 and reading.end - reading.start == 3 and text[at] not in FUNCTION_SURNAMES
            confidence = 0.9 if reading.form == "dotted" else 0.82 if is_clear else 0.66 if is_full else 0.2
            yield _Found(reading.start, reading.end, confidence, rule)

    def _find_masked(self, text: NormalisedText) -> Iterator[_Found]:
        """``张某``, ``李**`` and dotted names, betrayed by their own form."""
        for hit in text.hits.get("NAME.some", ()):
            yield from self._read_masked_before(text.text, hit)
        for hit in text.hits.get("NAME.dot", ()):
            yield from self._read_around_dot(text.text, hit)

    def _find_left_marked(self, text: NormalisedText) -> Iterator[_Found]:
        """Names before a sex, an age, a kin term in brackets, or a verb that persons do in notes."""
        plain = text.text
        for hit in text.hits.get("NAME.sex", ()):
            at = hit.start if hit.value != "岁" else plain.rfind(",", max(0, hit.start - 5), hit.start)
            if at > 0 and _SEX_AFTER.match(plain, at):
                yield from self._read_before(
                    plain, len(plain[:at].rstrip(" ")) if plain[at - 1] == " " else at, "before_sex"
                )
        for match in _KIN_AFTER.finditer(plain):
            yield from self._read_before(plain, match.start(), "before_kin")
        for hit in text.hits.get("NAME.verb", ()):
            yield from self._read_before(plain, hit.start, "verb")

    def _read_before(self, text: str, end: int, rule: str) -> Iterator[_Found]:
        reading = self.reader.read_ethnic_left(text, end)
        reading = reading or self.reader.read_left(text, end, is_surname_enough=rule == "title")
        if reading is None or text[reading.start : reading.end] in self.not_names:
            return
        confidence = min(reading.score, 0.6 if reading.form == "ethnic" and rule == "verb" else _CEILING[rule])
        if rule == "verb" and (not reading.is_bounded or text[reading.start] in FUNCTION_SURNAMES):
            confidence = min(confidence, 0.45 if reading.is_bounded and confidence >= 0.8 else 0.3)
        yield _Found(reading.start, reading.end, confidence, rule)

    def _read_masked_before(self, text: str, hit: Hit) -> Iterator[_Found]:
        for start in (hit.start - 2, hit.start - 1):
            reading = self.reader.read_right(text, start) if start >= 0 else None
            if reading and reading.form == "masked" and reading.end >= hit.end:
                is_open = self.reader.is_open_left(text, start)
                is_word = (
                    text[start] in FUNCTION_SURNAMES or text[start] not in self.reader.common | self.reader.compound
                )
                certainty = (0.93 if reading.score > 0.8 else 0.6) - (0.65 if is_word else 0.0)
                yield _Found(reading.start, reading.end, certainty if is_open else certainty - 0.45, "masked")
                return

    def _read_around_dot(self, text: str, hit: Hit) -> Iterator[_Found]:
        start = hit.start
        while start > 0 and hit.start - start < 8 and text[start - 1] in self.reader.transliteration:
            start -= 1
        if start < hit.start and text[start - 1 : start] != "·":
            reading = self.reader.read_right(text, start)
            if reading and reading.form == "dotted":
                is_eponym = _EPONYM_AFTER.match(text, reading.end) is not None
                yield _Found(reading.start, reading.end, 0.0 if is_eponym else 0.91, "dotted")

    def _find_unmarked(self, text: str) -> Iterator[_Found]:
        """Names that nothing announces: a clear name at a clear edge that does something, or two and more in a list."""
        previous: NameReading | None = None
        for edge in self._edge.finditer(text):
            reading = self.reader.read_right(text, edge.end())
            if reading is None or reading.form != "han" or reading.score < 0.8:
                continue
            acts = _ACTS.match(text, reading.end) is not None
            if acts and reading.score >= 0.83:
                yield _Found(reading.start, reading.end, 0.78 if reading.end - reading.start > 2 else 0.66, "prose")
            elif reading.score >= 0.9 and reading.is_bounded and is_hanzi(text, reading.end):
                yield _Found(reading.start, reading.end, 0.6 if reading.end - reading.start > 2 else 0.4, "prose")
            elif previous and previous.end == edge.start() and edge.group() in "、/" and reading.is_bounded:
                for item in (previous, reading):
                    yield _Found(item.start, item.end, 0.62 if item.score >= 0.9 else 0.4, "list")
            previous = reading

    def _find_companions(self, text: str, found: list[_Found]) -> list[_Found]:
        """``孙主任、周洁敏、张莉``: names listed after a sure one, its title skipped."""
        added: list[_Found] = []
        queue = [f for f in found if f.confidence >= 0.75]
        known = {f.start for f in found}
        while queue and len(added) < _MAX_COMPANIONS:
            gap = _COMPANION.match(text, queue.pop().end)
            reading = self.reader.read_right(text, gap.end()) if gap else None
            is_clear = reading is not None and reading.is_bounded and reading.score >= 0.75
            if reading and is_clear and not self._says_nothing(text, reading) and reading.start not in known:
                added.append(_Found(reading.start, reading.end, 0.85, "companion"))
                known.add(reading.start)
                queue.append(added[-1])
        return added

    def _find_signatures(self, text: str) -> Iterator[_Found]:
        """A line that holds nothing but names, perhaps with a date: a signature."""
        for line in _SIGNATURE_LINE.finditer(text):
            for part in re.finditer(r"[\u4e00-\u9fff]+", line.group("names")):
                start, end = line.start("names") + part.start(), line.start("names") + part.end()
                reading = self.reader.read_field(text, start, is_strict=False)
                if reading and reading.end == end and reading.score >= 0.7:
                    yield _Found(
                        start, end, 0.93 if line.group("date") else 0.45 + 0.2 * reading.score, "signature_line"
                    )

    def _find_cells(self, text: str) -> Iterator[_Found]:
        """A name alone in a table cell or page header, surer where a bed, sex or age follows."""
        for cell in _CELL.finditer(text):
            start, end = cell.span("name")
            reading = self.reader.read_field(text, start, is_strict=cell.group("next") is not None)
            if reading and reading.end == end and not self._says_nothing(text, reading):
                score = reading.score
                yield _Found(start, end, 0.5 + 0.45 * score if cell.group("next") else 0.35 * (score >= 0.9), "cell")


def _rate_kin(reading: NameReading, *, is_function: bool) -> float:
    if not reading.is_bounded:
        return 0.4 if reading.score >= 0.6 else 0.2
    if is_function:
        return 0.6 if reading.score >= 0.95 else 0.3
    return 0.92 if reading.score >= 0.9 else 0.8 if reading.score >= 0.75 else 0.4 if reading.score >= 0.6 else 0.3


def _find_repeats(text: str, found: list[_Found]) -> Iterator[_Found]:
    """Other places of a full name that is certain somewhere in the note."""
    names = {text[f.start : f.end] for f in found if f.confidence >= 0.85 and f.end - f.start >= 2}
    names = {n for n in names if all(is_hanzi(n, at) for at in range(len(n))) and "某" not in n}
    if not names or len(names) > 200:
        return
    taken = {(f.start, f.end) for f in found if f.confidence >= 0.85}
    for name in names:
        at = text.find(name)
        while at >= 0:
            if (at, at + len(name)) not in taken:
                yield _Found(at, at + len(name), 0.9, "repeat")
            at = text.find(name, at + len(name))
