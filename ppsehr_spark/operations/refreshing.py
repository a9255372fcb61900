"""What a refresh did, beside what a full run would do: notes changed, segments sent, rows read, bytes rewritten.

Knows: ``control.runs`` and Delta histories. Must not know: how a stage works. Counted as read are rows that enter
Python in partition, tier and protect; as rewritten, bytes of data files that commits added, without compaction.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import takewhile
from typing import Any

from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.schemas import TableSpec
from ppsehr_spark.lake.table_log import read_commits
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.operations.records import read_runs
from ppsehr_spark.operations.volumes import Volume, measure_table

#: Tables that a refresh may write, in the order of the stages.
TABLES = (
    schemas.PATIENTS, schemas.ENCOUNTERS, schemas.NOTES, schemas.GOLD, schemas.PATIENT_MERGES, schemas.REJECTS,
    schemas.RULE_ANNOTATIONS, schemas.SEGMENTS, schemas.WORK_UNITS, schemas.SEGMENT_ANNOTATIONS, schemas.ANNOTATIONS,
    schemas.PROTECTED_NOTES,
)  # fmt: skip
#: Stages through whose Python every note goes, and the table that says how many there are.
_PER_NOTE = {"partition": schemas.NOTES, "tier": schemas.NOTES, "protect": schemas.NOTES}
_ROW_METRICS = ("numTargetRowsInserted", "numTargetRowsUpdated", "numTargetRowsDeleted")


@dataclass(frozen=True)
class Share:
    """A figure beside the whole it is part of."""

    name: str
    done: int
    whole: int

    @property
    def percent(self) -> float:
        """0 where the whole is nothing."""
        return 100 * self.done / self.whole if self.whole else 0.0


@dataclass(frozen=True)
class RefreshReport:
    """What one refresh did.

    Attributes:
        ingested: counts of the ingest.
        segments: new ones and answered ones, of all there are.
        rows_read: per stage, of all notes.
        bytes_rewritten: per table, of the whole table.
        rows_written: per table.
    """

    run_id: str
    ingested: Mapping[str, int]
    segments: tuple[Share, ...]
    rows_read: tuple[Share, ...]
    bytes_rewritten: tuple[Share, ...]
    rows_written: Mapping[str, int]

    def total(self, shares: tuple[Share, ...]) -> Share:
        """The sum of several shares."""
        return Share("total", sum(s.done for s in shares), sum(s.whole for s in shares))


def mark_versions(lake: Lake) -> dict[str, int | None]:
    """Where the tables stand before a refresh."""
    return {spec.full_name: lake.version(spec) for spec in TABLES}


def measure_refresh(lake: Lake, before: Mapping[str, int | None], run_id: str) -> RefreshReport:
    """What happened since ``before``; a stage that was skipped read nothing."""
    runs = {run["stage"]: json.loads(run["counts"]) for run in read_runs(lake) if run["run_id"] == run_id}
    volumes = {spec.full_name: measure_table(lake, spec) for spec in TABLES}
    written = {spec.full_name: _written(lake, spec, before[spec.full_name]) for spec in TABLES}
    read = tuple(
        Share(stage, runs.get(stage, {}).get("computed", 0), _rows(volumes[spec.full_name]))
        for stage, spec in _PER_NOTE.items()
    )
    n_segments = _rows(volumes[schemas.SEGMENTS.full_name])
    sent = {"new": schemas.SEGMENTS, "answered": schemas.SEGMENT_ANNOTATIONS}
    return RefreshReport(
        run_id=run_id,
        ingested=runs.get("ingest", {}),
        segments=tuple(Share(name, written[spec.full_name][0], n_segments) for name, spec in sent.items()),
        rows_read=read,
        bytes_rewritten=tuple(Share(name, written[name][1], volumes[name].bytes) for name in written),
        rows_written={name: rows for name, (rows, _) in written.items()},
    )


def _rows(volume: Volume) -> int:
    return volume.rows or 0


def _written(lake: Lake, spec: TableSpec, since: int | None) -> tuple[int, int]:
    """Rows and bytes that commits after ``since`` wrote."""
    if spec.engine != "spark":
        return _grown(lake, spec, since)
    first, newest = 0 if since is None else since + 1, lake.version(spec)
    if newest is None or newest < first:
        return 0, 0
    commits = takewhile(lambda commit: commit[0] >= first, read_commits(lake, spec, until=newest))
    rows = n_bytes = 0
    for commit in (told for _, told in commits if told.get("operation") not in ("OPTIMIZE", "REORG")):
        metrics: dict[str, Any] = commit.get("operationMetrics") or {}
        changed = [int(metrics.get(name, 0)) for name in _ROW_METRICS]
        rows += sum(changed) if any(changed) else int(metrics.get("numOutputRows", 0))
        n_bytes += int(metrics.get("numTargetBytesAdded", metrics.get("numOutputBytes", 0)))
    return rows, n_bytes


def _grown(lake: Lake, spec: TableSpec, since: int | None) -> tuple[int, int]:
    """deltalake's tables are appended to, and a commit of parts states no figures: they wrote what they grew by."""
    now = measure_table(lake, spec)
    old = Volume() if since is None else measure_table(lake, spec, version=since)
    return max(0, _rows(now) - _rows(old)), max(0, now.bytes - old.bytes)


def render_report(report: RefreshReport, *, as_json: bool = False) -> str:
    """For people, or as JSON."""
    rows, data = report.total(report.rows_read), report.total(report.bytes_rewritten)
    if as_json:
        shares = {"rows_percent": rows.percent, "bytes_percent": data.percent}
        return json.dumps({**asdict(report), **shares}, ensure_ascii=False)
    named = [f"{name} {n:,}" for name, n in report.ingested.items() if n and name != "computed"]
    lines = ["Changes", f"  {', '.join(named) or 'none'}", "Segments, of all there are", *map(_line, report.segments)]
    lines += ["Rows that entered Python, of a full run", *map(_line, (*report.rows_read, rows))]
    lines += ["Bytes rewritten, of the whole table", *map(_line, (*report.bytes_rewritten, data))]
    return "\n".join(lines)


def _line(share: Share) -> str:
    return f"  {share.name:<26} {share.done:>14,} of {share.whole:>14,}  {share.percent:6.2f}%"
