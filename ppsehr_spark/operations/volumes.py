"""How large tables are, from Delta's metadata alone.

Knows: the add actions of a snapshot, and its deletion vectors. Must not know: what rows mean; nothing is scanned.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from ppsehr_spark.lake.schemas import TableSpec
from ppsehr_spark.lake.tables import Lake


@dataclass(frozen=True)
class Volume:
    """One snapshot of a table.

    Attributes:
        version: Delta version; ``None`` when the table does not exist.
        rows: rows, deleted ones apart; ``None`` when a file does not say.
        bytes: data files.
    """

    version: int | None = None
    rows: int | None = 0
    bytes: int = 0


def measure_table(lake: Lake, spec: TableSpec, *, version: int | None = None) -> Volume:
    """Version, rows and bytes of one snapshot, the newest by default."""
    table = lake.open(spec, version=version)
    if table is None:
        return Volume()
    files = pa.table(table.get_add_actions(flatten=True))
    records = files.column("num_records") if "num_records" in files.column_names else None
    rows = None if records is None or records.null_count else _sum(records) - _deleted(table)
    return Volume(table.version(), rows, _sum(files.column("size_bytes")))


def measure_tables(lake: Lake, specs: Iterable[TableSpec]) -> dict[str, Volume]:
    """``measure_table`` by full name."""
    return {spec.full_name: measure_table(lake, spec) for spec in specs}


def _deleted(table: DeltaTable) -> int:
    """Rows that deletion vectors hide: of the small files that hold the marks, not of the data."""
    if table.metadata().configuration.get("delta.enableDeletionVectors") != "true":
        return 0
    masks = pa.RecordBatchReader.from_stream(table.deletion_vectors())
    return sum(int(pc.sum(pc.invert(pc.list_flatten(b.column("selection_vector")))).as_py() or 0) for b in masks)


def _sum(column: Any) -> int:
    return int(pc.sum(column).as_py() or 0)
