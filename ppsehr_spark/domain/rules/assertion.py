"""The grammar ``clinical_assertion``: a mention with its negation, list and value as one span.

Knows: that mentions are looked for near listed words only. Must not know: any medical word; those are rows of
``lexicons/<category id in lower case>_terms.tsv``, so any category can use this grammar.
Reference: annotation guideline v1, "Spans" and "Clarifications".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ppsehr_spark.domain.notes import Note, Span
from ppsehr_spark.domain.offsets import Hit, NormalisedText
from ppsehr_spark.domain.rules.assertion_vocabulary import Vocabulary, compile_vocabulary
from ppsehr_spark.domain.rules.grammars import Grammar, GrammarContext, register_grammar

#: Characters around an anchor word that one mention may take: negation and modifiers before, list and value behind.
_BEFORE, _BEHIND = 20, 48
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
        is_shown: bool | None = None
        for start, end in _windows(text.hits.get(self.list_name, ()), n_chars=len(text.text)):
            for match in self.vocabulary.mention.finditer(text.text, start, end):
                shape = match.lastgroup or ""
                if shape == "mask" or match.end() == match.start():
                    continue
                if shape == "needs_evidence":
                    is_shown = self.vocabulary.evidence.search(text.text) is not None if is_shown is None else is_shown
                    if not is_shown:
                        continue
                rule = f"{self.category}.assertion.{shape}"
                yield text.span(match.start(), match.end(), self.category, confidence=_CONFIDENCE, rule=rule)


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


def _windows(hits: Sequence[Hit], *, n_chars: int) -> list[tuple[int, int]]:
    """Stretches around the hits, merged where they touch, in order."""
    merged: list[tuple[int, int]] = []
    for hit in sorted(hits, key=lambda h: h.start):
        start, end = max(0, hit.start - _BEFORE), min(n_chars, hit.end + _BEHIND)
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
