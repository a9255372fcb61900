"""How many tokens Qwen reads per note, against one prompt per note; counted by its own tokenizer, nothing generated.

Knows: the simulator, the rules, the tagger that conf names, and which questions doubt gives rise to. Must not know:
engines. Three savings are stated apart: asking about doubtful text only, asking an equal question once (recurrence),
and serving a shared prefix from the cache. A tier question counts twice (evidence, then tier).

    python scripts/bench.py tokens --notes 100000
    python scripts/bench.py tokens --notes 0 --yidu ../shared/data/yidu_s4k    # real text beside it
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tokenizers import Tokenizer
from tqdm import tqdm

from ppsehr_spark.config import Settings, load_settings
from ppsehr_spark.domain.notes import Note
from ppsehr_spark.domain.prompting import PromptBook, Question, compile_prompts, extract_question
from ppsehr_spark.domain.rules import RuleEngine, compile_rules
from ppsehr_spark.domain.segments import TIER, Segment, plan_segments
from ppsehr_spark.domain.tagging import Tagger
from ppsehr_spark.synthesis.simulator import simulate_patient
from ppsehr_spark.tagging import open_tagger
from ray_actors.answers import first_questions

_MODEL = Path(".cache/models/Qwen2.5-Coder-1.5B-Instruct")
_BATCH = 500


@dataclass
class Count:
    """Sums over notes; tokens of prompts only."""

    n_notes: int = 0
    n_chars: int = 0
    n_asking: int = 0
    n_segments: int = 0
    n_distinct: int = 0
    whole: int = 0
    doubtful: int = 0
    distinct: int = 0
    distinct_bodies: int = 0
    seen: set[str] = field(default_factory=set)


class Counter:
    """Counts the prompts of one corpus."""

    def __init__(self, settings: Settings, tokenizer: Tokenizer) -> None:
        self._engine: RuleEngine = compile_rules(settings.files)
        self._book: PromptBook = compile_prompts(settings.files, self._engine.categories)
        self._tagger: Tagger | None = open_tagger(settings.partition.tagger)
        self._partition = settings.partition
        self._tokenizer = tokenizer
        self._prefixes: dict[str, int] = {}

    def add_all(self, notes: Iterable[Note], count: Count) -> Count:
        """Count every note, a batch at a time."""
        for batch in _batches(notes):
            self._engine.prepare(batch, self._tagger)
            for note in batch:
                self._add(note, count)
        return count

    def _add(self, note: Note, count: Count) -> None:
        spans = self._engine.propose(note, self._tagger)
        categories = self._engine.categories
        planned = plan_segments(note, spans, categories=categories, settings=self._partition, hmac_key=bytes(32))
        count.n_notes += 1
        count.n_chars += len(note.text)
        count.n_asking += bool(planned)
        count.n_segments += len(planned)
        whole = extract_question(self._book, text=note.text, note_type=note.note_type)
        count.whole += sum(self._measure(whole))
        for segment in planned:
            self._add_segment(segment, count)

    def _add_segment(self, segment: Segment, count: Count) -> None:
        sizes = [self._measure(question) for question in first_questions(self._book, segment) or ()]
        times = 2 if segment.task == TIER else 1
        full, bodies = times * sum(a + b for a, b in sizes), times * sum(b for _, b in sizes)
        count.doubtful += full
        if segment.key not in count.seen:
            count.seen.add(segment.key)
            count.n_distinct += 1
            count.distinct += full
            count.distinct_bodies += bodies

    def _measure(self, question: Question) -> tuple[int, int]:
        """Tokens of prefix and body."""
        if question.prefix not in self._prefixes:
            self._prefixes[question.prefix] = len(self._tokenizer.encode(question.prefix).ids)
        return self._prefixes[question.prefix], len(self._tokenizer.encode(question.body).ids)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``bench.py tokens``."""
    parser.add_argument("--notes", type=int, default=100_000, help="simulated notes (default 100,000)")
    parser.add_argument("--yidu", default="", metavar="FOLDER", help="also count this folder of Yidu-S4K")
    parser.add_argument("--model", default=str(_MODEL), help="folder with tokenizer.json")
    parser.add_argument("--profile", default="laptop")
    parser.set_defaults(run=count_tokens)


def count_tokens(options: argparse.Namespace) -> int:
    """Print a table per corpus; returns 0, 2 for a model that is not there."""
    path = Path(options.model) / "tokenizer.json"
    if not path.is_file():
        print("bench tokens: no tokenizer.json in the model folder; run make setup", file=sys.stderr)
        return 2
    settings = load_settings(options.profile)
    counter = Counter(settings, Tokenizer.from_file(str(path)))
    if options.notes:
        simulated = tqdm(_simulate(settings, options.notes), total=options.notes, unit="note", disable=None)
        print(_render(f"simulated, recurrence {settings.simulate.recurrence}", counter.add_all(simulated, Count())))
    if options.yidu:
        print(_render("Yidu-S4K", counter.add_all(_read_yidu(Path(options.yidu)), Count())))
    return 0


def _simulate(settings: Settings, n_notes: int) -> Iterator[Note]:
    patients = (simulate_patient(index, settings.simulate) for index in itertools.count())
    notes = (Note(note.note_id, note.text, note.note_type) for patient in patients for note in patient.notes)
    return itertools.islice(notes, n_notes)


def _read_yidu(folder: Path) -> Iterator[Note]:
    for path in sorted(folder.glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines):
                if line.strip():
                    yield Note(f"{path.name}:{number}", json.loads(line)["originalText"])


def _batches(notes: Iterable[Note]) -> Iterator[tuple[Note, ...]]:
    rest = iter(notes)
    while batch := tuple(itertools.islice(rest, _BATCH)):
        yield batch


def _render(name: str, count: Count) -> str:
    per_note = {
        "one prompt per note": count.whole,
        "doubtful text only, every time": count.doubtful,
        "... equal questions once": count.distinct,
        "... and prefixes from the cache": count.distinct_bodies,
    }
    lines = [
        f"{name}: {count.n_notes} notes, {count.n_chars / max(1, count.n_notes):.0f} characters each; "
        f"{100 * count.n_asking / max(1, count.n_notes):.1f}% of notes ask, {count.n_segments} segments, "
        f"{count.n_distinct} distinct",
        "| prompt tokens | per note | share of one prompt per note |",
        "|---|---|---|",
    ]
    for label, tokens in per_note.items():
        share = f"1/{count.whole / tokens:.0f}" if tokens else "0"
        lines.append(f"| {label} | {tokens / max(1, count.n_notes):.2f} | {share} |")
    return "\n".join(lines)
