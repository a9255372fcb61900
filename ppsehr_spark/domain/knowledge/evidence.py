"""Which parts of a mistake may be worth a rule: its end, its head, its core, the words beside it, its shape.

Knows: how each part is read off one mistake, and which places in a reviewed note speak for a term. Must not know:
lexicons, categories, scores.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ppsehr_spark.domain.knowledge.mistakes import Mistake
from ppsehr_spark.domain.knowledge.shapes import form_of, shape_of
from ppsehr_spark.domain.notes import Span
from ppsehr_spark.domain.offsets import normalise_term

_MAX_CHARS = 12
#: What may stand between a label and what it labels.
_GAP = ":： \u3000(（"
_WORD = re.compile(r"[\u4e00-\u9fff\u3400-\u4dbfA-Za-z]+")
_GROWN = 4
_INSIDE_RUN = re.compile(r"[A-Za-z]{2}|[0-9]{2}")
#: A term begins and ends with a character of a word.
_IS_TERM = re.compile(r"[^\W_](?:[^\s。，；、：,;:]*[^\W_])?")


@dataclass(frozen=True)
class Evidence:
    """One way to read a mistake.

    Attributes:
        read: the values that a mistake offers, within the lengths asked for.
        supports: whether an occurrence ``[start, end)`` of a value speaks for it, given the true spans of its note.
    """

    read: Callable[[Mistake, int, int], Iterable[str]]
    supports: Callable[[str, Sequence[Span], int, int], bool]


def _whole(mistake: Mistake, low: int, high: int) -> Iterator[str]:
    if low <= len(mistake.text) <= high:
        yield mistake.text


def _tail(mistake: Mistake, low: int, high: int) -> Iterator[str]:
    for size in range(low, min(high, len(mistake.text) - 1) + 1):
        yield mistake.text[-size:]


def _head(mistake: Mistake, low: int, high: int) -> Iterator[str]:
    for size in range(low, min(high, len(mistake.text)) + 1):
        yield mistake.text[:size]


def _core(mistake: Mistake, low: int, high: int) -> Iterator[str]:
    """Every part that cuts no Latin word and no number."""
    text = mistake.text
    edges = [at for at in range(len(text) + 1) if not _INSIDE_RUN.match(text[max(0, at - 1) : at + 1])]
    for start in edges:
        yield from (text[start:end] for end in edges if low <= end - start <= high)


def _before(mistake: Mistake, low: int, high: int) -> Iterator[str]:
    word = _WORD.findall(mistake.before.rstrip(_GAP)[-high:])
    label = word[-1] if word and mistake.before.rstrip(_GAP).endswith(word[-1]) else ""
    for size in range(low, len(label) + 1):
        yield label[-size:]


def _after(mistake: Mistake, low: int, high: int) -> Iterator[str]:
    word = _WORD.match(mistake.after[:high])
    for size in range(low, len(word.group() if word else "") + 1):
        yield mistake.after[:size]


def _grown(mistake: Mistake, low: int, high: int) -> Iterator[str]:
    """The span, and the span with a few characters of what surrounds it."""
    yield from (value for value in [mistake.text] if low <= len(value) <= high)
    for size in range(1, _GROWN + 1):
        for value in (mistake.text + mistake.after[:size], mistake.before[-size:] + mistake.text):
            if low <= len(value) <= high and len(value) > len(mistake.text):
                yield value


def _shape(mistake: Mistake, low: int, high: int) -> Iterator[str]:
    surface = normalise_term(mistake.text)
    shape = shape_of(surface)
    if shape and low <= len(surface) <= high:
        yield shape


def _form(mistake: Mistake, low: int, high: int) -> Iterator[str]:
    surface = normalise_term(mistake.text)
    form = form_of(surface)
    if form and low <= len(surface) <= high:
        yield form


def _in_span(category: str, spans: Sequence[Span], start: int, end: int) -> bool:
    return any(s.category == category and s.start <= start and end <= s.end for s in spans)


def _ends_span(category: str, spans: Sequence[Span], start: int, end: int) -> bool:
    return any(s.category == category and s.start <= start and end == s.end for s in spans)


def _leads_span(category: str, spans: Sequence[Span], start: int, end: int) -> bool:
    return any(s.category == category and end <= s.start <= end + 2 for s in spans)


def _follows_span(category: str, spans: Sequence[Span], start: int, end: int) -> bool:
    return any(s.category == category and s.end == start for s in spans)


def _outside(category: str, spans: Sequence[Span], start: int, end: int) -> bool:
    return not any(s.category == category and s.start < end and start < s.end for s in spans)


EVIDENCE: dict[str, Evidence] = {
    "whole": Evidence(_whole, _in_span),
    "tail": Evidence(_tail, _ends_span),
    "head": Evidence(_head, _outside),
    "core": Evidence(_core, _in_span),
    "before": Evidence(_before, _leads_span),
    "after": Evidence(_after, _follows_span),
    "grown": Evidence(_grown, _outside),
    "shape": Evidence(_shape, _in_span),
    "form": Evidence(_form, _in_span),
}


def is_term(value: str) -> bool:
    """True for what can stand in a lexicon: a short run without blanks or punctuation at its ends or inside."""
    return 0 < len(value) <= _MAX_CHARS and _IS_TERM.fullmatch(value) is not None


def find_places(text: str, term: str) -> Iterator[tuple[int, int]]:
    """Non-overlapping occurrences of a term."""
    at = text.find(term)
    while at >= 0:
        yield at, at + len(term)
        at = text.find(term, at + len(term))
