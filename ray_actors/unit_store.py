"""Open work units and the segments in them: what the annotate job reads.

Knows: phi.work_units, phi.segments, and which segments are open. Must not know: Ray, models, leases.
A segment is open while no row of phi.segment_annotations answers it under today's prompts and it has not been given up
(phi.dead_letters); that alone decides what a resumed run still asks. An answer to other words stays in the table: it
counts until the new one is there, and again after a step back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ppsehr_spark.domain.taxonomy import ConfFiles
from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.dead_letters import read_dead
from ppsehr_spark.lake.tables import Lake
from ray_actors.answer_watch import AnswerWatch
from ray_actors.dispatch import Task

_SEGMENT_COLUMNS = ("segment_key", "task", "text", "note_type", "candidates")
_UNIT_COLUMNS = ("unit_id", "position", "segment_keys", "n_segments", "estimated_tokens")


def open_tasks(
    lake: Lake, files: ConfFiles, *, watch: AnswerWatch | None = None, only: Collection[str] | None = None
) -> list[Task]:
    """One task per unit that has open segments, in dispatch order, each segment in the first unit that names it.

    Args:
        files: conf, with the prompts in force.
        watch: what is answered, where somebody knows already.
        only: these segments and no others; all open ones by default.
    """
    closed = {*(watch or AnswerWatch(lake, files)).answered, *read_dead(lake)}
    units = lake.read(schemas.WORK_UNITS, _UNIT_COLUMNS)
    tasks: list[Task] = []
    for unit in units.sort_by([("position", "ascending"), ("unit_id", "ascending")]).to_pylist():
        left = [key for key in dict.fromkeys(unit["segment_keys"]) if key not in closed]
        left = left if only is None else [key for key in left if key in only]
        closed.update(left)
        if left:
            whole = Task(unit["unit_id"], tuple(unit["segment_keys"]), estimated_tokens=unit["estimated_tokens"] or 0)
            tasks.append(whole.narrow(left))
    return tasks


class SegmentSource:
    """Rows of phi.segments for the units at hand, all read from one version of the table."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._version = lake.version(schemas.SEGMENTS)
        self._rows: dict[str, dict[str, Any]] = {}

    def load(self, keys: Iterable[str]) -> None:
        """Read the rows of these keys, in one pass over the table; keys are compared here, never put into a query."""
        wanted = pa.array(sorted(set(keys)), pa.string())
        for batch in self._lake.stream(schemas.SEGMENTS, _SEGMENT_COLUMNS, version=self._version):
            for row in batch.filter(pc.is_in(batch.column("segment_key"), wanted)).to_pylist():
                self._rows[row["segment_key"]] = row

    def forget(self, keys: Iterable[str]) -> None:
        """These are done."""
        for key in keys:
            self._rows.pop(key, None)

    def rows(self, keys: Sequence[str]) -> list[dict[str, Any]]:
        """The rows of ``keys`` that exist, as dictionaries."""
        return [self._rows[key] for key in keys if key in self._rows]
