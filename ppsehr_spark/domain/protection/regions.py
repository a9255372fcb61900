"""Which runs of a note are rewritten, by which operation, and which values must not come back.

Knows: overlaps between spans, direct identifiers. Must not know: how an operation rewrites.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, final

from ppsehr_spark.domain.notes import Span
from ppsehr_spark.domain.protection.policy import Operation, Policy, choose_operation
from ppsehr_spark.domain.taxonomy import Category, category_priority
from ppsehr_spark.errors import InputError

#: A single character (a surname) occurs in ordinary words; only longer values are looked for again.
_MIN_GUARDED_CHARS = 2
_HIGHEST_TIER = 3


@final
class Region:
    """A run of text that one operation rewrites; no dataclass, for a note has many and those take longer to make.

    Attributes:
        span: where it lies in the original; overlapping input spans are one region.
        operation: what happens to it.
        guarded: values that must not reappear; empty for what is no direct identifier.
    """

    def __init__(self, span: Span, operation: Operation, guarded: tuple[str, ...]) -> None:
        self.span: Final = span
        self.operation: Final = operation
        self.guarded: Final = guarded


def build_regions(
    text: str, spans: Sequence[Span], *, policy: Policy, categories: Mapping[str, Category]
) -> list[Region]:
    """Regions sorted by start; overlapping spans merge into one that gets a placeholder, or ``redact`` if any asks it.

    Raises:
        InputError: ``SPAN_RANGE`` or ``SPAN_EMPTY`` with the ordinal of the span.
    """
    for ordinal, span in enumerate(spans):
        if not 0 <= span.start <= span.end <= len(text):
            raise InputError("SPAN_RANGE", span=ordinal, n_chars=len(text))
        if span.start == span.end:
            raise InputError("SPAN_EMPTY", span=ordinal)
    groups = _group_overlapping(sorted(spans, key=lambda s: (s.start, s.end)))
    return [_build_region(text, group, policy, categories) for group in groups]


def _group_overlapping(spans: Sequence[Span]) -> list[list[Span]]:
    groups: list[list[Span]] = []
    end = -1
    for span in spans:
        if groups and span.start < end:
            groups[-1].append(span)
        else:
            groups.append([span])
        end = max(end, span.end) if len(groups[-1]) > 1 else span.end
    return groups


def _build_region(text: str, group: Sequence[Span], policy: Policy, categories: Mapping[str, Category]) -> Region:
    if len(group) == 1:
        return _build_single(text, group[0], policy, categories)
    operations = [
        choose_operation(policy, category_id=s.category, category=categories.get(s.category), tier=s.tier)
        for s in group
    ]
    guarded = tuple(
        text[span.start : span.end]
        for span, operation in zip(group, operations, strict=True)
        if _is_guarded(categories.get(span.category), span, operation)
    )
    if len({(s.start, s.end, s.category, s.tier) for s in group}) == 1:
        return Region(group[0], operations[0], guarded)
    priority = category_priority(categories)
    best = max(group, key=lambda s: (priority.get(s.category, 0), s.confidence))
    is_hidden = any(operation.operator == "redact" for operation in operations)
    merged = best.moved(min(s.start for s in group), max(s.end for s in group))
    return Region(merged, Operation("redact" if is_hidden else "placeholder"), guarded)


def _build_single(text: str, span: Span, policy: Policy, categories: Mapping[str, Category]) -> Region:
    category = categories.get(span.category)
    operation = choose_operation(policy, category_id=span.category, category=category, tier=span.tier)
    is_guarded = _is_guarded(category, span, operation)
    return Region(span, operation, (text[span.start : span.end],) if is_guarded else ())


def _is_guarded(category: Category | None, span: Span, operation: Operation) -> bool:
    """Direct identifiers that are not kept; of a tiered category (ADDRESS) tier 3 or no tier only."""
    if operation.operator == "keep" or span.end - span.start < _MIN_GUARDED_CHARS:
        return False
    if category is None:
        return True
    return category.is_direct_identifier and (not category.is_tiered or span.tier in (None, _HIGHEST_TIER))
