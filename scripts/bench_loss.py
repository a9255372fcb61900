"""What asking about doubtful text alone costs in recall, against showing Qwen every sentence of the same notes.

Knows: both forms of the cascade over the same gold notes, and the paired bootstrap. Must not know: how a stage works.
In the other form every task of the model counts in every category and ``qwen_scope`` is ``all``, so whatever Qwen finds
by extraction is found. Strict recall of each, their difference with a 95% interval over notes (pairs stay together).

    python scripts/bench.py loss --notes 300               # drawn by hash from gold that no rule was tuned on
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from bench_corpora import GOLD_FOLDERS
from bench_lift import Asked, add_engine_arguments, allow_everything, load_engine_settings

from ppsehr_spark.domain.cascade import NoteCascade
from ppsehr_spark.domain.notes import Note, Span
from ppsehr_spark.domain.rules import compile_rules
from ppsehr_spark.evaluation.bootstrap import percentile_interval, resample_sums
from ppsehr_spark.evaluation.gold_markup import GUIDELINE_CATEGORIES, GoldNote, read_gold
from ppsehr_spark.tagging import open_tagger
from ray_actors.annotator import Annotator

_CATEGORIES = tuple(GUIDELINE_CATEGORIES)
_Array = npt.NDArray[np.float64]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``bench.py loss``."""
    parser.add_argument("--notes", type=int, default=300, help="gold notes, drawn by hash (default 300)")
    parser.add_argument("--gold", nargs="+", choices=tuple(GOLD_FOLDERS), default=("pool", "held"))
    add_engine_arguments(parser)
    parser.set_defaults(run=measure_loss)


def measure_loss(options: argparse.Namespace) -> int:
    """Print one table; returns 0."""
    settings = load_engine_settings(options)
    gold = _draw([note for name in options.gold for note in read_gold(GOLD_FOLDERS[name])], options.notes)
    rules, tagger = compile_rules(settings.files), open_tagger(settings.partition.tagger)
    annotator = Annotator(settings.to_json())
    asked = {name: Asked(annotator) for name in ("doubtful", "all")}
    everything = replace(settings.partition, qwen_scope="all")
    cascades = {
        "doubtful": NoteCascade(rules, settings.partition, bytes(32), asked["doubtful"].ask, tagger),
        "all": NoteCascade(allow_everything(rules), everything, bytes(32), asked["all"].ask, tagger),
    }
    try:
        found = {name: _annotate(cascade, gold) for name, cascade in cascades.items()}
    finally:
        annotator.close()
    about = annotator.describe()
    tokens = {name: a.usage.prompt_tokens + a.usage.output_tokens for name, a in asked.items()}
    print(f"{len(gold)} notes; {about['engine']} {about['model']}; tokens {tokens['doubtful']} against {tokens['all']}")
    print(_render(_count(gold, found["doubtful"], found["all"])))
    return 0


def _draw(notes: Sequence[GoldNote], n_notes: int) -> list[GoldNote]:
    return sorted(notes, key=lambda note: hashlib.sha256(note.note_id.encode()).digest())[:n_notes]


def _annotate(cascade: NoteCascade, gold: Sequence[GoldNote]) -> list[tuple[Span, ...]]:
    return [found.spans for found in cascade.annotate([Note(note.note_id, note.text) for note in gold])]


def _count(
    gold: Sequence[GoldNote], doubtful: Sequence[Sequence[Span]], everything: Sequence[Sequence[Span]]
) -> _Array:
    """Per note and category: gold mentions, those found by the one, by the other, and what each predicts.

    Returns:
        Array of shape ``(n_notes, 5, n_categories)``.
    """
    rows = []
    for note, one, other in zip(gold, doubtful, everything, strict=True):
        truth, first, second = ({(s.start, s.end, s.category) for s in spans} for spans in (note.spans, one, other))
        sets = (truth, truth & first, truth & second, first, second)
        rows.append([[sum(c == name for _, _, c in chosen) for name in _CATEGORIES] for chosen in sets])
    return np.array(rows, dtype=np.float64)


def _rates(sums: _Array) -> Mapping[str, _Array]:
    """Recall and precision of both, with the macro mean as last column; ``sums`` of shape ``(n, 5, n_categories)``."""
    truth, hit, hit_all, said, said_all = (sums[:, at] for at in range(5))
    pairs = {"r": (hit, truth), "r_all": (hit_all, truth), "p": (hit, said), "p_all": (hit_all, said_all)}
    with np.errstate(invalid="ignore", divide="ignore"):
        rates = {name: above / below for name, (above, below) in pairs.items()}
    return {name: np.column_stack([rate, np.nanmean(rate, axis=1)]) for name, rate in rates.items()}


def _render(counts: _Array) -> str:
    """One line per category: P / R of both, the loss of recall in points with its interval."""
    here = _rates(counts.sum(axis=0, keepdims=True))
    flat = resample_sums(counts.reshape(len(counts), -1), n_replicates=2_000, seed=20240601)
    drawn = _rates(flat.reshape(len(flat), 5, len(_CATEGORIES)))
    lines = ["| category | doubtful text P / R | all text P / R | recall lost, points (95%) |", "|---|---|---|---|"]
    for at, name in enumerate((*_CATEGORIES, "macro")):
        lost = 100 * (here["r_all"][0, at] - here["r"][0, at])
        low, high = percentile_interval(100 * (drawn["r_all"][:, at] - drawn["r"][:, at]))
        one, other = (f"{100 * here['p' + s][0, at]:.1f} / {100 * here['r' + s][0, at]:.1f}" for s in ("", "_all"))
        lines.append(f"| {name} | {one} | {other} | {lost:+.2f} ({low:+.2f} to {high:+.2f}) |")
    return "\n".join(lines)
