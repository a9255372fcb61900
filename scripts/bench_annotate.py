"""``bench.py annotate``: the rules alone against every peer that is installed, corpus by corpus.

Knows: who runs on what, for how long. Must not know: file formats, how a figure is computed or laid out.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench_corpora import READERS, Corpus, load_corpus
from bench_peer_runs import ASSEMBLED, Lineup, assemble, open_peers, run_peer
from bench_peers import LABELS

from ppsehr_spark.config import load_settings
from ppsehr_spark.domain.notes import Note, Span
from ppsehr_spark.domain.rules import RuleEngine, compile_rules
from ppsehr_spark.errors import ExitCode
from ppsehr_spark.evaluation.annotation import AnnotationReport, evaluate_spans
from ppsehr_spark.evaluation.comparison import Comparison, Entrant, render_comparison
from ppsehr_spark.evaluation.gold_markup import GUIDELINE_CATEGORIES
from ppsehr_spark.evaluation.partial_gold import count_decided_chars, settle_predictions

RULES = "rules"
Found = Mapping[str, tuple[Span, ...]]
#: Text without gold is judged by these: STD and pregnancy terms in it are real mentions.
_DIRECT = ("NAME", "ADDRESS", "CONTACT", "ID", "HOSPITAL")
_COVERED: Mapping[str, tuple[str, ...]] = {
    RULES: tuple(GUIDELINE_CATEGORIES),
    **{peer: tuple(c for c in GUIDELINE_CATEGORIES if c in labels.values()) for peer, labels in LABELS.items()},
    ASSEMBLED: _DIRECT,
}


def annotate(options: argparse.Namespace) -> int:
    """Run and print; returns the exit code (0, or 2 where no corpus was found)."""
    engine = compile_rules(load_settings().files)
    comparisons = []
    with open_peers(options.peers, python=options.peer_python) as lineup:
        _say(options, f"rules {engine.knowledge_version}; {_describe(lineup)}")
        for name in options.corpus or READERS:
            corpus = load_corpus(name, options.data, limit=options.limit)
            if corpus is None:
                _say(options, f"{name}: skipped, its files are not under the data folder (--data)")
                continue
            comparison = compare(
                corpus, collect(corpus, engine, lineup, seconds=options.seconds), lineup, options.bootstrap
            )
            _say(options, render_comparison(comparison, has_markdown=options.markdown))
            comparisons.append(comparison)
    if options.out:
        _write(options.out, comparisons, lineup, engine)
    return int(ExitCode.OK if comparisons else ExitCode.USAGE)


def collect(corpus: Corpus, engine: RuleEngine, lineup: Lineup, *, seconds: float) -> dict[str, Found]:
    """Annotator -> spans per note that it got to."""
    found: dict[str, Found] = {RULES: {key: _annotate(engine, key, text) for key, text in corpus.texts.items()}}
    for peer in lineup.peers:
        n_before = peer.n_failed
        found[peer.name] = run_peer(peer, corpus.texts, seconds=seconds)
        if peer.n_failed > n_before:
            print(
                f"{corpus.name}: {peer.name} failed on {peer.n_failed - n_before} texts, which count as without spans\n"
            )
    if "lac" in found and "jionlp" in found:
        found[ASSEMBLED] = assemble(found["lac"], found["jionlp"])
    return found


def compare(corpus: Corpus, found: Mapping[str, Found], lineup: Lineup, n_replicates: int) -> Comparison:
    """Score everybody on the notes they got to."""
    remarks = {peer.name: peer.remark for peer in lineup.peers}
    entrants = []
    for name, spans in found.items():
        covered = tuple(c for c in corpus.categories or GUIDELINE_CATEGORIES if c in _COVERED[name])
        if not covered:
            continue  # it cannot find anything that this corpus labels
        report = _score(corpus, spans, corpus.categories or _DIRECT, n_replicates)
        own = None
        if corpus.categories and covered != corpus.categories:
            own = _score(corpus, spans, covered, n_replicates)
        hits = {} if corpus.categories else _count_hits(spans)
        entrants.append(Entrant(name, report, covered, own, remarks.get(name, ""), hits))
    return Comparison(corpus.name, corpus.basis, corpus.categories, tuple(entrants))


def _score(corpus: Corpus, found: Found, categories: tuple[str, ...], n_replicates: int) -> AnnotationReport:
    """Notes an annotator did not get to are left out, for it alone."""
    notes = {key: corpus.gold[key] for key in found}
    gold = {key: tuple(s for s in note.spans if s.category in categories) for key, note in notes.items()}
    predicted = {key: settle_predictions(found[key], note, categories=categories) for key, note in notes.items()}
    n_chars = {key: count_decided_chars(len(corpus.texts[key]), note) for key, note in notes.items()}
    return evaluate_spans(gold, predicted, n_chars, n_replicates=n_replicates, direct=corpus.direct)


def _annotate(engine: RuleEngine, key: str, text: str) -> tuple[Span, ...]:
    """As peers see it: the text alone, without the note's type, sex or age."""
    note = Note(key, text)
    return engine.finalise(note, engine.propose(note))


def _count_hits(found: Found) -> dict[str, int]:
    hits = dict.fromkeys(GUIDELINE_CATEGORIES, 0)
    for spans in found.values():
        for span in spans:
            hits[span.category] += span.category in hits
    return hits


def _describe(lineup: Lineup) -> str:
    present = [f"{peer.name} ({peer.remark})" for peer in lineup.peers]
    absent = [f"{name} absent: {reason}" for name, reason in lineup.absent.items()]
    return "; ".join([*present, *absent]) or "no peers asked"


def _say(options: argparse.Namespace, text: str) -> None:
    print(f"{text}\n", flush=True, file=sys.stdout)


def _write(path: Path, comparisons: list[Comparison], lineup: Lineup, engine: RuleEngine) -> None:
    content: dict[str, Any] = {
        "rules_version": engine.knowledge_version,
        "peers": {peer.name: peer.remark for peer in lineup.peers},
        "absent": dict(lineup.absent),
        "corpora": [comparison.to_dict() for comparison in comparisons],
    }
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
