"""What a run would do, read and take: figures for ``--dry-run``.

Knows: Delta metadata, earlier rows of ``control.runs``, and documented rates for a lake that has none. Must not know:
how a stage works; nothing is scanned and nothing is written. Rates: ``docs/operations.md``, "Running it".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.operations.records import OK, PARTIAL, read_runs
from ppsehr_spark.operations.tables import align_columns
from ppsehr_spark.operations.volumes import Volume

#: Two runs tell start-up from work when the larger had this many times the rows of the smaller.
_APART = 4.0


@dataclass(frozen=True)
class Rate:
    """Seconds before the first row, and seconds per row."""

    start_s: float
    per_row_s: float

    def estimate(self, rows: int) -> float:
        """Seconds for ``rows``."""
        return self.start_s + rows * self.per_row_s


#: Orders of magnitude on two AVX2 cores, for a lake without a history. Rows: patients (simulate, synthesize), KiB of
#: source (ingest), notes, segments (annotate, Qwen 1.5B in float32), evaluated releases.
DEFAULT_RATES: Mapping[str, Rate] = {
    "simulate": Rate(10.0, 0.0005),
    "ingest": Rate(30.0, 0.0004),
    "partition": Rate(20.0, 0.01),
    "annotate": Rate(90.0, 0.7),
    "tier": Rate(20.0, 0.001),
    "protect": Rate(15.0, 0.001),
    "stats": Rate(25.0, 0.0002),
    "fit": Rate(25.0, 0.0002),
    "train": Rate(40.0, 0.01),
    "synthesize": Rate(90.0, 8.0),
    "evaluate": Rate(5.0, 0.01),
    "publish": Rate(5.0, 0.001),
}


@dataclass(frozen=True)
class Estimate:
    """Seconds and tokens that a run may take, and what says so."""

    seconds: float | None = None
    tokens: int | None = None
    basis: str = "nothing to go by"


def estimate_run(lake: Lake, *, stage: str, work_rows: int | None, token_budget: int | None = None) -> Estimate:
    """Time and tokens for so many rows of work; both ``None`` where the work is unknown."""
    if work_rows is None:
        return Estimate(basis="the input is not there yet")
    runs = [r for r in read_runs(lake, stage) if r["status"] in (OK, PARTIAL) and r["work_rows"]]
    rate, basis = _rate(stage, runs)
    tokens = _tokens(runs, work_rows, token_budget)
    return Estimate(None if rate is None else round(rate.estimate(work_rows), 1), tokens, basis)


def describe_plan(
    *, stage: str, inputs: Mapping[str, Volume], writes: Sequence[str], work_rows: int | None, would_run: bool,
    estimate: Estimate, more: Mapping[str, object],
) -> dict[str, object]:  # fmt: skip
    """The plan as plain values; what the stage itself says comes last and may state better tokens."""
    return {
        "stage": stage,
        "would_run": would_run,
        "inputs": {name: volume.version for name, volume in inputs.items()},
        "volumes": {name: {"rows": v.rows, "bytes": v.bytes} for name, v in inputs.items() if v.version is not None},
        "writes": list(writes),
        "work_rows": work_rows,
        "estimated_seconds": estimate.seconds if would_run else 0.0,
        "estimated_tokens": estimate.tokens if would_run else 0,
        "estimate_from": estimate.basis,
        **{name: value for name, value in more.items() if name != "estimated_tokens" or estimate.tokens is None},
    }


def render_plans(plans: Sequence[Mapping[str, Any]]) -> str:
    """A table for people: one line per stage, then the sum of what is known."""
    head = ("stage", "runs", "work rows", "MiB read", "tokens", "time", "estimated from")
    lines = [_line(plan) for plan in plans]
    known = [p["estimated_seconds"] for p in plans if p["estimated_seconds"] is not None]
    tokens = sum(p["estimated_tokens"] or 0 for p in plans)
    is_whole = len(known) == len(plans)
    total = ("total", "", "", "", f"{tokens:,}", _clock(sum(known)), "" if is_whole else "of the stages that are known")
    return align_columns([head, *lines, total])


def _line(plan: Mapping[str, Any]) -> tuple[str, ...]:
    mib = sum(volume["bytes"] for volume in plan["volumes"].values()) / (1 << 20)
    return (
        plan["stage"],
        "yes" if plan["would_run"] else "no",
        _count(plan["work_rows"]),
        f"{mib:,.1f}",
        _count(plan["estimated_tokens"]),
        _clock(plan["estimated_seconds"]),
        plan["estimate_from"] if plan["would_run"] else "unchanged since its last run",
    )


def _rate(stage: str, runs: Sequence[Mapping[str, Any]]) -> tuple[Rate | None, str]:
    default = DEFAULT_RATES.get(stage)
    if not runs:
        return default, "documented default rate" if default else "nothing to go by"
    small, large = (choose(runs, key=lambda run: run["work_rows"]) for choose in (min, max))
    start_s = default.start_s if default else 0.0
    if large["work_rows"] >= _APART * small["work_rows"]:
        per_row_s = max(0.0, (large["seconds"] - small["seconds"]) / (large["work_rows"] - small["work_rows"]))
        start_s = max(0.0, small["seconds"] - per_row_s * small["work_rows"])
    else:
        start_s = min(start_s, large["seconds"])
        per_row_s = (large["seconds"] - start_s) / large["work_rows"]
    return Rate(start_s, per_row_s), f"{len(runs)} earlier runs, the largest of {large['work_rows']:,} rows"


def _tokens(runs: Sequence[Mapping[str, Any]], work_rows: int, token_budget: int | None) -> int | None:
    """Charged tokens at the rate of earlier runs, at most the budget; 0 for a stage without a model."""
    if token_budget is None:
        return 0
    counted = [run for run in runs if run["prompt_tokens"]]
    if not counted:
        return None if work_rows else 0
    spent = sum(run["prompt_tokens"] - (run["cached_tokens"] or 0) + (run["output_tokens"] or 0) for run in counted)
    return min(token_budget, round(spent / sum(run["work_rows"] for run in counted) * work_rows))


def _count(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def _clock(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
