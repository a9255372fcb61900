"""The publish job as people start it: exit codes, dry run, unchanged input, canary file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jobs.evaluate import STAGE as EVALUATE
from jobs.publish import STAGE
from ppsehr_spark.lake.audit_log import verify_chain
from ppsehr_spark.lake.schemas import (
    DP_STATISTICS,
    PROTECTED_NOTES,
    RELEASED_NOTES,
    RELEASED_STATISTICS,
    RELEASES,
    RUNS,
    TABLES,
)
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.runtime import run_job
from tests.lake.worked_rows import WORKED_ROWS


@pytest.fixture
def unreleased(lake: Lake, fill: Any) -> Lake:
    for name in ("phi.notes", "phi.annotations", "protected.notes"):
        fill(TABLES[name], WORKED_ROWS[name])
    return lake


def _publish(lake: Lake, tmp_path: Path, *more: str) -> int:
    return run_job(STAGE, ["--lake", lake.uri, "--set", f"identity.key_file={tmp_path / 'key'}", *more])


def test_it_releases_once_and_then_has_nothing_to_do(
    unreleased: Lake, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _publish(unreleased, tmp_path) == 0
    assert "n_rows=4" in capsys.readouterr().err
    before = [unreleased.version(spec) for spec in (RELEASED_NOTES, RELEASES, RUNS)]
    assert _publish(unreleased, tmp_path) == 0
    assert "unchanged" in capsys.readouterr().err
    assert _publish(unreleased, tmp_path, "--force") == 0
    assert "stood before" in capsys.readouterr().err
    assert [unreleased.version(spec) for spec in (RELEASED_NOTES, RELEASES)] == before[:2]
    assert verify_chain(unreleased).is_whole


def test_a_canary_file_closes_the_gate_without_saying_what_it_saw(
    unreleased: Lake, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "canaries.txt").write_text("高子墨\n", encoding="utf-8")
    assert _publish(unreleased, tmp_path, "--canaries", str(tmp_path / "canaries.txt")) == 4
    message = capsys.readouterr().err
    assert "CANARY_GATE" in message and "高子墨" not in message
    assert unreleased.version(RELEASED_NOTES) is None
    (run,) = unreleased.read(RUNS).to_pylist()
    assert (run["status"], run["exit_code"], run["error_code"]) == ("failed", 4, "CANARY_GATE")


@pytest.mark.parametrize(
    ("more", "code", "exit_code"),
    [
        (("--canaries", "/absent"), "CANARY_FILE", 4),
        (("--set", "protect.policy=strict"), "POLICY_GATE", 4),
        (("--set", "publish.max_open_share=0.1"), "OPEN_GATE", 4),
        (("--set", "publish.max_open_share=often"), "WRONG_TYPE", 3),
    ],
)
def test_exit_codes(
    unreleased: Lake,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: tuple[str, ...],
    code: str,
    exit_code: int,
) -> None:
    assert _publish(unreleased, tmp_path, *more) == exit_code
    assert code in capsys.readouterr().err


def test_an_absent_lake_is_said_in_words(lake: Lake, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _publish(lake, tmp_path) == 4
    assert "NOTHING_TO_PUBLISH table=protected.notes" in capsys.readouterr().err


def test_a_dry_run_writes_nothing(unreleased: Lake, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _publish(unreleased, tmp_path, "--dry-run") == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["writes"] == sorted(plan["writes"], key=list(TABLES).index) and {
        name for name in TABLES if name.startswith("release.")
    } == set(plan["writes"])
    there = {name: version for name, version in plan["inputs"].items() if version is not None}
    assert there == {"protected.notes": 0, "phi.notes": 0, "phi.annotations": 0}
    assert unreleased.version(RUNS) is None and unreleased.version(RELEASES) is None


def test_an_unwithheld_note_reaches_the_release_when_its_text_is_mended(
    unreleased: Lake, fill: Any, tmp_path: Path
) -> None:
    rows = WORKED_ROWS["protected.notes"]
    fill(PROTECTED_NOTES, [{**row, "text": "患者林一凡出院"} if row["note_key"] == "b2" else row for row in rows])
    assert _publish(unreleased, tmp_path) == 0
    assert unreleased.read(RELEASES)["n_withheld"].to_pylist() == [1]
    fill(PROTECTED_NOTES, rows)
    assert _publish(unreleased, tmp_path) == 0
    assert sorted(unreleased.read(RELEASES)["n_rows"].to_pylist()) == [3, 4]


def test_a_refused_product_is_named_and_does_not_hold_back_the_others(
    dp_lake: Lake, fill: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("phi.notes", "phi.annotations", "protected.notes"):
        fill(TABLES[name], WORKED_ROWS[name])
    statistics = dp_lake.read(DP_STATISTICS).to_pylist()
    fill(DP_STATISTICS, [{**row, "value": row["value"] + 1} for row in statistics])
    assert _publish(dp_lake, tmp_path) == 4
    message = capsys.readouterr().err
    assert "dp_statistics refused: STATISTIC_DIFFERS n_rows=6" in message and "publish: notes" in message
    # figures are about other table versions now, so the data set waits for them
    assert "synthetic refused: EVALUATION_GATE" in message
    assert dp_lake.read(RELEASED_NOTES).num_rows == 4 and dp_lake.version(RELEASED_STATISTICS) is None
    assert dp_lake.read(RUNS)["status"].to_pylist() == ["failed"]
    fill(DP_STATISTICS, statistics)
    assert run_job(EVALUATE, ["--lake", dp_lake.uri, "--set", f"identity.key_file={tmp_path / 'key'}"]) == 0
    assert _publish(dp_lake, tmp_path) == 0
    assert "n_products=3" in capsys.readouterr().err
