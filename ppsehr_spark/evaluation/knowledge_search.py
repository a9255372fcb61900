"""Which proposals are worth a new version: each tried alone, then the good ones one after another.

Knows: the gate and the order of trials. Must not know: where proposals come from, how predictions are made (a function
is handed in). Deterministic: equal gains are tried in order of entry id.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ppsehr_spark.domain.knowledge.entries import KnowledgeEntry
from ppsehr_spark.domain.knowledge.gate import BROKEN, NOT_SCORED, Figures, Verdict, judge_change
from ppsehr_spark.errors import BudgetRefusedError, ConfigurationError

ALONE, TOGETHER = "alone", "together"


@dataclass(frozen=True)
class Trial:
    """One proposal before the gate.

    Attributes:
        entry: the proposal; of an accepted one with its figures in the provenance.
        stage: ``alone``, or ``together`` with what was accepted before it.
        before, after: figures without and with it; ``after`` is ``None`` when it does not compile.
        verdict: of the gate.
    """

    entry: KnowledgeEntry
    stage: str
    before: Figures
    after: Figures | None
    verdict: Verdict


@dataclass(frozen=True)
class SearchResult:
    """The accepted entries in the order of their acceptance, the last trial of every proposal, and figures."""

    accepted: tuple[KnowledgeEntry, ...]
    trials: tuple[Trial, ...]
    before: Figures
    after: Figures


Measure = Callable[[Sequence[KnowledgeEntry]], Figures]


def search_entries(
    current: Sequence[KnowledgeEntry],
    proposals: Sequence[KnowledgeEntry],
    measure: Measure,
    *,
    base: Figures | None = None,
    min_notes: int = 1,
    on_trial: Callable[[], object] = lambda: None,
) -> SearchResult:
    """Score every proposal over ``current``, then add greedily, best first, what still passes the gate.

    Args:
        current: entries in force; they stay.
        measure: figures of a set of entries; raises ``ConfigurationError`` for one that does not compile and
            ``BudgetRefusedError`` where it cannot be measured any more.
        base: figures of ``current``, where they are known.
        min_notes: notes that an entry must make better.
        on_trial: called after each trial, for a progress bar.
    """
    start = measure(current) if base is None else base
    trials: dict[str, Trial] = {}
    for entry in proposals:
        trials[entry.entry_id] = _try(entry, ALONE, current, start, measure, min_notes)
        on_trial()
    promising = sorted(
        (t for t in trials.values() if t.verdict.is_accepted), key=lambda t: (-_gain(t), t.entry.entry_id)
    )
    accepted: list[KnowledgeEntry] = []
    figures: Figures = start
    for first in promising:
        trial = _try(first.entry, TOGETHER, [*current, *accepted], figures, measure, min_notes)
        on_trial()
        after = trial.after
        if trial.verdict.is_accepted and after:
            trial = replace(trial, entry=_stamp(trial.entry, trial.before, after))
            accepted.append(trial.entry)
            figures = after
        trials[first.entry.entry_id] = trial
    return SearchResult(tuple(accepted), tuple(trials.values()), start, figures)


def _try(
    entry: KnowledgeEntry,
    stage: str,
    current: Sequence[KnowledgeEntry],
    before: Figures,
    measure: Measure,
    min_notes: int,
) -> Trial:
    try:
        after = measure([*current, entry])
    except ConfigurationError:
        return Trial(entry, stage, before, None, Verdict(BROKEN))
    except BudgetRefusedError:
        return Trial(entry, stage, before, None, Verdict(NOT_SCORED))
    return Trial(entry, stage, before, after, judge_change(before, after, min_notes=min_notes))


def _gain(trial: Trial) -> float:
    return trial.after.macro - trial.before.macro if trial.after else 0.0


def _stamp(entry: KnowledgeEntry, before: Figures, after: Figures) -> KnowledgeEntry:
    return replace(entry, provenance=replace(entry.provenance, f1_before=before.macro, f1_after=after.macro))
