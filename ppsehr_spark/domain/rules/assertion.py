"""The grammar ``clinical_assertion``: a mention with its negation, list and value as one span.

Knows: that mentions are looked for near listed words only. Must not know: any medical word; those are rows of
``lexicons/<category id in lower case>_terms.tsv``, so any category can use this grammar.
Reference: annotation guideline v1, "Spans" and "Clarifications".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ppsehr_spark.domain.notes import Note, Span
from ppsehr_spark.domain.offsets import Hit, NormalisedText
from ppsehr_spark.domain.rules.assertion_vocabulary import Vocabulary, compile_vocabulary
from ppsehr_spark.domain.rules.grammars import Grammar, GrammarContext, register_grammar

#: Characters that may stand between the start of an anchor word and a mention it announces (a label before figures).
_AFTER = 5
#: Characters that negation, modifiers and the opening of an expression may take before an anchor word.
_BEFORE = 20
_CONFIDENCE = 0.9


@dataclass(frozen=True)
class AssertionGrammar:
    """Mentions of one category; build it with ``compile_assertion_grammar``.

    Attributes:
        category: category id.
        list_name: name of the anchor list in ``NormalisedText.hits``.
        vocabulary: the compiled word list.
    """

    category: str
    list_name: str
    vocabulary: Vocabulary

    def find(self, text: NormalisedText, note: Note) -> Iterator[Span]:
        """Non-overlapping mentions in order; rule id ``<category>.assertion.<shape of the mention>``."""
        shown: dict[str, bool] = {"mask": False}
        for match in self._match_all(text):
            shape = match.lastgroup or ""
            if shape not in shown:
                condition = self.vocabulary.conditions.get(shape)
                shown[shape] = condition is None or condition.is_met(text.text)
            if shown[shape]:
                rule = f"{self.category}.assertion.{shape}"
                yield text.span(match.start(), match.end(), self.category, confidence=_CONFIDENCE, rule=rule)

    def _match_all(self, text: NormalisedText) -> Iterator[re.Match[str]]:
        """Matches that open near an anchor word (``_BEFORE``, ``_AFTER``), left to right, no overlaps."""
        free_from, plain, pairs = 0, text.text, self.vocabulary.pairs
        for first, last in _openings(text.hits.get(self.list_name, ())):
            for opening in self.vocabulary.opening.finditer(plain, first, last + 2):
                at = opening.start()
                if not free_from <= at <= last:
                    continue
                seconds = pairs.get(plain[at])
                if seconds is not None and plain[at + 1 : at + 2] not in seconds:
                    continue
                match = self.vocabulary.mention.match(plain, at)
                if match and match.end() > at:
                    free_from = match.end()
                    yield match


@register_grammar("clinical_assertion")
def compile_assertion_grammar(context: GrammarContext) -> Grammar:
    """Compile the word list of the context's category and register its anchors.

    Raises:
        ConfigurationError: ``LEXICON_FILE`` when the list is missing, ``ASSERTION_TERMS`` when a row is wrong.
    """
    category = context.category.id
    file = f"lexicons/{category.lower()}_terms.tsv"
    vocabulary = compile_vocabulary(context.lexicon(file), file=file)
    list_name = f"{category}.assertion"
    context.terms.add(list_name, sorted(vocabulary.anchors))
    return AssertionGrammar(category, list_name, vocabulary)


def _openings(hits: Sequence[Hit]) -> list[tuple[int, int]]:
    """Stretches ``[first, last]`` of positions where a mention of the hits can open, merged where they touch."""
    merged: list[tuple[int, int]] = []
    for start in sorted({hit.start for hit in hits}):
        first, last = max(0, start - _BEFORE), start + _AFTER
        if merged and first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], last)
        else:
            merged.append((first, last))
    return merged
