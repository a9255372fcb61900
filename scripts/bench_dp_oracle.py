"""PipelineDP and Tumult Analytics beside ours for ``bench.py dp``: what they take, and whether they say the same.

Knows: how a question is put to a peer's process (``bench_dp_peer.py``), and how two releases are compared. Must not
know: how anybody bounds or draws. As an oracle a peer gets rows that no bound cuts, so that at epsilon 1e6, where noise
is next to nothing, two right answers are equal: counts after rounding, means within ``MEAN_TOLERANCE`` days.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench_dp_questions import SINGLE, STAY_MEAN, new_ledger, plan, public_lists, query_of

from ppsehr_spark.privacy.answering import answer_together
from ppsehr_spark.privacy.catalogue import COUNT, Release
from ppsehr_spark.privacy.releases import PlannedRelease, draw_part, make_rows

#: Ours states six digits; noise at epsilon 1e6 rounds to nothing in whole numbers, and nearly so in PipelineDP's.
MEAN_TOLERANCE = 1e-5
_SCRIPT = Path(__file__).with_name("bench_dp_peer.py")
_DELTA = 1e-7
_EXACT, _USUAL = 1e6, 1.0


@dataclass(frozen=True)
class Peer:
    """A library, as ``bench_dp_peer.py`` names it, and the Python that holds it."""

    library: str
    python: Path


@dataclass(frozen=True)
class Agreement:
    """One question answered by both sides on the same rows.

    Attributes:
        n_differing: cells whose releases at epsilon 1e6 differ by more than the tolerance.
        largest: largest difference there.
        peer_error, our_error: root mean square error of what each released at (1, 1e-7).
    """

    question: str
    n_cells: int
    n_differing: int
    largest: float
    peer_error: float
    our_error: float


def time_peer(peer: Peer, path: str, folder: Path, *, release: Release = SINGLE, rounds: int = 2) -> float:
    """Seconds of a peer's best round for one of our questions on the whole table, Parquet read and all."""
    return float(_ask(peer, folder, {**_question(release, _USUAL), "rows": path, "rounds": rounds})["seconds"])


def consult_oracle(frame: Any, folder: Path, python: Path) -> list[Agreement]:
    """Counts and means of rows that no bound cuts, released by PipelineDP and by us."""
    return [_compare(frame, folder, python, release) for release in (SINGLE, STAY_MEAN)]


def _compare(frame: Any, folder: Path, python: Path, release: Release) -> Agreement:
    kept = _keep_uncut(frame, release).localCheckpoint()
    _write_csv(kept, release, folder / "rows.csv")
    peer = Peer("pipelinedp-local", python)

    def ask(epsilon: float) -> list[float]:
        question = {**_question(release, epsilon), "csv": str(folder / "rows.csv"), "rounds": 1}
        return list(map(float, _ask(peer, folder, question)["values"]))

    count = _count_once(kept, release)
    ours, theirs = _release(count, release, _EXACT), ask(_EXACT)
    gaps = [abs(a - b) for a, b in zip(ours, theirs, strict=True)]
    tolerance = 0.5 if release.kind == COUNT else MEAN_TOLERANCE
    return Agreement(
        release.id,
        len(gaps),
        sum(gap > tolerance for gap in gaps),
        max(gaps),
        _rms(theirs, ask(_USUAL)),
        _rms(ours, _release(count, release, _USUAL)),
    )


def _keep_uncut(frame: Any, release: Release) -> Any:
    """One row per patient and cell, and no more cells of a patient than the bound: nothing is left to cut."""
    from ppsehr_spark.spark.bounding import keep_first_by_hash

    cell = ["patient_key", *release.keys]
    one = keep_first_by_hash(frame, by=cell, key="encounter_key", purpose="bench", n=1)
    return keep_first_by_hash(one, by=["patient_key"], key="encounter_key", purpose="bench", n=release.max_cells)


def _write_csv(kept: Any, release: Release, file: Path) -> None:
    from pyspark.sql import functions as F

    days = F.datediff(F.to_date("discharged_at"), F.to_date("admitted_at"))  # not by the product's own expression
    kept.select("patient_key", F.concat_ws(",", *release.keys), days).toPandas().to_csv(file, index=False, header=False)


def _count_once(kept: Any, release: Release) -> Sequence[int]:
    from ppsehr_spark.spark.statistics.aggregation import list_visits, sum_items

    planned = [_plan(release, _USUAL)]
    return sum_items(list_visits(kept, planned), planned, public_lists())[release.id]


def _release(count: Sequence[int], release: Release, epsilon: float) -> list[float]:
    """What we release for these counts: reserved, drawn once, committed, stated."""
    planned = _plan(release, epsilon)
    part = planned.part
    draw: Callable[..., list[int]] = lambda grant, counts: draw_part(part, counts, grant=grant)  # noqa: E731
    (answer,) = answer_together(new_ledger(10 * epsilon), [query_of(planned)], read=lambda _: count, draw=draw)
    return [row.value for row in make_rows(planned, part, answer.value)]


def _plan(release: Release, epsilon: float) -> PlannedRelease:
    return plan([replace(release, share=1.0)], epsilon=epsilon)[0]


def _question(release: Release, epsilon: float) -> dict[str, Any]:
    lists, keys = public_lists().values, [""]
    for name in release.keys:
        keys = [f"{key},{value}" if key else value for key in keys for value in lists[name]]
    return {
        "metric": "count" if release.kind == COUNT else "mean",
        "by": list(release.keys),
        "keys": keys,
        "max_cells": release.max_cells,
        "clamp": list(release.clamp or (0, 0)),
        "epsilon": epsilon,
        "delta": _DELTA,
        "rho": _plan(release, epsilon).part.event.rho,
    }


def _ask(peer: Peer, folder: Path, question: dict[str, Any]) -> dict[str, Any]:
    file = folder / "question.json"
    file.write_text(json.dumps(question), encoding="utf-8")
    kept = {name: os.environ[name] for name in ("PATH", "JAVA_HOME") if name in os.environ}
    command = [str(peer.python), str(_SCRIPT), peer.library, str(file)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=kept)
    if done.returncode:
        raise SystemExit(f"bench: {peer.library} failed:\n{done.stderr[-2_000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _rms(exact: Sequence[float], released: Sequence[float]) -> float:
    return math.sqrt(math.fsum((a - b) ** 2 for a, b in zip(exact, released, strict=True)) / len(exact))
