"""Names that a line or a table sets apart: in a cell, alone on a signature line, at the end of a line.

Knows: the shapes of lines and cells. Must not know: labels, titles, kin terms.
Reference: annotation guideline v1, row NAME; headers, lists and signatures of real records.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ppsehr_spark.domain.rules.name_edges import weigh_right
from ppsehr_spark.domain.rules.name_found import FoundName, rate
from ppsehr_spark.domain.rules.name_parts import NameReader

_SIGNATURE_LINE = re.compile(
    r"(?m)[ ]{0,40}(?P<names>[\u4e00-\u9fff]{2,7}(?:[ ]?[/、][ ]?[\u4e00-\u9fff]{2,4}){0,3})[ ]{0,6}"
    r"(?P<date>[0-9]{4}[\-年./][0-9]{1,2}[\-月./][0-9]{1,2}日?"
    r"(?:[ ]{0,3}[0-9]{1,2}[:时][0-9]{0,2}分?(?::[0-9]{2})?)?)?[ ]{0,20}$"
)
_CELL = re.compile(
    r"[ ](?<=[ 床][ ])(?P<name>[\u4e00-\u9fff]{2,4})(?=[ ]{2,}|[ ]+(?:男|"
    r"女)[ ])(?P<next>[ ]{1,12}(?:[0-9+]{1,4}床|男|女|[0-9]{1,3}岁))?"
)
_LINE_END = re.compile(
    r"[ ](?<![ ][ ])(?P<more>[ ]{0,39})(?P<names>[\u4e00-\u9fff]{2,4}(?:[/、][\u4e00-\u9fff]{2,4})?)(?=[ ]*(?:\n|$))"
)
_LINE_END_PRIOR = (-2.0, 0.0)
_CLOSERS, _NO_TEXT = frozenset("。;)"), frozenset(["", "\n", ":"])
#: ``乐乐妈：``, ``雨桐妈妈，``: how parents call each other.
_PARENT = re.compile(
    r"[\u4e00-\u9fff](?<![\u4e00-\u9fff](?s:.))[\u4e00-\u9fff]"
    r"(?=(?:妈妈?|爸爸?|奶奶|爷爷|外婆|外公|姥姥)(?:[:,、 \n(]|$))"
)
_PARENT_WORD = re.compile("[妈爸奶爷婆公姥]")
_PARENT_PRIOR, _PET_ODDS, _PLAIN_WORD = 4.0, 2.0, 10.5
#: Doubled characters that are no pet name.
_KIN_DOUBLED = frozenset(f"{c}{c}" for c in "宝娃妈爸奶爷姐妹弟哥叔伯姑舅婆公太姨嫂")
#: Log-odds that a clause begins with a foreign name, before a mark.
_CLAUSE = -6.0
_CELL_PRIOR = -1.0


class NameLines:
    """Names that stand alone in a line, a cell or at a line's end."""

    def __init__(self, reader: NameReader) -> None:
        self.reader = reader
        sounds = "".join(sorted(reader.foreign.characters))
        self._foreign = re.compile(
            rf"[{sounds}](?<![\u4e00-\u9fff·](?s:.))[{sounds}]{{2,8}}(?=[ ]{{0,2}}[,、(/| ]?[ ]?[男女1])"
        )
        gaps = (rf"(?<=[{sounds}]{{3}}{'[ ,、(/|]' * n}.)" for n in range(5))
        number = r"(?<!1)|(?=[0-9*]{0,2}[岁月个天yY。班]|[3-9][0-9*]|[0-9]{10})"
        near = rf"(?<=[{sounds} ,、(/|].)"  # what all gaps end with
        self._after_foreign = re.compile(rf"[男女1]{near}(?:{number})(?:{'|'.join(gaps)})")

    def find(self, text: str) -> Iterator[FoundName]:
        """Signatures, line ends, cells, foreign names before a mark."""
        yield from self._find_signatures(text)
        yield from self._find_foreign(text)
        yield from self._find_parents(text)
        if " " in text:
            yield from self._find_line_ends(text)
            yield from self._find_cells(text)

    def _find_foreign(self, text: str) -> Iterator[FoundName]:
        """``娜仁图雅，女``: a run that sounds foreign, closed by a sex, an age or a number to call."""
        for match in self._foreign.finditer(text) if self._after_foreign.search(text) else ():
            weight = weigh_right(text, match.end())
            readings = [r for r in self.reader.read_ends(text, match.start()) if r.end == match.end()]
            yield from (
                rate(r.start, r.end, r.odds + _CLAUSE + weight, "clause_foreign") for r in readings if weight >= 5
            )

    def _find_parents(self, text: str) -> Iterator[FoundName]:
        """``乐乐妈：``, ``雨桐妈妈，``: a pet name or a given name before the word for a parent."""
        for match in _PARENT.finditer(text) if _PARENT_WORD.search(text) else ():
            pair = match.group()
            given = None if pair in _KIN_DOUBLED else self.reader.read_given(text, match.start())
            is_pet = pair[0] == pair[1] and self.reader.model.words.get(pair, 99.0) > _PLAIN_WORD
            if is_pet and pair not in _KIN_DOUBLED:
                yield rate(match.start(), match.end(), _PET_ODDS, "parent")
            elif given:
                yield rate(given.start, given.end, given.odds + _PARENT_PRIOR, "parent")

    def _find_signatures(self, text: str) -> Iterator[FoundName]:
        """A line that holds nothing but names, perhaps with a date: a signature."""
        for line in _match_lines(text):
            prior = 1.5 if line.group("date") else -3.0
            for part in re.finditer(r"[\u4e00-\u9fff]+", line.group("names")):
                start, end = line.start("names") + part.start(), line.start("names") + part.end()
                readings = [r for r in self.reader.read_ends(text, start) if r.end == end]
                yield from (rate(start, end, r.odds + prior, "signature_line") for r in readings)

    def _find_line_ends(self, text: str) -> Iterator[FoundName]:
        """``查看。   方敏``: a name set off by blanks at the end of a line signs it."""
        for match in _LINE_END.finditer(text):
            before = text[match.start() - 1 : match.start()]
            is_closed = before in _CLOSERS
            if not is_closed and (not match.group("more") or before in _NO_TEXT):
                continue
            for part in re.finditer(r"[\u4e00-\u9fff]+", match.group("names")):
                start, end = match.start("names") + part.start(), match.start("names") + part.end()
                prior = _LINE_END_PRIOR[is_closed]
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


def _match_lines(text: str) -> Iterator[re.Match[str]]:
    """Signature lines; only the starts of lines are tried."""
    at = 0
    while at >= 0:
        line = _SIGNATURE_LINE.match(text, at)
        if line:
            yield line
        at = text.find("\n", at) + 1 or -1
