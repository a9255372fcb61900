"""Residual risk: how many notes may still show a direct identifier, with a bound that sampling cannot excuse.

Knows: the sample, the count, the one-sided exact bound. Must not know: files, note text. Two sources: a worksheet that
a person filled (speaks for the run it was drawn from), or labelled gold (speaks for gold alone, and is called so).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from ppsehr_spark.evaluation.annotation import AnnotationReport
from ppsehr_spark.evaluation.review_sheet import ReviewedNote
from ppsehr_spark.privacy.proportions import bound_share_above

ERROR_RATE = 0.05
_T = TypeVar("_T")


@dataclass(frozen=True)
class ResidualRisk:
    """Notes that still show a direct identifier.

    Attributes:
        basis: ``review``: a person read a random sample of the run; ``gold``: labelled notes, not the run.
        n_notes: how many were looked at.
        n_leaking: with at least one direct identifier open.
        upper_bound: above the true share except with chance 0.05 (Clopper and Pearson 1934, one-sided).
        n_missed: open identifiers in all; ``None`` where not counted.
        categories: category -> notes in which it was missed.
    """

    basis: Literal["review", "gold"]
    n_notes: int
    n_leaking: int
    upper_bound: float
    n_missed: int | None = None
    categories: Mapping[str, int] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Share of the notes looked at; 0 where there were none."""
        return self.n_leaking / self.n_notes if self.n_notes else 0.0

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "basis": self.basis,
            "n_notes": self.n_notes,
            "n_leaking": self.n_leaking,
            "rate": self.rate,
            "upper_bound": self.upper_bound,
            "confidence": 1 - ERROR_RATE,
            "n_missed": self.n_missed,
            "categories": dict(self.categories),
        }


def draw_sample(items: Iterable[_T], *, n_sample: int, seed: int) -> tuple[list[tuple[int, _T]], int]:
    """A uniform random sample without replacement, in one pass and in the order of the input.

    Args:
        items: any number; only the sample is held.
        n_sample: at most so many.
        seed: same seed and input, same sample.

    Returns:
        ``(position, item)`` pairs and the number of items seen (Vitter 1985, algorithm R).
    """
    generator = random.Random(seed)
    kept: list[tuple[int, _T]] = []
    n_seen = 0
    for n_seen, item in enumerate(items, 1):
        at = n_seen - 1 if n_seen <= n_sample else generator.randrange(n_seen)
        if at < n_sample:
            kept[at : at + 1] = [(n_seen - 1, item)]
    return sorted(kept, key=lambda pair: pair[0]), n_seen


def judge_review(reviewed: Sequence[ReviewedNote]) -> ResidualRisk:
    """What a filled worksheet says."""
    n_leaking = sum(note.n_missed > 0 for note in reviewed)
    return ResidualRisk(
        "review",
        len(reviewed),
        n_leaking,
        _bound(n_leaking, len(reviewed)),
        sum(note.n_missed for note in reviewed),
        dict(sorted(Counter(c for note in reviewed if note.n_missed for c in note.categories).items())),
    )


def judge_gold(report: AnnotationReport) -> ResidualRisk:
    """What labelled notes say: those whose direct identifiers are not all wholly covered."""
    n_notes, n_leaking = report.counts.get("notes", 0), report.counts.get("leaking_notes", 0)
    return ResidualRisk("gold", n_notes, n_leaking, _bound(n_leaking, n_notes))


def describe_risk(risk: ResidualRisk) -> str:
    """One paragraph for terminals, percent with two digits."""
    bound = f"{risk.n_leaking} of {risk.n_notes} notes ({100 * risk.rate:.2f}%), one-sided 95% upper bound"
    bound = f"{bound} {100 * risk.upper_bound:.2f}% (Clopper-Pearson)"
    if risk.basis == "gold":
        lines = [f"residual risk, from gold: a direct identifier is left in {bound}"]
        lines.append("these are labelled notes, not a sample of a run: draw one and have it read (ppsehr review)")
        return "\n".join(lines)
    lines = [f"residual risk, from review: a direct identifier is left in {bound}", f"sample size {risk.n_notes}"]
    if risk.n_missed:
        listed = ", ".join(f"{category} {n}" for category, n in risk.categories.items())
        lines.append(f"{risk.n_missed} identifiers left; notes by category: {listed}")
    return "\n".join(lines)


def _bound(n_leaking: int, n_notes: int) -> float:
    return bound_share_above(n_leaking, n_notes, error_rate=ERROR_RATE)
