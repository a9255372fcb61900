"""A reading of a name at one place, and a proposed name: where, how sure, by which rule.

Knows: how log-odds become a confidence. Must not know: text. Reference: ``conf/categories/NAME.toml`` (``accept_at``).
"""

from __future__ import annotations

import math
from typing import Final, final

#: Log-odds of this size move the confidence by a factor of e; above one, for the evidence is not independent.
_TEMPERATURE: Final = 1.6


@final
class NameReading:
    """A name ``[start, end)`` in normalised text; no dataclass, for a note has dozens and those take ten times as long.

    Attributes:
        odds: natural log-odds of its own form and edges against ordinary words, before any context.
        is_bounded: a right reading ends at a sure edge; a left reading begins at one.
        form: ``han``, ``lone``, ``masked``, ``dotted``, ``spaced``, ``latin``, ``foreign`` or ``unknown``.
    """

    def __init__(self, start: int, end: int, odds: float, is_bounded: bool, form: str) -> None:
        self.start: Final = start
        self.end: Final = end
        self.odds: Final = odds
        self.is_bounded: Final = is_bounded
        self.form: Final = form


@final
class FoundName:
    """A proposed name ``[start, end)`` in normalised text with the rule that proposed it; no dataclass, for speed."""

    def __init__(self, start: int, end: int, confidence: float, rule: str) -> None:
        self.start: Final = start
        self.end: Final = end
        self.confidence: Final = confidence
        self.rule: Final = rule


def rate(start: int, end: int, odds: float, rule: str, *, cap: float = 0.97) -> FoundName:
    """A proposal whose confidence is the logistic of ``odds``, at most ``cap``."""
    return FoundName(start, end, cap / (1.0 + math.exp(min(-odds / _TEMPERATURE, 30.0))), rule)
