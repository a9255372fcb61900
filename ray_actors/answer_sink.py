"""Parts in, rows of phi.segment_annotations out: each segment once, whoever else is answering.

Knows: how parts of several units become one commit, and that somebody may have been first. Must not know: Ray, engines,
units that wait. Before each commit the answers that came since are looked at on the very snapshot the commit is made
on; a segment answered meanwhile is left out of our part, which is then written anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import pyarrow as pa

from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.crash_points import crash_point
from ppsehr_spark.lake.dead_letters import give_up
from ppsehr_spark.lake.fenced_commits import Fence, commit_fenced
from ppsehr_spark.lake.parts import Part, add_parts, read_part, write_part
from ppsehr_spark.lake.tables import Lake
from ray_actors.annotate_counts import tally_rows
from ray_actors.answer_watch import AnswerWatch
from ray_actors.dispatch import DeadLetter

_SPEC = schemas.SEGMENT_ANNOTATIONS


@dataclass(frozen=True)
class _Checked:
    """A part that was found whole."""

    part: Part
    keys: tuple[str, ...]
    tally: Counter[str]


@dataclass
class AnswerSink:
    """Collects parts and commits those of a few units at a time.

    Attributes:
        run_id, engine: for dead letters.
        units_per_commit: parts per Delta commit; a crash loses at most these.
        tally: what was committed, by name.
        n_repeated: segments left out because somebody else had answered them.
    """

    lake: Lake
    watch: AnswerWatch
    run_id: str
    engine: str
    units_per_commit: int
    tally: Counter[str] = field(default_factory=Counter)
    n_repeated: int = 0
    _parts: list[_Checked] = field(default_factory=list)
    _tried: list[_Checked] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Parts need the folder of the table."""
        self.lake.create(_SPEC)

    @property
    def is_full(self) -> bool:
        """True when enough has come together for a commit."""
        return len(self._parts) >= self.units_per_commit

    @property
    def has_parts(self) -> bool:
        """True while something waits for a commit."""
        return bool(self._parts)

    def add(self, part: Part) -> int:
        """Check a part and keep it for the next commit; returns its rows.

        Raises:
            InfrastructureError: ``PART_TORN``.
        """
        rows = read_part(self.lake, _SPEC, part)
        self._parts.append(_check(part, rows))
        return rows.num_rows

    def bury(self, letters: Iterable[DeadLetter]) -> int:
        """Write dead letters; returns how many."""
        about = {"engine": self.engine, "run_id": self.run_id}
        rows = [{**vars(letter), **about} for letter in letters]
        if rows:
            give_up(self.lake, rows)
        return len(rows)

    def commit(self) -> None:
        """Make the rows of all parts rows of the table, once; keeps them for another try when that fails.

        Raises:
            InfrastructureError: ``COMMIT_CONTENTION``, ``COMMIT_FAILED``, ``PART_WRITE``, ``PART_TORN``.
        """
        if not self._parts:
            return
        crash_point("annotate.before_commit")
        self._tried = []
        kept = commit_fenced(self.lake, _SPEC, self._commit_new)
        n_kept = sum(len(checked.keys) for checked in kept)
        self.n_repeated += sum(len(checked.keys) for checked in self._parts) - n_kept
        self.watch.note_own((c.part.name for c in kept), (key for c in kept for key in c.keys))
        for checked in kept:
            self.tally.update(checked.tally)
        self._parts = []
        crash_point("annotate.after_commit")

    def _commit_new(self, fence: Fence) -> list[_Checked]:
        """Commit what nobody has answered on this snapshot; returns it."""
        if self._tried and self.watch.has_files(fence.table, [checked.part.name for checked in self._tried]):
            return self._tried  # the commit landed although its answer was lost
        self.watch.refresh(fence.table)
        taken = set(self.watch.answered)
        kept: list[_Checked] = []
        for checked in self._parts:
            fresh = [key for key in checked.keys if key not in taken]
            if fresh:
                kept.append(checked if len(fresh) == len(checked.keys) else self._rewrite(checked, set(fresh)))
            taken.update(fresh)
        self._tried = kept
        if kept:
            add_parts(fence, _SPEC, [checked.part for checked in kept])
        return kept

    def _rewrite(self, checked: _Checked, keys: set[str]) -> _Checked:
        rows = read_part(self.lake, _SPEC, checked.part)
        mask = pa.array([key in keys for key in checked.keys], pa.bool_())
        fewer = rows.filter(mask)
        return _check(write_part(self.lake, _SPEC, fewer), fewer)


def _check(part: Part, rows: pa.Table) -> _Checked:
    return _Checked(part, tuple(rows.column("segment_key").to_pylist()), tally_rows(rows))
