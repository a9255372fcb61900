"""Rewrites the spans of one note under one policy and proves that no direct identifier survived.

Knows: regions, offsets, and the guard against originals that reappear in or around a replacement. Must not know: how
an operator works. Text outside the spans is never touched.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count

from daachorse import CharwiseDoubleArrayAhoCorasick

from ppsehr_spark.domain.notes import Note, Span
from ppsehr_spark.domain.protection.fiction import load_fiction
from ppsehr_spark.domain.protection.operators import Mention, Toolbox, apply_operation
from ppsehr_spark.domain.protection.policy import Operation, Policy, check_fallbacks, choose_operation, load_policies
from ppsehr_spark.domain.taxonomy import Category, ConfFiles, category_priority, load_categories
from ppsehr_spark.errors import InputError, UsageError

_UNKNOWN_LABEL = "敏感信息"
_N_DRAWS = 4
_MIN_GUARDED_CHARS = 2
_MAX_PLAIN_SEARCHES = 64
_FIRST_NEUTRAL_MARK = 0x25A0
_HIGHEST_TIER = 3


@dataclass(frozen=True, slots=True)
class Protected:
    """A protected note.

    Attributes:
        text: the protected text.
        n_spans: regions that were changed (kept ones do not count).
        spans: all regions with offsets in ``text``.
        n_residual: mentions of a protected direct identifier that stand in the text outside every span; the
            annotator missed them.
    """

    text: str
    n_spans: int
    spans: tuple[Span, ...]
    n_residual: int = 0


@dataclass(frozen=True, slots=True)
class Region:
    """A run of text that one operation rewrites.

    Attributes:
        span: where it lies in the original; overlapping input spans are one region.
        operation: what happens to it.
        guarded: values that must not reappear; empty for what is no direct identifier.
    """

    span: Span
    operation: Operation
    guarded: tuple[str, ...]


@dataclass(frozen=True)
class Protector:
    """A compiled policy; ``protect`` is a pure function of its arguments.

    Attributes:
        policy: the policy in force.
        categories: every category file, switched off or not.
        tools: word lists and key.
    """

    policy: Policy
    categories: Mapping[str, Category]
    tools: Toolbox

    def protect(self, note: Note, spans: Sequence[Span], patient_key: str) -> Protected:
        """Rewrite ``spans`` of ``note``.

        Args:
            note: the note; only its text is read.
            spans: any order; overlapping ones are merged and get a placeholder.
            patient_key: scope of consistency: equal values become equal surrogates within it.

        Raises:
            InputError: ``SPAN_RANGE`` or ``SPAN_EMPTY`` with the ordinal of the span; never its content.
        """
        regions = _build_regions(self, note.text, spans)
        return _render_clean(self, note.text, regions, patient_key)


def compile_protector(files: ConfFiles, policy: str, hmac_key: bytes) -> Protector:
    """Read policy, categories and word lists once for many notes.

    Raises:
        UsageError: ``UNKNOWN_POLICY``.
        ConfigurationError: a conf file is wrong.
    """
    policies = load_policies(files)
    if policy not in policies:
        raise UsageError("UNKNOWN_POLICY", policy=policy, hint=f"one of {', '.join(policies)}")
    categories = load_categories(files)
    check_fallbacks(categories)
    return Protector(policies[policy], categories, Toolbox(load_fiction(files), hmac_key))


def _build_regions(protector: Protector, text: str, spans: Sequence[Span]) -> list[Region]:
    for ordinal, span in enumerate(spans):
        if not 0 <= span.start <= span.end <= len(text):
            raise InputError("SPAN_RANGE", span=ordinal, n_chars=len(text))
        if span.start == span.end:
            raise InputError("SPAN_EMPTY", span=ordinal)
    groups = _group_overlapping(sorted(spans, key=lambda s: (s.start, s.end)))
    return [_build_region(protector, text, group) for group in groups]


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


def _build_region(protector: Protector, text: str, group: Sequence[Span]) -> Region:
    operations = [_choose(protector, span) for span in group]
    guarded = tuple(
        text[span.start : span.end]
        for span, operation in zip(group, operations, strict=True)
        if _is_guarded(protector.categories.get(span.category), span, operation)
    )
    if len(group) == 1 or len({(s.start, s.end, s.category, s.tier) for s in group}) == 1:
        return Region(group[0], operations[0], guarded)
    priority = category_priority(protector.categories)
    best = max(group, key=lambda s: (priority.get(s.category, 0), s.confidence))
    is_hidden = any(operation.operator == "redact" for operation in operations)
    merged = replace(best, start=min(s.start for s in group), end=max(s.end for s in group))
    return Region(merged, Operation("redact" if is_hidden else "placeholder"), guarded)


def _choose(protector: Protector, span: Span) -> Operation:
    category = protector.categories.get(span.category)
    return choose_operation(protector.policy, category_id=span.category, category=category, tier=span.tier)


def _is_guarded(category: Category | None, span: Span, operation: Operation) -> bool:
    """Direct identifiers that are not kept; of a tiered category (ADDRESS) tier 3 or no tier only."""
    if operation.operator == "keep" or span.end - span.start < _MIN_GUARDED_CHARS:
        return False
    if category is None:
        return True
    return category.is_direct_identifier and (not category.is_tiered or span.tier in (None, _HIGHEST_TIER))


def _render_clean(protector: Protector, text: str, regions: Sequence[Region], patient_key: str) -> Protected:
    """Render, look for originals that touch a replacement, and draw those regions again until none is left.

    Ends: after ``_N_DRAWS`` draws a region gets its placeholder, then a mark made of a character that no guarded value
    contains, which cannot collide.
    """
    values = frozenset(value for region in regions for value in region.guarded)
    attempts = [0] * len(regions)
    while True:
        pieces = [
            _rewrite(protector, text, region, patient_key, attempt, values)
            for region, attempt in zip(regions, attempts, strict=True)
        ]
        protected = _assemble(text, regions, pieces)
        colliding, n_residual = _find_collisions(protected, regions, values)
        if not colliding:
            return replace(protected, n_residual=n_residual)
        for at in colliding:
            attempts[at] += 1


def _rewrite(
    protector: Protector, text: str, region: Region, patient_key: str, attempt: int, values: frozenset[str]
) -> str:
    if attempt > _N_DRAWS:
        return _neutral_mark(values)
    operation = region.operation if attempt < _N_DRAWS else Operation("placeholder")
    category = protector.categories.get(region.span.category)
    mention = Mention(
        value=text[region.span.start : region.span.end],
        category=region.span.category,
        label=category.name if category else _UNKNOWN_LABEL,
        operation=operation,
        patient_key=patient_key,
        attempt=attempt,
    )
    return apply_operation(mention, protector.tools)


def _neutral_mark(values: frozenset[str]) -> str:
    used = set().union(*values)
    return next(chr(code) for code in count(_FIRST_NEUTRAL_MARK) if chr(code) not in used) * 2


def _assemble(text: str, regions: Sequence[Region], pieces: Sequence[str]) -> Protected:
    parts: list[str] = []
    spans: list[Span] = []
    read_to = written = 0
    for region, piece in zip(regions, pieces, strict=True):
        between = text[read_to : region.span.start]
        start = written + len(between)
        parts += (between, piece)
        spans.append(replace(region.span, start=start, end=start + len(piece)))
        read_to, written = region.span.end, start + len(piece)
    parts.append(text[read_to:])
    n_changed = sum(region.operation.operator != "keep" for region in regions)
    return Protected("".join(parts), n_changed, tuple(spans))


def _find_collisions(protected: Protected, regions: Sequence[Region], values: frozenset[str]) -> tuple[set[int], int]:
    """Regions that an original overlaps, and how many originals stand in untouched text."""
    changed = [at for at, region in enumerate(regions) if region.operation.operator != "keep"]
    starts = [protected.spans[at].start for at in changed]
    colliding: set[int] = set()
    n_residual = 0
    for start, end in _find_values(protected.text, values):
        last = bisect_right(starts, end - 1) - 1
        if last >= 0 and protected.spans[changed[last]].end > start:
            colliding.add(changed[last])
        else:
            n_residual += 1
    return colliding, n_residual


def _find_values(text: str, values: frozenset[str]) -> Iterator[tuple[int, int]]:
    """Occurrences of any value; linear in the text (an automaton when there are many values)."""
    if len(values) > _MAX_PLAIN_SEARCHES:
        automaton = CharwiseDoubleArrayAhoCorasick(sorted(values))
        yield from ((start, end) for start, end, _ in automaton.find_overlapping_no_suffix(text))
        return
    for value in sorted(values):
        at = text.find(value)
        while at >= 0:
            yield at, at + len(value)
            at = text.find(value, at + 1)
