"""What a fast sequence tagger says beside the rules, and how much of it counts.

Knows: tags (range, label, probability), the ``[tagger]`` table of a category file, and how a tag and a rule's
confidence become one confidence. Must not know: which tagger, where it runs, any single category.
Reference: logistic opinion pool of two judges (R. T. Clemen and R. L. Winkler, "Combining probability distributions
from experts in risk analysis", Risk Analysis 19, 1999).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

from ppsehr_spark.domain.notes import Span
from ppsehr_spark.errors import ConfigurationError

#: Probabilities are held off 0 and 1 by this much, so that no single judge is ever certain.
_EDGE = 1e-3
_EVEN = 0.5
#: A reading less likely than this is not heard (most are), and the weights of the category files were fitted so.
LEAST_HEARD = 0.3
_SAID = {"str": "str", "int": "int", "float": "float", "tuple[str, ...]": "list"}


@dataclass(frozen=True, slots=True)
class Tag:
    """A labelled range ``[start, end)`` of the text that was tagged, with its posterior probability (0-1)."""

    start: int
    end: int
    label: str
    probability: float


class Tagger(Protocol):
    """A sequence tagger; what it says of a text depends on nothing but the text."""

    def prepare(self, texts: Iterable[str]) -> None:
        """Read texts that will be tagged soon, all at once where that is faster."""
        ...

    def tag(self, text: str) -> Sequence[Tag]:
        """Possible entities of a text of any length, overlapping readings included, sorted by start."""
        ...


@dataclass(frozen=True, slots=True)
class HeardTag:
    """A tag as a span of the original text, as the grammar of its category reads it.

    Attributes:
        span: ``confidence`` is the tagger's probability.
        form: log-odds of the range's own form and edges, 0 where no grammar looked.
    """

    span: Span
    form: float = 0.0


@dataclass(frozen=True)
class TagWeights:
    """The ``[tagger]`` table of a category file.

    Attributes:
        label: the tagger's label for this category (``NAME``).
        max_chars: a longer tag is no name of this kind.
        alone_intercept, alone_tag, alone_form: log-odds of a range that the tagger alone proposes:
            ``alone_intercept + alone_tag * logit(probability) + alone_form * form``.
        intercept, rule, tag: log-odds of a range that a rule proposes too:
            ``intercept + rule * logit(confidence) + tag * logit(probability)``; a probability below one half
            adds nothing.
        clash: taken off, times its logit, where the tagger is surer of another range that overlaps.
        silent: taken off where a rule of ``prose`` proposes what the tagger does not think the likeliest reading.
        prose: rules that read running text, where the tagger is at home and its silence counts.
        keep_from: a rule at least this sure stays as it is, whatever the tagger says.
    """

    label: str
    max_chars: int
    alone_intercept: float
    alone_tag: float
    alone_form: float
    intercept: float
    rule: float
    tag: float
    clash: float
    silent: float
    prose: tuple[str, ...]
    keep_from: float


def read_weights(raw: Mapping[str, Any], *, file: str) -> TagWeights | None:
    """The weights of a ``[tagger]`` table, ``None`` for an empty one.

    Raises:
        ConfigurationError: ``CATEGORY_FILE`` with file and key for a missing, unknown or mistyped key.
    """
    if not raw:
        return None
    kinds = {field.name: str(field.type) for field in fields(TagWeights)}
    for key in (*sorted(set(raw) - set(kinds)), *sorted(set(kinds) - set(raw))):
        raise ConfigurationError(
            "CATEGORY_FILE", file=file, key=f"tagger.{key}", hint="[tagger] names all of its keys and no other"
        )
    values: dict[str, Any] = {}
    for key, kind in kinds.items():
        value = raw[key]
        if not _is_of_kind(value, kind):
            raise ConfigurationError("CATEGORY_FILE", file=file, key=f"tagger.{key}", hint=f"must be {_SAID[kind]}")
        values[key] = float(value) if kind == "float" else tuple(value) if isinstance(value, list) else value
    return TagWeights(**values)


def _is_of_kind(value: object, kind: str) -> bool:
    if kind == "str":
        return isinstance(value, str)
    if kind == "tuple[str, ...]":
        return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)
    return isinstance(value, int | float) and not isinstance(value, bool)


def weigh_tags(spans: Iterable[Span], tags: Iterable[HeardTag], *, weights: TagWeights) -> list[Span]:
    """One confidence for every range that rules, the tagger or both propose.

    Args:
        spans: what the rules propose for one category, overlaps allowed.
        tags: the tagger's ranges.
        weights: of the category.

    Returns:
        The rules' spans with their new confidence (source ``rule+tagger`` where both saw the range), and the
        tagger's other ranges (source ``tagger``) that overlap no sure rule.
    """
    heard: dict[tuple[int, int], HeardTag] = {}
    for tag in sorted(tags, key=lambda tag: tag.span.confidence):
        heard[tag.span.start, tag.span.end] = tag
    rivals = _Ranges(tag.span for tag in heard.values() if tag.span.confidence > _EVEN)
    weighed = [_weigh_rule(span, heard.get((span.start, span.end)), rivals, weights) for span in spans]
    proposed = {(span.start, span.end) for span in weighed}
    sure = _Ranges(span for span in weighed if span.confidence >= weights.keep_from)
    alone = (tag for place, tag in heard.items() if place not in proposed)
    return weighed + [_weigh_alone(tag, weights) for tag in alone if not sure.over(tag.span)]


class _Ranges:
    """Spans of bounded length, asked for those that overlap a given one."""

    def __init__(self, spans: Iterable[Span]) -> None:
        self._spans = sorted(spans, key=lambda span: span.start)
        self._starts = [span.start for span in self._spans]
        self._longest = max((span.end - span.start for span in self._spans), default=0)

    def over(self, span: Span) -> list[Span]:
        """Those that share a character with ``span``."""
        first = bisect_left(self._starts, span.start - self._longest)
        last = bisect_left(self._starts, span.end)
        return [other for other in self._spans[first:last] if other.overlaps(span)]


def _weigh_rule(span: Span, tag: HeardTag | None, rivals: _Ranges, weights: TagWeights) -> Span:
    if span.confidence >= weights.keep_from:
        return span if tag is None else replace(span, source="rule+tagger")
    probability = 0.0 if tag is None else tag.span.confidence
    odds = weights.intercept + weights.rule * _logit(span.confidence) + weights.tag * _logit(max(probability, _EVEN))
    if probability <= _EVEN:
        rival = max((other.confidence for other in rivals.over(span)), default=_EVEN)
        odds -= weights.clash * _logit(rival) + weights.silent * (span.rule in weights.prose)
    return replace(span, confidence=_squash(odds), source="rule" if tag is None else "rule+tagger")


def _weigh_alone(tag: HeardTag, weights: TagWeights) -> Span:
    odds = weights.alone_intercept + weights.alone_tag * _logit(tag.span.confidence) + weights.alone_form * tag.form
    return replace(tag.span, confidence=_squash(odds), source="tagger")


def _logit(probability: float) -> float:
    held = min(max(probability, _EDGE), 1 - _EDGE)
    return math.log(held / (1 - held))


def _squash(log_odds: float) -> float:
    """The logistic function, rounded so that equal inputs give equal bytes on every machine."""
    return round(1 / (1 + math.exp(-max(-30.0, min(30.0, log_odds)))), 4)
