"""The evolve job: reviewed notes in, a new version of the knowledge base or a refusal out.

Knows: the order (mistakes, clusters, proposals, trials, row) and what is recorded. Must not know: how a proposal is
made or judged, Ray (``evolve_model``). No text and no term leaves but into phi.knowledge.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ppsehr_spark.config import Settings, hash_values
from ppsehr_spark.domain.identity import load_key
from ppsehr_spark.domain.knowledge.applying import apply_entries
from ppsehr_spark.domain.knowledge.asking import cluster_question, compile_evolve_prompt, is_askable, read_reply
from ppsehr_spark.domain.knowledge.clustering import Cluster, cluster_mistakes, gather_rest, pick_distinct
from ppsehr_spark.domain.knowledge.entries import RULE_KINDS, KnowledgeEntry
from ppsehr_spark.domain.knowledge.gate import NOT_SCORED, Figures, Verdict
from ppsehr_spark.domain.knowledge.induction import induce_entries
from ppsehr_spark.domain.knowledge.mistakes import Mistake, ReviewedNote, find_mistakes
from ppsehr_spark.domain.knowledge.slots import LearningPlan, parse_plan
from ppsehr_spark.domain.rules import compile_rules
from ppsehr_spark.domain.taxonomy import load_categories
from ppsehr_spark.errors import BudgetRefusedError, InputError
from ppsehr_spark.evaluation.knowledge_prompts import PromptMeasure
from ppsehr_spark.evaluation.knowledge_scores import Measured, annotate_note, measure_entries
from ppsehr_spark.evaluation.knowledge_search import ALONE, SearchResult, Trial, search_entries
from ppsehr_spark.lake.knowledge_scope import count_touched
from ppsehr_spark.lake.knowledge_store import (
    REFUSAL,
    ROLLBACK,
    VERSION,
    KnowledgeVersion,
    append_row,
    find_version,
    list_withdrawn,
    read_current,
    trial_row,
)
from ppsehr_spark.lake.reviewed_notes import CorrectedNotes, read_corrected
from ppsehr_spark.lake.tables import Lake
from ray_actors.evolve_model import ModelDoor, open_model


@dataclass(frozen=True)
class Lesson:
    """What there is to learn from: reviewed notes, what the engine in force makes of them, and the clusters.

    ``withdrawn`` are categories and wordings that people took back: they are not proposed again.
    """

    current: KnowledgeVersion
    withdrawn: frozenset[tuple[str, str]]
    corrected: CorrectedNotes
    reviewed: tuple[ReviewedNote, ...]
    measured: Measured
    mistakes: tuple[Mistake, ...]
    plan: LearningPlan
    clusters: tuple[Cluster, ...]


def prepare_lesson(lake: Lake, settings: Settings, gold: Sequence[ReviewedNote]) -> Lesson:
    """Read corrections, annotate what is reviewed and gather the mistakes.

    Raises:
        InputError: ``NOTHING_REVIEWED`` without gold and without corrections.
    """
    current = read_current(lake)
    engine = compile_rules(apply_entries(settings.files, current.entries))
    corrected = read_corrected(lake, lambda note: annotate_note(engine, note))
    # without gold nothing else could contradict a wrong correction: then the whole note counts as looked at
    notes = corrected.notes if gold else tuple(replace(item, judged=None) for item in corrected.notes)
    reviewed = (*gold, *notes)
    if not reviewed:
        raise InputError("NOTHING_REVIEWED", hint="phi.corrections is empty; name reviewed notes with --gold")
    measured = measure_entries(settings.files, current.entries, reviewed)
    mistakes = find_mistakes(reviewed, measured.predicted)
    plan = parse_plan(settings.files)
    clusters = cluster_mistakes(mistakes, plan, reviewed)
    return Lesson(current, list_withdrawn(lake), corrected, reviewed, measured, mistakes, plan, clusters)


def describe_lesson(lesson: Lesson, settings: Settings) -> dict[str, Any]:
    """What a run would try, in figures."""
    entries = induce_entries(lesson.clusters, lesson.plan, settings.files)
    return {
        "version": lesson.current.version,
        "n_reviewed": len(lesson.reviewed),
        "n_corrected": len(lesson.corrected.notes),
        "n_stale_corrections": lesson.corrected.n_stale,
        "n_conflicts": len(lesson.corrected.conflicts),
        "n_withdrawn": len(lesson.withdrawn),
        "n_mistakes": len(lesson.mistakes),
        "n_clusters": len(lesson.clusters),
        "n_induced": len(entries),
        "engine": settings.evolve.engine,
    }


def fingerprint_lesson(lake: Lake, gold: Sequence[ReviewedNote]) -> object:
    """What a run depends on beside corrections and conf: entries in force and gold."""
    in_force = [entry.entry_id for entry in read_current(lake).entries]
    return {"in_force": in_force, "withdrawn": sorted(list_withdrawn(lake)), "gold": hash_values(_said(gold))}


def evolve_lake(
    lake: Lake, *, settings: Settings, run_id: str, gold: Sequence[ReviewedNote], progress: Any
) -> dict[str, int | float]:
    """Propose, try and record; returns counts without any text.

    Args:
        settings: with conf files as they lie on disk; the entries in force are laid over them here.
        gold: reviewed notes of the dev half.
        progress: a tqdm-like bar that counts trials.
    """
    lesson = prepare_lesson(lake, settings, gold)
    known = [*gather_rest(lesson.mistakes, lesson.clusters, lesson.plan), *lesson.clusters]
    asked = pick_distinct(filter(is_askable, known), settings.evolve.max_clusters)
    induced = induce_entries(lesson.clusters, lesson.plan, settings.files)
    if not known:
        return _record(lake, lesson, _nothing(lesson), settings=settings, run_id=run_id, origin={}, ungrounded=0)
    with open_model(settings) as model:
        proposed, ungrounded = _ask_model(model, asked, settings) if model and asked else ((), 0)
        found = _search(lesson, _merge(induced, proposed), model, settings=settings, progress=progress)
        origin = {**model.about, "prompt_version": compile_evolve_prompt(settings.files).version} if model else {}
    return _record(lake, lesson, found, settings=settings, run_id=run_id, origin=origin, ungrounded=ungrounded)


def roll_back(lake: Lake, *, settings: Settings, run_id: str, version: int) -> dict[str, int | float]:
    """Make an older version the one in force, by a row of its own."""
    current, wanted = read_current(lake), find_version(lake, version)
    touched = count_touched(lake, current.entries, wanted.entries)
    values = {**_versions(settings, wanted.entries), **_touched(touched), "run_id": run_id}
    append_row(lake, current, action=ROLLBACK, version=version, entries=wanted.entries, values=values)
    return {"version": version, "n_entries": len(wanted.entries), **_touched(touched)}


def _ask_model(
    model: ModelDoor, clusters: Sequence[Cluster], settings: Settings
) -> tuple[tuple[KnowledgeEntry, ...], int]:
    """Entries of all readable replies, and how many proposed terms stood in no mistake."""
    categories = load_categories(settings.files)
    prompt = compile_evolve_prompt(settings.files)
    replies = model.propose([cluster_question(prompt, c, categories[c.category]) for c in clusters])
    proposer = model.about.get("model", "")
    read = [
        read_reply(text, cluster, proposer=proposer, is_direct=categories[cluster.category].is_direct_identifier)
        for cluster, text in zip(clusters, replies, strict=True)
        if text is not None
    ]
    return tuple(entry for reply in read for entry in reply.entries), sum(reply.n_ungrounded for reply in read)


def _merge(induced: Sequence[KnowledgeEntry], proposed: Sequence[KnowledgeEntry]) -> list[KnowledgeEntry]:
    """Each proposal once; what both propose counts as induced, so that the model's part is what it alone saw."""
    found: dict[str, KnowledgeEntry] = {}
    for entry in (*induced, *proposed):
        found.setdefault(entry.entry_id, entry)
    return list(found.values())


def _search(
    lesson: Lesson, proposals: Sequence[KnowledgeEntry], model: ModelDoor | None, *, settings: Settings, progress: Any
) -> SearchResult:
    """Rules first, by the rules alone; then prompts over them, by the whole cascade."""
    files, current, min_notes = settings.files, lesson.current.entries, lesson.plan.induction.min_notes
    in_force = {entry.entry_id for entry in current}
    fresh = [
        entry
        for entry in proposals
        if entry.entry_id not in in_force and (entry.category, entry.text) not in lesson.withdrawn
    ]
    rules = [entry for entry in fresh if entry.kind in RULE_KINDS]
    prompts = _take_turns([entry for entry in fresh if entry.kind not in RULE_KINDS])
    progress.total = len(rules)

    def measure(entries: Sequence[KnowledgeEntry]) -> Figures:
        return measure_entries(files, entries, lesson.reviewed, known=lesson.measured).figures

    found = search_entries(
        current, rules, measure, base=lesson.measured.figures, min_notes=min_notes, on_trial=lambda: progress.update(1)
    )
    if not prompts:
        return found
    tried = prompts[: settings.evolve.max_prompt_trials] if model else []
    judged = _search_prompts(lesson, found, tried, model, settings) if model and tried else ()
    unscored = [Trial(e, ALONE, found.after, None, Verdict(NOT_SCORED)) for e in prompts[len(tried) :]]
    accepted = (*found.accepted, *(t.entry for t in judged if t.verdict.is_accepted))
    return replace(found, accepted=accepted, trials=(*found.trials, *judged, *unscored))


def _take_turns(entries: Sequence[KnowledgeEntry]) -> list[KnowledgeEntry]:
    """One of each category, then the second of each: few trials reach many categories."""
    turns: Counter[str] = Counter()
    ranked = []
    for entry in entries:
        ranked.append((turns[entry.category], entry))
        turns[entry.category] += 1
    return [entry for _, entry in sorted(ranked, key=lambda pair: pair[0])]


def _search_prompts(
    lesson: Lesson, found: SearchResult, prompts: Sequence[KnowledgeEntry], model: ModelDoor, settings: Settings
) -> tuple[Trial, ...]:
    key = load_key(settings.identity.key_file)
    measure = PromptMeasure(settings.files, lesson.reviewed, settings.partition, key, model.answer)
    current = [*lesson.current.entries, *found.accepted]
    try:
        judged = search_entries(current, prompts, measure, min_notes=lesson.plan.induction.min_notes)
    except BudgetRefusedError:  # not even the prompts in force could be measured
        return tuple(Trial(entry, ALONE, found.after, None, Verdict(NOT_SCORED)) for entry in prompts)
    return judged.trials


def _nothing(lesson: Lesson) -> SearchResult:
    return SearchResult((), (), lesson.measured.figures, lesson.measured.figures)


def _record(
    lake: Lake,
    lesson: Lesson,
    found: SearchResult,
    *,
    settings: Settings,
    run_id: str,
    origin: Mapping[str, str],
    ungrounded: int,
) -> dict[str, int | float]:
    """Append the version, or the refusal, with everything that was measured."""
    stamped = [replace(e, provenance=replace(e.provenance, run_id=run_id)) for e in found.accepted]
    entries = [*lesson.current.entries, *stamped]
    touched = count_touched(lake, lesson.current.entries, entries)
    values = {
        **_versions(settings, entries),
        **_touched(touched),
        **_measured(lesson, found),
        **origin,
        "engine": settings.evolve.engine,
        "run_id": run_id,
    }
    action = VERSION if found.accepted else REFUSAL
    trials = [trial_row(trial, run_id) for trial in found.trials]
    version = append_row(lake, lesson.current, action=action, entries=entries, trials=trials, values=values)
    return {
        "version": version,
        **{name: value for name, value in describe_lesson(lesson, settings).items() if name.startswith("n_")},
        "n_proposals": len(found.trials),
        "n_ungrounded": ungrounded,
        "n_accepted": len(found.accepted),
        **{f"n_{outcome.lower()}": n for outcome, n in sorted(_refusals(found.trials).items())},
        "macro_before": round(found.before.macro, 4),
        "macro_after": round(found.after.macro, 4),
        **_touched(touched),
    }


def _refusals(trials: Sequence[Trial]) -> Counter[str]:
    return Counter(trial.verdict.outcome for trial in trials if not trial.verdict.is_accepted)


def _measured(lesson: Lesson, found: SearchResult) -> dict[str, Any]:
    figures = {"before": found.before.f1, "after": found.after.f1}
    return {
        "reviewed_hash": hash_values(_said(lesson.reviewed)),
        "n_reviewed": len(lesson.reviewed),
        "n_mistakes": len(lesson.mistakes),
        "n_clusters": len(lesson.clusters),
        "conflicts": list(lesson.corrected.conflicts),
        "macro_before": found.before.macro,
        "macro_after": found.after.macro,
        "figures": json.dumps(figures, ensure_ascii=False, sort_keys=True),
    }


def _versions(settings: Settings, entries: Sequence[KnowledgeEntry]) -> dict[str, str]:
    return {
        "conf_version": compile_rules(settings.files).knowledge_version,
        "knowledge_version": compile_rules(apply_entries(settings.files, entries)).knowledge_version,
    }


def _touched(touched: tuple[int, int, int]) -> dict[str, int]:
    return dict(zip(("n_touched_notes", "n_notes", "n_asked_again"), touched, strict=True))


def _said(reviewed: Sequence[ReviewedNote]) -> list[object]:
    return [[i.note.note_key, i.note.text, [(s.start, s.end, s.category, s.tier) for s in i.spans]] for i in reviewed]
