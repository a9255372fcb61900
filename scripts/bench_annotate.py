"""``bench.py annotate``: the rules alone against every peer that is installed, corpus by corpus.

Knows: who runs on what, for how long. Must not know: file formats, how a figure is computed or laid out.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench_corpora import READERS, Corpus, load_corpus
from bench_pages import replace_between_marks
from bench_peer_runs import ASSEMBLED, Lineup, assemble, open_peers, run_peer
from bench_peers import LABELS

from ppsehr_spark.config import load_settings
from ppsehr_spark.domain.notes import Note, Span
from ppsehr_spark.domain.rules import RuleEngine, compile_rules
from ppsehr_spark.errors import ExitCode
from ppsehr_spark.evaluation.annotation import AnnotationReport, evaluate_spans
from ppsehr_spark.evaluation.comparison import Comparison, Entrant, render_comparison, render_summary
from ppsehr_spark.evaluation.gold_markup import GUIDELINE_CATEGORIES
from ppsehr_spark.evaluation.partial_gold import count_decided_chars, settle_predictions
from ppsehr_spark.service.note_lines import Refusal, read_span_line

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
    corpora = list(_load(options))
    if options.dump:
        _dump(options.dump, corpora)
        return int(ExitCode.OK if corpora else ExitCode.USAGE)
    engine = compile_rules(load_settings().files)
    comparisons, tables = [], list[str]()
    with open_peers(options.peers, python=options.peer_python) as lineup:
        head = f"Rules {engine.knowledge_version}; {_describe(lineup)}."
        print(f"{head}\n", flush=True)
        for corpus in corpora:
            found = collect(corpus, engine, lineup, seconds=options.seconds) | _read_spans(corpus, options.spans)
            comparisons.append(compare(corpus, found, lineup, options.bootstrap))
            tables.append(render_comparison(comparisons[-1], has_markdown=options.markdown or bool(options.page)))
            print(f"{tables[-1]}\n", flush=True)
    summary = render_summary(comparisons, has_markdown=options.markdown or bool(options.page))
    print(summary)
    if options.page:
        replace_between_marks(options.page, "annotate", "\n\n".join([head, summary, *tables]))
    if options.out:
        _write(options.out, comparisons, lineup, engine)
    return int(ExitCode.OK if comparisons else ExitCode.USAGE)


def _load(options: argparse.Namespace) -> Iterator[Corpus]:
    for name in options.corpus or READERS:
        corpus = load_corpus(name, options.data, limit=options.limit)
        if corpus is None:
            print(f"{name}: skipped, its files are not under the data folder (--data)\n")
        else:
            yield corpus


def _dump(folder: Path, corpora: Sequence[Corpus]) -> None:
    """Notes for ``ppsehr annotate``, so that another engine than the rules alone can enter by ``--spans``."""
    folder.mkdir(parents=True, exist_ok=True)
    for corpus in corpora:
        lines = (json.dumps({"note_id": key, "text": text}, ensure_ascii=False) for key, text in corpus.texts.items())
        (folder / f"{corpus.name}.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _read_spans(corpus: Corpus, folders: Sequence[str]) -> dict[str, Found]:
    """Spans that ``ppsehr annotate`` wrote, ``NAME=FOLDER`` with one file per corpus; a failed line has no spans."""
    found: dict[str, Found] = {}
    for name, _, folder in (entry.partition("=") for entry in folders):
        path = Path(folder) / f"{corpus.name}.jsonl"
        if path.is_file():
            read = [read_span_line(line) for line in path.read_bytes().splitlines()]
            spans = dict(item for item in read if not isinstance(item, Refusal))
            found[name] = {key: spans.get(key, ()) for key in corpus.texts}
    return found


def collect(corpus: Corpus, engine: RuleEngine, lineup: Lineup, *, seconds: float) -> dict[str, Found]:
    """Annotator -> spans per note that it got to."""
    found: dict[str, Found] = {RULES: {key: _annotate(engine, key, text) for key, text in corpus.texts.items()}}
    for peer in lineup.peers:
        n_before = peer.n_failed
        found[peer.name] = run_peer(peer, corpus.texts, seconds=seconds)
        if peer.n_failed > n_before:
            n_here = peer.n_failed - n_before
            print(f"{corpus.name}: {peer.name} failed on {n_here} texts, which count as without spans\n")
    if "lac" in found and "jionlp" in found:
        found[ASSEMBLED] = assemble(found["lac"], found["jionlp"])
    return found


def compare(corpus: Corpus, found: Mapping[str, Found], lineup: Lineup, n_replicates: int) -> Comparison:
    """Score everybody on the notes they got to."""
    remarks = {peer.name: peer.remark for peer in lineup.peers}
    entrants = []
    for name, spans in found.items():
        covered = tuple(
            c for c in corpus.categories or GUIDELINE_CATEGORIES if c in _COVERED.get(name, GUIDELINE_CATEGORIES)
        )
        if not covered:
            continue  # it cannot find anything that this corpus labels
        report = _score(corpus, spans, corpus.categories or _DIRECT, n_replicates)
        own = None
        if corpus.categories and covered != corpus.categories:
            own = _score(corpus, spans, covered, n_replicates)
        hits = {} if corpus.categories else _count_hits(spans)
        entrants.append(Entrant(name, report, covered, own, remarks.get(name, ""), hits))
    return Comparison(corpus.name, corpus.basis, corpus.categories, tuple(entrants), has_direct=bool(corpus.direct))


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


def _write(path: Path, comparisons: list[Comparison], lineup: Lineup, engine: RuleEngine) -> None:
    content: dict[str, Any] = {
        "rules_version": engine.knowledge_version,
        "peers": {peer.name: peer.remark for peer in lineup.peers},
        "absent": dict(lineup.absent),
        "corpora": [comparison.to_dict() for comparison in comparisons],
    }
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
