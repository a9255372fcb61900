"""The grammar of places: division chain, then road, estate, building, room, village and group; one maximal span.

Knows: the gazetteer, address elements, labels and cues of residence and origin. Must not know: other categories.
Reference: annotation guideline v1, row ADDRESS. Lists: ``lexicons/address_labels.tsv`` (column 2: label or cue).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ppsehr_spark.domain.notes import Note, Span
from ppsehr_spark.domain.offsets import Hit, NormalisedText
from ppsehr_spark.domain.rules.address_parts import (
    has_door,
    is_organisation_ahead,
    read_details,
    read_open_start,
    trim_value,
)
from ppsehr_spark.domain.rules.gazetteer import read_places
from ppsehr_spark.domain.rules.grammars import GrammarContext, register_grammar
from ppsehr_spark.domain.rules.person_names import longest

_AFTER_LABEL = re.compile(r"[ ]{0,3}(?:\([^()\n]{0,10}\))?[ ]{0,3}(?:为|是|系|于|在)?[ ]{0,2}(?P<colon>[:：])?[ ]{0,6}")
_VALUE = re.compile(r"[^\n,，;；。!！?？|]{2,60}")
_PROSE_LEFT = re.compile(r"(?:在|于|到|至|往|赴|去|从|由|自|来|回|返|经|住|居|抵|离|生|驻|游|迁|[,，。;；、:：(（ \n]|^)$")
_PROSE_RIGHT = re.compile(
    r"(?:人(?![民口工体])|籍|市|省|打工|务工|工作|居住|生活|旅游|出差|旅行|读书|上学|求学|经商|探亲|返回|回来|当地|等地|一带|附近|地区|农村|老家|出生|长大|暂住|定居|疫区|[,，。;；、)） \n]|$|至|到|某|的|来|回|返|乘|飞|自驾|就)"
)
_RANK = {"P": 0, "p": 0, "C": 1, "c": 1, "a": 1, "D": 2, "d": 2, "w": 2}


@dataclass(frozen=True)
class _Chain:
    """Adjacent divisions ``[start, end)`` and their kinds."""

    start: int
    end: int
    kinds: str


@register_grammar("address")
class Addresses:
    """Compiled address grammar."""

    def __init__(self, context: GrammarContext) -> None:
        self.category = context.category.id
        for term, kind in (row[:2] for row in context.lexicon("lexicons/address_labels.tsv")):
            context.terms.add(f"ADDRESS.{kind}", [term])
        context.terms.add("ADDRESS.place", {n: k for n, k in read_places(context).items() if k != "-"})
        context.terms.add("ADDRESS.door", ["号楼", "栋", "幢", "单元", "号院", "弄", "室", "组", "路", "街", "巷", "村", "小区", "花园", "号", "队", "社"])

    def find(self, text: NormalisedText, note: Note) -> Iterable[Span]:
        """Every place with its rule and confidence; overlapping readings are left to the engine."""
        chains = {c.start: c for c in self._link_places(text)}
        for hit in longest(text.hits.get("ADDRESS.label", ())):
            yield from self._read_label(text, hit, chains)
        cues = {hit.end for hit in text.hits.get("ADDRESS.cue", ())}
        for chain in chains.values():
            yield from self._read_chain(text, chain, cues)
        yield from self._read_open(text, cues)

    def _link_places(self, text: NormalisedText) -> Iterator[_Chain]:
        """Join divisions that stand side by side from coarse to fine."""
        current: _Chain | None = None
        for hit in longest(text.hits.get("ADDRESS.place", ())):
            if current and current.end == hit.start and _RANK[hit.value] >= _RANK[current.kinds[-1]]:
                current = _Chain(current.start, hit.end, current.kinds + hit.value)
                continue
            if current:
                yield current
            current = _Chain(hit.start, hit.end, hit.value)
        if current:
            yield current

    def _read_label(self, text: NormalisedText, hit: Hit, chains: dict[int, _Chain]) -> Iterator[Span]:
        """A form field: the whole value when a colon introduces it, what the grammar can read otherwise."""
        plain = text.text
        gap = _AFTER_LABEL.match(plain, hit.end)
        at = gap.end() if gap else hit.end
        value = _VALUE.match(plain, at)
        if value is None:
            return
        end = trim_value(plain, at, value.end())
        reach = read_details(plain, chains[at].end if at in chains else at, is_labelled=True)
        has_colon = gap is not None and gap.group("colon") is not None
        if has_colon and end - at >= 2 and (at in chains or reach > at or end - at <= 24):
            confidence = 0.97 if at in chains or reach > at else 0.6
            yield text.span(at, max(end, min(reach, value.end())), self.category, confidence=confidence, rule="ADDRESS.label")
        elif at in chains or reach > at:
            yield text.span(at, reach, self.category, confidence=0.93, rule="ADDRESS.label_prose")

    def _read_chain(self, text: NormalisedText, chain: _Chain, cues: set[int]) -> Iterator[Span]:
        plain = text.text
        end = read_details(plain, chain.end, is_labelled=False)
        confidence = self._rate_chain(plain, chain, end, has_cue=chain.start in cues)
        if confidence > 0:
            yield text.span(chain.start, end, self.category, confidence=confidence, rule="ADDRESS.division")

    def _rate_chain(self, text: str, chain: _Chain, end: int, *, has_cue: bool) -> float:
        if end == chain.end and is_organisation_ahead(text, end):
            return 0.0
        if has_door(text, chain.end, end):
            return 0.97
        is_detailed = end > chain.end
        if any(k in "PCD" for k in chain.kinds):
            is_short_name = chain.end - chain.start <= 2 and len(chain.kinds) == 1
            return 0.95 if has_cue or len(chain.kinds) > 1 or is_detailed else 0.5 if is_short_name else 0.93
        if chain.kinds == "w":
            return 0.8 if is_detailed and has_cue else 0.0
        left = _PROSE_LEFT.search(text, max(0, chain.start - 1), chain.start) is not None
        right = _PROSE_RIGHT.match(text, end) is not None
        return self._rate_short(chain.kinds, has_cue=has_cue, is_detailed=is_detailed, left=left, right=right)

    @staticmethod
    def _rate_short(kinds: str, *, has_cue: bool, is_detailed: bool, left: bool, right: bool) -> float:
        """Short names: how much stands beside them decides; county names and ordinary words need the most."""
        if has_cue:
            return 0.93
        if len(kinds) > 1:
            return 0.9
        if kinds in "pc":
            return 0.85 if is_detailed or (left and right) else 0.55 if right else 0.45 if left else 0.36
        if kinds == "a":
            return 0.7 if is_detailed and left else 0.5 if left and right else 0.3
        return 0.6 if is_detailed and left else 0.0

    def _read_open(self, text: NormalisedText, cues: set[int]) -> Iterator[Span]:
        """Places without a listed division: after a cue of residence, or betrayed by a door."""
        for at in cues:
            end = read_details(text.text, at, is_labelled=False)
            if end > at:
                yield text.span(at, end, self.category, confidence=0.85, rule="ADDRESS.cue")
        for hit in text.hits.get("ADDRESS.door", ()):
            reading = read_open_start(text.text, hit)
            if reading:
                start, end, confidence = reading
                yield text.span(start, end, self.category, confidence=confidence, rule="ADDRESS.door")
