"""Units for this driver: claimed a few at a time, without what others have answered meanwhile.

Knows: the plan of a run, leases, answers. Must not know: Ray, engines, budgets.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from ppsehr_spark.lake.crash_points import crash_point
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.lake.unit_claims import UnitClaims
from ray_actors.answer_watch import AnswerWatch
from ray_actors.dispatch import Task
from ray_actors.unit_store import SegmentSource


class UnitFeed:
    """What is left of the plan.

    ``n_left`` counts the units that are neither claimed here nor known to be answered.
    """

    def __init__(
        self, lake: Lake, tasks: Sequence[Task], *, claims: UnitClaims, watch: AnswerWatch, units_per_claim: int
    ) -> None:
        self._backlog = {task.unit_id: task for task in tasks}
        self._unit_of = {key: task.unit_id for task in tasks for key in task.segment_keys}
        self._claims = claims
        self._watch = watch
        self._units_per_claim = max(1, units_per_claim)
        self._source = SegmentSource(lake)

    @property
    def n_left(self) -> int:
        """Units nobody has finished and this driver does not hold."""
        return len(self._backlog)

    def pull(self) -> list[Task]:
        """Claim the next units and read their segments; fewer or none when others hold or finished the rest.

        Answers are looked at after the claim: whoever held a unit before committed what it had before it let go.
        """
        if not self._backlog:
            return []
        taken = self._claims.claim(list(self._backlog), limit=self._units_per_claim)
        crash_point("annotate.after_claim")
        self._watch.refresh()
        self._drop_answered()
        tasks = [self._backlog.pop(unit) for unit in taken if unit in self._backlog]
        self._claims.release(set(taken) - {task.unit_id for task in tasks})
        self._source.load(key for task in tasks for key in task.segment_keys)
        return tasks

    def rows(self, task: Task) -> list[dict[str, Any]]:
        """The segments of a task."""
        return self._source.rows(task.segment_keys)

    def let_go(self, unit_ids: Collection[str], keys: Iterable[str]) -> None:
        """These units are finished and committed, or given up by this run."""
        self._claims.release(unit_ids)
        self._source.forget(keys)

    def _drop_answered(self) -> None:
        """Narrow the units that hold what others have answered; costs what is new, not what is left."""
        fresh = self._watch.take_fresh()
        for unit_id in {self._unit_of[key] for key in fresh if key in self._unit_of}:
            task = self._backlog.get(unit_id)
            if task is None:
                continue
            left = [key for key in task.segment_keys if key not in fresh]
            if left:
                self._backlog[unit_id] = task.narrow(left)
            else:
                del self._backlog[unit_id]
