"""The grammar of places: division chain, then road, estate, building, room, village and group; one maximal span.

Knows: the gazetteer, address elements, labels and cues of residence and origin. Must not know: other categories,
except that a listed hospital kind inside a form value ends the address (HOSPITAL beats ADDRESS).
Reference: annotation guideline v1, row ADDRESS. Lists: ``lexicons/address_labels.tsv`` (column 2: label or cue).
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise

from ppsehr_spark.domain.notes import Note, Span
from ppsehr_spark.domain.offsets import Hit, NormalisedText
from ppsehr_spark.domain.rules.address_chains import Chain, add_town, link_places
from ppsehr_spark.domain.rules.address_context import is_beside, is_short_place, rate_chain
from ppsehr_spark.domain.rules.address_elements import Surroundings, read_elements
from ppsehr_spark.domain.rules.address_open import read_building, read_open_start
from ppsehr_spark.domain.rules.address_parts import has_strong_element, is_locator_ahead, is_unnamed_place, trim_value
from ppsehr_spark.domain.rules.address_towns import find_towns, read_ordinary
from ppsehr_spark.domain.rules.gazetteer import load_codes, read_places, read_towns
from ppsehr_spark.domain.rules.grammars import GrammarContext, register_grammar
from ppsehr_spark.domain.rules.name_parts import is_hanzi
from ppsehr_spark.domain.rules.terms import hits_between, longest

_AFTER_LABEL = re.compile(
    r"[ ]{0,3}(?:\([^()\n]{0,10}\))?[ ]{0,3}(?:为|是|系|于|在|写[的着]?|改[成为]|变?更[改为新]*为|"
    r"换成)?[ ]{0,2}(?P<colon>[:：])?[ ]{0,6}"
)
_VALUE = re.compile(r"[^\n,，;；。!！?？|]{2,60}")
_AFTER_DIVISION = Surroundings(is_anchored=True, is_division=True)
_AFTER_CUE = Surroundings(is_anchored=True)
_LISTS = frozenset(
    f"ADDRESS.{kind}" for kind in ("place", "label", "field", "cue", "weak_cue", "door", "building", "moved", "native")
)
#: What stands before the short form of a province in ``豫籍``; no character at all stands at the head of a text.
_BEFORE_NATIVE = frozenset(["", ",", "。", ";", "、", ":", " ", "\n", "(", "系", "为", "是", "原", "名", "位"])
_SURE = 0.5
#: From here on a place counts as soon as it stands in a list beside a sure one.
_LISTED = 0.3
#: ``住院``, unless a place may be meant.
_STAY = re.compile(r"院(?![\u4e00-\u9fff]{0,6}?[路街道巷弄村镇乡区园苑院庄屯寨])")
#: A hospital whose name is only part of a street's or an estate's.
_IN_STREET = re.compile(r"[\u4e00-\u9fff]{2,8}?(?:[东西南北中前后]?(?:大街|大道|路|街|巷)|家属[院楼区]|宿舍|小区|门口)")


@register_grammar("address")
class Addresses:
    """Compiled address grammar."""

    def __init__(self, context: GrammarContext) -> None:
        self.category = context.category.id
        self._codes, self._towns = load_codes(), read_towns(context)
        self._ordinary = read_ordinary(context)
        rows: defaultdict[str, list[str]] = defaultdict(list)
        for term, kind in (row[:2] for row in context.lexicon("lexicons/address_labels.tsv")):
            rows[kind].append(term)
        for kind in ("label", "field", "cue", "weak_cue", "door", "building"):
            context.terms.add(f"ADDRESS.{kind}", rows[kind])
        context.terms.add("ADDRESS.native", [place + "籍" for place in rows["abbreviation"]])
        context.terms.add("ADDRESS.moved", [verb + place for verb in rows["moving"] for place in rows["abbreviation"]])
        foreign = {row[0]: "f" for row in context.lexicon("lexicons/places_foreign.tsv")}
        places = {n: k for n, k in read_places(context).items() if k != "-"}
        context.terms.add("ADDRESS.place", foreign | places)

    def find(self, text: NormalisedText, note: Note) -> Iterable[Span]:
        """Every place with its rule and confidence; overlapping sure readings become one maximal span."""
        if text.hits.keys().isdisjoint(_LISTS):
            return self._read_towns(text, {})
        return _merge_readings(_raise_listed(text, list(self._read_all(text))))

    def _read_all(self, text: NormalisedText) -> Iterator[Span]:
        chains = {c.start: add_town(text.text, c, self._towns) for c in link_places(text, self._codes)}
        for hit in longest(text.hits.get("ADDRESS.label", ())):
            yield from self._read_label(text, hit, chains, is_sure=True)
        for hit in longest(text.hits.get("ADDRESS.field", ())):
            yield from self._read_label(text, hit, chains, is_sure=False)
        cues = _find_cues(text)
        starts = sorted(chains)
        for chain in chains.values():
            yield from self._read_chain(text, chain, cues, starts)
        for hit in text.hits.get("ADDRESS.moved", ()):
            if is_short_place(text.text, hit.end):
                yield text.span(hit.end - 1, hit.end, self.category, confidence=0.6, rule="ADDRESS.abbreviation")
        for hit in text.hits.get("ADDRESS.native", ()):
            if text.text[hit.start - 1 : hit.start] in _BEFORE_NATIVE:
                yield text.span(hit.start, hit.start + 1, self.category, confidence=0.6, rule="ADDRESS.abbreviation")
        yield from self._read_cues(text, cues, chains)
        yield from self._read_open(text, chains)
        yield from self._read_towns(text, chains)

    def _read_towns(self, text: NormalisedText, chains: dict[int, Chain]) -> Iterator[Span]:
        """Towns said short after a word of going."""
        for start, end in find_towns(text.text, self._towns, self._ordinary):
            if start not in chains:
                yield text.span(start, end, self.category, confidence=0.55, rule="ADDRESS.town")

    def _read_label(self, text: NormalisedText, hit: Hit, chains: dict[int, Chain], *, is_sure: bool) -> Iterator[Span]:
        """A form field: the whole value when a colon introduces it, what the grammar can read otherwise."""
        plain = text.text
        gap = _AFTER_LABEL.match(plain, hit.end)
        at = gap.end() if gap else hit.end
        has_colon = gap is not None and gap.group("colon") is not None
        if not (is_sure or has_colon or at in chains):
            return
        value = _VALUE.match(plain, at)
        if value is None or not any(is_hanzi(value.group(), i) for i in range(len(value.group()))):
            return
        end = trim_value(plain, at, value.end())
        around = Surroundings(is_labelled=True, is_anchored=True, is_division=at in chains)
        reach = _read_bounded(text, chains[at].end if at in chains else at, around)
        is_read = at in chains or reach > at
        if has_colon and hits_between(text.hits.get("HOSPITAL.kind", ()), max(at, reach), end):
            end, has_colon = reach, is_read
        if not is_sure and not (is_read and (has_colon or (at in chains and chains[at].kinds[-1] in "PCD"))):
            return
        if has_colon and end - at >= 2 and (is_read or end - at <= 24):
            confidence = 0.97 if is_read else 0.6
            is_whole = is_sure and not (is_read and is_locator_ahead(plain, reach))
            end = max(end, min(reach, value.end())) if is_whole else reach
            yield text.span(at, end, self.category, confidence=confidence, rule="ADDRESS.label")
        elif is_read and not (at in chains and rate_chain(plain, chains[at], reach, has_cue=True) == 0):
            yield text.span(at, reach, self.category, confidence=0.93, rule="ADDRESS.label_prose")

    def _read_chain(self, text: NormalisedText, chain: Chain, cues: set[int], starts: list[int]) -> Iterator[Span]:
        end = _read_bounded(text, chain.end, _AFTER_DIVISION)
        inside = starts[bisect_right(starts, chain.end) : bisect_left(starts, end)]
        end = next((at - 1 for at in inside if text.text[at - 1] in "和与及"), end)
        moved = next((at for at in inside if text.text[at - 1] in "到至往赴抵返回飞"), 0)
        if moved:
            end = chain.end + read_elements(text.text[chain.end : moved - 1], 0, _AFTER_DIVISION)
        confidence = rate_chain(text.text, chain, end, has_cue=chain.start in cues)
        if confidence > 0:
            yield text.span(chain.start, end, self.category, confidence=confidence, rule="ADDRESS.division")

    def _read_cues(self, text: NormalisedText, cues: set[int], chains: dict[int, Chain]) -> Iterator[Span]:
        """Places without a listed division after a cue of residence."""
        for at in cues:
            if at in chains and chains[at].kinds not in "wx":
                continue
            end = _read_bounded(text, at, _AFTER_CUE)
            is_named = (
                is_hanzi(text.text, at) and text.text[at] not in "第附址" and not is_unnamed_place(text.text, at, end)
            )
            if end > at and is_named:
                is_sure = has_strong_element(text.text, at, end) or any(c.isdigit() for c in text.text[at:end])
                confidence = 0.85 if is_sure else 0.55
                yield text.span(at, end, self.category, confidence=confidence, rule="ADDRESS.cue")
        for hit in text.hits.get("ADDRESS.weak_cue", ()):
            if _STAY.match(text.text, hit.end):
                continue
            end = read_elements(text.text, hit.end, Surroundings())
            is_label = text.text[hit.end : hit.end + 1] in "址房宿户建" or is_unnamed_place(text.text, hit.end, end)
            is_named = end - hit.end >= 4 and not is_hanzi(text.text, end)
            is_place = is_named or has_strong_element(text.text, hit.end, end)
            if is_place and not is_label and hit.end not in chains:
                yield text.span(hit.end, end, self.category, confidence=0.6, rule="ADDRESS.weak_cue")

    def _read_open(self, text: NormalisedText, chains: dict[int, Chain]) -> Iterator[Span]:
        """Places without a listed division and without a cue, betrayed by a door or a building with its room."""
        sure = sorted(c.start for c in chains.values() if len(c.kinds) > 1 or c.kinds in "PCD")
        for hit in text.hits.get("ADDRESS.door", ()):
            reading = read_open_start(text.text, hit, sure)
            if reading:
                start, end, confidence = reading
                end = _cut_at_hospital(text, start, end, _AFTER_CUE)
                if end >= hit.end:
                    yield text.span(start, end, self.category, confidence=confidence, rule="ADDRESS.door")
        for hit in text.hits.get("ADDRESS.building", ()):
            reading = read_building(text.text, hit, sure)
            if reading:
                start, end, confidence = reading
                yield text.span(start, end, self.category, confidence=confidence, rule="ADDRESS.building")


def _find_cues(text: NormalisedText) -> set[int]:
    """Ends of cues, not of those that only begin a longer label (``户籍`` in ``户籍地``)."""
    cues = text.hits.get("ADDRESS.cue", ())
    if not cues:
        return set()
    ends = {hit.end for hit in longest([*cues, *text.hits.get("ADDRESS.label", ())])}
    return {hit.end for hit in cues if hit.end in ends}


def _read_bounded(text: NormalisedText, at: int, around: Surroundings) -> int:
    return _cut_at_hospital(text, at, read_elements(text.text, at, around), around)


def _cut_at_hospital(text: NormalisedText, at: int, end: int, around: Surroundings) -> int:
    """``end``, or where the elements before a hospital's name end: HOSPITAL beats ADDRESS."""
    kinds = [h.start for h in hits_between(text.hits.get("HOSPITAL.kind", ()), at, end + 8) if h.start < end]
    kinds = [start for start in kinds if not _IN_STREET.match(text.text, start)]
    if not kinds:
        return end
    return at + read_elements(text.text[at : min(kinds)], 0, around)


def _raise_listed(text: NormalisedText, spans: list[Span]) -> list[Span]:
    """Doubtful places beside a sure one in an enumeration or a journey are as sure as a place can be without more."""
    places = sorted((s for s in spans if s.rule == "ADDRESS.division"), key=lambda s: s.start)
    if len(places) < 2:
        return spans
    raised: dict[int, Span] = {}
    for pairs in (pairwise(places), pairwise(places[::-1])):
        for first, second in pairs:
            before = raised.get(first.start, first)
            left, right = (before, second) if before.start < second.start else (second, before)
            if before.confidence >= _SURE > second.confidence >= _LISTED and is_beside(text.original, left, right):
                raised[second.start] = replace(second, confidence=0.6)
    return [raised.get(s.start, s) if s.rule == "ADDRESS.division" else s for s in spans]


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
