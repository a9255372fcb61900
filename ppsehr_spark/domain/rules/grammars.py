"""The door through which a built-in grammar joins the rules.

Knows: what a grammar is and its name in ``recognisers = [...]``. Must not know: any single grammar;
modules register themselves with ``@register_grammar("name")`` and are imported by ``rules/__init__.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from ppsehr_spark.domain.notes import Note, Span
from ppsehr_spark.domain.offsets import NormalisedText
from ppsehr_spark.domain.rules.terms import TermRegistry, read_lexicon
from ppsehr_spark.domain.taxonomy import Category, ConfFiles


class Grammar(Protocol):
    """One compiled recogniser."""

    def find(self, text: NormalisedText, note: Note) -> Iterable[Span]:
        """Candidates with rule id and confidence, offsets in the original (``text.span``); overlaps are allowed."""
        ...


@runtime_checkable
class TagReader(Protocol):
    """A grammar that also reads what a sequence tagger proposes for its category."""

    def read_tag(self, text: NormalisedText, start: int, end: int) -> tuple[int, int, float] | None:
        """The range without what does not belong to it, and the log-odds of its form; ``None``: not of this kind."""
        ...


@dataclass(frozen=True)
class GrammarContext:
    """What a grammar is compiled from.

    Attributes:
        category: the category whose spans it proposes.
        files: conf files as text.
        terms: register term lists here; their hits arrive in ``NormalisedText.hits`` under the same name.
    """

    category: Category
    files: ConfFiles
    terms: TermRegistry

    def lexicon(self, path: str) -> tuple[tuple[str, ...], ...]:
        """Rows of a lexicon file below ``conf/``."""
        return read_lexicon(self.files, path)


#: Name in ``recognisers`` -> factory.
GRAMMARS: dict[str, Callable[[GrammarContext], Grammar]] = {}


def register_grammar(name: str) -> Callable[[Callable[[GrammarContext], Grammar]], Callable[[GrammarContext], Grammar]]:
    """Decorator that enters a factory in ``GRAMMARS``."""

    def enter(factory: Callable[[GrammarContext], Grammar]) -> Callable[[GrammarContext], Grammar]:
        GRAMMARS[name] = factory
        return factory

    return enter
