"""Which versions the next refresh goes on from: those that each of its stages read and left in its last finished run.

Knows: ``control.runs`` and which stages read changes. Must not know: change feeds themselves, how history is kept.
A stage follows the changes of its inputs from the version it has read, and looks through the commits of its outputs
from the version it has left; without either it would have to compare whole tables.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from ppsehr_spark.lake.schemas import RUNS
from ppsehr_spark.lake.table_spec import TableSpec
from ppsehr_spark.lake.tables import Lake

#: Stages that go on from the version they have read last; every other one reads a table as it is now.
FEED_STAGES = ("partition", "tier", "protect", "refresh")


@dataclass(frozen=True)
class Watermark:
    """The version of a table that a stage has read or left last."""

    stage: str
    version: int


def read_watermarks(lake: Lake) -> Mapping[str, tuple[Watermark, ...]]:
    """Full table name -> watermarks of the stages that go on from there, furthest behind first."""
    columns = ["stage", "status", "started_at", "input_versions", "output_versions"]
    last = {
        row["stage"]: [json.loads(row[name] or "{}") for name in ("input_versions", "output_versions")]
        for row in lake.read(RUNS, columns).sort_by("started_at").to_pylist()
        if row["status"] == "ok" and row["stage"] in FEED_STAGES
    }
    marks: dict[str, list[Watermark]] = {}
    for stage, (read, left) in last.items():
        for table, version in (*read.items(), *left.items()):
            if version is not None:
                marks.setdefault(table, []).append(Watermark(stage, version))
    return {table: tuple(sorted(found, key=lambda mark: mark.version)) for table, found in marks.items()}


def oldest_needed(marks: Mapping[str, tuple[Watermark, ...]], spec: TableSpec) -> Watermark | None:
    """The watermark furthest behind on a table; ``None`` when no refresh goes on from it."""
    return next(iter(marks.get(spec.full_name, ())), None)
