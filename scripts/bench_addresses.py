"""One address of the NAACL 2019 corpus (21 chunk types) as one ADDRESS span with a tier.

Knows: the chunk types and what annotation guideline v1 says of them. Must not know: files, sentences around it.
Reference: H. Li, W. Lu, P. Xie, L. Li, "Neural Chinese Address Parsing", NAACL 2019.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ppsehr_spark.domain.notes import Span
from ppsehr_spark.evaluation.partial_gold import PartialGold

#: Chunk type (lower case) -> tier of an address that reaches so far.
_TIERS = {
    "prov": 1, "city": 1,
    "district": 2, "devzone": 2, "town": 2, "community": 2, "road": 2, "subroad": 2, "poi": 2, "subpoi": 2,
    "roadno": 3, "subroadno": 3, "houseno": 3, "cellno": 3, "floorno": 3, "roomno": 3,
}  # fmt: skip
#: A road or point of interest that names a door, a numbered group or a building.
_DOOR = re.compile(r"[0-9A-Za-z一二三四五六七八九十]+(?:号|栋|幢|座|室|楼|层|单元|组)$|(?:大厦|大楼|写字楼)$")
_EDGE_MARKS = " _-,，.。/\\、:：;；()（）"
#: May stand at the end of the span or outside it.
_LOOSE_ENDS = frozenset({"poi", "subpoi", "assist", "redundant"})
#: May stand at its start or outside it.
_LOOSE_STARTS = frozenset({"country", "redundant"})


@dataclass(frozen=True)
class Chunk:
    """A labelled piece ``[start, end)``."""

    kind: str
    start: int
    end: int


@dataclass(frozen=True)
class Address:
    """An address and its gold; offsets in ``text``."""

    text: str
    gold: PartialGold


def read_address(tokens: Sequence[tuple[str, ...]]) -> Address | None:
    """Tokens with BIO labels as one span; ``None`` where no place is named or a person stands in the middle."""
    text, chunks = _join(tokens)
    while chunks and chunks[-1].kind == "person":
        chunks.pop()
    if any(chunk.kind == "person" for chunk in chunks) or not any(chunk.kind in _TIERS for chunk in chunks):
        return None
    starts = _possible_starts(text, chunks)
    ends = _possible_ends(text, chunks)
    span = Span(starts[0], ends[0], "ADDRESS", _tier(text, chunks), source="gold")
    variants = {(a, b): (span.start, span.end) for a in starts for b in ends if a < b}
    variants.pop((span.start, span.end), None)
    return Address(text, PartialGold((span,), variants=variants)) if span.start < span.end else None


def _join(tokens: Sequence[tuple[str, ...]]) -> tuple[str, list[Chunk]]:
    text, chunks = "", list[Chunk]()
    for token, label in tokens:
        mark, _, kind = label.partition("-")
        start, text = len(text), text + token
        if mark == "I" and chunks and chunks[-1].kind == kind.lower():
            start = chunks.pop().start
        chunks.append(Chunk(kind.lower(), start, len(text)))
    return text, chunks


def _possible_starts(text: str, chunks: Sequence[Chunk]) -> list[int]:
    """Starts that are right, ours first: after a country, before a repeated division."""
    at = 0
    while at < len(chunks) and chunks[at].kind == "country":
        at += 1
    own = _skip_marks(text, chunks[at].start)
    loose = [0]
    for chunk in chunks:
        if chunk.kind not in _LOOSE_STARTS:
            break
        loose.append(chunk.end)
    return list(dict.fromkeys([own, *(_skip_marks(text, start) for start in loose)]))


def _possible_ends(text: str, chunks: Sequence[Chunk]) -> list[int]:
    """Ends that are right, ours first: with the point of interest, without a locating word after it."""
    ends = [chunks[-1].end]
    for chunk in reversed(chunks):
        if chunk.kind not in _LOOSE_ENDS or chunk.start == chunks[0].start:
            break
        ends.append(chunk.start)
    own = next((chunk.end for chunk in reversed(chunks) if chunk.kind not in ("assist", "redundant")), ends[0])
    return list(dict.fromkeys(_drop_marks(text, end) for end in (own, *ends)))


def _tier(text: str, chunks: Sequence[Chunk]) -> int:
    reached = [_TIERS[chunk.kind] for chunk in chunks if chunk.kind in _TIERS]
    has_door = any(c.kind in ("road", "poi", "subpoi") and _DOOR.search(text[c.start : c.end]) for c in chunks)
    return 3 if has_door else max(reached)


def _skip_marks(text: str, start: int) -> int:
    while start < len(text) and text[start] in _EDGE_MARKS:
        start += 1
    return start


def _drop_marks(text: str, end: int) -> int:
    """Without marks at the end; a bracket that closes one inside the address stays."""
    while end and text[end - 1] in _EDGE_MARKS and not (text[end - 1] in ")）" and re.search("[(（]", text[:end])):
        end -= 1
    return end
