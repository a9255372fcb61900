"""A model's quote counts only where it stands in the text.

Knows: how to find a quote and turn it into code-point offsets. Must not know: prompts, engines, tables.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

#: Marks that a model likes to copy along with a mention; a span never begins or ends with one (guideline v1, "Spans").
_EDGE = " \t\r\n\u3000，。、；：！？,;:!?“”‘’\"'《》〈〉「」『』【】"


def ground_quote(text: str, quote: str) -> list[tuple[int, int]]:
    """Every non-overlapping place of ``quote`` in ``text``, as half-open code-point ranges, sorted.

    Exact places come first; without any, places that are equal but for blanks and full-width or half-width form. A
    quote of a single character counts only where it is unique, since it would fire inside other words.
    """
    quote = quote.strip(_EDGE)
    if not quote:
        return []
    places = _find_all(text, quote) or _find_folded(text, quote)
    return places if len(quote) > 1 or len(places) == 1 else []


def ground_quotes(text: str, quotes: Iterable[tuple[str, str]]) -> tuple[list[tuple[int, int, str]], int]:
    """Ground (category, quote) pairs: the places without doubles, and how many quotes are not in the text."""
    found: dict[tuple[int, int, str], None] = {}
    n_ungrounded = 0
    for category, quote in dict.fromkeys(quotes):
        places = ground_quote(text, quote)
        n_ungrounded += not places
        found.update(dict.fromkeys((start, end, category) for start, end in places))
    return sorted(found), n_ungrounded


def _find_all(text: str, quote: str) -> list[tuple[int, int]]:
    places: list[tuple[int, int]] = []
    at = text.find(quote)
    while at >= 0:
        places.append((at, at + len(quote)))
        at = text.find(quote, at + len(quote))
    return places


def _find_folded(text: str, quote: str) -> list[tuple[int, int]]:
    """Search in the folded text and map each place back; offsets stay those of the original."""
    folded, origin = _fold(text)
    wanted, _ = _fold(quote)
    if not wanted:
        return []
    places = _find_all(folded, wanted)
    return [(origin[start], origin[end - 1] + 1) for start, end in places]


def _fold(text: str) -> tuple[str, list[int]]:
    """NFKC per character without blanks, and the original index of every folded character."""
    pieces = [(part, i) for i, c in enumerate(text) for part in unicodedata.normalize("NFKC", c) if not part.isspace()]
    return "".join(part for part, _ in pieces), [i for _, i in pieces]
