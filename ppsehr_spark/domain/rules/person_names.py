"""The grammar of personal names in notes: labels, titles, roles, kin, signatures, table cells, repeats.

Knows: where a name stands in a Chinese medical record, and how much each place speaks for a name (log-odds).
Must not know: other categories. Reference: annotation guideline v1, row NAME. Words: ``lexicons/name_labels.tsv``,
``lexicons/eponyms.tsv``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from ppsehr_spark.domain.notes import Note, Span
from ppsehr_spark.domain.offsets import Hit, NormalisedText
from ppsehr_spark.domain.rules.grammars import GrammarContext, register_grammar
from ppsehr_spark.domain.rules.name_bare import BareNames
from ppsehr_spark.domain.rules.name_edges import FIRST_OF_ACTS, FIRST_OF_MARKS, weigh_right
from ppsehr_spark.domain.rules.name_found import FoundName, rate
from ppsehr_spark.domain.rules.name_known import KnownForeignNames
from ppsehr_spark.domain.rules.name_latin import find_latin
from ppsehr_spark.domain.rules.name_lines import NameLines
from ppsehr_spark.domain.rules.name_model import is_hanzi
from ppsehr_spark.domain.rules.name_parts import FUNCTION_SURNAMES, HARDLY_SURNAMES, NOT_GIVEN, NameReader, NameReading
from ppsehr_spark.domain.rules.name_refusals import is_eponym, is_place
from ppsehr_spark.domain.rules.name_repeats import corroborate, find_companions, find_given, find_repeats
from ppsehr_spark.domain.rules.terms import is_covered, longest

#: Kinds of words that are looked for in the text; the others are only asked about at a place.
_SCANNED = ("label", "weak_label", "title", "role", "kin", "kin1", "named", "agent", "verb", "speech")
_AFTER_LABEL = re.compile(r"[ ]{0,3}(?:\([^()\n]{0,8}\))?[ ]{0,3}(?P<colon>:|\])[ ]{0,8}|[ ]{1,8}(?=[^ \n])")
_FIRST_OF_GAPS = frozenset(" (:]")
#: Fields of persons that no list holds: ``取血者：``, ``核对者1：``, ``申报人：``.
_PERSON_FIELD = re.compile(
    r":(?:(?<=[\u4e00-\u9fff][人者员生]:)|(?<=[\u4e00-\u9fff][人者员生][0-9一二三甲乙]:))[ ]{0,8}(?=[\u4e00-\u9fff])"
)
_NEXT = re.compile(r"[ ]{0,2}[、,/;][ ]{0,2}|[ ]?[和及与][ ]?|[ ]{1,3}")
_SIMPLE_KIN_LEFT = frozenset("其之妻夫兄弟姐妹父母和与及由携同住伴对有从跟陪儿女子,。;:、( \n")
_KIN_IN_FIELD = re.compile(
    r"(?:患者|其|病人)?(?:之|的)?(?:父亲?|母亲?|夫|妻子?|丈夫|儿子|女儿|"
    r"[儿子女](?=[\u4e00-\u9fff]{2,3}(?:[^\u4e00-\u9fff]|$))|[兄弟姐妹]|哥哥|姐姐|弟弟|妹妹)"
    r"(?=[\u4e00-\u9fff]{2})"
)
_DATED = re.compile(r"(?:[0-9][./\-月][0-9]{1,2}|[0-9]:[0-9]{2})$")
_OPEN_TITLE = re.compile(r"《[^》\n]*$")
#: Rules whose place speaks so clearly that even a drug's or an eponym's characters are a name there.
_MARKED = frozenset(["title", "label", "role", "clause"])
_BEYOND_EPONYM = 0.9
#: Below this a reading is neither a doubt nor of use to its neighbours.
_LEAST = 0.2
#: What stands before 科 in the name of a department, unlike 莫斯科.
_DEPARTMENT_END = frozenset(
    "内外产妇儿骨眼鼻喉腔肤瘤诊醉复经分医染验像理声学养伤液尿胸脑心吸化肾症疗血疹疡生年感结神肛中老普痛射入输病全创务教护"
)
#: What a name only heard after a preposition costs: clubs and places stand there as well.
_ONLY_HEARD = 3.0
#: Titles of one character that follow a full name as well; the others follow a surname alone.
_KIN_TITLES = frozenset("姐哥嫂婶叔")
#: Log-odds that a name stands there, before its own form is read.
_PRIOR = {
    "label:": 5.0,
    "label ": 3.0,
    "label": 1.8,
    "weak_label:": 2.5,
    "weak_label ": -2.0,
    "kin": -1.5,
    "vague": -3.5,
    "kin1": -2.8,
}
_PRIOR |= {
    "role": -0.8,
    "role ": -2.0,
    "role (": -3.0,
    "role:": 1.0,
    "agent": -4.0,
    "named": 1.5,
    "unit": -4.0,
    "unit (": -0.5,
    "bed": -2.4,
    "title": 0.2,
    "after_title": -1.8,
    "verb": -5.5,
    "speech": -3.0,
}
_TAKES_LONE = ("role", "after_label", "after_title", "named")
_MOST_RIGHT = 4.5
_LATER_IN_LIST = 1.0
_FAINT = -2.5
_COMMON_WORD = 9.0
#: Adverbs between a name and its verb.
_BEFORE_VERB = frozenset("也都还则就曾却均才又再")
_STRONG_MARK, _MAY_CLOSE = 4.5, FIRST_OF_MARKS | FIRST_OF_ACTS
#: Surnames that are adverbs before a verb (``其母曾足月产``).
_ADVERBS = FUNCTION_SURNAMES | frozenset("曾经")
_ADVERB = 3.0
_CLOSED_ROLE, _LAST_ON_LINE, _PREPOSITION = 1.0, 2.0, 3.0


@register_grammar("person_name")
class PersonNames:
    """Compiled name grammar; ``find`` proposes, with overlaps that the engine resolves by confidence."""

    def __init__(self, context: GrammarContext) -> None:
        self.category = context.category.id
        self.reader = NameReader(context)
        rows = context.lexicon("lexicons/name_labels.tsv")
        for kind in _SCANNED:
            context.terms.add(f"NAME.{kind}", [row[0] for row in rows if row[1] == kind])
        self.not_names = frozenset(row[0] for row in rows if row[1] == "not_name")
        self.vague_kin = frozenset(row[0] for row in rows if row[1] == "vague_kin")
        eponyms = [row[0] for row in context.lexicon("lexicons/eponyms.tsv")]
        context.terms.add("NAME.eponym", eponyms)
        context.terms.add("NAME.negative", eponyms)  # also against what a tagger proposes
        context.terms.add("NAME.some", ["某", "*", "×", "XX", "xx", "○"])
        context.terms.add("NAME.dot", ["·"])
        context.terms.add("NAME.unit", ["科", "床"])
        self.lines = NameLines(self.reader)
        self.bare = BareNames(self.reader)
        self.known = KnownForeignNames(context, self.reader)
        self._readers = (
            self._find_labelled,
            self._find_fields,
            self._find_titled,
            self._find_right_of,
            self._find_left_of,
            self._find_masked,
        )

    def find(self, text: NormalisedText, note: Note) -> Iterable[Span]:
        """Every name with its rule and confidence."""
        found = [f for read in self._readers for f in read(text)]
        found += self.lines.find(text.text)
        found += self.bare.find(text.text)
        found += find_latin(text.text, self.reader)
        found += self.known.find(text)
        found = [f for f in found if f.confidence >= _LEAST]
        if not found:
            return
        eponyms = longest(text.hits.get("NAME.eponym", ()))
        starts = [h.start for h in eponyms]
        found = [f for f in found if self._is_kept(text.text, f, starts, eponyms)]
        found += corroborate(text.text, found, self.reader)
        found += find_companions(text.text, found, self.reader)
        found += find_repeats(text.text, found, self.reader.model)
        found += find_given(text.text, found, self.reader)
        for f in found:
            yield text.span(f.start, f.end, self.category, confidence=f.confidence, rule=f"NAME.{f.rule}")

    def _is_kept(self, text: str, found: FoundName, starts: list[int], eponyms: list[Hit]) -> bool:
        """False for eponyms, drugs and words in place of a name, unless the place of a name is beyond doubt."""
        if text[found.end : found.end + 1] == "·" and is_hanzi(text, found.end + 1):
            return False
        is_beyond = found.confidence >= _BEYOND_EPONYM and found.rule in _MARKED
        if not is_beyond and is_covered(starts, eponyms, found.start, found.end):
            return False
        return not (self._says_nothing(text, found.start, found.end) or is_eponym(text, found) or is_place(text, found))

    def _says_nothing(self, text: str, start: int, end: int) -> bool:
        """True for words that forms carry in place of a name (``同上``, ``患者本人``)."""
        return text[start:end] in self.not_names or (end - start > 2 and text[start : start + 2] in self.not_names)

    def _rate(self, text: str, reading: NameReading, prior: float, rule: str, *, cap: float = 0.97) -> FoundName:
        """A reading with its prior and with what stands to its right."""
        is_function = reading.form != "han" and rule != "named" and text[reading.start] in FUNCTION_SURNAMES
        odds = reading.odds + prior + min(weigh_right(text, reading.end), _MOST_RIGHT) - 3.0 * is_function
        is_adverb = text[reading.start] in _ADVERBS and (reading.end - reading.start > 2 or text[reading.start] != "于")
        if is_adverb and self.reader.model.word_cost(text[reading.start + 1 : reading.end]):
            odds -= _ADVERB
        if (rule == "role" or (rule == "kin" and prior > _FAINT)) and not is_hanzi(text, reading.end):
            odds += _CLOSED_ROLE + _LAST_ON_LINE * (
                reading.form == "lone" and text[reading.end : reading.end + 1] in "\n|"
            )
        is_preposition = text[reading.start] in HARDLY_SURNAMES or (
            text[reading.start] in FUNCTION_SURNAMES and prior <= _FAINT and not reading.is_bounded
        )
        odds -= _PREPOSITION * (reading.form == "han" and is_preposition and prior < 0)
        return rate(reading.start, reading.end, odds, rule, cap=cap)

    def _find_labelled(self, text: NormalisedText) -> Iterator[FoundName]:
        """``姓名：张三``, ``医师签名：李四/王五``, ``姓名 张三``; weak labels need the colon."""
        plain = text.text
        for kind in ("label", "weak_label"):
            for hit in longest(text.hits.get(f"NAME.{kind}", ())):
                if len(hit.value) == 1 and plain[hit.start : hit.end + 1] in self.reader.model.words:
                    continue
                gap = _AFTER_LABEL.match(plain, hit.end) if plain[hit.end : hit.end + 1] in _FIRST_OF_GAPS else None
                if gap is None and kind == "label":
                    yield from self._read_best(plain, hit.end, _PRIOR["label"], "after_label")
                elif gap:
                    prior = _PRIOR[kind + (":" if gap.group("colon") else " ")]
                    yield from self._read_list(plain, gap.end(), prior, is_strict=kind == "label")

    def _find_fields(self, text: NormalisedText) -> Iterator[FoundName]:
        """A field whose name ends in a word for persons."""
        for match in _PERSON_FIELD.finditer(text.text):
            yield from self._read_list(text.text, match.end(), _PRIOR["weak_label:"], is_strict=False)

    def _read_list(self, text: str, at: int, prior: float, *, is_strict: bool) -> Iterator[FoundName]:
        """A name and, separated by 、 or /, its companions."""
        kin = _KIN_IN_FIELD.match(text, at)
        at = kin.end() if kin else at
        for place in range(8):
            titled = self.reader.after_titled(text, at)
            if titled:
                gap = _NEXT.match(text, titled)
                if gap is None:
                    return
                at = gap.end()
            reading = self.reader.read_field(text, at, is_strict=is_strict and place == 0)
            if reading is None or text[reading.end : reading.end + 3].lstrip(" ")[:1] == ":":
                return
            if self._says_nothing(text, reading.start, reading.end):
                return
            yield self._rate(text, reading, prior, "label")
            gap = _NEXT.match(text, reading.end)
            if gap is None:
                return
            at, mark = gap.end(), gap.group().strip()
            prior = min(prior, _LATER_IN_LIST if mark in ("、", "/") else -3.0 if mark else -4.5)

    def _find_titled(self, text: NormalisedText) -> Iterator[FoundName]:
        """``王主任`` -> 王, ``李建国主任医师`` -> 李建国; ``主治医师王芳`` -> 王芳."""
        for hit in longest(text.hits.get("NAME.title", ())):
            reading = self._read_before_title(text.text, hit)
            if reading:
                is_weak = len(hit.value) == 1 or (reading.form == "lone" and not reading.is_bounded)
                prior = _PRIOR["title"] - 2.0 * is_weak + 1.5 * reading.is_bounded
                yield self._rate_left(text.text, reading, prior, "title")
            if len(hit.value) > 1:
                yield from self._read_best(text.text, hit.end, _PRIOR["after_title"], "after_title")

    def _read_before_title(self, text: str, hit: Hit) -> NameReading | None:
        """The name before a title; a blank between them admits a full name only, a short title no running word."""
        is_spaced, is_short = text[hit.start - 1 : hit.start] == " ", len(hit.value) == 1
        if is_short and (is_spaced or not self._may_take_short(text, hit) or not self._ends_short(text, hit)):
            return None
        reading = self.reader.read_left(text, hit.start - is_spaced, allows_lone=not is_spaced)
        if reading is None or (is_short and not self._fits_short(text, reading, hit)):
            return None
        is_counted = reading.form == "lone" and text[reading.start - 1 : reading.start].isdigit()
        return None if is_counted and not _DATED.search(text, max(0, reading.start - 11), reading.start) else reading

    def _may_take_short(self, text: str, hit: Hit) -> bool:
        """False where no surname stands before a title of one character that asks for one."""
        model = self.reader.model
        is_surname = (
            text[hit.start - 1 : hit.start] in model.common or text[hit.start - 2 : hit.start] in model.compound
        )
        return is_surname or hit.value in _KIN_TITLES

    def _ends_short(self, text: str, hit: Hit) -> bool:
        """True when a title of one character is a word of its own; 老 also ends names (``胡老三``)."""
        if hit.value == "老" and is_hanzi(text, hit.end):
            return text[hit.end : hit.end + 2] in self.reader.model.words
        return self.reader.is_closed(text, hit.end)

    def _fits_short(self, text: str, reading: NameReading, hit: Hit) -> bool:
        """True when a title of one character may follow: kin terms after any name, the rest after a common surname."""
        if reading.form != "lone" and hit.value not in _KIN_TITLES:
            return False
        model = self.reader.model
        return text[reading.start] in model.common and text[reading.start : hit.end] not in model.words

    def _find_right_of(self, text: NormalisedText) -> Iterator[FoundName]:
        """``其子张三``, ``妻李四``, ``护士王五``, ``由刘娟解释``: a name straight after kin, role or preposition."""
        plain = text.text
        for hit in longest(text.hits.get("NAME.kin", ())):
            prior = _PRIOR["vague" if hit.value in self.vague_kin else "kin"]
            yield from self._read_best(plain, _after(plain, hit), prior, "kin")
        for hit in longest(text.hits.get("NAME.kin1", ())):
            if hit.start == 0 or plain[hit.start - 1] in _SIMPLE_KIN_LEFT or plain[hit.start - 1].isdigit():
                yield from self._read_best(plain, hit.end, _PRIOR["kin1"], "kin1")
        for hit in longest(text.hits.get("NAME.role", ())):
            at = _after(plain, hit)
            yield from self._read_best(plain, at, _PRIOR["role" if at == hit.end else "role "], "role")
            after = plain[hit.end : hit.end + 1]
            if after == "(":
                yield from self._read_best(plain, hit.end + 1, _PRIOR["role ("], "role")
            elif after == ":":
                yield from self._read_list(plain, _after_mark(plain, hit.end + 1), _PRIOR["role:"], is_strict=False)
        for hit in longest(text.hits.get("NAME.agent", ())):
            yield from self._read_best(plain, _after(plain, hit), _PRIOR["agent"], "agent")
        for hit in text.hits.get("NAME.unit", ()):
            yield from self._read_after_unit(plain, hit)
        for hit in longest(text.hits.get("NAME.named", ())):
            if plain[hit.end : hit.end + 1] != "名":
                yield from self._read_best(plain, hit.end, _PRIOR["named"], "named")

    def _read_after_unit(self, text: str, hit: Hit) -> Iterator[FoundName]:
        """``心内科张三``, ``心内科(张三)``, ``12床张三``."""
        if hit.value == "床":
            if text[hit.start - 1 : hit.start].isdigit():
                yield from self._read_best(text, _after(text, hit), _PRIOR["bed"], "bed")
        elif text[hit.start - 1 : hit.start] not in _DEPARTMENT_END:
            return
        elif text[hit.end : hit.end + 1] == "(":
            found = self._read_best(text, hit.end + 1, _PRIOR["unit ("], "unit")
            yield from (f for f in found if text[f.end : f.end + 1] == ")")
        else:
            yield from self._read_best(text, hit.end, _PRIOR["unit"], "unit")

    def _read_best(self, text: str, at: int, prior: float, rule: str) -> Sequence[FoundName]:
        """The reading at ``at`` that its own form and what follows make most likely."""
        if text[at : at + 1] not in self.reader.firsts or self._runs_on(text, at):
            return ()
        if prior <= _FAINT and self._begins_a_word(text, at):
            return ()
        marked = self.reader.read_marked(text, at)
        spaced = None if marked or text[at + 1 : at + 2] != " " else self.reader.read_spaced(text, at)
        allows_lone = rule in _TAKES_LONE and not spaced and text[at - 1 : at + 1] not in self.reader.model.words
        candidates = [marked] if marked else self.reader.read_ends(text, at, allows_lone=allows_lone)
        candidates += [spaced] if spaced else []
        candidates = [r for r in candidates if rule != "unit" or r.form == "han"]
        found = [self._rate(text, r, prior - self._doubt_form(text, r, rule), rule) for r in candidates]
        return sorted(found, key=lambda f: -f.confidence)[:1]

    def _doubt_form(self, text: str, reading: NameReading, rule: str) -> float:
        """What a surname alone, or a name only heard and not composed, costs beyond its own form."""
        if reading.form == "lone":
            return 1.5
        is_heard = rule == "agent" and reading.form == "foreign" and not weigh_right(text, reading.end)
        is_composed = is_heard and self.reader.foreign.is_composed(text, reading.start, reading.end)
        return _ONLY_HEARD * (is_heard and not is_composed)

    def _runs_on(self, text: str, at: int) -> bool:
        """True when a common word lies across ``at`` (``由于``, ``检测人员``): the cue itself ends later."""
        cost = self.reader.model.word_cost(text[at - 1 : at + 1])
        return cost is not None and cost <= _COMMON_WORD

    def _begins_a_word(self, text: str, at: int) -> bool:
        """True when an ordinary word stands at ``at`` and nothing after it speaks for a name."""
        if not self.reader.model.is_word(text, at):
            return False
        ends = (end for end in range(at + 2, at + 7) if text[end : end + 1] in _MAY_CLOSE)
        return not any(weigh_right(text, end) >= _STRONG_MARK for end in ends)

    def _ends_a_word(self, text: str, end: int) -> bool:
        """True when no name can end at ``end``, or an ordinary word does."""
        return text[end - 1 : end] in NOT_GIVEN or self.reader.model.word_cost(text[end - 2 : end]) is not None

    def _find_left_of(self, text: NormalisedText) -> Iterator[FoundName]:
        """Names before a verb that persons do in notes or in the news."""
        for kind in ("verb", "speech"):
            for hit in text.hits.get(f"NAME.{kind}", ()):
                end = hit.start - (text.text[hit.start - 1 : hit.start] in _BEFORE_VERB)
                reading = None if self._ends_a_word(text.text, end) else self.reader.read_left(text.text, end)
                if reading:
                    yield self._rate_left(text.text, reading, _PRIOR[kind], kind)

    def _rate_left(self, text: str, reading: NameReading, prior: float, rule: str) -> FoundName:
        surname = text[reading.start] if reading.form == "lone" else ""
        hardly = (0.5 if text[reading.start - 1 : reading.start] == ":" else 6.0) * (
            surname in HARDLY_SURNAMES and surname != ""
        )
        is_function = surname != "" and surname in FUNCTION_SURNAMES and is_hanzi(text, reading.start - 1)
        odds = reading.odds + prior - 1.0 * is_function - hardly
        return rate(reading.start, reading.end, odds, rule)

    def _find_masked(self, text: NormalisedText) -> Iterator[FoundName]:
        """``张某``, ``李**`` and dotted names, betrayed by their own form."""
        for hit in text.hits.get("NAME.some", ()):
            yield from self._read_masked_before(text.text, hit)
        for hit in text.hits.get("NAME.dot", ()):
            yield from self._read_around_dot(text, hit)

    def _read_masked_before(self, text: str, hit: Hit) -> Iterator[FoundName]:
        model = self.reader.model
        for start in (hit.start - 2, hit.start - 1):
            reading = self.reader.read_marked(text, start) if start >= 0 and text[start] in model.heads else None
            if reading and reading.form == "masked" and reading.end >= hit.end:
                is_word = text[start] in FUNCTION_SURNAMES
                is_inside = model.word_cost(text[start - 1 : start + 1]) is not None and is_hanzi(text, start - 1)
                is_open = self.reader.is_open_left(text, start) and not is_inside
                odds = reading.odds - 2.0 * (not is_open) - 4.5 * is_word - 4.0 * is_inside
                yield rate(start, reading.end, odds - 4.0, "masked", cap=0.93)
                return

    def _read_around_dot(self, text: NormalisedText, hit: Hit) -> Iterator[FoundName]:
        plain = text.text
        start = self.reader.dotted_start(plain, hit.start)
        if start < hit.start and plain[start - 1 : start] != "·":
            reading = self.reader.read_right(plain, start)
            if reading and reading.form == "dotted":
                is_title = _OPEN_TITLE.search(plain, max(0, start - 20), start) is not None
                sound = sum(c in self.reader.foreign.characters for c in plain[start : reading.end])
                is_han = plain[start : hit.start] in self.reader.model.surnames
                is_clear = not is_title and (2 * sound >= reading.end - start - 1 or is_han)
                yield FoundName(reading.start, reading.end, 0.91 if is_clear else 0.45, "dotted")


def _after(text: str, hit: Hit) -> int:
    return _after_mark(text, hit.end)


def _after_mark(text: str, at: int) -> int:
    if text[at : at + 1] != " ":
        return at
    return at + 2 if text[at + 1 : at + 2] == " " else at + 1
