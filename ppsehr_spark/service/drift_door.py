"""``ppsehr dp drift``: how far each measure moved between sketched table versions; for eyes inside phi alone.

Knows: how sketches become lines. Must not know: how a sketch is made. Reads ``phi.drift_sketches`` and writes nothing.
Quantiles of a sketch are values of real rows: the output is internal, has no DP guarantee and never leaves the phi
zone. Reference: Smirnov 1948, "Table for estimating the goodness of fit of empirical distributions" (the limit of
chance).
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from ppsehr_spark.errors import ExitCode
from ppsehr_spark.evaluation.drift import compare_sketches, read_quantiles
from ppsehr_spark.lake.statistics_store import Sketch, read_sketches
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.operations.tables import align_columns
from ppsehr_spark.service.arguments import make_parser, run_door

_FRACTIONS = (0.1, 0.25, 0.5, 0.75, 0.9)
#: Smirnov's 95% point of the largest distance, times sqrt(n m / (n + m)).
_SMIRNOV_95 = 1.358
_EXAMPLES = """  ppsehr dp drift --lake .state/lake
  ppsehr dp drift --lake .state/lake --explain
  ppsehr dp drift --lake .state/lake --json
exit codes: 0 done, 2 usage"""
_EXPLAINED = """
version   Delta version of phi.encounters or phi.notes that was sketched
p10..p90  quantiles of the sketch, real values without any noise; rank error below 0.1%
distance  largest distance between the two distribution functions, 0 to 1, to the version before
chance    two samples of these sizes from one distribution lie closer than this in 95 of 100 cases; rows that both
          versions share make a distance above it rarer still
moved     yes when the distance is above chance
INTERNAL: no differential privacy; do not copy out of the phi zone."""


@dataclass(frozen=True)
class DriftLine:
    """One sketched version; ``distance``, ``chance`` and ``is_moved`` are ``None`` for the first of a measure."""

    measure: str
    table_version: int
    n_rows: int
    quantiles: tuple[float | None, ...]
    distance: float | None
    chance: float | None
    is_moved: bool | None


def main(argv: Sequence[str]) -> int:
    """Run ``ppsehr dp drift``; returns the exit code."""
    parser = make_parser("dp", "drift: distance between refreshes, from internal sketches; reads only.", _EXAMPLES)
    parser.add_argument("what", choices=["drift"], help="drift")
    parser.add_argument("--lake", required=True, metavar="URI", help="lake whose sketches are compared")
    parser.add_argument("--json", action="store_true", help="for machines")
    parser.add_argument("--explain", action="store_true", help="say what each column means")
    options = parser.parse_args(argv)
    return run_door("dp", lambda: _show(options))


def _show(options: argparse.Namespace) -> int:
    lines = compare_versions(read_sketches(Lake(options.lake)))
    if options.json:
        print(json.dumps([asdict(line) for line in lines], ensure_ascii=False, indent=1))
    else:
        print(render_lines(lines) + (_EXPLAINED if options.explain else ""))
    return int(ExitCode.OK)


def compare_versions(sketches: Sequence[Sketch]) -> list[DriftLine]:
    """Every sketch beside the one before it of the same measure.

    Args:
        sketches: by measure, then table version.
    """
    lines = []
    for at, sketch in enumerate(sketches):
        before = sketches[at - 1] if at and sketches[at - 1].measure == sketch.measure else None
        quantiles = [None if math.isnan(value) else value for value in read_quantiles(sketch.centroids, _FRACTIONS)]
        distance = compare_sketches(before.centroids, sketch.centroids) if before else None
        chance = _bound_chance(before.n_rows, sketch.n_rows) if before else None
        is_moved = None if distance is None or chance is None else distance > chance
        place = (sketch.measure, sketch.table_version, sketch.n_rows)
        lines.append(DriftLine(*place, tuple(quantiles), distance, chance, is_moved))
    return lines


def render_lines(lines: Sequence[DriftLine]) -> str:
    """The lines as a table, marked as internal."""
    head = ("measure", "version", "rows", *(f"p{100 * each:g}" for each in _FRACTIONS), "distance", "chance", "moved")
    body = [
        (
            line.measure, str(line.table_version), f"{line.n_rows:,}",
            *("-" if value is None else f"{value:.1f}" for value in line.quantiles),
            *("-" if value is None else f"{value:.4f}" for value in (line.distance, line.chance)),
            {None: "-", True: "yes", False: "no"}[line.is_moved],
        )
        for line in lines
    ]  # fmt: skip
    table = align_columns([head, *body]) if body else "no sketches yet: the stats stage makes them"
    return f"{table}\nINTERNAL: real values, no differential privacy; --explain says what the columns mean"


def _bound_chance(n_before: int, n_after: int) -> float:
    if not n_before or not n_after:
        return 0.0
    return min(1.0, _SMIRNOV_95 * math.sqrt((n_before + n_after) / (n_before * n_after)))
