"""Which notes a change of knowledge can touch: those that hold one of the changed terms, no others.

Knows: that recognisers and tier rules react to listed terms and expressions only where they stand in the normalised
text. Must not know: tables, engines. Entries for prompts touch no note: they change what the model is asked next.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ppsehr_spark.domain.knowledge.entries import LEXICON, PATTERN, RULE_KINDS, KnowledgeEntry
from ppsehr_spark.domain.offsets import normalise_pattern, normalise_term, normalise_text


@dataclass(frozen=True)
class Touch:
    """A test on texts; empty, it holds for none.

    Attributes:
        terms: normalised, case-folded.
        patterns: sources of regular expressions over normalised text.
    """

    terms: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()

    def holds(self, text: str) -> bool:
        """True when a change of these terms can change what is found in ``text``; linear in its length."""
        if not self.terms and not self.patterns:
            return False
        normalised = normalise_text(text).text
        folded = normalised.casefold()
        return any(term in folded for term in self.terms) or any(re.search(p, normalised) for p in self.patterns)


def touch_of(before: Iterable[KnowledgeEntry], after: Iterable[KnowledgeEntry]) -> Touch:
    """What differs between two sets of entries over the same conf."""
    old, new = ({e.entry_id: e for e in entries if e.kind in RULE_KINDS} for entries in (before, after))
    changed = [entry for entry_id, entry in {**old, **new}.items() if (entry_id in old) != (entry_id in new)]
    # the order of rows decides between rows of equal rank, so rows that only changed places count as well
    kept_old, kept_new = [i for i in old if i in new], [i for i in new if i in old]
    changed += [new[i] for i in kept_new] if kept_old != kept_new else []
    terms = {word for entry in changed for word in _words(entry)}
    patterns = {normalise_pattern(entry.text) for entry in changed if entry.kind == PATTERN}
    return Touch(tuple(sorted(terms)), tuple(sorted(patterns)))


def _words(entry: KnowledgeEntry) -> Sequence[str]:
    """Terms without which the entry is silent: the term itself, or the anchors of an expression in a lexicon."""
    if entry.kind == PATTERN:
        return ()
    is_expression = entry.kind == LEXICON and entry.text.startswith("/") and entry.text.endswith("/")
    words = entry.columns[1].split(",") if is_expression and len(entry.columns) > 1 else [entry.text]
    return [normalise_term(word).casefold() for word in words if word]
