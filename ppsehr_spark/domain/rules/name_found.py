"""A proposed name: where, how sure, by which rule.

Knows: how log-odds become a confidence. Must not know: text. Reference: ``conf/categories/NAME.toml`` (``accept_at``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

#: Log-odds of this size move the confidence by a factor of e; above one, for the evidence is not independent.
_TEMPERATURE = 1.6


@dataclass(frozen=True, slots=True)
class FoundName:
    """A proposed name ``[start, end)`` in normalised text with the rule that proposed it."""

    start: int
    end: int
    confidence: float
    rule: str


def rate(start: int, end: int, odds: float, rule: str, *, cap: float = 0.97) -> FoundName:
    """A proposal whose confidence is the logistic of ``odds``, at most ``cap``."""
    return FoundName(start, end, cap / (1.0 + math.exp(min(-odds / _TEMPERATURE, 30.0))), rule)
