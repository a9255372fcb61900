"""The regression gate: what a change of knowledge must show before it counts.

Knows: F1 per category, safe tiers and the balance per note before and after. Must not know: how they were measured,
what the change is. Strict: macro F1 rises, in more than one note, and nothing falls, not by one span.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

ACCEPTED, NO_GAIN, TOO_FEW_NOTES, CATEGORY_FALLS = "ACCEPTED", "NO_GAIN", "TOO_FEW_NOTES", "CATEGORY_FALLS"
#: Refused without figures: does not compile; nobody could measure it (a prompt without a model).
BROKEN, NOT_SCORED = "BROKEN", "NOT_SCORED"


@dataclass(frozen=True)
class Figures:
    """What was measured on the reviewed notes.

    Attributes:
        macro: mean strict F1 over the categories that have true spans, in [0, 1].
        f1: category -> strict F1; a category without true or predicted spans stands at 1. ``CATEGORY.tier`` -> share
            of true spans that are found with their tier or a higher one (a lower one leaks).
        by_note: note key -> true spans found less false ones.
    """

    macro: float
    f1: Mapping[str, float]
    by_note: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """``outcome`` and the names of what fell."""

    outcome: str
    fallen: tuple[str, ...] = ()

    @property
    def is_accepted(self) -> bool:
        """True when the change may become part of a version."""
        return self.outcome == ACCEPTED


def judge_change(before: Figures, after: Figures, *, min_notes: int = 1) -> Verdict:
    """Accept what raises macro F1 and lets no category fall.

    Args:
        min_notes: notes that must get better; what helps a single note may be learned by heart.
    """
    names = sorted({*before.f1, *after.f1})
    fallen = tuple(name for name in names if after.f1.get(name, 1.0) < before.f1.get(name, 1.0))
    if fallen:
        return Verdict(CATEGORY_FALLS, fallen)
    if after.macro <= before.macro:
        return Verdict(NO_GAIN)
    n_better = sum(balance > before.by_note.get(key, 0) for key, balance in after.by_note.items())
    return Verdict(ACCEPTED if n_better >= min_notes else TOO_FEW_NOTES)
