"""What the contract of one Delta table consists of: ``TableSpec`` and its commented columns.

Knows: zones, Delta properties, the schema version. Must not know: any particular table (``schemas``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

#: Bumped when a table changes its shape; an older lake is refused with the migration to run. One more nullable column
#: is no such change: it reads as null where a table lacks it, and the next write adds it (``tables.list_missing``).
SCHEMA_VERSION = 3

ZONES = ("phi", "protected", "release", "control")


@dataclass(frozen=True)
class TableSpec:
    """The contract of one Delta table.

    Attributes:
        zone: first folder of its path: ``phi``, ``protected``, ``release`` or ``control``.
        name: second folder.
        description: one line (English | Chinese).
        schema: Arrow schema; every field carries ``comment`` metadata.
        keys: columns that identify a row.
        writer: the ONE job that writes it (``any`` only in ``control``, which is appended through ``lake``).
        engine: ``spark`` (JVM Delta) or ``deltalake``; one writing engine per table.
        clustering: columns a reader filters by; never PHI.
        stats_columns: columns whose min/max may stand in ``_delta_log``; never text, names or numbers.
        has_deletion_vectors: on for large JVM-written tables that are merged into.
        has_change_feed: on where a later job reads changes.
    """

    zone: str
    name: str
    description: str
    schema: pa.Schema
    keys: tuple[str, ...]
    writer: str
    engine: str
    clustering: tuple[str, ...] = ()
    stats_columns: tuple[str, ...] = ()
    has_deletion_vectors: bool = False
    has_change_feed: bool = False
    extra_properties: Mapping[str, str] = field(default_factory=dict)

    @property
    def full_name(self) -> str:
        """``zone.name``."""
        return f"{self.zone}.{self.name}"

    @property
    def path(self) -> str:
        """Path below the lake root."""
        return f"{self.zone}/{self.name}"

    @property
    def properties(self) -> dict[str, str]:
        """Delta table properties; statistics only on columns free of PHI (see pitfalls: ``_delta_log`` statistics)."""
        return {
            "delta.dataSkippingStatsColumns": ",".join(self.stats_columns or self.keys),
            "delta.enableDeletionVectors": str(self.has_deletion_vectors).lower(),
            "delta.enableChangeDataFeed": str(self.has_change_feed).lower(),
            "ppsehr.schemaVersion": str(SCHEMA_VERSION),
            **self.extra_properties,
        }


def make_column(name: str, kind: pa.DataType, comment: str, *, nullable: bool = True) -> pa.Field:
    """A column with its English comment; the Chinese one is looked up by it in ``docs/column-comments.zh.tsv``."""
    return pa.field(name, kind, nullable=nullable, metadata={"comment": comment})


#: The only kind of timestamp that a table may have.
UTC = pa.timestamp("us", tz="UTC")
#: Columns that several tables share.
KEY_COLUMNS = {
    "note_key": make_column("note_key", pa.string(), "keyed HMAC of source and note id", nullable=False),
    "patient_key": make_column("patient_key", pa.string(), "keyed HMAC of source and patient id", nullable=False),
    "encounter_key": make_column("encounter_key", pa.string(), "keyed HMAC of source and encounter id", nullable=False),
    "segment_key": make_column("segment_key", pa.string(), "HMAC over everything the model sees", nullable=False),
    "unit_id": make_column("unit_id", pa.string(), "work unit, hash of its segment keys", nullable=False),
    "run_id": make_column("run_id", pa.string(), "run that wrote the row", nullable=False),
    "text_hash": make_column("text_hash", pa.string(), "keyed HMAC of the note text", nullable=False),
}
