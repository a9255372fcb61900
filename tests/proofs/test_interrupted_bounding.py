"""What is kept of a patient when tasks fail and are tried again, or run twice side by side: what is kept otherwise.

The other half, any order and partitioning, stands in ``tests/spark/test_statistics.py``.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.proofs.interrupted_visits import plan_visits
from tests.proofs.speculative_visits import SLOW_PARTITION

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.spark
@pytest.mark.slow
def test_retries_change_no_count_and_neighbours_stay_within_their_bounds(tmp_path: Path) -> None:
    """Zaharia et al. 2012 (resilient distributed datasets): a task may run again anywhere, so what it keeps must be a
    function of its rows; the bound is that of Dwork et al. 2006, Definition 3, for each release as it was planned."""
    found = _run("interrupted_visits.py", tmp_path)
    assert {"0-0", "0-1", "1-0", "1-1", "1-2"} <= set(found["tries"]), "one task ran twice and one three times"
    assert found["interrupted"] == found["undisturbed"]
    planned, _ = plan_visits()
    for each in planned:
        name, bounds = each.release.id, each.part.bounds
        pair = [found[side][name] for side in ("interrupted", "without")]
        assert math.dist(*pair) <= bounds.l2_sensitivity + 1e-9, name
        assert max(abs(a - b) for a, b in zip(*pair, strict=True)) <= bounds.max_per_cell, name


@pytest.mark.spark
@pytest.mark.full_chaos
def test_a_speculative_copy_that_overtakes_its_task_changes_no_count(tmp_path: Path) -> None:
    """Zaharia et al. 2008 (LATE, speculative execution): two tries of one task have handed on rows, one is used. That
    a copy ran and won, and that the slow try was ended for it, stands in Spark's own event log."""
    found = _run("speculative_visits.py", tmp_path)
    ends = {(attempt, is_copy): reason for at, attempt, is_copy, reason in found["tries"] if at == SLOW_PARTITION}
    assert ends.get((1, True)) == "Success", ends
    assert ends.get((0, False)) == "TaskKilled", ends
    assert found["speculative"] == found["undisturbed"]
    assert sum(map(sum, found["undisturbed"].values())) > 0


def _run(program: str, folder: Path) -> dict[str, Any]:
    """What a program of this folder prints, on a Spark of its own."""
    import pyspark

    spark_home = str(Path(pyspark.__file__).parent)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SPARK_HOME": spark_home, "PYSPARK_PYTHON": sys.executable}
    environment.pop("PYSPARK_SUBMIT_ARGS", None)
    environment.pop("SPARK_CONF_DIR", None)
    command = [sys.executable, str(ROOT / "tests" / "proofs" / program), str(folder)]
    done = subprocess.run(command, cwd=folder.parent, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-2_000:]
    answers: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answers
