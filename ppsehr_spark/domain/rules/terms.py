"""All listed terms in one automaton, scanned once per note.

Knows: term lists (lexicons, gazetteer, labels, titles, negative terms) and the Aho-Corasick automaton over them.
Must not know: what a list means; grammars read their hits by list name. Reference: Aho and Corasick 1975 (daachorse).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from daachorse import CharwiseDoubleArrayAhoCorasick

from ppsehr_spark.domain.offsets import Hit, NormalisedText, normalise_term
from ppsehr_spark.domain.taxonomy import ConfFiles
from ppsehr_spark.errors import ConfigurationError


@dataclass(frozen=True)
class TermIndex:
    """The compiled automaton; ``owners[i]`` lists (list name, value) of term ``i``."""

    automaton: CharwiseDoubleArrayAhoCorasick | None
    owners: tuple[tuple[tuple[str, str], ...], ...]

    def scan(self, text: NormalisedText) -> NormalisedText:
        """The same text with its hits per list, overlapping ones included, in order of their end."""
        found: dict[str, list[Hit]] = {}
        owners, new = self.owners, tuple.__new__  # Hit(...) takes twice as long, and there are dozens of them
        for start, end, at in self.automaton.find_overlapping(text.text) if self.automaton else ():
            for name, value in owners[at]:
                hits = found.get(name)
                if hits is None:
                    hits = found[name] = []
                hits.append(new(Hit, (start, end, value)))
        return NormalisedText(text.original, text.text, text.positions, found, text.numbers, text.longest_number)


class TermRegistry:
    """Collects term lists while grammars are compiled; ``build`` makes the one automaton."""

    def __init__(self) -> None:
        self._owners: dict[str, dict[tuple[str, str], None]] = {}

    def add(self, list_name: str, terms: Iterable[str] | Mapping[str, str]) -> None:
        """Add terms (or term -> value) to the list ``list_name``; a bare term is its own value."""
        pairs = terms.items() if isinstance(terms, Mapping) else ((term, term) for term in terms)
        for term, value in pairs:
            key = normalise_term(term)
            if key:
                self._owners.setdefault(key, {})[(list_name, value)] = None

    def build(self) -> TermIndex:
        """Compile; an empty registry scans to no hits."""
        terms = sorted(self._owners)
        automaton = CharwiseDoubleArrayAhoCorasick(terms) if terms else None
        return TermIndex(automaton, tuple(tuple(self._owners[term]) for term in terms))


def read_lexicon(files: ConfFiles, path: str) -> tuple[tuple[str, ...], ...]:
    """Rows of ``conf/<path>``: tab-separated columns, ``#`` comments and blank lines skipped.

    Raises:
        ConfigurationError: ``LEXICON_FILE`` when the file is not there.
    """
    if path not in files:
        raise ConfigurationError("LEXICON_FILE", file=path, hint="the lexicon that a category names is missing")
    lines = (line.rstrip("\n\r") for line in files[path].splitlines())
    return tuple(tuple(line.split("\t")) for line in lines if line.strip() and not line.startswith("#"))


class Ranged(Protocol):
    """Anything with a half-open range."""

    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...


def longest(hits: Iterable[Hit]) -> list[Hit]:
    """Hits without those that overlap an earlier or longer one, in order of start."""
    hits = list(hits)
    if _are_apart(hits):
        return hits
    kept: list[Hit] = []
    for hit in sorted(hits, key=lambda h: (h.start, -h.end)):
        if not kept or hit.start >= kept[-1].end:
            kept.append(hit)
    return kept


def _are_apart(hits: Sequence[Hit]) -> bool:
    """True for hits in order that do not overlap, as most are."""
    end = -1
    for hit in hits:
        if hit.start < end:
            return False
        end = hit.end
    return True


def hits_between(hits: Sequence[Hit], low: int, high: int) -> list[Hit]:
    """Hits (in order of end, as scanned) that lie inside ``[low, high)``."""
    first = bisect_left(hits, low, key=lambda h: h.end)
    last = bisect_right(hits, high, key=lambda h: h.end)
    return [hit for hit in hits[first:last] if hit.start >= low]


def is_covered(starts: Sequence[int], ranges: Sequence[Ranged], start: int, end: int) -> bool:
    """True when one of the ``ranges`` (sorted; ``starts`` are theirs) that begin last before ``start`` holds ``end``.

    Looks back at four ranges at most, enough for terms and names that barely overlap one another.
    """
    at = bisect_right(starts, start)
    return any(end <= ranges[i].end for i in range(max(0, at - 4), at))
