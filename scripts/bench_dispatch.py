"""``bench.py dispatch``: tokens per second of the annotate job beside a bare loop of its engine over the same prompts.

Knows: simulated segments, a pool that stays loaded, how both are timed. Must not know: how the job works. Engine start
and end are left out of both. Bare means: all prompts in one call of the engine, nothing else; the job claims, sends,
asks, writes parts, checks, commits and lets go. Both take turns on one loaded engine whose prefix cache is emptied
before each turn, because the speed of a shared machine drifts; the median of the ratios counts. Where other work takes
cores away while it runs, wall time says little: the CPU seconds of the engine's process stand beside it.

    python scripts/bench.py dispatch --segments 60                       # the profile's engine
    python scripts/bench.py dispatch --engine fault --segments 2000      # a scripted engine: overhead per unit
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from bench_lift import add_engine_arguments, allow_everything, load_engine_settings
from deltalake import write_deltalake
from tqdm import tqdm

from ppsehr_spark.config import Settings
from ppsehr_spark.domain.notes import Note
from ppsehr_spark.domain.rules import compile_rules
from ppsehr_spark.domain.segments import JUDGE, Segment, plan_segments
from ppsehr_spark.lake.schemas import SEGMENTS, WORK_UNITS
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.synthesis.simulator import simulate_patient
from ray_actors import annotate_run
from ray_actors.answers import first_questions, segment_of
from ray_actors.cluster import ActorPool, actor_pool, ray_session, stop_on_sigterm
from ray_actors.engine import Prompt
from ray_actors.pool_plan import plan_pool
from ray_actors.safe_actor import Failed
from ray_actors.unit_worker import UnitWorker

_CALL_TIMEOUT_S = 3_600.0


@dataclass(frozen=True)
class Pace:
    """One turn: wall seconds, CPU seconds of the engine's process, and tokens as the engine counted them."""

    seconds: float
    cpu_s: float
    prompt_tokens: int
    output_tokens: int

    @property
    def tokens_per_s(self) -> float:
        """Prompt and output tokens, cached ones included: the same work for both sides."""
        return (self.prompt_tokens + self.output_tokens) / self.seconds


class BenchWorker(UnitWorker):
    """The job's worker, which can also be asked without the job."""

    def ask_bare(self, rows: Sequence[Mapping[str, Any]]) -> Pace:
        """All questions in one call, in the order in which the job would ask them."""
        questions = [q for row in rows for q in first_questions(self._book, segment_of(row)) or ()]
        prompts = [Prompt(q.prefix, q.body, q.choices, q.json_schema, q.max_tokens) for q in questions]
        started, cpu_s = time.perf_counter(), time.process_time()
        replies = self._engine.generate(prompts)
        seconds, cpu_s = time.perf_counter() - started, time.process_time() - cpu_s
        return Pace(seconds, cpu_s, sum(r.prompt_tokens for r in replies), sum(r.output_tokens for r in replies))

    def forget(self) -> float:
        """Empty the prefix cache, where there is one; returns the CPU seconds of this process so far."""
        llm = getattr(self._engine, "_llm", None)
        if llm is not None:
            llm.reset_prefix_cache()
        self._known_prefixes.clear()
        return time.process_time()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``bench.py dispatch``."""
    add_engine_arguments(parser)
    parser.add_argument("--segments", type=int, default=60, metavar="N", help="segments with judge questions")
    parser.add_argument("--unit-tokens", type=int, default=0, metavar="N", help="per unit (default: partition's)")
    parser.add_argument("--model", default="", metavar="FOLDER", help="other weights for the engine")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="turns of both sides")
    parser.set_defaults(run=measure)


def measure(options: argparse.Namespace) -> int:
    """Print the pace of both sides and their ratio; returns 0."""
    settings = load_engine_settings(options)
    settings = replace(settings, annotate=replace(settings.annotate, token_budget=10**9, max_attempts=1))
    if settings.annotate.engine == "fault":
        settings = replace(settings, engine={**settings.engine, "fault": {"inner": "scripted"}})
    if options.model:
        name = settings.annotate.engine
        settings = replace(
            settings, engine={**settings.engine, name: {**settings.engine[name], "model": options.model}}
        )
    rows = list_rows(settings, options.segments)
    units = list(cut_units(rows, options.unit_tokens or settings.partition.unit_tokens))
    ratios: list[float] = []
    with loaded_pool(settings) as pool:
        for number in range(options.rounds):
            bare = _call(pool, "ask_bare", rows)
            job = run_job(settings, rows, units, pool)
            ratios.append(job.tokens_per_s / bare.tokens_per_s)
            overhead_ms = 1_000 * (job.seconds - bare.seconds) / len(units)
            print(
                f"round {number + 1}: bare {bare.tokens_per_s:.1f} tokens/s ({bare.seconds:.2f} s), "
                f"job {job.tokens_per_s:.1f} tokens/s ({job.seconds:.2f} s), ratio {ratios[-1]:.3f}, "
                f"{overhead_ms:.1f} ms more per unit; engine CPU {bare.cpu_s:.1f} s and {job.cpu_s:.1f} s",
                flush=True,
            )
    print(f"{len(rows)} segments in {len(units)} units; median ratio {statistics.median(ratios):.3f}")
    return 0


def list_rows(settings: Settings, n_segments: int) -> list[dict[str, Any]]:
    """The first judge segments of simulated notes, as rows of phi.segments, once each, in prefix order."""
    rules, found = allow_everything(compile_rules(settings.files)), dict[str, Segment]()
    patient = 0
    while len(found) < n_segments:
        for note in simulate_patient(patient, settings.simulate).notes:
            text = Note(note.note_id, note.text)
            planned = plan_segments(
                text,
                rules.propose(text, None),
                categories=rules.categories,
                settings=settings.partition,
                hmac_key=bytes(32),
            )
            found |= {segment.key: segment for segment in planned if segment.task == JUDGE}
        patient += 1
    chosen = sorted(list(found.values())[:n_segments], key=lambda s: (s.candidates[0].category, s.key))
    return [_row(segment) for segment in chosen]


def cut_units(rows: Sequence[Mapping[str, Any]], unit_tokens: int) -> Iterator[list[Mapping[str, Any]]]:
    """Consecutive rows, together at most ``unit_tokens`` by estimate."""
    unit: list[Mapping[str, Any]] = []
    for row in rows:
        if unit and sum(r["estimated_tokens"] for r in unit) + row["estimated_tokens"] > unit_tokens:
            yield unit
            unit = []
        unit.append(row)
    yield unit


@contextmanager
def loaded_pool(settings: Settings) -> Iterator[ActorPool]:
    """One pool for all turns."""
    wants = settings.annotate
    plan = plan_pool(settings, wants, worker="bench_dispatch:BenchWorker", call_timeout_s=_CALL_TIMEOUT_S, depth=2)
    with ray_session(plan.n_cpus), stop_on_sigterm() as stop, actor_pool(plan, stop) as pool:
        yield pool


def run_job(settings: Settings, rows: Sequence[Mapping[str, Any]], units: Sequence[Any], pool: ActorPool) -> Pace:
    """The job over a fresh lake, on the loaded pool."""
    cpu_s = -_call(pool, "forget")
    turns: list[float] = []

    @contextmanager
    def lend(*_: Any) -> Iterator[ActorPool]:
        turns.append(time.perf_counter())
        yield pool
        turns.append(time.perf_counter())

    own, annotate_run.actor_pool = annotate_run.actor_pool, lend  # the job may use it, but not end it
    try:
        with tempfile.TemporaryDirectory() as folder:
            lake = Lake(str(Path(folder) / "lake"))
            _write(lake, rows, units)
            counts = annotate_run.annotate_lake(lake, settings=settings, run_id="bench", progress=tqdm(disable=True))
    finally:
        annotate_run.actor_pool = own
    cpu_s += _call(pool, "forget")
    if counts.n_open_after or counts.n_repeated:
        raise SystemExit(f"dispatch: {counts.n_open_after} open, {counts.n_repeated} repeated; nothing to compare")
    return Pace(turns[1] - turns[0], cpu_s, counts.usage.prompt_tokens, counts.usage.output_tokens)


def _call(pool: ActorPool, method: str, *arguments: Any) -> Any:
    pool.submit(method, method, *arguments)
    while True:
        for _, outcome in pool.collect():
            if isinstance(outcome, Failed):
                raise SystemExit(f"dispatch: {method} failed: {outcome.code}")
            return outcome


def _row(segment: Segment) -> dict[str, Any]:
    names = ("start", "end", "category", "confidence", "rule")
    return {
        "segment_key": segment.key,
        "task": segment.task,
        "text": segment.text,
        "note_type": segment.note_type,
        "candidates": [{name: asdict(c)[name] for name in names} for c in segment.candidates],
        "n_chars": len(segment.text),
        "estimated_tokens": len(segment.text) * len(segment.candidates),
        "run_id": "bench",
    }


def _write(lake: Lake, rows: Sequence[Mapping[str, Any]], units: Sequence[Sequence[Mapping[str, Any]]]) -> None:
    listed = [
        {
            "unit_id": f"unit-{position}",
            "position": position,
            "segment_keys": [row["segment_key"] for row in unit],
            "n_segments": len(unit),
            "estimated_tokens": sum(row["estimated_tokens"] for row in unit),
            "run_id": "bench",
        }
        for position, unit in enumerate(units)
    ]
    for spec, content in ((SEGMENTS, list(rows)), (WORK_UNITS, listed)):
        write_deltalake(lake.table_uri(spec), pa.Table.from_pylist(content, schema=spec.schema))
