"""Parquet parts of a Delta table, written where an engine runs, checked and committed where a driver decides.

Knows: how a part is written under a name that says nothing, what proves it whole, how parts become rows. Must not know:
what the rows mean. A part that nobody commits is no part of the table; VACUUM removes it. Statistics in the log are row
counts and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake.transaction import AddAction

from ppsehr_spark.errors import InfrastructureError
from ppsehr_spark.lake.checkpoint_store import locate
from ppsehr_spark.lake.fenced_commits import Fence
from ppsehr_spark.lake.table_spec import TableSpec
from ppsehr_spark.lake.tables import Lake

PART_WRITE, PART_TORN = "PART_WRITE", "PART_TORN"


@dataclass(frozen=True)
class Part:
    """What a writer hands over about a part.

    Attributes:
        name: file name within the table's folder; random.
        n_bytes, n_rows, sha256: what the file must turn out to be.
    """

    name: str
    n_bytes: int
    n_rows: int
    sha256: str


def write_part(lake: Lake, spec: TableSpec, rows: pa.Table) -> Part:
    """Write rows as one Parquet file into the folder of the table; nobody sees them until they are committed.

    Raises:
        InfrastructureError: ``PART_WRITE`` (a full disk, a lost store); what was begun is removed as far as possible.
    """
    content = pa.BufferOutputStream()
    pq.write_table(rows, content, compression="zstd", write_statistics=False)
    data = content.getvalue()
    part = Part(f"part-{uuid.uuid4().hex}.zstd.parquet", data.size, rows.num_rows, hashlib.sha256(data).hexdigest())
    place = locate(lake, spec.path)
    path = f"{place.path}/{part.name}"
    try:
        with place.filesystem.open_output_stream(path) as stream:
            stream.write(data)
    except OSError as error:
        with suppress(OSError):
            place.filesystem.delete_file(path)
        raise InfrastructureError(PART_WRITE, table=spec.full_name, error=type(error).__name__) from None
    return part


def read_part(lake: Lake, spec: TableSpec, part: Part) -> pa.Table:
    """The rows of a part that is what its writer said.

    Raises:
        InfrastructureError: ``PART_TORN`` when the file is missing, cut, changed or of another shape.
    """
    place = locate(lake, spec.path)
    try:
        with place.filesystem.open_input_file(f"{place.path}/{part.name}") as stream:
            data = stream.read_buffer()
        is_same = data.size == part.n_bytes and hashlib.sha256(data).hexdigest() == part.sha256
        rows = pq.read_table(pa.BufferReader(data)) if is_same else None
    except (OSError, pa.ArrowException):
        rows = None
    if rows is None or rows.num_rows != part.n_rows or not rows.schema.equals(spec.schema):
        raise InfrastructureError(PART_TORN, table=spec.full_name, hint="the unit is asked again")
    return rows


def add_parts(fence: Fence, spec: TableSpec, parts: Sequence[Part]) -> None:
    """Make the rows of these parts rows of the table, in one commit.

    Raises:
        deltalake.exceptions.CommitFailedError: somebody else committed after the snapshot of the fence.
    """
    now_ms = int(time.time() * 1_000)
    actions = [
        AddAction(part.name, part.n_bytes, {}, now_ms, True, json.dumps({"numRecords": part.n_rows})) for part in parts
    ]
    fence.table.create_write_transaction(actions, "append", spec.schema, commit_properties=fence.properties)
