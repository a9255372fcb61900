"""The grammar of care institutions: place, owner or brand, kind; and short forms by lexicon.

Knows: how a hospital's name is built and which words only stand before it. Must not know: other categories.
Reference: annotation guideline v1, row HOSPITAL and "Clarifications". Lists: ``lexicons/hospital_kinds.tsv``
(column 1 the closing word), ``lexicons/hospital_brands.tsv`` (column 2: sure or cue), ``lexicons/hospital_owners.tsv``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise

from ppsehr_spark.domain.notes import Note, Span
from ppsehr_spark.domain.offsets import Hit, NormalisedText
from ppsehr_spark.domain.rules.gazetteer import read_places
from ppsehr_spark.domain.rules.grammars import GrammarContext, register_grammar
from ppsehr_spark.domain.rules.hospital_context import (
    FIELD_OF_OTHER,
    count_cues,
    has_verb,
    is_other_number,
    is_vague,
    rate_unnamed,
)
from ppsehr_spark.domain.rules.hospital_words import (
    AFTER_KIND,
    ALSO_IN_NAMES,
    BRAND_OF_OTHER,
    EXTENSION,
    FIELD_PAIR,
    GENERIC,
    NOT_NAME,
    OWNER_WORDS,
    RIGHT_CUE,
    SPACED_NAME,
    STOP,
)
from ppsehr_spark.domain.rules.terms import hits_between, is_covered, longest

_MAX_NAME = 28
_LISTS = ("HOSPITAL.kind", "HOSPITAL.brand", "HOSPITAL.field")
_ANCHORS = ("HOSPITAL.place", "HOSPITAL.owner", "HOSPITAL.brand")
#: Short forms of divisions do not protect a function word inside them (于洪 in 于洪山乡卫生院).
_BRANDS = frozenset(["sure", "cue"])
_SHORT_KINDS = frozenset("pcdah")
_STRETCH = re.compile(r"[\u4e00-\u9fff〇0-9]*\Z")
#: Behind a brand these are its departments (``广医附三生殖中心``), behind a place an institution of their own.
_DEPARTMENTS = frozenset(
    ["生殖中心", "产科中心", "体检中心", "康复中心", "影像中心", "透析中心", "急救中心", "健康管理中心"]
)
_OPEN_FIELDS = frozenset(["口腔", "眼科", "牙科"])
#: After a place these name its hospital, whatever stands beside them (``泉州市妇幼``).
_OWN_FIELDS = frozenset(["妇幼", "妇保", "妇儿", "儿医", "精卫", "胸科", "红会", "正骨", "眼视光", "心血管"])
_OPEN_BRAND = re.compile(
    r"(?:(?<=[在到去于由往从找经来的原是叫期,，。;；、 \n])|^)"
    r"(?:[\u4e00-\u9fff](?<![在到去于由往从找经的了来原是叫期有做看约])){2,4}\Z"
)
#: What makes a brand the name of its women's and children's hospital (``红房子妇产``), not of a department.
_BRAND_FIELD = re.compile(r"(?:妇产|妇儿|妇幼|儿童)(?![科医保节部病房\u4e00]|健康)")
_OWNED = frozenset(["部立", "国立", "省立", "市立", "县立", "州立", "公立"])
_BRANCH_GAP = re.compile(r"[\u4e00-\u9fff]{1,8}")


@register_grammar("institution")
class Institutions:
    """Compiled institution grammar."""

    def __init__(self, context: GrammarContext) -> None:
        self.category = context.category.id
        context.terms.add("HOSPITAL.kind", [row[0] for row in context.lexicon("lexicons/hospital_kinds.tsv")])
        context.terms.add("HOSPITAL.brand", {row[0]: row[1] for row in context.lexicon("lexicons/hospital_brands.tsv")})
        context.terms.add("HOSPITAL.owner", [row[0] for row in context.lexicon("lexicons/hospital_owners.tsv")])
        context.terms.add("HOSPITAL.field", [row[0] for row in context.lexicon("lexicons/hospital_fields.tsv")])
        places = {name: kind for name, kind in read_places(context).items() if kind not in "wx-"}
        counties = {f"{name}县": "D" for name, kind in places.items() if kind in "dhx"}
        context.terms.add("HOSPITAL.place", counties | places)

    def find(self, text: NormalisedText, note: Note) -> Iterable[Span]:
        """Named institutions, then brand short forms."""
        if text.hits.keys().isdisjoint(_LISTS):
            yield from self._read_spaced(text)
            return
        kinds = longest(text.hits.get("HOSPITAL.kind", ()))
        floors = _find_floors(text.text, kinds)
        named = [span for hit, floor in zip(kinds, floors, strict=False) for span in self._read_kind(text, hit, floor)]
        yield from named
        named.sort(key=lambda n: n.start)
        starts = [n.start for n in named]
        for hit in longest(text.hits.get("HOSPITAL.brand", ())):
            start, end = text.origin(hit.start, hit.end)
            if not is_covered(starts, named, start, end):
                yield from self._read_brand(text, hit)
        for hit in longest(text.hits.get("HOSPITAL.field", ())):
            start, end = text.origin(hit.start, hit.end)
            if not is_covered(starts, named, start, end):
                yield from self._read_field(text, hit)
        yield from self._read_spaced(text)

    def _read_kind(self, text: NormalisedText, hit: Hit, floor: int) -> Iterator[Span]:
        """The name that ends with ``hit``; ``floor`` is where the institution before it ended."""
        plain = text.text
        if AFTER_KIND.match(plain, hit.end):
            return
        stretch = _STRETCH.search(plain, max(floor, hit.start - _MAX_NAME), hit.start)
        low = stretch.start() if stretch else hit.start
        start, confidence, rule = self._find_start(text, low, hit)
        if confidence > 0:
            yield text.span(
                start, self._extend(plain, hit.end), self.category, confidence=confidence, rule=f"HOSPITAL.{rule}"
            )

    def _find_start(self, text: NormalisedText, low: int, hit: Hit) -> tuple[int, float, str]:
        """Start, confidence (0: no name) and rule of the name that ends with the kind word ``hit``."""
        plain = text.text
        near = [
            h for name in _ANCHORS for h in hits_between(text.hits.get(name, ()), low, hit.end) if h.start < hit.start
        ]
        cut = self._find_cut(plain, low, hit.start, [h for h in near if h.value not in _SHORT_KINDS])
        anchored = [h for h in near if h.start >= cut and _is_anchor(h, cut, hit)]
        if not anchored:
            return self._rate_plain(plain, cut, hit)
        first = min(h.start for h in anchored)
        start = cut if OWNER_WORDS.search(plain, cut, first) else first
        start -= 2 * (plain[start - 2 : start] in _OWNED)  # 部立桃园医院
        if hit.value in _DEPARTMENTS and any(h.end == hit.start and h.value == "sure" for h in anchored):
            return start, 0.0, "department"
        if is_vague(plain, start, max(h.end for h in anchored if h.start == first), hit.start):
            return start, 0.0, "vague"
        return start, 0.95, "named" if plain[start : hit.start] not in ("市", "省") else "plain"

    @staticmethod
    def _find_cut(text: str, low: int, end: int, shields: list[Hit]) -> int:
        """End of the last stop word in ``[low, end)`` that is not part of a known place or brand."""
        cut = low
        joints = {pair.start("joint") for pair in FIELD_PAIR.finditer(text, low, end)}
        for stop in STOP.find_all(text, low, end):
            if stop.start() in joints:
                continue
            is_inside = any(h.start <= stop.start() < h.end for h in shields)
            is_name_character = stop.group() in ALSO_IN_NAMES and any(h.end == stop.start() for h in shields)
            if not is_inside and not is_name_character:
                cut = stop.end()
        joined = [h.end + 1 for h in shields if h.value in _BRANDS and h.end < end and text[h.end] in "和与跟或"]
        return max([cut, *joined])

    @staticmethod
    def _rate_plain(text: str, cut: int, hit: Hit) -> tuple[int, float, str]:
        """A name without known place or brand: what is left after generic words must be a name of its own."""
        name = text[cut : hit.start]
        own = GENERIC.sub("", name)
        if name in ("某某", "XX", "××"):
            return cut, 0.6, "placeholder"
        if not own:
            return cut, rate_unnamed(name, hit.value), "ordinal"
        if own.isdigit():
            return cut, 0.85 if len(own) == 3 and text[cut - 1 : cut] != "第" else 0.0, "number"
        if NOT_NAME.search(own) or "某" in name:
            return cut, 0.0, "plain"
        if OWNER_WORDS.search(name) and len(name) >= 4:
            return cut, 0.85, "owner"
        if len(own) > 10:
            return cut, 0.0, "plain"
        return cut, 0.8 if 2 <= len(own) <= 6 else 0.5, "plain"

    @staticmethod
    def _extend(text: str, end: int) -> int:
        match = EXTENSION.match(text, end)
        if match is None:
            return end
        is_open, is_closed = match.group()[0] in "(（", match.group()[-1] in ")）"
        if is_open and not is_closed:
            return end
        return match.end() - (is_closed and not is_open)

    def _read_brand(self, text: NormalisedText, hit: Hit) -> Iterator[Span]:
        """A short form on its own (``转至华西``) or after its place; a longer name is found by its kind word."""
        plain = text.text
        is_number = hit.value == "cue" and plain[hit.start].isdigit()
        is_short = plain[hit.start] in "省市" and RIGHT_CUE.match(plain, hit.end) is None
        if is_short or BRAND_OF_OTHER.match(plain, hit.end) or (is_number and is_other_number(plain, hit)):
            return
        places = _find_heads(text, hit.start, _ANCHORS[:1])
        start = min((h.start for h in places), default=hit.start)
        alone = 0.5 if hit.end - hit.start > 2 else 0.42
        base = (alone if hit.value == "sure" else 0.15) + (0.3 if places else 0)
        step = 0.25 if hit.value == "sure" else 0.3
        is_told = hit.value == "sure" or has_verb(plain, start, hit.end, needs_right=is_number)
        confidence = base + step * count_cues(plain, start, hit.end) if is_told else 0.36
        end = self._extend(plain, self._extend(plain, hit.end))
        whole = _BRAND_FIELD.match(plain, hit.end)
        if whole and hit.end == end:
            end, confidence = whole.end(), max(confidence, 0.6)
        if plain[hit.end : end].endswith(("院区", "分院", "本部", "分部", "店")):
            confidence = max(confidence, 0.6)
        yield text.span(start, end, self.category, confidence=min(confidence, 0.97), rule="HOSPITAL.short_form")

    def _read_field(self, text: NormalisedText, hit: Hit) -> Iterator[Span]:
        """Place or owner and field without 医院 (``北大口腔``, ``省人民``); needs a word of going or of treatment."""
        plain = text.text
        heads = _find_heads(text, hit.start, _ANCHORS[:2])
        start = min((h.start for h in heads), default=hit.start)
        start = min((h.start for h in _find_heads(text, start, _ANCHORS[:1])), default=start)
        if not heads and plain[hit.start - 1 : hit.start] in ("省", "市"):
            start = hit.start - 1
        if start == hit.start:
            start = _find_brand(plain, hit)
        if start == hit.start or FIELD_OF_OTHER.match(plain, hit.end):
            return
        base = 0.35 if heads and text.text[hit.start : hit.end] in _OWN_FIELDS else 0.2
        confidence = base + 0.25 * count_cues(plain, start, hit.end)
        yield text.span(
            start, self._extend(plain, hit.end), self.category, confidence=confidence, rule="HOSPITAL.field"
        )

    def _read_spaced(self, text: NormalisedText) -> Iterator[Span]:
        """A letterhead with blanks between its characters."""
        for match in SPACED_NAME.finditer(text.text) if " 院" in text.text or " 所" in text.text else ():
            name = match.group().replace(" ", "")
            if GENERIC.sub("", name[:-2]):
                yield text.span(match.start(), match.end(), self.category, confidence=0.9, rule="HOSPITAL.letterhead")


def _find_brand(text: str, hit: Hit) -> int:
    """Start of an unlisted brand of dentists or eye doctors after a word of going (``在蜀都口腔洗牙``)."""
    if hit.value not in _OPEN_FIELDS or not RIGHT_CUE.match(text, hit.end):
        return hit.start
    brand = _OPEN_BRAND.search(text, max(0, hit.start - 6), hit.start)
    return brand.start() if brand and not GENERIC.search(brand.group()) else hit.start


def _find_heads(text: NormalisedText, at: int, lists: tuple[str, ...]) -> list[Hit]:
    """Places and owners that end at ``at``."""
    return [h for name in lists for h in hits_between(text.hits.get(name, ()), at - 16, at) if h.end == at]


def _is_anchor(place: Hit, cut: int, kind: Hit) -> bool:
    """Short forms may be chance neighbours (安乡 in 长安乡): they end before the kind word, counties begin it."""
    if place.value not in _SHORT_KINDS:
        return place.value in _BRANDS or place.end <= kind.start
    return place.end <= kind.start and (place.start == cut or place.value in "pch")


def _find_floors(text: str, kinds: list[Hit]) -> list[int]:
    """Where the institution before each kind word ended; a branch named after its parent shares the parent's floor."""
    floors = [0]
    for before, hit in pairwise(kinds):
        gap = text[before.end : hit.start]
        is_own = gap.startswith(("附属", "附设")) or (hit.value.startswith(("附属", "附设")) and not gap)
        is_branch = is_own or (hit.value.endswith("院") and before.value.endswith("院") and _BRANCH_GAP.fullmatch(gap))
        floors.append(floors[-1] if is_branch and not STOP.search(gap) else before.end)
    return floors
