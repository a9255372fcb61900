"""Open work units in, answers out: the annotate job's side of the lake.

Knows: phi.work_units, phi.segments, phi.segment_annotations, phi.dead_letters. Must not know: Ray, models.
A segment is open while no row of phi.segment_annotations answers it under today's prompts; that alone decides what a
resumed run still asks. An answer to other words stays in the table: it counts until the new one is there, and again
after a step back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ppsehr_spark.domain.prompting import compile_prompts, is_in_force
from ppsehr_spark.domain.taxonomy import ConfFiles, load_categories
from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.crash_points import crash_point
from ppsehr_spark.lake.tables import Lake
from ray_actors.dispatch import DeadLetter, Task

_SEGMENT_COLUMNS = ("segment_key", "task", "text", "note_type", "candidates")


def open_tasks(lake: Lake, files: ConfFiles) -> list[Task]:
    """One task per unit that has open segments, in dispatch order, each segment in the first unit that names it.

    Args:
        files: conf, with the prompts in force.
    """
    answered = _answered(lake, compile_prompts(files, load_categories(files)).list_prompts())
    units = lake.read(schemas.WORK_UNITS, ["unit_id", "position", "segment_keys"])
    tasks: list[Task] = []
    for unit in units.sort_by([("position", "ascending"), ("unit_id", "ascending")]).to_pylist():
        left = [key for key in dict.fromkeys(unit["segment_keys"]) if key not in answered]
        answered.update(left)
        if left:
            tasks.append(Task(unit["unit_id"], tuple(left)))
    return tasks


def _answered(lake: Lake, in_force: frozenset[str]) -> set[str]:
    keys: set[str] = set()
    for batch in lake.stream(schemas.SEGMENT_ANNOTATIONS, ["segment_key", "prompts"]):
        for key, asked in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            if all(is_in_force(name, in_force) for name in asked or ()):
                keys.add(key)
    return keys


class SegmentSource:
    """Rows of phi.segments by key, read from one version of the table."""

    def __init__(self, lake: Lake, keys: Iterable[str]) -> None:
        wanted = set(keys)
        batches = (
            batch.filter(pc.is_in(batch.column("segment_key"), pa.array(sorted(wanted), pa.string())))
            for batch in lake.stream(schemas.SEGMENTS, _SEGMENT_COLUMNS)
        )
        self._table = pa.Table.from_batches(
            batches, pa.schema([schemas.SEGMENTS.schema.field(name) for name in _SEGMENT_COLUMNS])
        )
        keys_in_order = self._table.column("segment_key").to_pylist()
        self._at = {key: index for index, key in enumerate(keys_in_order)}

    def rows(self, keys: Sequence[str]) -> list[dict[str, Any]]:
        """The rows of ``keys`` that exist, as dictionaries."""
        found = [self._at[key] for key in keys if key in self._at]
        rows: list[dict[str, Any]] = self._table.take(found).to_pylist()
        return rows


@dataclass
class AnswerSink:
    """Collects answers and commits them a few units at a time.

    Attributes:
        lake, run_id: where and for whom.
        engine: engine name for dead letters.
        units_per_commit: finished tasks per Delta commit; a crash loses at most these.
    """

    lake: Lake
    run_id: str
    engine: str
    units_per_commit: int
    _rows: list[dict[str, Any]] = field(default_factory=list)
    _dead: list[dict[str, Any]] = field(default_factory=list)
    _n_tasks: int = 0

    def add(self, task: Task, rows: Iterable[Mapping[str, Any]], dead: Iterable[DeadLetter]) -> None:
        """Take over the outcome of one task; commit when enough have come together."""
        about = {"unit_id": task.unit_id, "run_id": self.run_id}
        self._rows += [{**row, **about} for row in rows]
        self._dead += [
            {
                "segment_key": letter.segment_key,
                "error_code": letter.error_code,
                "attempts": letter.attempts,
                "engine": self.engine,
                **about,
            }
            for letter in dead
        ]
        self._n_tasks += 1
        if self._n_tasks >= self.units_per_commit:
            self.commit()

    def commit(self) -> None:
        """Append what was collected, once: the transaction id is a hash of the run and its segment keys."""
        crash_point("annotate.before_commit")
        for spec, rows in ((schemas.SEGMENT_ANNOTATIONS, self._rows), (schemas.DEAD_LETTERS, self._dead)):
            if rows:
                keys = "|".join(sorted(row["segment_key"] for row in rows))
                digest = hashlib.sha256(f"{self.run_id}|{keys}".encode()).hexdigest()[:32]
                table = pa.Table.from_pylist(rows, schema=spec.schema)
                self.lake.append(spec, table, app_id=f"annotate.{digest}", app_version=1)
        crash_point("annotate.after_commit")
        self._rows, self._dead, self._n_tasks = [], [], 0
