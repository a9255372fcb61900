"""Mistakes that share a part, gathered: one cluster is one thing that could be learned.

Knows: how evidence is counted over notes. Must not know: lexicons, scores. A mistake may lie in several clusters; of
clusters with the same members only the longest value stays (closed sets; Pasquier et al. 1999). Deterministic.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from ppsehr_spark.domain.knowledge.entries import Provenance
from ppsehr_spark.domain.knowledge.evidence import EVIDENCE, find_places, is_term
from ppsehr_spark.domain.knowledge.mistakes import CORRECTIONS, FALSE, Mistake, ReviewedNote
from ppsehr_spark.domain.knowledge.slots import LearningPlan, Slot

_SHAPES, _REST = ("shape", "form"), "rest"
_WHOLE = ("whole", "grown")
#: Beyond so many, support is thin and counting occurrences dear.
_MAX_CLUSTERS = 400


@dataclass(frozen=True)
class Cluster:
    """Mistakes of one kind and category that share ``value``.

    Attributes:
        kind, category: of every member.
        evidence: part of the mistake that is shared.
        value: what is shared.
        members: the mistakes, by note and position.
        n_notes: different notes among them.
        slots: where the value may go.
    """

    kind: str
    category: str
    evidence: str
    value: str
    members: tuple[Mistake, ...]
    n_notes: int
    slots: tuple[Slot, ...]

    def origin(self, proposer: str) -> Provenance:
        """Provenance of what is proposed for it."""
        keys = tuple(sorted({member.note_key for member in self.members}))
        return Provenance(proposer, self.cluster_id, len(self.members), keys)

    @property
    def cluster_id(self) -> str:
        """Hash (12 hex digits) of what is shared; holds no text."""
        said = "|".join((self.kind, self.category, self.evidence, self.value))
        return hashlib.sha256(said.encode()).hexdigest()[:12]


def cluster_mistakes(
    mistakes: Sequence[Mistake], plan: LearningPlan, reviewed: Sequence[ReviewedNote]
) -> tuple[Cluster, ...]:
    """Clusters with enough notes behind them, the best supported first.

    A value whose occurrences in the reviewed notes mostly speak against it (``min_share``) is left out, except for the
    very words that people corrected: they get an answer with figures, whatever it is.
    """
    groups: dict[tuple[str, str, str, str], dict[Mistake, None]] = {}
    slots: dict[tuple[str, str, str, str], dict[Slot, None]] = {}
    corrected = {item.note.note_key for item in reviewed if item.source == CORRECTIONS}
    for mistake in mistakes:
        for slot in plan.slots_for(category=mistake.category, mistake=mistake.kind):
            if slot.only_corrected and mistake.note_key not in corrected:
                continue
            for value in EVIDENCE[slot.evidence].read(mistake, slot.min_chars, slot.max_chars):
                if slot.evidence in _SHAPES or is_term(value):
                    key = (mistake.kind, mistake.category, slot.evidence, value)
                    groups.setdefault(key, {})[mistake] = None
                    slots.setdefault(key, {})[slot] = None
    found = [_make_cluster(key, tuple(members), tuple(slots[key])) for key, members in groups.items()]
    asked = [c for c in found if c.evidence in _WHOLE and any(m.note_key in corrected for m in c.members)]
    closed = _drop_shorter(c for c in found if c.n_notes >= plan.induction.min_notes)
    likely = (c for c in sorted(closed, key=_rank) if c.evidence in _SHAPES or _share(c, reviewed) >= _bar(c, plan))
    return tuple(sorted({*islice(likely, _MAX_CLUSTERS), *asked}, key=_rank))


def gather_rest(mistakes: Sequence[Mistake], clusters: Sequence[Cluster], plan: LearningPlan) -> tuple[Cluster, ...]:
    """Mistakes that lie in no cluster, one cluster per kind and category without a shared value; for the model only."""
    held = {member for cluster in clusters for member in cluster.members}
    groups: dict[tuple[str, str, str, str], list[Mistake]] = {}
    for mistake in mistakes:
        if mistake not in held:
            groups.setdefault((mistake.kind, mistake.category, _REST, ""), []).append(mistake)
    made = []
    for key, members in sorted(groups.items()):
        slots = plan.slots_for(category=key[1], mistake=key[0])
        made.append(_make_cluster(key, tuple(members), tuple(s for s in slots if not s.only_corrected)))
    return tuple(made)


def pick_distinct(clusters: Iterable[Cluster], limit: int) -> list[Cluster]:
    """The first clusters with different members: what shares two parts is one question."""
    seen: dict[tuple[Mistake, ...], Cluster] = {}
    for cluster in clusters:
        seen.setdefault(cluster.members, cluster)
    return list(seen.values())[: max(0, limit)]


def _bar(cluster: Cluster, plan: LearningPlan) -> float:
    """Least share of a value's occurrences that must speak for it."""
    if cluster.kind == FALSE:
        return 1.0  # what a true span holds is never forbidden
    general = plan.induction.min_share
    return min((slot.min_share if slot.min_share >= 0 else general for slot in cluster.slots), default=general)


def _rank(cluster: Cluster) -> tuple[int, int, int, str]:
    """Many notes first, then many members, then long values."""
    return -cluster.n_notes, -len(cluster.members), -len(cluster.value), cluster.cluster_id


def _make_cluster(key: tuple[str, str, str, str], members: tuple[Mistake, ...], slots: tuple[Slot, ...]) -> Cluster:
    ordered = tuple(sorted(members, key=lambda m: (m.note_key, m.start, m.end)))
    return Cluster(*key, ordered, len({m.note_key for m in ordered}), slots)


def _drop_shorter(clusters: Iterable[Cluster]) -> list[Cluster]:
    """Of clusters with equal members and evidence, those whose value is part of no longer one."""
    groups: dict[tuple[object, ...], list[Cluster]] = {}
    for cluster in clusters:
        groups.setdefault((cluster.kind, cluster.category, cluster.evidence, cluster.members), []).append(cluster)
    kept: list[Cluster] = []
    for group in groups.values():
        longest: list[Cluster] = []
        for cluster in sorted(group, key=lambda c: (-len(c.value), c.value)):
            if not any(cluster.value in other.value for other in longest):
                longest.append(cluster)
        kept += longest
    return kept


def _share(cluster: Cluster, reviewed: Sequence[ReviewedNote]) -> float:
    """Share of the value's occurrences in the reviewed notes that speak for it."""
    supports = EVIDENCE[cluster.evidence].supports
    n_all = n_for = 0
    for item in reviewed:
        for start, end in find_places(item.note.text, cluster.value):
            n_all += 1
            n_for += supports(cluster.category, item.spans, start, end)
    return n_for / n_all if n_all else 0.0
