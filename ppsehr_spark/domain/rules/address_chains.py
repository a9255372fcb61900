"""Divisions that stand side by side, coarse to fine, as one chain: ``浙江省-宁波市 鄞州区``.

Knows: which hits of the gazetteer exclude one another and when one division lies inside another (code prefixes).
Must not know: elements below the county. Reference: annotation guideline v1, row ADDRESS; GB/T 2260.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ppsehr_spark.domain.offsets import Hit, NormalisedText
from ppsehr_spark.domain.rules.address_parts import is_element_ahead
from ppsehr_spark.domain.rules.terms import longest

_RANK = {"P": 0, "p": 0, "C": 1, "c": 1, "a": 1, "D": 2, "d": 2, "w": 2, "x": 2, "h": 2, "f": 1}
#: What may part two divisions of one expression.
_GAPS = frozenset(["-", "_", "/", "·", " ", "  "])
_SUFFIXES = {
    "p": ("省", "市"),
    "c": ("市", "州", "县"),
    "a": ("市", "州", "县", "地区"),
    "d": ("县", "旗"),
    "h": ("市", "县", "区"),
    "x": ("区", "县"),
}
#: What must stand before a county whose name is another word (``由大方返回``), else it is that word.
_BEFORE_WORDS = frozenset("在赴至往到由从自去返抵回经飞住居家转于来、和与及")
#: Words that begin with the last character of a full name: the short form is meant (``北京市场``, ``上海市民``).
_OTHER_WORD = (
    "县委",
    "市委",
    "省委",
    "区委",
    "旗委",
    "市政",
    "市场",
    "市民",
    "市值",
    "省会",
    "县城",
    "区间",
    "区别",
    "市容",
    "市面",
)

#: What a city may have of its own (``镇江新区``); before any other element a short name is only the head of one.
_FACILITIES = (
    "新区",
    "高新区",
    "经开区",
    "开发区",
    "工业园",
    "机场",
    "火车站",
    "高铁站",
    "汽车站",
    "客运站",
    "大学城",
    "保税区",
    "综合",
)
_LONGEST_TOWN = 6
#: Provinces that are cities, their districts follow at once.
_MUNICIPALITIES = frozenset(["11", "12", "31", "50"])


@dataclass(frozen=True)
class Chain:
    """Adjacent divisions ``[start, end)``, their kinds and the code prefixes the last one may have."""

    start: int
    end: int
    kinds: str
    codes: frozenset[str] = frozenset()


def link_places(text: NormalisedText, codes: Mapping[str, frozenset[str]]) -> Iterator[Chain]:
    """Chains in order of start; ``codes`` gives the division codes each name may have."""
    plain = text.text
    current: Chain | None = None
    found = text.hits.get("ADDRESS.place", ())
    hits = _choose_places(_drop_straddling(plain, found, codes) if len(found) > 2 else found)
    starts = {hit.start for hit in hits if hit.value != "x"}
    for hit in hits:
        if hit.value in "pcdaxh" and hit.end not in starts and _is_head_only(plain, hit):
            continue
        link = Chain(hit.start, hit.end, hit.value, codes.get(plain[hit.start : hit.end], frozenset()))
        if current and _may_follow(plain, current, link):
            current = Chain(current.start, link.end, current.kinds + link.kinds, link.codes or current.codes)
            continue
        if current:
            yield close_chain(plain, current)
        current = link if hit.value != "x" else None
        if current is None and plain[link.start - 1 : link.start] in _BEFORE_WORDS:
            yield link
    if current:
        yield close_chain(plain, current)


def _is_head_only(text: str, hit: Hit) -> bool:
    """A short name that begins the name of a street or town, not a city with a facility of its own."""
    has_facility = hit.value in "pcdh" and text.startswith(_FACILITIES, hit.end)
    return not has_facility and is_element_ahead(text, hit.end)


def close_chain(text: str, chain: Chain) -> Chain:
    """A short form takes a suffix along (``禄劝县``); a full name that runs into a word loses it (``北京市场``)."""
    last = chain.kinds[-1]
    suffix = next((s for s in _SUFFIXES.get(last, ()) if text.startswith(s, chain.end)), "")
    if suffix and not text.startswith(_OTHER_WORD, chain.end):
        kind = "D" if last in "xh" or suffix == "县" else "C" if last == "a" else last.upper()
        return Chain(chain.start, chain.end + len(suffix), chain.kinds[:-1] + kind, chain.codes)
    if last in "PCD" and chain.end - chain.start > 2 and text.startswith(_OTHER_WORD, chain.end - 1):
        return Chain(chain.start, chain.end - 1, chain.kinds[:-1] + last.lower(), chain.codes)
    return chain


def add_town(text: str, chain: Chain, towns: Mapping[str, Sequence[str]]) -> Chain:
    """The town said without suffix right after its division goes along (``昆山花桥``, ``东莞虎门``)."""
    for end in range(min(chain.end + _LONGEST_TOWN, len(text)), chain.end + 1, -1):
        codes = towns.get(text[chain.end : end], ())
        if text[end : end + 1] in ("镇", "乡", "门", "站"):
            continue
        if any(code.startswith(outer) for code in codes for outer in chain.codes) and not is_element_ahead(text, end):
            return Chain(chain.start, end, chain.kinds + "t", chain.codes)
    return chain


def _may_follow(text: str, before: Chain, link: Chain) -> bool:
    """A full name may follow one of its level (historical pairs), a short form must be finer, a gap needs kinship."""
    gap = text[before.end : link.start]
    rank, rank_before = _RANK[link.kinds], _RANK[before.kinds[-1]]
    if link.kinds == "x":
        is_city = before.kinds[-1] in "Cc" or not before.codes.isdisjoint(_MUNICIPALITIES)
        return not gap and is_city and _is_inside(link, before)
    if not gap and link.kinds in "dx" and before.codes and link.codes and not _is_inside(link, before):
        return False
    if not gap:
        return rank > rank_before or (link.kinds in "PCDw" and rank == rank_before)
    return gap in _GAPS and rank > rank_before and _is_inside(link, before)


def _is_inside(link: Chain, before: Chain) -> bool:
    return any(code.startswith(outer) for code in link.codes for outer in before.codes)


def _drop_straddling(text: str, hits: Sequence[Hit], codes: Mapping[str, frozenset[str]]) -> Sequence[Hit]:
    """Without full names that lie across a city and a county of it (阳新县 in 信阳新县)."""
    full = {hit.start: hit for hit in hits if hit.value == "D"}
    seams = []
    for hit in hits:
        inner = full.get(hit.end) if hit.value in "pc" else None
        outer = codes.get(text[hit.start : hit.end], frozenset())
        if inner and any(c.startswith(o) for c in codes.get(text[inner.start : inner.end], ()) for o in outer):
            seams.append(hit)
    return [h for h in hits if not any(s.start < h.start < s.end < h.end for s in seams)] if seams else hits


def _choose_places(hits: Sequence[Hit]) -> list[Hit]:
    """Non-overlapping divisions in order: full names first, then the short forms between them."""
    full = longest(h for h in hits if h.value in "PCDw")
    taken = {at for h in full for at in range(h.start, h.end)}
    short = longest(h for h in hits if h.value not in "PCDw" and taken.isdisjoint(range(h.start, h.end)))
    return sorted((*full, *short), key=lambda h: h.start)
