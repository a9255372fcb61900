"""Rewrites the spans of one note under one policy and proves that no direct identifier survived.

Knows: regions, offsets, and the guard against originals that reappear in or around a replacement. Must not know: how
an operator works. Text outside the spans is never touched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from ppsehr_spark.domain.notes import Note, Span
from ppsehr_spark.domain.protection.fiction import load_fiction
from ppsehr_spark.domain.protection.guard import find_collisions
from ppsehr_spark.domain.protection.operators import Mention, Toolbox, apply_operation
from ppsehr_spark.domain.protection.policy import Operation, Policy, check_fallbacks, load_policies
from ppsehr_spark.domain.protection.regions import Region, build_regions
from ppsehr_spark.domain.taxonomy import Category, ConfFiles, load_categories
from ppsehr_spark.errors import UsageError

_UNKNOWN_LABEL = "敏感信息"
_N_DRAWS = 4
_FIRST_NEUTRAL_MARK = 0x25A0


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
        regions = build_regions(note.text, spans, policy=self.policy, categories=self.categories)
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
        written, places = _assemble(text, regions, pieces)
        colliding, n_residual = find_collisions(written, places, regions=regions, values=values)
        if not colliding:
            n_changed = sum(region.operation.operator != "keep" for region in regions)
            return Protected(written, n_changed, tuple(places), n_residual)
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
        text[region.span.start : region.span.end],
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


def _assemble(text: str, regions: Sequence[Region], pieces: Sequence[str]) -> tuple[str, list[Span]]:
    """The protected text and where each region lies in it."""
    parts: list[str] = []
    spans: list[Span] = []
    read_to = written = 0
    for region, piece in zip(regions, pieces, strict=True):
        between = text[read_to : region.span.start]
        start = written + len(between)
        parts += (between, piece)
        spans.append(region.span.moved(start, start + len(piece)))
        read_to, written = region.span.end, start + len(piece)
    parts.append(text[read_to:])
    return "".join(parts), spans
