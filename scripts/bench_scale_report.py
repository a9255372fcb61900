"""What a run of the scale bench says: points as tables, the straight line through them, what it means for a cluster.

Knows: seconds per stage at several sizes. Must not know: how they were measured. A stage costs a fixed part (the start
of Spark) and a part per note, so a line by least squares; beyond the largest point it is a model and is called one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ppsehr_spark.evaluation.comparison import Grid, render_markdown

STAGES = ("ingest", "partition", "tier", "protect", "stats")
#: The cluster for which the model speaks: 64 executors of 4 cores, as conf/spark/cluster.conf allows at most.
CLUSTER_CORES, CLUSTER = 256, "64 executors of 4 cores (the most that `conf/spark/cluster.conf` allows)"
#: Share of the cores' time that is used; the rest is skew, stragglers and waiting for the network. An assumption.
CLUSTER_SHARE = 0.7
_BILLION = 1_000_000_000


@dataclass(frozen=True)
class Point:
    """One size, measured.

    Attributes:
        n_notes: notes in phi.notes.
        n_cores: cores of the run.
        stages: stage -> wall_s, cpu_s, jvm_mib, worker_mib, workers_mib, written_mib.
        asking: share of notes with at least one question for the model.
        n_segments: distinct questions; ``tokens``: their estimated tokens.
        largest_patient: notes of the patient with most.
        simulate_s: wall time of the simulation, not counted.
        load: other work on the machine, as its load average before the run.
    """

    n_notes: int
    n_cores: int
    stages: Mapping[str, Mapping[str, float]]
    asking: float = 0.0
    n_segments: int = 0
    tokens: int = 0
    largest_patient: int = 0
    simulate_s: float = 0.0
    load: float = 0.0

    @property
    def wall_s(self) -> float:
        return sum(stage["wall_s"] for stage in self.stages.values())

    @property
    def cpu_s(self) -> float:
        return sum(stage["cpu_s"] for stage in self.stages.values())


@dataclass(frozen=True)
class Line:
    """``fixed_s + per_note_s * notes``; ``is_fitted`` is False with one point, where all is taken as per note."""

    fixed_s: float
    per_note_s: float
    is_fitted: bool = field(default=True)

    def at(self, n_notes: float) -> float:
        return self.fixed_s + self.per_note_s * n_notes


def fit_line(points: Sequence[tuple[float, float]]) -> Line:
    """Least squares through (notes, seconds); neither part is negative."""
    if len({x for x, _ in points}) < 2:
        n_notes, seconds = points[-1]
        return Line(0.0, seconds / n_notes, is_fitted=False)
    mean_x, mean_y = (sum(column) / len(points) for column in zip(*points, strict=True))
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    slope = max(0.0, sum((x - mean_x) * (y - mean_y) for x, y in points) / spread)
    return Line(max(0.0, mean_y - slope * mean_x), slope)


def render_report(points: Sequence[Point]) -> str:
    """Everything for the page, in Markdown."""
    points = sorted(points, key=lambda point: point.n_notes)
    return "\n\n".join(_sections(points))


def _sections(points: Sequence[Point]) -> Iterator[str]:
    yield "### Measured"
    yield render_markdown(_tabulate_points(points))
    yield "### Per stage, wall seconds"
    yield render_markdown(_tabulate_stages(points))
    yield "### Memory, MiB at most over all stages"
    yield render_markdown(_tabulate_memory(points))
    yield "### Model"
    yield "\n".join(_state_model(points))


def _tabulate_points(points: Sequence[Point]) -> Grid:
    head = ("notes", "wall s", "CPU s", "CPU ms per note", "marginal CPU ms per note", "notes with a question")
    rows = [(*head, "distinct questions", "tokens (estimated)", "most notes of a patient", "load before")]
    before: Point | None = None
    for point in points:
        added = point.n_notes - before.n_notes if before else 0
        marginal = f"{(point.cpu_s - before.cpu_s) / added * 1e3:.2f}" if before and added else ""
        per_note = f"{point.cpu_s / point.n_notes * 1e3:.2f}"
        first = (f"{point.n_notes:,}", f"{point.wall_s:.0f}", f"{point.cpu_s:.0f}", per_note, marginal)
        last = (f"{point.n_segments:,}", f"{point.tokens:,}", f"{point.largest_patient:,}", f"{point.load:.1f}")
        rows.append((*first, f"{point.asking:.1%}", *last))
        before = point
    return Grid(tuple(rows), 1)


def _tabulate_stages(points: Sequence[Point]) -> Grid:
    rows = [
        ("stage", *(f"{point.n_notes:,} notes" for point in points), "CPU ms per added note", "MiB per 1,000 notes")
    ]
    for stage in STAGES:
        line = _fit(points, stage, "cpu_s")
        last = points[-1]
        written = last.stages[stage]["written_mib"] / last.n_notes * 1e3
        walls = (f"{point.stages[stage]['wall_s']:.0f}" for point in points)
        rows.append((stage, *walls, f"{line.per_note_s * 1e3:.3f}", f"{written:.2f}"))
    return Grid(tuple(rows), 1)


def _tabulate_memory(points: Sequence[Point]) -> Grid:
    rows = [("notes", "JVM (driver and executor)", "one Python worker", "all Python workers")]
    for point in points:
        sizes = (max(s[name] for s in point.stages.values()) for name in ("jvm_mib", "worker_mib", "workers_mib"))
        rows.append((f"{point.n_notes:,}", *(f"{size:.0f}" for size in sizes)))
    return Grid(tuple(rows), 1)


def _state_model(points: Sequence[Point]) -> Iterator[str]:
    lines = {stage: _fit(points, stage, "cpu_s") for stage in STAGES}
    per_note = sum(line.per_note_s for line in lines.values())
    fixed = sum(line.fixed_s for line in lines.values())
    basis = f"{len(points)} points" if all(line.is_fitted for line in lines.values()) else "one point, start included"
    yield f"CPU seconds = {fixed:.0f} + {per_note * 1e3:.2f} ms x notes (least squares per stage, {basis})."
    yield ""
    last, hours = points[-1], per_note * _BILLION / (CLUSTER_CORES * CLUSTER_SHARE) / 3600
    tokens = last.tokens / last.n_notes
    yield (
        f"**Model, not measured:** 1,000,000,000 notes need {per_note * _BILLION / 3600:,.0f} core-hours; on {CLUSTER},"
        f" {CLUSTER_SHARE:.0%} of their time used, {hours:.1f} hours."
    )
    yield (
        f"{last.asking:.1%} of the notes ask something: {tokens:.2f} estimated prompt tokens per note (equal questions "
        f"once, no cached prefix taken off), {tokens * _BILLION / 1e6:,.0f} million tokens in all. More notes repeat "
        "more questions, so this is an upper bound."
    )


def _fit(points: Sequence[Point], stage: str, what: str) -> Line:
    return fit_line([(point.n_notes, point.stages[stage][what]) for point in points])


def point_of(raw: Mapping[str, Any]) -> Point:
    """A point as it stands in the file of points."""
    return Point(**raw)
