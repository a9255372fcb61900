"""An annotator that leaves its rows in the lake: segments in, one Parquet part out, and a receipt for the driver.

Knows: where parts of phi.segment_annotations go. Must not know: Ray, leases, who commits the part and when.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from ppsehr_spark.errors import InfrastructureError
from ppsehr_spark.lake.parts import Part, write_part
from ppsehr_spark.lake.schemas import SEGMENT_ANNOTATIONS
from ppsehr_spark.lake.tables import Lake
from ray_actors.annotator import Annotator
from ray_actors.usage import Usage


@dataclass(frozen=True)
class Order:
    """Where the rows of a unit go: lake, unit and run."""

    lake_uri: str
    unit_id: str
    run_id: str


@dataclass(frozen=True)
class Receipt:
    """What became of the segments of one unit; no text, no answer.

    Attributes:
        part: file with the rows, ``None`` when there is none.
        dead: segment key -> error code, where the engine gave no reply.
        open_keys: segments not asked because the token limit was reached.
        usage: tokens spent.
        n_ungrounded: extracted quotes that do not stand in their segment.
        write_error: code when there were rows, but they could not be written.
    """

    part: Part | None = None
    dead: Mapping[str, str] = field(default_factory=dict)
    open_keys: tuple[str, ...] = ()
    usage: Usage = field(default_factory=Usage)
    n_ungrounded: int = 0
    write_error: str = ""


class UnitWorker(Annotator):
    """The annotate job's worker."""

    def annotate_part(self, order: Order, segments: Sequence[Mapping[str, Any]], token_limit: int) -> Receipt:
        """Ask about every segment and write the answers as one part; never raises for a full disk.

        Raises:
            Exception: whatever the engine raises when it fails as a whole.
        """
        result = self.annotate_unit(segments, token_limit)
        about = {"unit_id": order.unit_id, "run_id": order.run_id}
        rows = [{**row, **about} for row in result.rows]
        part, write_error = None, ""
        try:
            part = self.store(order, pa.Table.from_pylist(rows, schema=SEGMENT_ANNOTATIONS.schema)) if rows else None
        except InfrastructureError as error:
            write_error = error.code
        return Receipt(part, result.dead, tuple(result.open_keys), result.usage, result.n_ungrounded, write_error)

    def store(self, order: Order, rows: pa.Table) -> Part:
        """Write the part of one unit."""
        return write_part(Lake(order.lake_uri), SEGMENT_ANNOTATIONS, rows)
