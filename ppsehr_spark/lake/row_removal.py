"""Rows of an erased person in the tables that deltalake writes.

Knows: which column names a person where. Must not know: Spark, releases (``release_withdrawal``). Keys come as an
Arrow array and are joined, never put into a predicate: predicates stand in the log.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from ppsehr_spark.lake.schemas import DRIFT_SKETCHES, KNOWLEDGE
from ppsehr_spark.lake.table_care import on_table
from ppsehr_spark.lake.table_spec import TableSpec
from ppsehr_spark.lake.tables import Lake


def remove_rows(lake: Lake, spec: TableSpec, column: str, keys: pa.Array) -> None:
    """Delete the rows whose ``column`` is among the keys; nothing happens without such a row or table."""

    def remove(table: DeltaTable) -> None:
        merge = table.merge(pa.table({"key": keys}), f"t.{column} = k.key", source_alias="k", target_alias="t")
        merge.when_matched_delete().execute()

    if len(keys) and lake.open(spec) is not None:
        on_table(lake, spec, remove)


def remove_sketches(lake: Lake) -> None:
    """Delete every drift sketch: its centroids are raw values of rows that are gone now; stats makes new ones."""
    if lake.version(DRIFT_SKETCHES) is not None and lake.read(DRIFT_SKETCHES, ["sketch_key"]).num_rows:
        on_table(lake, DRIFT_SKETCHES, lambda table: table.delete())


def count_lessons(lake: Lake, note_keys: Collection[str]) -> int:
    """Rows of phi.knowledge that name one of the notes as evidence."""
    rows = lake.read(KNOWLEDGE, ["entries", "trials"]).to_pylist()
    return sum(_strip_row(row, note_keys) != row for row in rows)


def forget_evidence(lake: Lake, note_keys: Collection[str]) -> None:
    """Strike the notes from the evidence in phi.knowledge; entries and figures stay as they were."""
    rows = lake.read(KNOWLEDGE).to_pylist()
    stripped = [_strip_row(row, note_keys) for row in rows]
    if stripped == rows:
        return
    table = pa.Table.from_pylist(stripped, schema=KNOWLEDGE.schema)
    on_table(lake, KNOWLEDGE, lambda opened: write_deltalake(opened, table, mode="overwrite"))


def _strip_row(row: Mapping[str, Any], note_keys: Collection[str]) -> dict[str, Any]:
    lists = {name: row[name] and [_strip(entry, note_keys) for entry in row[name]] for name in ("entries", "trials")}
    return {**row, **lists}


def _strip(entry: Mapping[str, Any], note_keys: Collection[str]) -> dict[str, Any]:
    return {**entry, "note_keys": entry["note_keys"] and [k for k in entry["note_keys"] if k not in note_keys]}
