"""Figures of the last runs for a monitoring system: Prometheus text and the same as JSON, in one folder.

Knows: ``control.runs``, table sizes, metric names. Must not know: notes; a label is the name of a stage, a status, a
table or a count, all of them constants of the code. Reference: Prometheus, "Metric and label naming"; node_exporter,
"Textfile Collector".
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ppsehr_spark.config import Settings
from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.dead_letters import count_dead
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.operations.records import OK, read_runs
from ppsehr_spark.operations.volumes import measure_tables

_KINDS = ("prompt", "cached", "output")
_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Metric:
    """One metric family.

    Attributes:
        kind: ``gauge`` or ``counter``; a counter's name ends in ``_total``.
        samples: label values, in the order of ``labels`` -> value.
    """

    name: str
    help: str
    kind: str = "gauge"
    labels: tuple[str, ...] = ()
    samples: Mapping[tuple[str, ...], float] = field(default_factory=dict)


def write_stage_metrics(lake: Lake, settings: Settings, stage: str) -> None:
    """``ppsehr_stage_<stage>.prom`` and ``.json`` in ``metrics.folder``; nothing without a folder."""
    if settings.metrics.folder:
        _write(settings.metrics.folder, f"ppsehr_stage_{stage}", stage_metrics(stage, read_runs(lake, stage)))


def write_run_metrics(lake: Lake, settings: Settings, *, exit_code: int, seconds: float, finished_at: float) -> None:
    """``ppsehr_run.prom`` and ``.json``: the pipeline as a whole and the tables it left.

    Args:
        finished_at: Unix time in s.
    """
    if not settings.metrics.folder:
        return
    before = _last_success(Path(settings.metrics.folder) / "ppsehr_run.json")
    success = finished_at if exit_code == 0 else before
    run = run_metrics(exit_code=exit_code, seconds=seconds, finished_at=finished_at, last_success=success)
    _write(settings.metrics.folder, "ppsehr_run", [*run, *lake_metrics(lake)])


def stage_metrics(stage: str, runs: Sequence[Mapping[str, Any]]) -> list[Metric]:
    """What the runs of one stage came to, the oldest first."""
    if not runs:
        return []
    last, good = runs[-1], [_ended(run) for run in runs if run["status"] == OK]
    one = ("stage",)

    def gauge(name: str, text: str, value: float | None) -> Metric:
        return Metric(f"ppsehr_stage_{name}", text, labels=one, samples={} if value is None else {(stage,): value})

    statuses = Counter(run["status"] for run in runs)
    tokens = {(stage, kind): float(sum(run[f"{kind}_tokens"] or 0 for run in runs)) for kind in _KINDS}
    return [
        gauge("last_run_timestamp_seconds", "End of the last run, Unix time.", _ended(last)),
        gauge("last_success_timestamp_seconds", "End of the last run that ended well.", good[-1] if good else None),
        gauge("last_run_duration_seconds", "Wall time of the last run.", last["seconds"]),
        gauge("last_run_exit_code", "Exit code of the last run; 0 is well.", last["exit_code"]),
        gauge("last_run_cost", "Cost of the last run at the prices of the site.", last["cost"]),
        Metric(
            "ppsehr_stage_last_run_count", "Counts of the last run.", labels=("stage", "count"),
            samples={(stage, name): float(value) for name, value in _counts(last).items()},
        ),
        Metric(
            "ppsehr_stage_runs_total", "Runs by how they ended.", "counter", ("stage", "status"),
            {(stage, status): float(n) for status, n in statuses.items()},
        ),
        Metric("ppsehr_stage_tokens_total", "Model tokens of all runs.", "counter", ("stage", "kind"), tokens),
        Metric(
            "ppsehr_stage_duration_seconds_total", "Wall time of all runs.", "counter", one,
            {(stage,): sum(run["seconds"] or 0.0 for run in runs)},
        ),
    ]  # fmt: skip


def run_metrics(*, exit_code: int, seconds: float, finished_at: float, last_success: float | None) -> list[Metric]:
    """What a whole run came to; ``last_success`` is ``None`` before the first."""
    succeeded = {} if last_success is None else {(): last_success}
    return [
        Metric("ppsehr_run_last_timestamp_seconds", "End of the last whole run, Unix time.", samples={(): finished_at}),
        Metric("ppsehr_run_last_success_timestamp_seconds", "End of the last that ended well.", samples=succeeded),
        Metric("ppsehr_run_last_duration_seconds", "Wall time of the last whole run.", samples={(): seconds}),
        Metric("ppsehr_run_last_exit_code", "Exit code of the last whole run.", samples={(): float(exit_code)}),
    ]


def lake_metrics(lake: Lake) -> list[Metric]:
    """Sizes of all tables, and what waits for somebody: open segments, dead letters, rejects."""
    sizes = measure_tables(lake, schemas.TABLES.values())
    there = {name: volume for name, volume in sizes.items() if volume.version is not None}
    rows = {(name,): float(v.rows) for name, v in there.items() if v.rows is not None}
    n_dead = sum(count_dead(lake).values())
    asked = [run for run in read_runs(lake, "annotate") if "open_segments" in _counts(run)]
    return [
        Metric("ppsehr_table_rows", "Rows of a table.", labels=("table",), samples=rows),
        Metric(
            "ppsehr_table_size_bytes", "Data files of a table.", labels=("table",),
            samples={(name,): float(volume.bytes) for name, volume in there.items()},
        ),
        Metric(
            "ppsehr_open_segments", "Segments without an answer after the last annotate.",
            samples={(): _counts(asked[-1])["open_segments"]} if asked else {},
        ),
        Metric("ppsehr_dead_letters", "Segments given up and not opened again.", samples={(): float(n_dead)}),
        Metric("ppsehr_rejected_rows", "Source rows refused.", samples={(): rows.get(("phi.rejects",), 0.0)}),
    ]  # fmt: skip


def _counts(run: Mapping[str, Any]) -> dict[str, float]:
    """Counts by names that are names; a key made of anything else stays out."""
    counts = json.loads(run["counts"] or "{}")
    return {name: float(value) for name, value in counts.items() if _NAME.fullmatch(name) and value is not None}


def _ended(run: Mapping[str, Any]) -> float:
    return float(run["started_at"].timestamp() + (run["seconds"] or 0.0))


def _last_success(path: Path) -> float | None:
    try:
        samples = json.loads(path.read_text(encoding="utf-8"))["ppsehr_run_last_success_timestamp_seconds"]["samples"]
    except (OSError, ValueError, KeyError):
        return None
    return float(samples[0]["value"]) if samples else None


def _write(folder: str, stem: str, metrics: Sequence[Metric]) -> None:
    from prometheus_client import CollectorRegistry, write_to_textfile  # only where somebody asked for metrics

    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    registry = CollectorRegistry()
    registry.register(_Families(metrics))
    write_to_textfile(str(place / f"{stem}.prom"), registry)
    partial = place / f".{stem}.json.{os.getpid()}"
    partial.write_text(json.dumps(_plain(metrics), indent=1) + "\n", encoding="utf-8")
    os.replace(partial, place / f"{stem}.json")


class _Families:
    """Prometheus' collector protocol over our values."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Any:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        for metric in self._metrics:
            kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            family = kind(metric.name, metric.help, labels=metric.labels)
            for labels, value in metric.samples.items():
                family.add_metric(labels, value)
            yield family


def _plain(metrics: Sequence[Metric]) -> dict[str, object]:
    return {
        metric.name: {
            "help": metric.help,
            "type": metric.kind,
            "samples": [
                {"labels": dict(zip(metric.labels, labels, strict=True)), "value": value}
                for labels, value in metric.samples.items()
            ],
        }
        for metric in metrics
    }
