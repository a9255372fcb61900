"""Where the engine and a reviewed note disagree.

Knows: strict matching (annotation guideline v1, "Scoring") and a little text around a mistake. Must not know: files,
tables, what could mend it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ppsehr_spark.domain.notes import Note, Span

MISSED, FALSE = "missed", "false"
GOLD, CORRECTIONS = "gold", "corrections"
_AROUND = 16


@dataclass(frozen=True, slots=True)
class ReviewedNote:
    """A note whose spans somebody vouches for.

    Attributes:
        note: the note.
        spans: true spans, sorted, never overlapping.
        source: ``gold`` or ``corrections``.
        judged: ranges that somebody looked at; ``None`` for the whole note. What the engine finds outside them, and
            beside every true span, is neither right nor wrong.
    """

    note: Note
    spans: tuple[Span, ...]
    source: str = GOLD
    judged: tuple[tuple[int, int], ...] | None = None

    def is_judged(self, span: Span) -> bool:
        """True when finding ``span`` can be wrong."""
        known = self.judged if self.judged is None else (*self.judged, *((s.start, s.end) for s in self.spans))
        return known is None or any(span.start < end and start < span.end for start, end in known)


@dataclass(frozen=True, slots=True)
class Mistake:
    """One span that is missing (``missed``) or should not be there (``false``).

    Attributes:
        kind: ``missed`` or ``false``.
        note_key, start, end, category: the span.
        text: what it covers; ``before`` and ``after`` up to 16 characters beside it.
    """

    kind: str
    note_key: str
    start: int
    end: int
    category: str
    text: str
    before: str
    after: str


def find_mistakes(reviewed: Sequence[ReviewedNote], predicted: Mapping[str, Sequence[Span]]) -> tuple[Mistake, ...]:
    """Every strict disagreement, by note and position; of a span with wrong borders only the true one is a mistake.

    What the engine found with wrong borders is no ``false`` span: nobody wants it forbidden.
    """
    found: list[Mistake] = []
    for item in reviewed:
        true = {(s.start, s.end, s.category) for s in item.spans}
        found_here = predicted.get(item.note.note_key, ())
        said = {(s.start, s.end, s.category) for s in found_here if item.is_judged(s)}
        found += [_mistake(MISSED, item.note, place) for place in sorted(true - said)]
        found += [_mistake(FALSE, item.note, p) for p in sorted(said - true) if not any(_meets(p, q) for q in true)]
    return tuple(found)


def _meets(one: tuple[int, int, str], other: tuple[int, int, str]) -> bool:
    return one[2] == other[2] and one[0] < other[1] and other[0] < one[1]


def _mistake(kind: str, note: Note, place: tuple[int, int, str]) -> Mistake:
    start, end, category = place
    text = note.text
    around = text[max(0, start - _AROUND) : start], text[end : end + _AROUND]
    return Mistake(kind, note.note_key, start, end, category, text[start:end], *around)
