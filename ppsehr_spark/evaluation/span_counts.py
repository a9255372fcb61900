"""Counts per note that every figure of the annotation report is a ratio of.

Knows: strict and relaxed matching, coverage of characters (annotation guideline v1, "Scoring"). Must not know: how
counts become figures. Counts add up over notes, so a bootstrap over notes only re-weights rows.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from ppsehr_spark.domain.notes import Span

Interval = tuple[int, int]
TIERS = (1, 2, 3)
#: Categories that identify a person directly -> the tier from which they do; ``None`` stands for every tier.
DIRECT_IDENTIFIERS: Mapping[str, int | None] = {"NAME": None, "ADDRESS": 3, "CONTACT": None, "ID": None}


def count_notes(
    gold: Mapping[str, Sequence[Span]],
    predicted: Mapping[str, Sequence[Span]],
    n_chars: Mapping[str, int],
    *,
    direct: Mapping[str, int | None] = DIRECT_IDENTIFIERS,
) -> tuple[list[str], npt.NDArray[np.float64]]:
    """One row per note of ``gold``, in its order.

    Returns:
        Column names and the matrix ``(n_notes, n_columns)``. Columns: ``C.gold``, ``C.predicted``, ``C.strict``,
        ``C.relaxed_gold`` (gold spans overlapped), ``C.relaxed_predicted`` for every category C; ``C.T.gold``,
        ``C.T.predicted``, ``C.T.agreed`` per tier T over relaxed matches; ``C.under``, ``C.over``, ``C.untiered``,
        ``C.tiered``; ``notes``, ``chars``, ``gold_chars``, ``leaked_chars``, ``covered_plain_chars``,
        ``leaking_notes`` (a direct identifier is not wholly covered), ``missed_notes`` (one is wholly uncovered),
        ``clean_notes`` (without gold), ``touched_clean_notes`` (of these, with a prediction).
    """
    columns: dict[str, int] = {}
    rows: list[int] = []
    cells: list[int] = []
    values: list[int] = []
    for row, (key, spans) in enumerate(gold.items()):
        for name, value in _count_note(spans, predicted.get(key, ()), n_chars.get(key, 0), direct).items():
            rows.append(row)
            cells.append(columns.setdefault(name, len(columns)))
            values.append(value)
    matrix = np.zeros((len(gold), len(columns)))
    matrix[rows, cells] = values
    return list(columns), matrix


def _count_note(
    gold: Sequence[Span], predicted: Sequence[Span], n_chars: int, direct: Mapping[str, int | None]
) -> dict[str, int]:
    counts: dict[str, int] = {"notes": 1, "chars": n_chars}
    covered = merge_intervals((s.start, s.end) for s in predicted)
    _count_coverage(counts, gold, covered, direct)
    gold_of, predicted_of = _group(gold), _group(predicted)
    for category in gold_of.keys() | predicted_of.keys():
        _count_category(counts, category, gold_of.get(category, []), predicted_of.get(category, []))
    return counts


def _group(spans: Sequence[Span]) -> dict[str, list[Span]]:
    """Spans per category, sorted, each range once."""
    unique = {(s.category, s.start, s.end): s for s in spans if s.end > s.start}
    groups: dict[str, list[Span]] = {}
    for _, span in sorted(unique.items()):
        groups.setdefault(span.category, []).append(span)
    return groups


def _count_category(counts: dict[str, int], category: str, gold: list[Span], predicted: list[Span]) -> None:
    counts[f"{category}.gold"] = len(gold)
    counts[f"{category}.predicted"] = len(predicted)
    if not (gold and predicted):
        return
    exact = {(s.start, s.end) for s in gold} & {(s.start, s.end) for s in predicted}
    counts[f"{category}.strict"] = len(exact)
    counts[f"{category}.relaxed_gold"] = len(exact) + _count_touching(gold, predicted, exact)
    counts[f"{category}.relaxed_predicted"] = len(exact) + _count_touching(predicted, gold, exact)
    _count_tiers(counts, category, [s for s in gold if s.tier is not None], predicted)


def _count_touching(spans: list[Span], others: list[Span], exact: set[Interval]) -> int:
    """How many of ``spans`` that have no exact twin overlap any of ``others``."""
    inexact = [s for s in spans if (s.start, s.end) not in exact]
    if not inexact:
        return 0
    ranges = merge_intervals((s.start, s.end) for s in others)
    return sum(overlap_chars((s.start, s.end), ranges) > 0 for s in inexact)


def _count_tiers(counts: dict[str, int], category: str, gold: list[Span], predicted: list[Span]) -> None:
    starts = [s.start for s in predicted]
    longest = max(s.end - s.start for s in predicted)
    for span in gold:
        near = predicted[bisect_left(starts, span.start - longest) : bisect_left(starts, span.end)]
        partner = max(near, key=lambda p: min(p.end, span.end) - max(p.start, span.start), default=None)
        if partner is None or not partner.overlaps(span) or span.tier is None:
            continue
        _add(counts, f"{category}.tiered")
        _add(counts, f"{category}.{span.tier}.gold")
        if partner.tier is None:
            _add(counts, f"{category}.untiered")
            continue
        _add(counts, f"{category}.{partner.tier}.predicted")
        if partner.tier == span.tier:
            _add(counts, f"{category}.{span.tier}.agreed")
        else:
            _add(counts, f"{category}.under" if partner.tier < span.tier else f"{category}.over")


def _count_coverage(
    counts: dict[str, int], gold: Sequence[Span], covered: list[Interval], direct: Mapping[str, int | None]
) -> None:
    sensitive = merge_intervals((s.start, s.end) for s in gold)
    gold_chars = sum(end - start for start, end in sensitive)
    hidden = sum(overlap_chars(interval, covered) for interval in sensitive)
    counts["gold_chars"] = gold_chars
    counts["leaked_chars"] = gold_chars - hidden
    counts["covered_plain_chars"] = sum(end - start for start, end in covered) - hidden
    identifiers = [(span.start, span.end) for span in gold if _is_direct(span, direct)]
    hidden_chars = [overlap_chars(interval, covered) for interval in identifiers]
    is_open = [n < end - start for n, (start, end) in zip(hidden_chars, identifiers, strict=True)]
    counts["leaking_notes"] = int(any(is_open))
    counts["missed_notes"] = int(0 in hidden_chars)
    counts["clean_notes"] = int(not sensitive)
    counts["touched_clean_notes"] = int(not sensitive and bool(covered))


def _is_direct(span: Span, direct: Mapping[str, int | None]) -> bool:
    """A gold address without a tier counts as the highest."""
    if span.category not in direct:
        return False
    lowest = direct[span.category]
    return lowest is None or span.tier is None or span.tier >= lowest


def _add(counts: dict[str, int], name: str) -> None:
    counts[name] = counts.get(name, 0) + 1


def merge_intervals(intervals: Iterable[Interval]) -> list[Interval]:
    """The union as sorted disjoint intervals."""
    merged: list[Interval] = []
    for start, end in sorted(intervals):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        elif end > start:
            merged.append((start, end))
    return merged


def overlap_chars(interval: Interval, disjoint: list[Interval]) -> int:
    """Characters of ``interval`` that lie in the sorted disjoint intervals."""
    start, end = interval
    total = 0
    for at in range(max(bisect_right(disjoint, (start, -1)) - 1, 0), len(disjoint)):
        other_start, other_end = disjoint[at]
        if other_start >= end:
            break
        total += max(0, min(end, other_end) - max(start, other_start))
    return total
