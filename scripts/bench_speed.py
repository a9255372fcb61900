"""``bench.py speed``: notes of 400 characters per second and core, rules beside peers, flatness, profile.

Knows: how time is taken: CPU seconds of the process that does the work, one core, warm, everybody in turn within one
run, the best of the rounds (noise only ever slows; Python's ``timeit`` says the same). Must not know: what is found.
Nothing is cached across notes: the product has no such memo.
"""

from __future__ import annotations

import argparse
import cProfile
import io
import json
import os
import pstats
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench_corpora import load_corpus
from bench_pages import replace_between_marks
from bench_peer_runs import Lineup, Peer, open_peers

from ppsehr_spark.config import load_settings
from ppsehr_spark.domain.notes import Note
from ppsehr_spark.domain.rules import RuleEngine, compile_rules
from ppsehr_spark.errors import ExitCode
from ppsehr_spark.evaluation.comparison import Grid, render_markdown

PIECE_CHARS = 400
N_PIECES = 1_000
EXTRA_TERMS = (100, 10_000, 100_000)
_N_WARM = 50
_EXTRA_CATEGORY = """id = "EXTRA"
name = "更多词"
priority = 1
[[lexicon]]
id = "extra"
file = "lexicons/extra.tsv"
confidence = 0.9
"""


@dataclass(frozen=True)
class Pace:
    """How fast somebody went over one kind of text."""

    notes_per_s: float
    spans_per_note: float


def measure(options: argparse.Namespace) -> int:
    """Run and print; returns the exit code (2 where a text is missing)."""
    texts = _load_texts(options.data)
    if not texts:
        print("speed: no text found (--data)")
        return int(ExitCode.USAGE)
    engine = compile_rules(load_settings().files)
    if options.profile:
        for name, pieces in texts.items():
            print(f"== profile, {name}\n{profile(engine, pieces)}")
        return int(ExitCode.OK)
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # peers inherit it
    with open_peers(options.peers, python=options.peer_python) as lineup:
        paces = {name: race(engine, lineup, pieces, options) for name, pieces in texts.items()}
    growth = measure_growth(texts["yidu"] if "yidu" in texts else next(iter(texts.values())), options.rounds)
    text = "\n\n".join(_render(paces, lineup, growth))
    print(text)
    if options.page:
        replace_between_marks(options.page, "speed", text)
    if options.out:
        report = {"paces": _to_json(paces), "absent": dict(lineup.absent), "extra_terms": growth}
        options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return int(ExitCode.OK)


def _render(paces: Mapping[str, Mapping[str, Pace]], lineup: Lineup, growth: Mapping[str, float]) -> Iterator[str]:
    for name, pace in paces.items():
        yield f"### {name}, notes of {PIECE_CHARS} characters"
        yield render_markdown(_tabulate(pace))
    yield from (f"{name} absent: {reason}" for name, reason in lineup.absent.items())
    yield "### rules with more terms in a lexicon"
    yield render_markdown(_tabulate_growth(growth))


def cut_pieces(texts: Sequence[str], *, n_pieces: int) -> list[str]:
    """The texts one after another, cut every 400 characters; a short rest is left out."""
    joined = "\n".join(texts)
    n_here = min(n_pieces, len(joined) // PIECE_CHARS)
    return [joined[at * PIECE_CHARS : (at + 1) * PIECE_CHARS] for at in range(n_here)]


def race(engine: RuleEngine, lineup: Lineup, pieces: Sequence[str], options: argparse.Namespace) -> dict[str, Pace]:
    """Everybody in turn, ``rounds`` times; the best pace of each."""
    rounds: dict[str, list[Pace]] = {}
    for _ in range(options.rounds):
        rounds.setdefault("rules", []).append(time_rules(engine, pieces))
        for peer in lineup.peers:
            rounds.setdefault(peer.name, []).append(time_peer(peer, pieces, seconds=options.seconds / options.rounds))
    return {name: max(run, key=lambda pace: pace.notes_per_s) for name, run in rounds.items()}


def time_rules(engine: RuleEngine, pieces: Sequence[str]) -> Pace:
    """Propose and finalise, as every job does; no model."""
    notes = [Note(str(at), piece) for at, piece in enumerate(pieces)]
    for note in notes[:_N_WARM]:
        engine.finalise(note, engine.propose(note))
    started = time.process_time()
    n_spans = sum(len(engine.finalise(note, engine.propose(note))) for note in notes)
    return Pace(len(notes) / (time.process_time() - started), n_spans / len(notes))


def time_peer(peer: Peer, pieces: Sequence[str], *, seconds: float) -> Pace:
    """Its own CPU time, without the pipe; as many pieces as fit into the wall time."""
    for piece in pieces[:5]:
        peer.ask(piece)
    deadline = time.monotonic() + seconds
    cpu_s = n_spans = n_done = 0.0
    for piece in pieces:
        spans, took_s = peer.ask(piece)
        cpu_s, n_spans, n_done = cpu_s + took_s, n_spans + len(spans), n_done + 1
        if time.monotonic() > deadline:
            break
    return Pace(n_done / max(cpu_s, 1e-9), n_spans / n_done)


def measure_growth(pieces: Sequence[str], n_rounds: int) -> dict[str, float]:
    """Notes per second with none and with more and more terms in one category's lexicon."""
    files = load_settings().files
    engines = {"0": compile_rules(files)}
    engines |= {str(n): compile_rules(_with_terms(files, n_terms=n)) for n in EXTRA_TERMS}
    paces: dict[str, list[float]] = {}
    for _ in range(n_rounds):
        for n_terms, engine in engines.items():
            paces.setdefault(n_terms, []).append(time_rules(engine, pieces).notes_per_s)
    return {n_terms: max(values) for n_terms, values in paces.items()}


def _with_terms(files: Mapping[str, str], *, n_terms: int) -> dict[str, str]:
    """A new category as a clinician writes one: a TOML file and its term list (3 to 6 common characters each)."""
    draw = random.Random(n_terms)
    characters = [chr(code) for code in range(0x4E00, 0x9FA5)]
    common = (
        "患者发现诊断治疗入院年月日左右上下肝肺胃肠心脑血管炎瘤癌术后前痛热咳痰检查结果未见明显异常予以抗感染"
        + "".join(draw.sample(characters, 800))
    )
    terms: set[str] = set()
    while len(terms) < n_terms:
        terms.add("".join(draw.choices(common, k=draw.randint(3, 6))))
    return dict(files) | {"categories/EXTRA.toml": _EXTRA_CATEGORY, "lexicons/extra.tsv": "\n".join(sorted(terms))}


def profile(engine: RuleEngine, pieces: Sequence[str]) -> str:
    """The 25 functions with most time of their own."""
    notes = [Note(str(at), piece) for at, piece in enumerate(pieces)]
    profiler = cProfile.Profile()
    profiler.enable()
    for note in notes:
        engine.finalise(note, engine.propose(note))
    profiler.disable()
    out = io.StringIO()
    pstats.Stats(profiler, stream=out).strip_dirs().sort_stats("tottime").print_stats(25)
    return out.getvalue()


def _load_texts(data: Path) -> dict[str, list[str]]:
    corpora = {"yidu": ["yidu_s4k"], "gold": ["gold-dev"]}
    texts: dict[str, list[str]] = {}
    for name, parts in corpora.items():
        loaded = [corpus for part in parts if (corpus := load_corpus(part, data))]
        if loaded:
            texts[name] = cut_pieces([text for corpus in loaded for text in corpus.texts.values()], n_pieces=N_PIECES)
    return texts


def _tabulate(paces: Mapping[str, Pace]) -> Grid:
    ours = paces["rules"].notes_per_s
    rows = [("annotator", "notes/s and core", "rules are faster by", "spans per note")]
    for name, pace in paces.items():
        ratio = "" if name == "rules" else f"{ours / pace.notes_per_s:.1f}"
        rows.append((name, f"{pace.notes_per_s:.0f}", ratio, f"{pace.spans_per_note:.2f}"))
    return Grid(tuple(rows), 1)


def _tabulate_growth(growth: Mapping[str, float]) -> Grid:
    rows = [("terms added to a lexicon", "notes/s and core", "of the pace without")]
    rows += [(n, f"{pace:.0f}", f"{pace / growth['0']:.2f}") for n, pace in growth.items()]
    return Grid(tuple(rows), 1)


def _to_json(paces: Mapping[str, Mapping[str, Pace]]) -> dict[str, Any]:
    return {
        text: {name: {"notes_per_s": p.notes_per_s, "spans_per_note": p.spans_per_note} for name, p in found.items()}
        for text, found in paces.items()
    }
