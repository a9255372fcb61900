"""What the tagger and Qwen add to the rules on gold, category by category, and what that says about ``model_tasks``.

Knows: the gold that is asked for, and the cascade in one process. Must not know: how a stage works.
The no-harm rule: a task (judge, tier) stays among a category's ``model_tasks`` only where it raised F1 there on dev.

    python scripts/bench.py lift                       # rules, tagger, Qwen as conf names it; dev gold
    python scripts/bench.py lift --gold held --engine rules
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bench_corpora import GOLD_FOLDERS

from ppsehr_spark.config import Settings, load_settings
from ppsehr_spark.domain.cascade import NoteCascade
from ppsehr_spark.domain.notes import Note, Span
from ppsehr_spark.domain.rules import RuleEngine, compile_rules
from ppsehr_spark.domain.taxonomy import MODEL_TASKS
from ppsehr_spark.evaluation.annotation import AnnotationReport, evaluate_spans
from ppsehr_spark.evaluation.gold_markup import GoldNote, read_gold
from ppsehr_spark.tagging import open_tagger
from ray_actors.annotator import Annotator
from ray_actors.usage import Usage

_UNLIMITED = 1 << 40


@dataclass
class Asked:
    """Puts segments to one annotator and adds up what that cost."""

    annotator: Annotator
    usage: Usage = field(default_factory=Usage)
    n_segments: int = 0

    def ask(self, rows: list[dict[str, Any]]) -> Sequence[Mapping[str, Any]]:
        result = self.annotator.annotate_unit(rows, _UNLIMITED)
        self.usage += result.usage
        self.n_segments += len(rows)
        return result.rows


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``bench.py lift``."""
    parser.add_argument("--gold", choices=tuple(GOLD_FOLDERS), default="dev", help="tasks may be chosen on dev only")
    add_engine_arguments(parser)
    parser.set_defaults(run=measure_lift)


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """Which engine and profile a bench asks."""
    parser.add_argument("--engine", default="", help="engine of conf/pipeline.toml (default: the profile's)")
    parser.add_argument("--profile", default="laptop")


def load_engine_settings(options: argparse.Namespace) -> Settings:
    """The settings of ``add_engine_arguments``."""
    return load_settings(options.profile, [f"annotate.engine={options.engine}"] if options.engine else [])


def measure_lift(options: argparse.Namespace) -> int:
    """Print one table per stage and the lift between them; returns 0."""
    settings = load_engine_settings(options)
    print(_report(read_gold(GOLD_FOLDERS[options.gold]), settings, name=options.gold))
    return 0


def _report(gold: Sequence[GoldNote], settings: Settings, *, name: str) -> str:
    rules = allow_everything(compile_rules(settings.files))
    silent = replace(settings.partition, qwen_scope="none")
    tagger = open_tagger(settings.partition.tagger)
    asked = Asked(Annotator(settings.to_json()))
    stages = {
        "rules": NoteCascade(rules, silent, bytes(32), asked.ask),
        "tagger": NoteCascade(rules, silent, bytes(32), asked.ask, tagger),
        "model": NoteCascade(rules, settings.partition, bytes(32), asked.ask, tagger),
    }
    try:
        reports = {name: _score(gold, stage) for name, stage in stages.items()}
    finally:
        asked.annotator.close()
    engine = asked.annotator.describe()
    lines = [
        f"{name} gold: {len(gold)} notes; {engine['engine']} {engine['model']}; "
        f"{asked.n_segments} segments, {asked.usage.prompt_tokens} prompt tokens, "
        f"of them cached {asked.usage.cached_tokens}, output {asked.usage.output_tokens}",
        *_span_lines(reports),
        "",
        *_tier_lines(reports),
        "",
        *_leak_lines(reports),
    ]
    return "\n".join(lines)


def allow_everything(rules: RuleEngine) -> RuleEngine:
    """The engine with every task of the model allowed: what conf now forbids is measured too."""
    return replace(rules, categories={c.id: replace(c, model_tasks=MODEL_TASKS) for c in rules.categories.values()})


def _score(gold: Sequence[GoldNote], cascade: NoteCascade) -> AnnotationReport:
    print(f"scoring {len(gold)} notes", file=sys.stderr)
    found = cascade.annotate([Note(note.note_id, note.text) for note in gold])
    predicted: dict[str, tuple[Span, ...]] = {g.note_id: a.spans for g, a in zip(gold, found, strict=True)}
    lengths = {note.note_id: len(note.text) for note in gold}
    return evaluate_spans({note.note_id: note.spans for note in gold}, predicted, lengths, n_replicates=1_000)


def _span_lines(reports: Mapping[str, AnnotationReport]) -> list[str]:
    lines = [
        "",
        "| category | rules P / R / F1 | + tagger | + model | lift of the model | judge |",
        "|---|---|---|---|---|---|",
    ]
    for category in (*reports["rules"].categories, "macro"):
        scores = [report.score("strict", category) for report in reports.values()]
        cells = [f"{100 * s.precision:.1f} / {100 * s.recall:.1f} / {100 * s.f1:.1f}" for s in scores]
        lift = 100 * (scores[2].f1 - scores[1].f1)
        verdict = "" if category == "macro" else "counts" if lift > 0 else "must not count"
        lines.append(f"| {category} | {' | '.join(cells)} | {lift:+.2f} | {verdict} |")
    return lines


def _tier_lines(reports: Mapping[str, AnnotationReport]) -> list[str]:
    lines = ["| tiers | rules P / R | + model P / R | lift of F1 | tier |", "|---|---|---|---|---|"]
    for name in ("ADDRESS", "STD", "PREGNANCY", "macro"):
        before, after = (_tier_means(reports[stage], name) for stage in ("tagger", "model"))
        lift = 100 * (after[2] - before[2])
        verdict = "" if name == "macro" else "counts" if lift > 0 else "must not count"
        cells = " | ".join(f"{100 * p:.1f} / {100 * r:.1f}" for p, r, _ in (before, after))
        lines.append(f"| {name} | {cells} | {lift:+.2f} | {verdict} |")
    return lines


def _tier_means(report: AnnotationReport, category: str) -> tuple[float, float, float]:
    """Precision, recall and F1 averaged over the tiers that the gold holds."""
    if category == "macro":
        score = report.score("tier")
        return score.precision, score.recall, score.f1
    scores = [report.score("tier", f"{category}.{tier}") for tier in (1, 2, 3)]
    known = [s for s in scores if s.recall == s.recall]
    n = max(1, len(known))
    return sum(s.precision for s in known) / n, sum(s.recall for s in known) / n, sum(s.f1 for s in known) / n


def _leak_lines(reports: Mapping[str, AnnotationReport]) -> list[str]:
    names = {
        "leak.notes": "notes with a direct identifier left",
        "leak.chars": "gold characters left",
        "over_redaction": "plain characters covered",
        "tier.under": "tiered too low",
    }
    lines = ["| share in percent | rules | + tagger | + model |", "|---|---|---|---|"]
    for name, label in names.items():
        cells = " | ".join(f"{100 * report.values.get(name, float('nan')):.2f}" for report in reports.values())
        lines.append(f"| {label} | {cells} |")
    return lines
