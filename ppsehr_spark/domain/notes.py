"""The three values everything else is a function of: Note, Span, Annotation.

Knows: offsets are half-open code points of the ORIGINAL text (annotation guideline v1, "Spans").
Must not know: engines, tables, files.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field, fields


@dataclass(frozen=True, slots=True)
class Note:
    """One clinical note and the context that rules and models may look at.

    Attributes:
        note_key: opaque key; never a source id.
        text: the original text, any length.
        note_type: form of the note in Chinese (``入院记录``), ``""`` when unknown.
        sex: ``M``, ``F`` or ``""``.
        age_years: age at the note, whole years, ``None`` when unknown.
    """

    note_key: str
    text: str
    note_type: str = ""
    sex: str = ""
    age_years: int | None = None


@dataclass(frozen=True, slots=True, init=False)
class Span:
    """A sensitive mention ``[start, end)`` in code points of the original text.

    Attributes:
        start: first code point, >= 0.
        end: one past the last code point, > start.
        category: category id (``NAME`` ...), see ``conf/categories``.
        tier: 1 low, 2 medium, 3 high for tiered categories, ``None`` otherwise.
        source: who said so: ``rule``, ``tagger``, ``qwen``, several joined by ``+``, ``person`` or ``gold``.
        confidence: [0, 1]; the category file says from where on a span counts.
        rule: id of the recogniser, pattern or prompt that found it (``NAME.title``).
        tier_rule: id of the tier rule that decided (``STD.3.confirmed``).
    """

    start: int
    end: int
    category: str
    tier: int | None = None
    source: str = "rule"
    confidence: float = 1.0
    rule: str = ""
    tier_rule: str = ""

    def __init__(
        self,
        start: int,
        end: int,
        category: str,
        tier: int | None = None,
        source: str = "rule",
        confidence: float = 1.0,
        rule: str = "",
        tier_rule: str = "",
    ) -> None:
        # Every note has dozens: through the setters of the slots one takes less than half the time of a generated
        # ``__init__``, which looks ``object.__setattr__`` up for each attribute.
        _set_start(self, start)
        _set_end(self, end)
        _set_category(self, category)
        _set_tier(self, tier)
        _set_source(self, source)
        _set_confidence(self, confidence)
        _set_rule(self, rule)
        _set_tier_rule(self, tier_rule)

    def overlaps(self, other: Span) -> bool:
        """True when the two half-open ranges share at least one code point."""
        return self.start < other.end and other.start < self.end

    def with_tier(self, tier: int | None, tier_rule: str) -> Span:
        """The same mention with another tier; ``dataclasses.replace`` would take several times as long."""
        return Span(self.start, self.end, self.category, tier, self.source, self.confidence, self.rule, tier_rule)

    def moved(self, start: int, end: int) -> Span:
        """The same mention at another place."""
        return Span(start, end, self.category, self.tier, self.source, self.confidence, self.rule, self.tier_rule)


(
    _set_start,
    _set_end,
    _set_category,
    _set_tier,
    _set_source,
    _set_confidence,
    _set_rule,
    _set_tier_rule,
) = (vars(Span)[attribute.name].__set__ for attribute in fields(Span))


@dataclass(frozen=True, slots=True)
class Annotation:
    """All spans of one note with the versions that produced them.

    Attributes:
        note_key: key of the note.
        spans: sorted by start; final annotations never overlap.
        knowledge_version: hash of categories, lexicons, rules and tiers.
    """

    note_key: str
    spans: tuple[Span, ...] = field(default_factory=tuple)
    knowledge_version: str = ""


def resolve_overlaps(spans: Iterable[Span], priority: dict[str, int]) -> tuple[Span, ...]:
    """Keep a non-overlapping subset: category priority, then confidence, then length, then position.

    HOSPITAL beats ADDRESS and ID beats CONTACT because their files give them the higher ``priority``
    (annotation guideline v1). Spans of one category that overlap keep the more confident, then longer one.

    Args:
        spans: any order, any overlap.
        priority: category id -> rank, higher wins; unknown categories rank 0.

    Returns:
        The survivors sorted by start.
    """
    in_order = sorted(spans, key=lambda s: s.start)
    if _are_apart(in_order):
        return tuple(in_order)
    ranked = sorted(
        in_order,
        key=lambda s: (-priority.get(s.category, 0), -s.confidence, -(s.end - s.start), s.start, s.category),
    )
    kept: list[Span] = []
    for span in ranked:
        at = bisect_left(kept, span.start, key=lambda k: k.start)
        is_free = (at == 0 or kept[at - 1].end <= span.start) and (at == len(kept) or span.end <= kept[at].start)
        if span.end > span.start and is_free:
            kept.insert(at, span)
    return tuple(kept)


def _are_apart(spans: Iterable[Span]) -> bool:
    """True for spans in order of which none is empty and none overlaps the next, as most are."""
    end = 0
    for span in spans:
        if span.start < end or span.end <= span.start:
            return False
        end = span.end
    return True
