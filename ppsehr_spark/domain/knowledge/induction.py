"""Proposals without a model: what a cluster of mistakes shares, written where conf has a place for it.

Knows: slots, lexicons, shapes. Must not know: whether a proposal helps; every one is scored before it counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from ppsehr_spark.domain.knowledge.applying import learned_file
from ppsehr_spark.domain.knowledge.clustering import Cluster
from ppsehr_spark.domain.knowledge.entries import LEXICON, NEGATIVE, PATTERN, KnowledgeEntry
from ppsehr_spark.domain.knowledge.evidence import EVIDENCE
from ppsehr_spark.domain.knowledge.mistakes import Mistake
from ppsehr_spark.domain.knowledge.shapes import count_digits, expression_of
from ppsehr_spark.domain.knowledge.slots import INTO_NEGATIVE, INTO_PATTERN, INTO_TERM, LearningPlan, Slot
from ppsehr_spark.domain.offsets import normalise_term
from ppsehr_spark.domain.taxonomy import ConfFiles

INDUCTION = "induction"
_LABEL_CHARS = (2, 4)


def induce_entries(clusters: Sequence[Cluster], plan: LearningPlan, files: ConfFiles) -> tuple[KnowledgeEntry, ...]:
    """Entries that the clusters suggest, best supported first, none that conf holds already, each once."""
    listed = {path: _listed(files[path]) for path in {s.into for s in plan.slots} if path in files}
    found: dict[str, KnowledgeEntry] = {}
    for cluster in clusters:
        for slot in cluster.slots:
            for entry in _fill_slot(cluster, slot, plan.induction.confidence):
                if (entry.text, *entry.columns) not in listed.get(entry.file, ()):
                    found.setdefault(entry.entry_id, entry)
    return tuple(found.values())[: plan.induction.max_proposals]


def make_entry(cluster: Cluster, slot: Slot, *, term: str, columns: Sequence[str], proposer: str) -> KnowledgeEntry:
    """A term or negative term in the slot's file."""
    origin = cluster.origin(proposer)
    if slot.into == INTO_NEGATIVE:
        return KnowledgeEntry(NEGATIVE, cluster.category, term, provenance=origin)
    file = learned_file(cluster.category) if slot.into == INTO_TERM else slot.into
    return KnowledgeEntry(LEXICON, cluster.category, term, file, tuple(columns), provenance=origin)


def _fill_slot(cluster: Cluster, slot: Slot, confidence: float) -> Iterator[KnowledgeEntry]:
    if cluster.evidence not in ("shape", "form"):
        for columns in slot.columns:
            yield make_entry(cluster, slot, term=cluster.value, columns=columns, proposer=INDUCTION)
    elif slot.into == INTO_PATTERN:
        yield from _patterns(cluster, confidence)
    else:
        yield from _expressions(cluster, slot)


def _expressions(cluster: Cluster, slot: Slot) -> Iterator[KnowledgeEntry]:
    """``/停经[0-9]{2,2}天/`` with the Hanzi of the shape as anchor; a shape without any is left alone."""
    surfaces = [normalise_term(m.text) for m in cluster.members]
    anchor = max(("".join(part) for part in _hanzi_runs(cluster.value)), key=len, default="")
    if anchor:
        origin = cluster.origin(INDUCTION)
        for columns in slot.columns:
            text = f"/{expression_of(surfaces, is_bounded=False)}/"
            row = (*columns, anchor)
            yield KnowledgeEntry(LEXICON, cluster.category, text, slot.into, row, provenance=origin)


def _patterns(cluster: Cluster, confidence: float) -> Iterator[KnowledgeEntry]:
    """The shape by itself, and the shape after the label that most of its members have."""
    yield _pattern(cluster, cluster.members, "", confidence)
    labels = Counter(value for m in cluster.members for value in EVIDENCE["before"].read(m, *_LABEL_CHARS))
    for label, n_members in sorted(labels.items(), key=lambda pair: (-pair[1], -len(pair[0]), pair[0]))[:1]:
        if n_members > 1:
            labelled = [m for m in cluster.members if label in EVIDENCE["before"].read(m, *_LABEL_CHARS)]
            yield _pattern(cluster, labelled, label, confidence)


def _pattern(cluster: Cluster, members: Sequence[Mistake], label: str, confidence: float) -> KnowledgeEntry:
    surfaces = [normalise_term(m.text) for m in members]
    body = expression_of(surfaces, is_bounded=True, is_form=cluster.evidence == "form")
    text = f"{normalise_term(label)}[ :(]{{0,3}}(?P<span>{body})" if label else body
    digits = min(map(count_digits, surfaces))
    columns = (str(confidence), str(digits if digits >= 5 else 0))
    return KnowledgeEntry(PATTERN, cluster.category, text, columns=columns, provenance=cluster.origin(INDUCTION))


def _hanzi_runs(shape: str) -> list[str]:
    return "".join(c if "\u4e00" <= c <= "\u9fff" else " " for c in shape).split()


def _listed(text: str) -> frozenset[tuple[str, ...]]:
    """Rows of a lexicon; the same word in another role is another row."""
    return frozenset(tuple(line.split("\t")) for line in text.split("\n") if line and not line.startswith("#"))
