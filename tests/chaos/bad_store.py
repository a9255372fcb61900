"""Workers whose parts do not arrive as they were written: cut once, or taken away once."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from ppsehr_spark.lake.parts import Part
from ppsehr_spark.lake.schemas import SEGMENT_ANNOTATIONS
from ray_actors.unit_worker import Order, UnitWorker


def _first_time(order: Order) -> bool:
    marker = Path(order.lake_uri) / "struck"
    if marker.exists():
        return False
    marker.touch()
    return True


class TearingWorker(UnitWorker):
    """The first part loses its last 100 bytes."""

    def store(self, order: Order, rows: pa.Table) -> Part:
        part = super().store(order, rows)
        if _first_time(order):
            path = Path(order.lake_uri) / SEGMENT_ANNOTATIONS.path / part.name
            path.write_bytes(path.read_bytes()[:-100])
        return part


class LosingWorker(UnitWorker):
    """The first part is gone when the driver looks."""

    def store(self, order: Order, rows: pa.Table) -> Part:
        part = super().store(order, rows)
        if _first_time(order):
            (Path(order.lake_uri) / SEGMENT_ANNOTATIONS.path / part.name).unlink()
        return part
