"""What a fast sequence tagger says beside the rules, and how much of it counts.

Knows: tags (range, label, probability), the ``[tagger]`` table of a category file, and how a tag and a rule's
confidence become one confidence. Must not know: which tagger, where it runs, any single category.
Reference: logistic opinion pool of two judges (R. T. Clemen and R. L. Winkler, "Combining probability distributions
from experts in risk analysis", Risk Analysis 19, 1999).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

from ppsehr_spark.domain.notes import Span
from ppsehr_spark.errors import ConfigurationError

#: Probabilities are held off 0 and 1 by this much, so that no single judge is ever certain.
_EDGE = 1e-3


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


@dataclass(frozen=True)
class TagWeights:
    """The ``[tagger]`` table of a category file.

    Attributes:
        label: the tagger's label for this category (``PER``).
        max_chars: a longer tag is no name of this kind.
        alone_intercept, alone_tag: log-odds of a range that the tagger alone proposes:
            ``alone_intercept + alone_tag * logit(probability)``.
        intercept, rule, tag: log-odds of a range that a rule proposes too:
            ``intercept + rule * logit(confidence) + tag * logit(probability)``.
        unseen: probability assumed where a rule proposes and the tagger does not.
        keep_from: a rule at least this sure stays as it is, whatever the tagger says.
    """

    label: str
    max_chars: int
    alone_intercept: float
    alone_tag: float
    intercept: float
    rule: float
    tag: float
    unseen: float
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
        is_right = isinstance(value, str) if kind == "str" else isinstance(value, int | float)
        if not is_right or isinstance(value, bool):
            raise ConfigurationError("CATEGORY_FILE", file=file, key=f"tagger.{key}", hint=f"must be {kind}")
        values[key] = float(value) if kind == "float" else value
    return TagWeights(**values)


def weigh_tags(spans: Iterable[Span], tags: Iterable[Span], *, weights: TagWeights) -> list[Span]:
    """One confidence for every range that rules, the tagger or both propose.

    Args:
        spans: what the rules propose for one category, overlaps allowed.
        tags: the tagger's ranges as spans of the same category; ``confidence`` is the posterior probability.
        weights: of the category.

    Returns:
        The rules' spans with their new confidence (source ``rule+tagger`` where both saw the range), and the
        tagger's other ranges (source ``tagger``).
    """
    heard = {(tag.start, tag.end): tag for tag in tags}
    weighed = [_weigh_rule(span, heard.get((span.start, span.end)), weights) for span in spans]
    proposed = {(span.start, span.end) for span in weighed}
    alone = [_weigh_alone(tag, weights) for place, tag in heard.items() if place not in proposed]
    return weighed + alone


def _weigh_rule(span: Span, tag: Span | None, weights: TagWeights) -> Span:
    if span.confidence >= weights.keep_from:
        return span if tag is None else replace(span, source="rule+tagger")
    probability = weights.unseen if tag is None else tag.confidence
    odds = weights.intercept + weights.rule * _logit(span.confidence) + weights.tag * _logit(probability)
    return replace(span, confidence=_squash(odds), source="rule" if tag is None else "rule+tagger")


def _weigh_alone(tag: Span, weights: TagWeights) -> Span:
    odds = weights.alone_intercept + weights.alone_tag * _logit(tag.confidence)
    return replace(tag, confidence=_squash(odds), source="tagger")


def _logit(probability: float) -> float:
    held = min(max(probability, _EDGE), 1 - _EDGE)
    return math.log(held / (1 - held))


def _squash(log_odds: float) -> float:
    """The logistic function, rounded so that equal inputs give equal bytes on every machine."""
    return round(1 / (1 + math.exp(-max(-30.0, min(30.0, log_odds)))), 4)
