"""Which of our segments have an answer, kept up to date while others write answers, too.

Knows: phi.segment_annotations and which prompts are in force. Must not know: units, Ray, models. After the first look
only files are read that were not there before, so keeping up costs what others add, not what the table holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable

from ppsehr_spark.domain.prompting import compile_prompts, is_in_force
from ppsehr_spark.domain.taxonomy import ConfFiles, load_categories
from ppsehr_spark.errors import InfrastructureError
from ppsehr_spark.lake.checkpoint_store import locate
from ppsehr_spark.lake.schemas import SEGMENT_ANNOTATIONS
from ppsehr_spark.lake.tables import Lake

_COLUMNS = ["segment_key", "prompts"]


class AnswerWatch:
    """Segments with an answer to today's prompts; ``answered`` holds their keys as of the last look."""

    def __init__(self, lake: Lake, files: ConfFiles) -> None:
        """Look at the whole table once.

        Args:
            files: conf, with the prompts in force.
        """
        self._lake = lake
        self._in_force = compile_prompts(files, load_categories(files)).list_prompts()
        self._place = locate(lake, SEGMENT_ANNOTATIONS.path)
        self._seen: set[str] = set()
        self._fresh: set[str] = set()
        self.answered: set[str] = set()
        table = lake.open(SEGMENT_ANNOTATIONS)
        if table is not None:
            self._seen = _names(table)
            for batch in lake.stream(SEGMENT_ANNOTATIONS, _COLUMNS, version=table.version()):
                self.answered.update(self._list_answered(batch))

    def refresh(self, table: DeltaTable | None = None) -> None:
        """Look at what has come since, in this snapshot or the newest one.

        Raises:
            InfrastructureError: ``ANSWERS_UNREADABLE`` when a file of the table cannot be read.
        """
        table = table or self._lake.open(SEGMENT_ANNOTATIONS)
        names = _names(table) if table is not None else set()
        found: set[str] = set()
        for name in names - self._seen:
            found.update(self._list_answered(self._read(name)))
        self._seen = names
        self._fresh |= found - self.answered
        self.answered |= found

    def take_fresh(self) -> set[str]:
        """Keys that others have answered since the last call."""
        fresh, self._fresh = self._fresh, set()
        return fresh

    def has_files(self, table: DeltaTable, names: Iterable[str]) -> bool:
        """Whether this snapshot holds all of these files."""
        return set(names) <= _names(table)

    def note_own(self, names: Iterable[str], keys: Iterable[str]) -> None:
        """Take over what this driver has just committed, without reading it."""
        self._seen.update(names)
        self.answered.update(keys)

    def _read(self, name: str) -> pa.Table:
        path = name if "://" in name or name.startswith("/") else f"{self._place.path}/{name}"
        try:
            with self._place.filesystem.open_input_file(path) as stream:
                return pq.read_table(stream, columns=_COLUMNS)
        except (OSError, pa.ArrowException) as error:
            name_of = SEGMENT_ANNOTATIONS.full_name
            raise InfrastructureError("ANSWERS_UNREADABLE", table=name_of, error=type(error).__name__) from None

    def _list_answered(self, rows: pa.RecordBatch | pa.Table) -> Iterator[str]:
        for key, asked in zip(rows.column("segment_key").to_pylist(), rows.column("prompts").to_pylist(), strict=True):
            if all(is_in_force(name, self._in_force) for name in asked or ()):
                yield key


def _names(table: DeltaTable) -> set[str]:
    """Paths of the files of a snapshot, relative to the table."""
    actions = pa.table(table.get_add_actions(flatten=True))
    return set(actions.column("path").to_pylist())
