"""Several quantiles of one set of values by repeated halving: what is chosen from, and what one patient can change.

Knows: counts per public value, fractions, and how a choice divides the rest of the work. Must not know: noise, events,
grants; the caller chooses. Reference: Kaplan, Schnapp and Stemmer 2022, "Differentially Private Approximate
Quantiles" (AppQ); Smith 2011 (one quantile by the exponential mechanism).

**The search.** The middle one of the wanted quantiles is chosen first. It divides the rows; the quantiles below it are
sought among the rows below it, at the fraction that they have there, and those above it among the rows above. Rows are
divided, never copied, so all choices of one level together read each row once and cost what a single choice costs: five
quantiles are three choices one after the other instead of five. The chosen values never fall.

**The score.** For the fraction a/b and a position g, with ``lt`` rows below g and ``gt`` above it, the score is
``-|(b - a) * lt - a * gt|``: zero where exactly a of b parts lie below. One row more moves ``lt`` by 1, or ``gt`` by 1,
or neither, so the score by at most ``max(a, b - a)``; k rows move it by k times that. Whole numbers throughout, and
no number of rows enters that would itself have to be released.

**Ties.** Most patients may share one value, and then no value has half of the rows below it. So the rows of a value are
dealt in turn to ``SLOTS`` positions, and the rows of the chosen position in turn to both sides. One row more of a value
is one row more in one position, and on one side, and nothing else moves: with k rows more in all, the parts of a level
have k_1 + k_2 + ... = k more. A choice whose cost grows with the square of the change (zCDP of noisy max) then costs
at most (k_1^2 + k_2^2 + ...) / k^2 <= 1 of what it is calibrated to.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from fractions import Fraction as Ratio
from typing import TypeAlias

from ppsehr_spark.privacy.catalogue import Fraction

#: Positions that the rows of one value are dealt to; ties are resolved to this part of a value's rows.
SLOTS = 16
#: Takes scores and how far one row moves them; gives the position of an approximately largest one.
Choose: TypeAlias = Callable[[Sequence[int], int], int]


def count_rounds(n_quantiles: int) -> int:
    """Choices that one row takes part in, at most: 1, 2, 2, 3 for 1 to 4 quantiles."""
    return n_quantiles.bit_length()


def search_quantiles(counts: Sequence[int], fractions: Sequence[Fraction], choose: Choose) -> list[int]:
    """Index of the value chosen for each fraction, in their order.

    Args:
        counts: rows per public value, values rising.
        fractions: different ones in (0, 1).
        choose: is called once per fraction.
    """
    wanted = sorted({Ratio(*fraction) for fraction in fractions})
    found = _search(deal_rows(counts), (Ratio(0), Ratio(1)), wanted, choose)
    chosen = {fraction: position // SLOTS for fraction, position in zip(wanted, found, strict=True)}
    return [chosen[Ratio(*fraction)] for fraction in fractions]


def find_quantile(counts: Sequence[int], fraction: Fraction) -> int:
    """Index of the value without any noise: the best score of all."""
    scores = score_quantile(deal_rows(counts), fraction)
    return max(range(len(scores)), key=scores.__getitem__) // SLOTS


def deal_rows(counts: Sequence[int]) -> list[int]:
    """Rows per position, ``SLOTS`` for each value: the rows of a value in turn, as cards are dealt."""
    return [(own + SLOTS - 1 - slot) // SLOTS for own in counts for slot in range(SLOTS)]


def divide_rows(rows: Sequence[int], at: int) -> tuple[list[int], list[int]]:
    """Rows up to a position and from it on; its own rows go to both sides in turn."""
    own = rows[at]
    return [*rows[:at], (own + 1) // 2], [own // 2, *rows[at + 1 :]]


def score_quantile(counts: Sequence[int], fraction: Fraction) -> list[int]:
    """Score of every position, whole numbers of 0 or less (see the module's text).

    Args:
        counts: rows that fall on each position.
    """
    part, whole = fraction
    at_most = list(itertools.accumulate(counts))
    n = at_most[-1] if at_most else 0
    return [-abs((whole - part) * (upto - own) - part * (n - upto)) for own, upto in zip(counts, at_most, strict=True)]


def bound_score(fraction: Fraction) -> int:
    """How far one row more moves a score."""
    return max(fraction[0], fraction[1] - fraction[0])


def _search(rows: Sequence[int], within: tuple[Ratio, Ratio], wanted: Sequence[Ratio], choose: Choose) -> list[int]:
    """Positions for the wanted fractions of all rows; ``rows`` are those between two of them, ``within``."""
    if not wanted:
        return []
    low, high = within
    middle = len(wanted) // 2
    share = (wanted[middle] - low) / (high - low)
    fraction = (share.numerator, share.denominator)
    at = choose(score_quantile(rows, fraction), bound_score(fraction))
    below, above = divide_rows(rows, at)
    left = _search(below, (low, wanted[middle]), wanted[:middle], choose)
    right = _search(above, (wanted[middle], high), wanted[middle + 1 :], choose)
    return [*left, at, *(at + position for position in right)]
