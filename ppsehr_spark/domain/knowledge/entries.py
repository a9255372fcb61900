"""What the knowledge base is made of: entries with provenance, in order, over the files of conf.

Knows: the five kinds of entry and how one becomes plain values and back. Must not know: how an entry is found, scored
or stored. An entry says what a clinician would write into ``conf/``: a row of a lexicon, a ``[[pattern]]``, a negative
term, an example or a sentence for the prompts of a category.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LEXICON, PATTERN, NEGATIVE, EXEMPLAR, CLAUSE = "lexicon", "pattern", "negative", "exemplar", "clause"
KINDS = (LEXICON, PATTERN, NEGATIVE, EXEMPLAR, CLAUSE)
#: Kinds that change what the rules find; the others change what the model is told.
RULE_KINDS = frozenset((LEXICON, PATTERN, NEGATIVE))


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where an entry comes from.

    Attributes:
        proposer: ``induction``, or the model with its fingerprint.
        cluster_id: the cluster of mistakes it answers.
        n_mistakes: mistakes in that cluster.
        note_keys: opaque keys of the notes they stand in, for erasure and review.
        run_id: run that proposed it.
        made_at: UTC time in ISO form; empty until it is stored.
        f1_before, f1_after: macro F1 on the scored notes without and with it, the moment it was accepted.
    """

    proposer: str = ""
    cluster_id: str = ""
    n_mistakes: int = 0
    note_keys: tuple[str, ...] = ()
    run_id: str = ""
    made_at: str = ""
    f1_before: float | None = None
    f1_after: float | None = None


@dataclass(frozen=True, slots=True)
class KnowledgeEntry:
    """One change of conf.

    Attributes:
        kind: one of ``KINDS``.
        category: category id.
        text: the term, the regular expression, the example (``sentence 中的 candidate``) or the sentence.
        file: lexicon below ``conf/``; empty for the other kinds.
        columns: further columns of a lexicon row; of a pattern its confidence and the digits that a text must hold.
        is_yes: of an example: what the model should answer; ``None`` for the other kinds.
        provenance: where it comes from; no part of what it is.
    """

    kind: str
    category: str
    text: str
    file: str = ""
    columns: tuple[str, ...] = ()
    is_yes: bool | None = None
    provenance: Provenance = Provenance()

    @property
    def entry_id(self) -> str:
        """Hash (12 hex digits) of what it changes, whoever proposed it."""
        said = [self.kind, self.category, self.file, self.text, list(self.columns), self.is_yes]
        return hashlib.sha256(json.dumps(said, ensure_ascii=False).encode()).hexdigest()[:12]


def entry_to_plain(entry: KnowledgeEntry) -> dict[str, Any]:
    """Plain values, with the provenance beside the rest."""
    values = {f.name: getattr(entry, f.name) for f in dataclasses.fields(entry) if f.name != "provenance"}
    return {
        "entry_id": entry.entry_id,
        **values,
        "columns": list(entry.columns),
        **dataclasses.asdict(entry.provenance),
        "note_keys": list(entry.provenance.note_keys),
    }


def entry_from_plain(values: Mapping[str, Any]) -> KnowledgeEntry:
    """Inverse of ``entry_to_plain``."""
    origin = Provenance(**{f.name: values[f.name] for f in dataclasses.fields(Provenance)})
    origin = dataclasses.replace(origin, note_keys=tuple(origin.note_keys or ()))
    return KnowledgeEntry(
        kind=values["kind"],
        category=values["category"],
        text=values["text"],
        file=values["file"] or "",
        columns=tuple(values["columns"] or ()),
        is_yes=values["is_yes"],
        provenance=origin,
    )
