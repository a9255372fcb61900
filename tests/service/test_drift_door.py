"""``ppsehr dp drift``: a refresh that moved a measure is told from one that did not, and nothing is written."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import pytest

from jobs.cli import main
from ppsehr_spark.evaluation.drift import build_sketch
from ppsehr_spark.lake.schemas import DRIFT_SKETCHES
from ppsehr_spark.lake.statistics_store import append_sketch
from ppsehr_spark.lake.tables import Lake


def _write(lake: Lake, version: int, counts: Counter[int], *, measure: str = "note_chars") -> None:
    append_sketch(
        lake, measure=measure, table_version=version, n_rows=counts.total(), centroids=build_sketch(dict(counts)),
        sketch_key=f"{measure}{version}", run_id="r",
    )  # fmt: skip


def _stays(seed: int, *, mean: float) -> Counter[int]:
    dice = random.Random(seed)
    return Counter(int(dice.expovariate(1 / mean)) for _ in range(3_000))


def test_drift_between_refreshes_is_told_from_chance(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lake = Lake(str(tmp_path / "lake"))
    assert main(["dp", "drift", "--lake", lake.uri]) == 0 and "no sketches" in capsys.readouterr().out
    for version, mean in ((11, 9.0), (2, 9.0), (0, 9.0), (4, 7.0)):
        _write(lake, version, _stays(version, mean=mean))
    _write(lake, 3, Counter(), measure="age_years")
    before = lake.version(DRIFT_SKETCHES)
    assert main(["dp", "drift", "--lake", lake.uri, "--json"]) == 0
    lines = json.loads(capsys.readouterr().out)
    assert [(line["measure"], line["table_version"], line["is_moved"]) for line in lines] == [
        ("age_years", 3, None), ("note_chars", 0, None), ("note_chars", 2, False), ("note_chars", 4, True),
        ("note_chars", 11, True),
    ]  # fmt: skip
    assert lines[0]["quantiles"] == [None] * 5 and lines[2]["quantiles"][2] == pytest.approx(6.2, abs=0.8)
    assert lines[2]["chance"] == pytest.approx(1.358 * (2 / 3_000) ** 0.5)
    assert main(["dp", "drift", "--lake", lake.uri, "--explain"]) == 0
    text = capsys.readouterr().out
    assert "INTERNAL" in text and "moved" in text and text.count("yes") >= 2
    assert lake.version(DRIFT_SKETCHES) == before
