"""How large tables are, from Delta's metadata alone.

Knows: the add actions of a snapshot. Must not know: what rows mean; nothing is scanned.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

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


def measure_table(lake: Lake, spec: TableSpec) -> Volume:
    """Version, rows and bytes of the newest snapshot."""
    table = lake.open(spec)
    if table is None:
        return Volume()
    files = pa.table(table.get_add_actions(flatten=True))
    records = files.column("num_records") if "num_records" in files.column_names else None
    rows = None if records is None or records.null_count else _sum(records) - _deleted(files)
    return Volume(table.version(), rows, _sum(files.column("size_bytes")))


def measure_tables(lake: Lake, specs: Iterable[TableSpec]) -> dict[str, Volume]:
    """``measure_table`` by full name."""
    return {spec.full_name: measure_table(lake, spec) for spec in specs}


def _deleted(files: pa.Table) -> int:
    names = [name for name in files.column_names if name.lower().endswith("cardinality")]
    return sum(_sum(files.column(name)) for name in names)


def _sum(column: Any) -> int:
    return int(pc.sum(column).as_py() or 0)
