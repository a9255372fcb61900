"""A note while it is being written: text grows at the end, mentions are marked as they are written.

Knows: offsets (code points) and which stated facts raise a tier (annotation guideline v1, "Tiers"). Must not know:
how a mention could be recognised; gold is produced by construction, never by searching.
"""

from __future__ import annotations

from dataclasses import dataclass

from ppsehr_spark.domain.notes import Span

#: (start, end, category, tier); tier 0 waits for the facts of the whole note.
Mention = tuple[int, int, str, int | None]

RAISING_FACTS = frozenset({"unmarried", "minor", "assault", "std_present"})


@dataclass(frozen=True, slots=True)
class Fragment:
    """A finished piece of text with its mentions (offsets inside the piece) and the facts it states."""

    text: str
    mentions: tuple[Mention, ...] = ()
    facts: frozenset[str] = frozenset()


def mark(text: str, category: str, tier: int | None = None) -> Fragment:
    """A piece that is one mention from end to end."""
    return Fragment(text, ((0, len(text), category, tier),))


def join(*pieces: Fragment | str) -> Fragment:
    """Several pieces as one."""
    draft = Draft()
    for piece in pieces:
        draft.add(piece)
    return draft.cut(0, 0)


class Draft:
    """Append-only text with mentions."""

    __slots__ = ("facts", "length", "mentions", "parts")

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.mentions: list[Mention] = []
        self.facts: set[str] = set()
        self.length = 0

    def add(self, piece: Fragment | str) -> None:
        """Append plain text or a fragment with its mentions."""
        if isinstance(piece, str):
            self.parts.append(piece)
            self.length += len(piece)
            return
        at = self.length
        self.parts.append(piece.text)
        self.length += len(piece.text)
        for start, end, category, tier in piece.mentions:
            self.mentions.append((at + start, at + end, category, tier))
        if piece.facts:
            self.facts |= piece.facts

    def cut(self, first_part: int, first_mention: int, facts: frozenset[str] = frozenset()) -> Fragment:
        """What was written since ``first_part`` and ``first_mention``, as a fragment that can be written again."""
        text = "".join(self.parts[first_part:])
        at = self.length - len(text)
        mentions = tuple((s - at, e - at, c, t) for s, e, c, t in self.mentions[first_mention:])
        return Fragment(text, mentions, facts or frozenset(self.facts if first_part == 0 else ()))

    def finish(self) -> tuple[str, tuple[Span, ...]]:
        """The text and its gold spans, sorted, every tier decided."""
        raised = 2 if RAISING_FACTS.isdisjoint(self.facts) else 3
        spans = (
            Span(start, end, category, raised if tier == 0 else tier, "gold")
            for start, end, category, tier in sorted(self.mentions)
        )
        return "".join(self.parts), tuple(spans)
