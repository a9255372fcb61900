"""Recognisers a clinician writes in a category file: ``[[pattern]]`` and ``[[lexicon]]``.

Knows: the keys of both tables. Must not know: any category. Shape follows small documented rules with
context and checksum, each decision carrying its rule id (guideline of the house: design.md, "recognisers").

Keys of ``[[pattern]]``: id, regex (group ``span`` marks the span), confidence; optional ``context`` (words),
``window`` (characters before the match, default 12), ``context_confidence`` (with a context word),
``not_context`` (words before the match that forbid it), ``validator`` (name in ``validators``),
``validated_confidence`` (when the validator holds), ``is_validator_required``, ``needs`` (one of these words
must occur in the text), ``min_digits`` (the text must hold a number of so many digits that is no plain date) and
``min_word`` (a run of so many letters, digits or underscores): these only save time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ppsehr_spark.domain.first_characters import GuardedPattern
from ppsehr_spark.domain.notes import Note, Span
from ppsehr_spark.domain.offsets import NormalisedText, normalise_pattern, normalise_term
from ppsehr_spark.domain.rules.grammars import GrammarContext
from ppsehr_spark.domain.rules.terms import TermRegistry
from ppsehr_spark.domain.rules.validators import VALIDATORS
from ppsehr_spark.errors import ConfigurationError

#: Characters around a number of ``min_digits`` in which its pattern is looked for (label, country code, extension).
_BEFORE_NUMBER = 48
_AFTER_NUMBER = 32
#: The list of the words that patterns need.
_NEEDED = "pattern.needs"
_PATTERN_KEYS = {
    "id", "regex", "confidence", "context", "window", "context_confidence", "not_context", "validator",
    "validated_confidence", "is_validator_required", "needs", "min_digits", "min_word",
}  # fmt: skip


@dataclass(frozen=True)
class PatternRecogniser:
    """One compiled ``[[pattern]]``; see the module docstring for its keys."""

    category: str
    rule: str
    regex: GuardedPattern
    group: str | int
    confidence: float
    window: int
    context: re.Pattern[str] | None
    context_confidence: float
    not_context: re.Pattern[str] | None
    validate: Callable[[str], bool] | None
    validated_confidence: float
    is_validator_required: bool
    needs: tuple[str, ...]
    min_digits: int
    word: re.Pattern[str] | None

    def find(self, text: NormalisedText, regions: Sequence[tuple[int, int]]) -> list[Span]:
        """Every match inside the regions that context and validator allow."""
        found = []
        for first, last in regions:
            for match in self.regex.find_all(text.text, first, last):
                start, end = match.span(self.group)
                confidence = self._rate(text.text, start, end)
                if confidence > 0 and end > start:
                    found.append(text.span(start, end, self.category, confidence=confidence, rule=self.rule))
        return found

    def _rate(self, text: str, start: int, end: int) -> float:
        before = text[max(0, start - self.window) : start]
        if self.not_context and self.not_context.search(before):
            return 0.0
        is_valid = self.validate is not None and self.validate(text[start:end])
        if self.is_validator_required and not is_valid:
            return 0.0
        confidence = self.validated_confidence if is_valid else self.confidence
        has_context = self.context is not None and self.context.search(before) is not None
        return max(confidence, self.context_confidence) if has_context else confidence


class PatternSet:
    """The patterns of one category; asks only those that the numbers and the words of a text admit.

    The words of ``needs`` are terms of the one automaton, so that a text is not searched for each of them.
    """

    def __init__(self, patterns: Sequence[PatternRecogniser], *, terms: TermRegistry) -> None:
        self._patterns = tuple(patterns)
        most = max((pattern.min_digits for pattern in patterns), default=0)
        numbered = list(enumerate(patterns))
        self._unconditional = [[i for i, p in numbered if p.min_digits <= n and not p.needs] for n in range(most + 1)]
        words = {word for pattern in patterns for word in pattern.needs}
        self._asking = {word: tuple(i for i, p in numbered if word in p.needs) for word in words}
        terms.add(_NEEDED, words)

    def find(self, text: NormalisedText, note: Note) -> list[Span]:
        """The matches of all patterns, pattern by pattern."""
        n_digits = text.longest_number
        regions: dict[int, list[tuple[int, int]]] = {}
        found: list[Span] = []
        for at in self._find_admitted(text, n_digits):
            pattern = self._patterns[at]
            least = pattern.min_digits
            if least <= n_digits and (pattern.word is None or pattern.word.search(text.text)):
                if least not in regions:
                    regions[least] = list(_find_regions(text, least))
                found += pattern.find(text, regions[least])
        return found

    def _find_admitted(self, text: NormalisedText, n_digits: int) -> Sequence[int]:
        """Patterns without a condition and those that a word of the text admits, in order of the file."""
        free = self._unconditional[min(n_digits, len(self._unconditional) - 1)]
        asking = self._asking
        asked = {at for hit in text.hits.get(_NEEDED, ()) for at in asking.get(hit.value, ())} if asking else ()
        return sorted(asked.union(free)) if asked else free


@dataclass(frozen=True)
class LexiconRecogniser:
    """One compiled ``[[lexicon]]``: the longest term at a place wins."""

    category: str
    rule: str
    list_name: str
    confidence: float

    def find(self, text: NormalisedText, note: Note) -> Iterator[Span]:
        """Terms of the list, longest first where they overlap."""
        free_until = -1
        for hit in sorted(text.hits.get(self.list_name, ()), key=lambda h: (h.start, -h.end)):
            if hit.start >= free_until:
                free_until = hit.end
                yield text.span(hit.start, hit.end, self.category, confidence=self.confidence, rule=self.rule)


def _find_regions(text: NormalisedText, least: int) -> Iterator[tuple[int, int]]:
    """Where a match of a pattern that asks for a number of ``least`` digits can stand: around those; else all over."""
    if not least:
        yield 0, len(text.text)
        return
    first = last = 0
    for start, end, digits in text.numbers:
        if digits < least:
            continue
        if start - _BEFORE_NUMBER > last:
            if last:
                yield first, last
            first = start - _BEFORE_NUMBER
        last = min(end + _AFTER_NUMBER, len(text.text))
    if last:
        yield first, last


def compile_pattern(raw: Mapping[str, Any], *, category: str) -> PatternRecogniser:
    """Compile one ``[[pattern]]``.

    Raises:
        ConfigurationError: ``CATEGORY_PATTERN`` with file and pattern id for an unknown key, a regex that does not
            compile, or an unknown validator.
    """
    where = {"file": f"categories/{category}.toml", "pattern": raw.get("id", "")}
    unknown = sorted(set(raw) - _PATTERN_KEYS)
    if unknown or not {"id", "regex", "confidence"} <= set(raw):
        raise ConfigurationError("CATEGORY_PATTERN", key=",".join(unknown), hint="unknown or missing key", **where)
    validator = raw.get("validator")
    if validator is not None and validator not in VALIDATORS:
        raise ConfigurationError("CATEGORY_PATTERN", hint=f"validator is one of {', '.join(VALIDATORS)}", **where)
    try:
        regex = re.compile(normalise_pattern(raw["regex"]))
    except re.error as error:
        raise ConfigurationError("CATEGORY_PATTERN", hint=f"regex: {error}", **where) from None
    confidence = float(raw["confidence"])
    return PatternRecogniser(
        category=category, rule=f"{category}.{raw['id']}", regex=GuardedPattern(regex),
        group="span" if "span" in regex.groupindex else 0, confidence=confidence, window=int(raw.get("window", 12)),
        context=_compile_words(raw.get("context")), not_context=_compile_words(raw.get("not_context")),
        context_confidence=float(raw.get("context_confidence", confidence)),
        validate=VALIDATORS[validator] if validator else None,
        validated_confidence=float(raw.get("validated_confidence", confidence)),
        is_validator_required=bool(raw.get("is_validator_required", False)),
        needs=tuple(normalise_term(word) for word in raw.get("needs", ())), min_digits=int(raw.get("min_digits", 0)),
        word=re.compile(rf"[A-Za-z0-9_]{{{int(raw['min_word'])}}}") if "min_word" in raw else None,
    )  # fmt: skip


def compile_lexicon(raw: Mapping[str, Any], *, context: GrammarContext) -> LexiconRecogniser:
    """Compile one ``[[lexicon]]`` and register its terms.

    Raises:
        ConfigurationError: ``CATEGORY_LEXICON`` for a missing key, ``LEXICON_FILE`` for a missing file.
    """
    category = context.category.id
    if not {"id", "file", "confidence"} <= set(raw):
        raise ConfigurationError(
            "CATEGORY_LEXICON", file=f"categories/{category}.toml", hint="needs id, file, confidence"
        )
    list_name = f"{category}.{raw['id']}"
    context.terms.add(list_name, (row[0] for row in context.lexicon(raw["file"])))
    return LexiconRecogniser(category, list_name, list_name, float(raw["confidence"]))


def _compile_words(words: list[str] | None) -> re.Pattern[str] | None:
    return re.compile("|".join(re.escape(normalise_term(w)) for w in words), re.IGNORECASE) if words else None
