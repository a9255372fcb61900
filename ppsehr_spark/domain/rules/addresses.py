"""The grammar of places: division chain, then road, estate, building, room, village and group; one maximal span.

Knows: the gazetteer, address elements, labels and cues of residence and origin. Must not know: other categories.
Reference: annotation guideline v1, row ADDRESS. Lists: ``lexicons/address_labels.tsv`` (column 2: label or cue).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from ppsehr_spark.domain.notes import Note, Span
from ppsehr_spark.domain.offsets import Hit, NormalisedText
from ppsehr_spark.domain.rules.address_elements import Surroundings, read_elements
from ppsehr_spark.domain.rules.address_parts import (
    has_door,
    has_strong_element,
    is_element_ahead,
    is_organisation_ahead,
    read_open_start,
    trim_value,
)
from ppsehr_spark.domain.rules.gazetteer import read_places
from ppsehr_spark.domain.rules.grammars import GrammarContext, register_grammar
from ppsehr_spark.domain.rules.name_parts import is_hanzi
from ppsehr_spark.domain.rules.terms import longest

_AFTER_LABEL = re.compile(r"[ ]{0,3}(?:\([^()\n]{0,10}\))?[ ]{0,3}(?:为|是|系|于|在)?[ ]{0,2}(?P<colon>[:：])?[ ]{0,6}")
_VALUE = re.compile(r"[^\n,，;；。!！?？|]{2,60}")
_PROSE_LEFT = re.compile(
    r"(?:在|于|到|至|往|赴|去|从|由|自|来|回|返|经|住|居|抵|离|生|驻|游|迁|[,，。;；、:：(（ \n]|^)$"
)
#: A preposition of place or a verb of moving straight before a short name.
_MOVED = re.compile(r"(?:在|赴|至|往|到|由|从|自|来自|去|返|抵)$")
_PROSE_RIGHT = re.compile(
    r"(?:人(?![民口工体])|籍|市|省|打工|务工|工作|居住|生活|旅游|出差|旅行|读书|上学|求学|经商|探亲|返回|"
    r"回来|当地|等地|一带|附近|地区|农村|老家|出生|长大|暂住|定居|"
    r"疫区|[,，。;；、)） \n]|$|至|到|某|的|来|回|返|乘|飞|自驾|就)"
)
_AFTER_DIVISION = Surroundings(is_anchored=True, is_division=True)
_AFTER_CUE = Surroundings(is_anchored=True)
_SURE = 0.5
_SUFFIXES = {"p": ("省", "市"), "c": ("市", "州"), "d": ("县", "旗")}
_EMPLOYER = re.compile(r"(?:工作单位|单位|就职于|任职于|供职于|就读于|毕业于)[ ]{0,2}:?[ ]{0,4}$")
_RANK = {"P": 0, "p": 0, "C": 1, "c": 1, "a": 1, "D": 2, "d": 2, "w": 2}


def _is_finer(kind: str, before: str) -> bool:
    """A full name may follow one of its own level (historical pairs); a short form must be finer."""
    return _RANK[kind] > _RANK[before] or (kind in "PCDw" and _RANK[kind] == _RANK[before])


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

    def find(self, text: NormalisedText, note: Note) -> Iterable[Span]:
        """Every place with its rule and confidence; overlapping sure readings become one maximal span."""
        return _merge_readings(list(self._read_all(text)))

    def _read_all(self, text: NormalisedText) -> Iterator[Span]:
        chains = {c.start: self._close(text.text, c) for c in self._link_places(text)}
        for hit in longest(text.hits.get("ADDRESS.label", ())):
            yield from self._read_label(text, hit, chains)
        cues = {hit.end for hit in text.hits.get("ADDRESS.cue", ())}
        for chain in chains.values():
            yield from self._read_chain(text, chain, cues)
        yield from self._read_open(text, cues, chains)

    def _link_places(self, text: NormalisedText) -> Iterator[_Chain]:
        """Join divisions that stand side by side from coarse to fine."""
        current: _Chain | None = None
        for hit in _choose_places(text.hits.get("ADDRESS.place", ())):
            if hit.value in "pcda" and is_element_ahead(text.text, hit.end):
                continue
            if current and current.end == hit.start and _is_finer(hit.value, current.kinds[-1]):
                current = _Chain(current.start, hit.end, current.kinds + hit.value)
                continue
            if current:
                yield current
            current = _Chain(hit.start, hit.end, hit.value)
        if current:
            yield current

    @staticmethod
    def _close(text: str, chain: _Chain) -> _Chain:
        """A short form with the suffix people add though the official name differs (禄劝县) takes it along."""
        is_suffixed = text[chain.end : chain.end + 1] in _SUFFIXES.get(chain.kinds[-1], ())
        return (
            replace(chain, end=chain.end + 1, kinds=chain.kinds[:-1] + chain.kinds[-1].upper())
            if is_suffixed
            else chain
        )

    def _read_label(self, text: NormalisedText, hit: Hit, chains: dict[int, _Chain]) -> Iterator[Span]:
        """A form field: the whole value when a colon introduces it, what the grammar can read otherwise."""
        plain = text.text
        gap = _AFTER_LABEL.match(plain, hit.end)
        at = gap.end() if gap else hit.end
        value = _VALUE.match(plain, at)
        if value is None:
            return
        end = trim_value(plain, at, value.end())
        around = Surroundings(is_labelled=True, is_anchored=True, is_division=at in chains)
        reach = read_elements(plain, chains[at].end if at in chains else at, around)
        has_colon = gap is not None and gap.group("colon") is not None
        if has_colon and end - at >= 2 and (at in chains or reach > at or end - at <= 24):
            confidence = 0.97 if at in chains or reach > at else 0.6
            yield text.span(
                at, max(end, min(reach, value.end())), self.category, confidence=confidence, rule="ADDRESS.label"
            )
        elif at in chains or reach > at:
            yield text.span(at, reach, self.category, confidence=0.93, rule="ADDRESS.label_prose")

    def _read_chain(self, text: NormalisedText, chain: _Chain, cues: set[int]) -> Iterator[Span]:
        plain = text.text
        end = read_elements(plain, chain.end, _AFTER_DIVISION)
        confidence = self._rate_chain(plain, chain, end, has_cue=chain.start in cues)
        if confidence > 0:
            yield text.span(chain.start, end, self.category, confidence=confidence, rule="ADDRESS.division")

    def _rate_chain(self, text: str, chain: _Chain, end: int, *, has_cue: bool) -> float:
        if end == chain.end and is_organisation_ahead(text, end):
            return 0.0
        if not has_door(text, chain.end, end) and _EMPLOYER.search(text, max(0, chain.start - 14), chain.start):
            return 0.4
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
        is_moved = _MOVED.search(text, max(0, chain.start - 2), chain.start) is not None
        return self._rate_short(
            chain.kinds, has_cue=has_cue, is_detailed=is_detailed, left=left, right=right, is_moved=is_moved
        )

    @staticmethod
    def _rate_short(kinds: str, *, has_cue: bool, is_detailed: bool, left: bool, right: bool, is_moved: bool) -> float:
        """Short names: how much stands beside them decides; county names and ordinary words need the most."""
        if has_cue:
            return 0.93
        if len(kinds) > 1:
            return 0.9
        if kinds in "pc":
            return 0.85 if is_detailed or (left and right) else 0.66 if is_moved else 0.42 if right or left else 0.3
        if kinds == "a":
            return 0.7 if is_detailed and left else 0.5 if left and right else 0.3
        return 0.6 if is_detailed and left else 0.0

    def _read_open(self, text: NormalisedText, cues: set[int], chains: dict[int, _Chain]) -> Iterator[Span]:
        """Places without a listed division: after a cue of residence, or betrayed by a door."""
        for at in cues:
            end = read_elements(text.text, at, _AFTER_CUE)
            if end > at and is_hanzi(text.text, at) and text.text[at] not in "第附址":
                yield text.span(at, end, self.category, confidence=0.85, rule="ADDRESS.cue")
        for hit in text.hits.get("ADDRESS.weak_cue", ()):
            end = read_elements(text.text, hit.end, Surroundings())
            is_label = text.text[hit.end : hit.end + 1] == "址"
            if (
                hit.end not in chains
                and not is_label
                and (
                    has_strong_element(text.text, hit.end, end) or (end - hit.end >= 4 and not is_hanzi(text.text, end))
                )
            ):
                yield text.span(hit.end, end, self.category, confidence=0.6, rule="ADDRESS.weak_cue")
        starts = sorted(chains)
        for hit in text.hits.get("ADDRESS.door", ()):
            reading = read_open_start(text.text, hit, starts)
            if reading:
                start, end, confidence = reading
                yield text.span(start, end, self.category, confidence=confidence, rule="ADDRESS.door")


def _choose_places(hits: Sequence[Hit]) -> list[Hit]:
    """Non-overlapping divisions in order: full names first, then the short forms between them."""
    full = longest(h for h in hits if h.value in "PCDw")
    taken = {at for h in full for at in range(h.start, h.end)}
    short = longest(h for h in hits if h.value not in "PCDw" and taken.isdisjoint(range(h.start, h.end)))
    return sorted((*full, *short), key=lambda h: h.start)


def _merge_readings(spans: list[Span]) -> list[Span]:
    """Join overlapping or touching sure readings: the maximal contiguous expression is one span (guideline v1)."""
    merged: list[Span] = []
    for span in sorted((s for s in spans if s.confidence >= _SURE), key=lambda s: (s.start, -s.end)):
        last = merged[-1] if merged else None
        if last and span.start <= last.end:
            best = max(last, span, key=lambda s: s.confidence)
            merged[-1] = replace(best, start=last.start, end=max(last.end, span.end))
        else:
            merged.append(span)
    return merged + [s for s in spans if s.confidence < _SURE]
