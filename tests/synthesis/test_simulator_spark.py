"""The Spark writer on a real session: same rows as the pure simulator, nothing collected but counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ppsehr_spark.config import SimulateSettings
from ppsehr_spark.spark.simulate import is_current, write_source
from ppsehr_spark.synthesis.simulator import simulate_patient, simulate_record

CHOSEN = SimulateSettings(n_patients=9, n_record_patients=30, n_partitions=4, n_bad_rows=12)


def read_all(root: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file() and not p.name.startswith(".")
    }


@pytest.mark.spark
def test_written_twice_it_is_the_same(spark: Any, tmp_path: Path) -> None:
    root = tmp_path / "source"
    counts = write_source(spark, root=str(root), settings=CHOSEN)
    first = read_all(root)
    assert write_source(spark, root=str(root), settings=CHOSEN) == counts
    assert read_all(root) == first
    simulated = [simulate_patient(index, CHOSEN) for index in range(CHOSEN.n_patients)]
    archived = [simulate_record(index, CHOSEN) for index in range(9, 39)]
    assert counts == {
        "patients": 39,
        "encounters": sum(len(s.encounters) for s in [*simulated, *archived]),
        "notes": sum(len(s.notes) for s in simulated),
        "spans": sum(len(n.spans) for s in simulated for n in s.notes),
        "bad_rows": 12,
    }
    assert is_current(str(root), CHOSEN)
    notes = spark.read.json(str(root / "notes" / "part-*"))
    assert notes.count() == counts["notes"]
    assert notes.where("text IS NULL OR noted_at IS NULL").count() == 0
