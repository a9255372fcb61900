"""The grammar of personal names in notes: labels, titles, roles, kin, signatures, table cells, repeats.

Knows: where a name stands in a Chinese medical record, and how much each place speaks for a name (log-odds).
Must not know: other categories. Reference: annotation guideline v1, row NAME. Words: ``lexicons/name_labels.tsv``,
``lexicons/eponyms.tsv``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from ppsehr_spark.domain.notes import Note, Span
from ppsehr_spark.domain.offsets import Hit, NormalisedText
from ppsehr_spark.domain.rules.grammars import GrammarContext, register_grammar
from ppsehr_spark.domain.rules.name_bare import BareNames
from ppsehr_spark.domain.rules.name_called import BYNAMES, RANKS, CalledNames, is_speaker
from ppsehr_spark.domain.rules.name_fields import GAPS, NameFields
from ppsehr_spark.domain.rules.name_found import FoundName, NameReading, rate
from ppsehr_spark.domain.rules.name_known import KnownForeignNames
from ppsehr_spark.domain.rules.name_latin import find_latin
from ppsehr_spark.domain.rules.name_lines import NameLines
from ppsehr_spark.domain.rules.name_model import is_hanzi
from ppsehr_spark.domain.rules.name_parts import FUNCTION_SURNAMES, NOT_GIVEN, VERB_TAILS, NameReader
from ppsehr_spark.domain.rules.name_rating import FIRST_OF_BRIDGE, PRIOR, NameRater, after_blanks
from ppsehr_spark.domain.rules.name_recurring import RecurringNames
from ppsehr_spark.domain.rules.name_refusals import is_brand, is_drug, is_eponym, is_place
from ppsehr_spark.domain.rules.name_repeats import corroborate, find_companions, find_given, find_repeats
from ppsehr_spark.domain.rules.name_tags import read_tag
from ppsehr_spark.domain.rules.terms import is_covered, longest

#: Kinds of words that are looked for in the text; the others are only asked about at a place.
_SCANNED = ("label", "title", "role", "kin", "kin1", "named", "agent", "verb", "speech")
#: After these a given name or a word may be a name that the note proves elsewhere.
_PROVES = ("kin", "role", "named")
_SIMPLE_KIN_LEFT: Final = frozenset(
    "给帮为替问让叫请找是我你您他她咱俺其之妻夫兄弟姐妹父母和与及由携同住伴对有从跟陪儿女子,。;:、( \n"
)
#: Words for persons that no list holds, by their last character.
_SUFFIXED = re.compile(
    r"[员者医](?=[\u4e00-\u9fff \"(])(?:(?<=[\u4e00-\u9fff]员)(?<![人动全裁减满增超定复成]员)|"
    r"(?<=[\u4e00-\u9fff]者)(?<![患或后再前王强弱勇智]者)|(?<=[军校村牙队随法女男船中西]医)(?![药学疗保院务术嘱师生护]))"
)
_UNLISTED: Final = 0.7
_SHORTEST_DOTTED: Final = 3
_MADE = re.compile(r"[任选聘命举荐认拜封][\u4e00-\u9fff]{2,5}为$")
#: What a bracket before a word for a person adds: ``(记者马力)``.
_APPOSED: Final = 1.0
#: ``向主任请示``, ``和主任商量``: the person is asked, and what looks like a surname is the preposition.
_TOWARDS: Final = frozenset("向和与同由")
_ASKED = re.compile(r"请[示教]|汇报|报告|反映|说明|咨询|沟通|商量|讨论|了解|求助")
#: What a title of two characters or more adds to a surname alone before it.
_TITLED: Final = 1.5
#: What a common surname that is no function word gains there after any word.
_PLAIN: Final = 1.6
#: How sure a surname alone between a title and a verb is.
_LONE_ACTS: Final = 0.7
_DATED = re.compile(r"(?:[0-9][./\-月][0-9]{1,2}|[0-9]:[0-9]{2})$")
_OPEN_TITLE = re.compile(r"《[^》\n]*$")
#: Rules whose place speaks so clearly that even a drug's or an eponym's characters are a name there.
_MARKED: Final = frozenset(["title", "label", "role", "clause"])
_BEYOND_EPONYM: Final = 0.9
#: Below this a reading is neither a doubt nor of use to its neighbours.
_LEAST: Final = 0.2
#: What stands before 科 in the name of a department, unlike 莫斯科.
_DEPARTMENT_END: Final = frozenset(
    "内外产妇儿骨眼鼻喉腔肤瘤诊醉复经分医染验像理声学养伤液尿胸脑心吸化肾症疗血疹疡生年感结神肛中老普痛射入输病全创务教护"
)
#: Adverbs between a name and its verb.
_BEFORE_VERB: Final = frozenset("也都还则就曾却均才又再")
#: Three characters or more that end so before a title are a place (``上田村老人``, ``石桥镇镇长``).
_SETTLED: Final = frozenset("村镇乡县屯寨")
_SIZE_OF_PLACE: Final = 2
#: Surnames that are adverbs, adjectives or measures before a title as well.
_NO_PLAIN: Final = frozenset("曾方万连单双经正高老新白黄")
_RARE_WORD: Final = 12.0
_FAR: Final = 5.0
#: What 小 or 老 before a surname gives back: no word has run into it.
_NICK_GAIN: Final = 2.5
_NUMERALS: Final = frozenset("一二三四五六七八九十加")
#: Titles of one character that follow a full name as well; the others follow a surname alone.
_KIN_TITLES: Final = frozenset("姐哥嫂婶叔")


@register_grammar("person_name")
class PersonNames:
    """Compiled name grammar; ``find`` proposes, with overlaps that the engine resolves by confidence."""

    def __init__(self, context: GrammarContext) -> None:
        self.category = context.category.id
        self.reader = NameReader(context)
        rows = context.lexicon("lexicons/name_labels.tsv")
        for kind in _SCANNED:
            context.terms.add(f"NAME.{kind}", [row[0] for row in rows if row[1] == kind])
        # Weak labels are common words: looked for with what must follow them, they are hardly ever met.
        weak = [row[0] for row in rows if row[1] == "weak_label"]
        context.terms.add("NAME.weak_label", {word + gap: word for word in weak for gap in GAPS})
        self.rater = NameRater(self.reader)
        self._plain = self.reader.model.common - FUNCTION_SURNAMES - _NO_PLAIN
        self._alone = self.reader.model.single - FUNCTION_SURNAMES - NOT_GIVEN - VERB_TAILS
        self._after_kin = self.reader.firsts | self.reader.model.given | FIRST_OF_BRIDGE
        self.fields = NameFields(self.rater, frozenset(row[0] for row in rows if row[1] == "not_name"))
        self.vague_kin = frozenset(row[0] for row in rows if row[1] == "vague_kin")
        eponyms = [row[0] for row in context.lexicon("lexicons/eponyms.tsv")]
        context.terms.add("NAME.eponym", eponyms)
        context.terms.add("NAME.negative", eponyms)  # also against what a tagger proposes
        context.terms.add("NAME.brand", [row[0] for row in context.lexicon("lexicons/name_brands.tsv")])
        context.terms.add("NAME.some", ["某", "*", "×", "XX", "xx", "○"])
        context.terms.add("NAME.dot", ["·"])
        context.terms.add("NAME.unit", ["科", "床"])
        self.lines = NameLines(self.reader)
        self.bare = BareNames(self.reader)
        context.terms.add("NAME.rank", RANKS)
        context.terms.add("NAME.byname", BYNAMES)
        self.called = CalledNames(self.reader)
        self.recurring = RecurringNames(self.reader, (row[0] for row in rows))
        self.known = KnownForeignNames(context, self.reader)
        self._readers = (
            self.fields.find_labelled,
            self.fields.find_fields,
            self._find_titled,
            self._find_right_of,
            self._find_suffixed,
            self._find_left_of,
            self._find_masked,
        )

    def find(self, text: NormalisedText, note: Note) -> Iterable[Span]:
        """Every name with its rule and confidence."""
        found = [f for read in self._readers for f in read(text)]
        found += self.lines.find(text.text)
        found += self.bare.find(text.text)
        found += self.recurring.find(text.text, (h for kind in _PROVES for h in text.hits.get(f"NAME.{kind}", ())))
        found += find_latin(text.text, self.reader)
        found += self.called.find(text)
        found += self.known.find(text)
        found += self.known.find_composed(text)
        found = [f for f in found if f.confidence >= _LEAST]
        if not found:
            return
        eponyms = longest(text.hits.get("NAME.eponym", ()))
        starts = [h.start for h in eponyms]
        found = [f for f in found if self._is_kept(text.text, f, starts, eponyms) and not is_brand(text, f)]
        found += corroborate(text.text, found, self.reader)
        found += find_companions(text.text, found, self.reader)
        found += find_repeats(text.text, found, self.reader)
        found += find_given(text.text, found, self.reader)
        for f in found:
            yield text.span(f.start, f.end, self.category, confidence=f.confidence, rule=f"NAME.{f.rule}")

    def read_tag(self, text: NormalisedText, start: int, end: int) -> tuple[int, int, float] | None:
        """``TagReader.read_tag``."""
        return read_tag(text, start, end, self.reader)

    def _is_kept(self, text: str, found: FoundName, starts: list[int], eponyms: list[Hit]) -> bool:
        """False for eponyms, drugs and words in place of a name, unless the place of a name is beyond doubt."""
        if text[found.end : found.end + 1] == "·" and is_hanzi(text, found.end + 1):
            return False
        is_beyond = found.confidence >= _BEYOND_EPONYM and found.rule in _MARKED
        if not is_beyond and is_covered(starts, eponyms, found.start, found.end):
            return False
        is_other = is_eponym(text, found) or is_place(text, found) or is_drug(text, found)
        return not (is_other or self.fields.says_nothing(text, found.start, found.end))

    def _find_titled(self, text: NormalisedText) -> Iterator[FoundName]:
        """``王主任`` -> 王, ``李建国主任医师`` -> 李建国; ``主治医师王芳`` -> 王芳."""
        for hit in longest(text.hits.get("NAME.title", ())):
            is_made = self._is_made(text.text, hit)
            reading = None if is_made else self._read_before_title(text.text, hit)
            if reading:
                is_weak = len(hit.value) == 1 or (reading.form == "lone" and not reading.is_bounded)
                is_clear = reading.form == "lone" and not is_weak
                prior = (
                    PRIOR["title"]
                    - 2.0 * is_weak
                    + _PLAIN * self._is_plain(text.text, reading, hit)
                    + 1.5 * reading.is_bounded
                    + _TITLED * is_clear
                )
                yield self.rater.rate_left(text.text, reading, prior, "title")
            if len(hit.value) > 1:
                yield from self.rater.read_best(text.text, hit.end, PRIOR["after_title"], "after_title")
                yield from self._read_lone_after(text.text, hit)

    def _is_plain(self, text: str, reading: NameReading, hit: Hit) -> bool:
        """True for a common surname before a title of two characters or more, no word lying across its start."""
        at, words = reading.start, self.reader.model.words
        is_surname = reading.form == "lone" and len(hit.value) > 1 and text[at : hit.start] in self._plain
        return is_surname and text[at - 1 : at + 1] not in words and text[at - 2 : at + 1] not in words

    def _read_lone_after(self, text: str, hit: Hit) -> Iterator[FoundName]:
        """``护士邢交代``: a common surname alone between a title and what the person does."""
        at, words = hit.end, self.reader.model.words
        if text[at + 1 : at + 2] in ("", "\n", "。") and text[at : at + 1] in self._alone:
            if text[at - 1 : at + 1] not in words:
                yield FoundName(at, at + 1, _LONE_ACTS, "lone_after")
            return
        if text[at : at + 1] not in self._plain or not is_hanzi(text, at + 1):
            return
        is_act = self.reader.is_act(text, at + 1)
        if is_act and text[at : at + 2] not in words and text[at : at + 3] not in words:
            yield FoundName(at, at + 1, _LONE_ACTS, "lone_after")

    def _is_made(self, text: str, hit: Hit) -> bool:
        """True for ``聘任谢安为总经理``, where 为 is no part of the name."""
        return (
            text[hit.start - 1 : hit.start] == "为" and _MADE.search(text, max(0, hit.start - 8), hit.start) is not None
        )

    def _read_before_title(self, text: str, hit: Hit) -> NameReading | None:
        """The name before a title; a blank between them admits a full name only, a short title no running word."""
        is_spaced, is_short = text[hit.start - 1 : hit.start] == " ", len(hit.value) == 1
        if is_short and (is_spaced or not self._may_take_short(text, hit) or not self._ends_short(text, hit)):
            return None
        reading = self.reader.read_left(text, hit.start - is_spaced, allows_lone=not is_spaced)
        if reading is None or (is_short and not self._fits_short(text, reading, hit)):
            return None
        if reading.form == "han" and reading.end - reading.start > _SIZE_OF_PLACE and text[hit.start - 1] in _SETTLED:
            return None
        if reading.form == "lone" and (text[reading.start] == "老" or text.startswith("车司机", reading.start)):
            return None
        if reading.form == "lone" and text[reading.start - 1 : reading.start] in ("小", "老"):
            reading = self._with_nick(text, reading, hit)
        if reading.form == "lone" and (
            self._runs_into(text, reading.start, hit)
            or (text[reading.start] in _TOWARDS and _ASKED.match(text, hit.end) is not None)
        ):
            return None
        is_counted = reading.form == "lone" and text[reading.start - 1 : reading.start].isdigit()
        return None if is_counted and not _DATED.search(text, max(0, reading.start - 11), reading.start) else reading

    def _with_nick(self, text: str, reading: NameReading, hit: Hit) -> NameReading:
        """``小董医生`` -> 小董, where no word runs into 小 or 老."""
        start, words = reading.start - 1, self.reader.model.words
        is_word = text[start : start + 2] in words or text[start - 1 : start + 1] in words
        is_open = self.reader.is_open_left(text, start) and len(hit.value) > 1 and not is_word
        return NameReading(start, reading.end, reading.odds + _NICK_GAIN, True, reading.form) if is_open else reading

    def _runs_into(self, text: str, start: int, hit: Hit) -> bool:
        """True when the surname and a part of the title are far likelier words (``马上|将`` for ``马|上将``)."""
        model = self.reader.model
        words = model.ordinary_from(text, start, hit.end)
        return words[0] < model.single_cost(text[start]) + words[hit.start - start] - _FAR

    def _may_take_short(self, text: str, hit: Hit) -> bool:
        """False where no surname stands before a title of one character that asks for one."""
        model = self.reader.model
        is_named = text[hit.start - 1 : hit.start] in model.single or text[hit.start - 2 : hit.start] in model.compound
        return is_named or hit.value in _KIN_TITLES

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
        is_rare_word = model.single_cost(text[reading.start]) >= _RARE_WORD
        is_noun = (
            self.reader.is_stop_before(text, reading.start, least=2) and text[reading.start] not in FUNCTION_SURNAMES
        )
        is_surname = text[reading.start] in model.common or is_rare_word or is_noun
        return is_surname and text[reading.start : hit.end] not in model.words

    def _find_right_of(self, text: NormalisedText) -> Iterator[FoundName]:
        """``其子张三``, ``妻李四``, ``护士王五``, ``由刘娟解释``: a name straight after kin, role or preposition."""
        plain = text.text
        for hit in longest(text.hits.get("NAME.kin", ())):
            if plain[hit.end : hit.end + 1] not in self._after_kin:
                continue
            prior = PRIOR["vague" if hit.value in self.vague_kin else "kin"]
            yield from self.rater.read_beyond(plain, hit, prior, "kin")
        for hit in longest(text.hits.get("NAME.kin1", ())):
            if hit.start == 0 or plain[hit.start - 1] in _SIMPLE_KIN_LEFT or plain[hit.start - 1].isdigit():
                yield from self.rater.read_beyond(plain, hit, PRIOR["kin1"], "kin1")
        for hit in longest(text.hits.get("NAME.role", ())):
            yield from self._read_after_role(plain, hit, 0.0)
        for hit in longest(text.hits.get("NAME.agent", ())):
            if plain[hit.end : hit.end + 1] not in self._after_kin:
                continue
            yield from self.rater.read_best(plain, after_blanks(plain, hit.end), PRIOR["agent"], "agent")
        for hit in text.hits.get("NAME.unit", ()):
            yield from self._read_after_unit(plain, hit)
        for hit in longest(text.hits.get("NAME.named", ())):
            yield from self.rater.read_beyond(plain, hit, PRIOR["named"], "named")

    def _find_suffixed(self, text: NormalisedText) -> Iterator[FoundName]:
        """``调解员和平``, ``受托方李四``: a name after a word for a person that no list holds."""
        for match in _SUFFIXED.finditer(text.text):
            hit = Hit(match.start() - 1, match.end(), text.text[match.start() - 1 : match.end()])
            yield from self._read_after_role(text.text, hit, _UNLISTED)

    def _read_after_role(self, text: str, hit: Hit, doubt: float) -> Iterator[FoundName]:
        if hit.value[-1] == "医" and text[hit.end : hit.end + 1] in ("师", "生"):
            return
        is_spaced = text[hit.end : hit.end + 1] == " "
        doubt -= _APPOSED * (text[hit.start - 1 : hit.start] == "(")
        yield from self.rater.read_beyond(text, hit, PRIOR["role " if is_spaced else "role"] - doubt, "role")
        if text[hit.end : hit.end + 1] == ":" and not is_speaker(text, hit.start, hit.end):
            at = after_blanks(text, hit.end + 1)
            yield from self.fields.read_list(text, at, PRIOR["role:"] - doubt, is_strict=False)

    def _read_after_unit(self, text: str, hit: Hit) -> Iterator[FoundName]:
        """``心内科张三``, ``心内科(张三)``, ``12床张三``."""
        if hit.value == "床":
            if text[hit.start - 1 : hit.start].isdigit() or text[hit.start - 1 : hit.start] in _NUMERALS:
                yield from self.rater.read_best(text, after_blanks(text, hit.end), PRIOR["bed"], "bed")
        elif text[hit.start - 1 : hit.start] not in _DEPARTMENT_END:
            return
        elif text[hit.end : hit.end + 1] == "(":
            found = self.rater.read_best(text, hit.end + 1, PRIOR["unit ("], "unit")
            yield from (f for f in found if text[f.end : f.end + 1] == ")")
        else:
            yield from self.rater.read_best(text, hit.end, PRIOR["unit"], "unit")

    def _ends_a_word(self, text: str, end: int) -> bool:
        """True when no name can end at ``end``, or an ordinary word does."""
        return text[end - 1 : end] in NOT_GIVEN or self.reader.model.word_cost(text[end - 2 : end]) is not None

    def _find_left_of(self, text: NormalisedText) -> Iterator[FoundName]:
        """Names before a verb that persons do in notes or in the news."""
        for kind in ("verb", "speech"):
            for hit in text.hits.get(f"NAME.{kind}", ()):
                end = hit.start - (text.text[hit.start - 1 : hit.start] in _BEFORE_VERB)
                is_part = len(hit.value) == 1 and self.reader.model.word_cost(text.text[end - 1 : hit.end]) is not None
                is_none = is_part or self._ends_a_word(text.text, end)
                reading = None if is_none else self.reader.read_left(text.text, end)
                if reading:
                    yield self.rater.rate_left(text.text, reading, PRIOR[kind], kind)

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
                yield rate(start, reading.end, odds - (3.2 if is_open else 4.0), "masked", cap=0.93)
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
                is_cut = self.reader.model.word_cost(plain[start - 1 : start + 1]) is not None  # 中国·无锡
                is_whole = not is_title and not is_cut and reading.end - start > _SHORTEST_DOTTED
                is_clear = is_whole and (2 * sound >= reading.end - start - 1 or is_han)
                yield FoundName(reading.start, reading.end, 0.91 if is_clear else 0.45, "dotted")
