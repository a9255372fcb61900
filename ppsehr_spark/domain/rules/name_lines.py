"""Names that no word announces: at the start of a line or clause, in a table cell, alone on a signature line.

Knows: the places where a bare name may stand. Must not know: labels, titles, kin terms.
Reference: annotation guideline v1, row NAME; headers, lists and signatures of real records.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ppsehr_spark.domain.rules.name_edges import FIRST_OF_MARKS, weigh_left, weigh_mark, weigh_right
from ppsehr_spark.domain.rules.name_found import FoundName, rate
from ppsehr_spark.domain.rules.name_model import is_hanzi
from ppsehr_spark.domain.rules.name_parts import FUNCTION_SURNAMES, NOT_GIVEN, NameReader, NameReading

_SIGNATURE_LINE = re.compile(
    r"(?m)^[ ]{0,40}(?P<names>[\u4e00-\u9fff]{2,7}(?:[ ]?[/、][ ]?[\u4e00-\u9fff]{2,4}){0,3})[ ]{0,6}"
    r"(?P<date>[0-9]{4}[\-年./][0-9]{1,2}[\-月./][0-9]{1,2}日?"
    r"(?:[ ]{0,3}[0-9]{1,2}[:时][0-9]{0,2}分?(?::[0-9]{2})?)?)?[ ]{0,20}$"
)
_CELL = re.compile(
    r"(?:(?<=[ ]{2})|(?<=床[ ]))(?P<name>[\u4e00-\u9fff]{2,4})(?=[ ]{2,}|[ ]+(?:男|"
    r"女)[ ])(?P<next>[ ]{1,12}(?:[0-9+]{1,4}床|男|女|[0-9]{1,3}岁))?"
)
_LINE_END = re.compile(
    r"(?:(?P<mark>[。;)][ ]{1,40})|[^ \n:][ ]{2,40})"
    r"(?P<names>[\u4e00-\u9fff]{2,4}(?:[/、][\u4e00-\u9fff]{2,4})?)(?=[ ]*(?:\n|$))"
)
_LINE_END_PRIOR = (-2.0, 0.0)
#: Log-odds that a clause begins with a name; a name inside a clause is rarer still.
_CLAUSE = -6.0
_INSIDE = -7.5
_INSIDE_CAP = 0.8
_NEVER = -99.0
#: Below this a bare reading is not even a doubt.
_LEAST_ODDS = -1.6
_RARE_WORD = 12.0
_SPEAKER = 4.0
_UNMARKED = 1.5
_CLEAR_MARK, _SURE_MARK = 4.0, 5.0
_PLACE = 4.0
#: Ends of places, bodies and houses, which no unmarked name is taken to have.
_PLACE_END = frozenset("会苑岛居宫办庄村区县镇街寺庙站馆店厂队社局帝堂阁殿港湾洲州征氏堡营屯沟军")
#: After these a bare word is a brand or a term, hardly a person.
_BRAND_EDGE = frozenset("'(+-=~[0123456789《")
_NICK_HEADS = frozenset("小老阿")
#: Surname characters with which a clause far more often begins a word or a sentence.
_NO_HEADS = frozenset("和由同与向应全常都但相因将从及且况后为无能查计其可有各该在不当经如若时行")
_CELL_PRIOR = -1.0


class NameLines:
    """Bare names; a quick look at every clause start, a full reading only where no ordinary word begins."""

    def __init__(self, reader: NameReader) -> None:
        self.reader = reader
        model = reader.model
        heads = "".join(sorted(({s[0] for s in model.surnames} - _NO_HEADS) | _NICK_HEADS))
        self._clause = re.compile(rf"(?<![\u4e00-\u9fff·])(?=[{heads}][\u4e00-\u9fff])")
        self._beginnings = model.compound | {c[:2] for c in reader.foreign.components}
        sounds = "".join(sorted(reader.foreign.characters))
        self._foreign = re.compile(rf"(?<![\u4e00-\u9fff·])[{sounds}]{{3,9}}(?=[ ]{{0,2}}[,、(/| ]?[ ]?[男女1])")
        common = "".join(sorted(model.common - FUNCTION_SURNAMES))
        given = "".join(sorted(model.given))
        self._inside = re.compile(rf"(?<=[\u4e00-\u9fff])(?=[{common}][{given}](?:[{given}]|[^\u4e00-\u9fff]))")

    def find(self, text: str) -> Iterator[FoundName]:
        """Signatures, cells, clause starts."""
        yield from self._find_signatures(text)
        yield from self._find_line_ends(text)
        yield from self._find_cells(text)
        yield from self._find_at_clauses(text)
        yield from self._find_foreign(text)
        yield from self._find_inside(text)

    def _find_at_clauses(self, text: str) -> Iterator[FoundName]:
        model = self.reader.model
        for match in self._clause.finditer(text):
            at = match.end()
            is_unlikely = text[at + 1] not in model.given and text[at : at + 2] not in self._beginnings
            is_unlikely = is_unlikely and text[at] not in _NICK_HEADS
            if (is_unlikely or model.is_word(text, at)) and not self._is_marked(text, at):
                continue
            readings = self.reader.read_ends(text, at)
            sound = max((r.odds for r in readings if r.form == "foreign"), default=-9.0)
            rated = ((self._rate_clause(text, reading, sound), reading.end) for reading in readings)
            odds, end = max(rated, default=(_NEVER, at))
            if odds > _LEAST_ODDS:
                yield rate(at, end, odds, "clause", cap=0.95)

    def _rate_clause(self, text: str, reading: NameReading, sound: float) -> float:
        """Log-odds of a bare reading at the start of a clause; what only sounds like a name needs a mark."""
        at, end = reading.start, reading.end
        right, left = weigh_right(text, end), weigh_left(text, at)
        if text[end : end + 1] == ":" and left > 0:
            right = max(right, _SPEAKER)
        is_foreign = reading.form == "foreign"
        is_sound = is_foreign or reading.odds < sound or self._sounds_foreign(text, reading)
        is_composed = is_foreign and self.reader.foreign.is_composed(text, at, end)
        if is_sound and not is_composed and right < (_SURE_MARK if is_foreign else _CLEAR_MARK):
            return _NEVER
        if reading.form == "nick" and is_hanzi(text, end) and right == 0:
            return _NEVER
        odds = reading.odds + _CLAUSE + left + right - _PLACE * (right == 0 and text[end - 1] in _PLACE_END)
        return odds - self._doubt_unmarked(text, reading) if right + left == 0 else odds

    def _sounds_foreign(self, text: str, reading: NameReading) -> bool:
        is_long = reading.end - reading.start > 2
        return is_long and all(c in self.reader.foreign.characters for c in text[reading.start : reading.end])

    def _find_inside(self, text: str) -> Iterator[FoundName]:
        """A clear name of three characters inside a clause, where both its sides are words."""
        for match in self._inside.finditer(text):
            at = match.end()
            if self._is_crossed(text, at):
                continue
            least = 2 if self.reader.is_stop_before(text, at, least=2) else 3
            readings = [r for r in self.reader.read_ends(text, at) if r.form == "han" and least <= r.end - at <= 3]
            for r in readings:
                if text[r.end - 1] in _PLACE_END or (r.end - at == 2 and not r.is_bounded):
                    continue
                odds = r.odds + _INSIDE + weigh_right(text, r.end) + 1.0 * self.reader.is_open_left(text, at)
                if odds > _LEAST_ODDS:
                    yield rate(at, r.end, odds, "inside", cap=_INSIDE_CAP)

    def _is_crossed(self, text: str, at: int) -> bool:
        """True when words lie across the three characters at ``at``, or when they sound like a foreign word."""
        cost = self.reader.model.word_cost
        around = (
            text[at - 1 : at + 1],
            text[at - 2 : at + 1],
            text[at : at + 2],
            text[at : at + 3],
            text[at + 1 : at + 3],
        )
        return (
            any(cost(word) is not None for word in around)
            or (cost(text[at + 2 : at + 4]) or _RARE_WORD) < _RARE_WORD
            or text[at - 1 : at + 1] in self.reader.model.compound
            or all(c in self.reader.foreign.characters for c in text[at : at + 3])
        )

    def _doubt_unmarked(self, text: str, reading: NameReading) -> float:
        """What a clause start without any mark costs: brands stand beside digits and brackets, with rare surnames."""
        is_common = text[reading.start] in self.reader.model.common or reading.form in ("nick", "foreign")
        is_brand = text[reading.start - 1] in _BRAND_EDGE or text[reading.end : reading.end + 1].isdigit()
        return _UNMARKED * (1 + (not is_common) + 2 * is_brand)

    def _is_marked(self, text: str, at: int) -> bool:
        """True when a sex, an age, a number or a speaker's colon closes two or three characters at ``at``."""
        is_line = weigh_left(text, at) > 0
        for end in (at + 2, at + 3):
            if is_line and text[end : end + 1] == ":" and text[end - 1] not in NOT_GIVEN:
                return True
            if text[end : end + 1] in FIRST_OF_MARKS and weigh_mark(text, end) >= _SURE_MARK:
                return True
        return False

    def _find_foreign(self, text: str) -> Iterator[FoundName]:
        """``娜仁图雅，女``: a run that sounds foreign, closed by a sex, an age or a number to call."""
        for match in self._foreign.finditer(text):
            weight = weigh_right(text, match.end())
            readings = [r for r in self.reader.read_ends(text, match.start()) if r.end == match.end()]
            yield from (
                rate(r.start, r.end, r.odds + _CLAUSE + weight, "clause_foreign") for r in readings if weight >= 5
            )

    def _find_signatures(self, text: str) -> Iterator[FoundName]:
        """A line that holds nothing but names, perhaps with a date: a signature."""
        for line in _SIGNATURE_LINE.finditer(text):
            prior = 1.5 if line.group("date") else -3.0
            for part in re.finditer(r"[\u4e00-\u9fff]+", line.group("names")):
                start, end = line.start("names") + part.start(), line.start("names") + part.end()
                readings = [r for r in self.reader.read_ends(text, start) if r.end == end]
                yield from (rate(start, end, r.odds + prior, "signature_line") for r in readings)

    def _find_line_ends(self, text: str) -> Iterator[FoundName]:
        """``查看。   方敏``: a name set off by blanks at the end of a line signs it."""
        for match in _LINE_END.finditer(text):
            for part in re.finditer(r"[\u4e00-\u9fff]+", match.group("names")):
                start, end = match.start("names") + part.start(), match.start("names") + part.end()
                prior = _LINE_END_PRIOR[match.group("mark") is not None]
                readings = [r for r in self.reader.read_ends(text, start) if r.end == end]
                yield from (rate(start, end, r.odds + prior, "line_end") for r in readings)

    def _find_cells(self, text: str) -> Iterator[FoundName]:
        """A name alone in a table cell or page header, surer where a bed, sex or age follows."""
        for cell in _CELL.finditer(text):
            start, end = cell.span("name")
            for reading in self.reader.read_ends(text, start):
                if reading.end == end:
                    prior = 3.0 if cell.group("next") else _CELL_PRIOR - 3.0
                    yield rate(start, end, reading.odds + prior, "cell")
