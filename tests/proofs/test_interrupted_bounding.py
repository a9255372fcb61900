"""What is kept of a patient when tasks fail and are tried again: exactly what is kept otherwise.

The other half, any order and partitioning, stands in ``tests/spark/test_statistics.py``.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.proofs.interrupted_visits import plan_visits

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.spark
@pytest.mark.slow
def test_retries_change_no_count_and_neighbours_stay_within_their_bounds(tmp_path: Path) -> None:
    """Zaharia et al. 2012 (resilient distributed datasets): a task may run again anywhere, so what it keeps must be a
    function of its rows; the bound is that of Dwork et al. 2006, Definition 3, for each release as it was planned."""
    import pyspark

    spark_home = str(Path(pyspark.__file__).parent)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SPARK_HOME": spark_home, "PYSPARK_PYTHON": sys.executable}
    environment.pop("PYSPARK_SUBMIT_ARGS", None)
    environment.pop("SPARK_CONF_DIR", None)
    command = [sys.executable, str(ROOT / "tests" / "proofs" / "interrupted_visits.py"), str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path.parent, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-2_000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert {"0-0", "0-1", "1-0", "1-1", "1-2"} <= set(found["tries"]), "one task ran twice and one three times"
    assert found["interrupted"] == found["undisturbed"]
    planned, _ = plan_visits()
    for each in planned:
        for part in each.parts:
            pair = [found[side][each.release.id] for side in ("interrupted", "without")]
            assert math.dist(*pair) <= part.bounds.l2_sensitivity + 1e-9, part.name
            assert max(abs(a - b) for a, b in zip(*pair, strict=True)) <= part.bounds.max_per_cell, part.name
