"""Runs that were killed: the next process writes their row, once, and only when they are dead."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ppsehr_spark.config import Settings, load_settings
from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.owners import this_process
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.operations.deaths import FOLDER, UNKNOWN_AFTER, leave_mark, record_death, settle_deaths
from ppsehr_spark.operations.records import OK, RunEnd, RunStart, append_run, is_done
from ppsehr_spark.runtime import Stage, StageResult, run_job

#: A process of another machine.
ELSEWHERE = "0123456789ab.1.1"
ROOT = Path(__file__).resolve().parents[2]
WAITING_JOB = """
import sys, time
from ppsehr_spark.runtime import Stage, run_job
def body(context):
    print("body runs", file=sys.stderr, flush=True)
    time.sleep(120)
sys.exit(run_job(Stage("waits", "waits", body, fingerprint=lambda context: "same")))
"""


@pytest.fixture(scope="module")
def settings() -> Settings:
    return load_settings("ci")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


def _runs(lake: Lake) -> list[dict[str, Any]]:
    return lake.read(schemas.RUNS).sort_by("started_at").to_pylist()


def _rewrite(lake: Lake, name: str, *, owner: str = "", age: timedelta = timedelta()) -> None:
    """The mark as another process left it: by default one of this machine whose number this process has got since."""
    path = Path(lake.uri) / FOLDER / name
    mark = json.loads(path.read_text(encoding="utf-8"))
    left_at = datetime.fromisoformat(mark["started_at"]) - age
    told = {**mark, "owner": owner or f"{this_process().host}.{os.getpid()}.1", "started_at": left_at.isoformat()}
    path.write_text(json.dumps(told), encoding="utf-8")


def test_a_stage_killed_alone_gets_its_row_from_the_next_stage(lake: Lake, tmp_path: Path, key_file: str) -> None:
    script = tmp_path / "waits.py"
    script.write_text(WAITING_JOB, encoding="utf-8")
    arguments = ["--lake", lake.uri, "--profile", "ci", "--set", f'identity.key_file="{key_file}"']
    following = Stage("follows", "follows", lambda context: StageResult({"rows": 1}))
    command = [sys.executable, str(script), *arguments, "--run-id", "r1"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr and "body runs" in process.stderr.readline()
        assert run_job(following, [*arguments, "--run-id", "r2"]) == 0
        assert [run["stage"] for run in _runs(lake)] == ["follows"], "a stage at work is not dead"
        process.kill()
    assert [run_job(following, [*arguments, "--run-id", run_id]) for run_id in ("r3", "r4")] == [0, 0]
    (dead,) = [run for run in _runs(lake) if run["stage"] == "waits"]
    assert (dead["run_id"], dead["status"], dead["exit_code"], dead["error_code"]) == (
        "r1", "interrupted", 7, "PROCESS_DIED",
    )  # fmt: skip
    assert dead["fingerprint"] and dead["seconds"] is None and dead["cost"] is None
    assert not is_done(lake, "waits", dead["fingerprint"])
    assert not list((Path(lake.uri) / FOLDER).iterdir())


def test_a_process_that_cannot_be_asked_is_dead_after_a_week(lake: Lake, settings: Settings) -> None:
    names = [leave_mark(lake, RunStart(run_id, "tier")) for run_id in ("young", "old", "own")]
    _rewrite(lake, names[0], owner=ELSEWHERE, age=UNKNOWN_AFTER - timedelta(hours=1))
    _rewrite(lake, names[1], owner=ELSEWHERE, age=UNKNOWN_AFTER + timedelta(hours=1))
    (Path(lake.uri) / FOLDER / "torn.json").write_text('{"run_id"', encoding="utf-8")
    assert [settle_deaths(lake, settings) for _ in range(2)] == [1, 0]
    assert [run["run_id"] for run in _runs(lake)] == ["old"]


def test_a_run_has_one_row_whoever_writes_it(lake: Lake, settings: Settings) -> None:
    launched = RunStart("r1", "tier")  # what the pipeline knows, before the stage's own process could say so
    _rewrite(lake, leave_mark(lake, RunStart("r1", "tier", input_versions={"phi.notes": 3})))
    assert [record_death(lake, settings, launched, exit_code=7) for _ in range(2)] == [True, False]
    (run,) = _runs(lake)
    assert json.loads(run["input_versions"]) == {"phi.notes": 3}, "the stage's own mark says more"
    # the caller found it dead before the kernel said so: its row stands when the mark is found
    launched = RunStart("r2", "tier")
    late = leave_mark(lake, RunStart("r2", "tier"))
    assert record_death(lake, settings, launched, exit_code=7)
    # and a run may write its row and die before its mark is gone
    ended = RunStart("r3", "tier")
    after = leave_mark(lake, ended)
    append_run(lake, settings, ended, RunEnd(OK, 0))
    for name in (late, after):
        _rewrite(lake, name)
    assert settle_deaths(lake, settings) == 0 and not list((Path(lake.uri) / FOLDER).iterdir())
    assert [run["run_id"] for run in _runs(lake)] == ["r1", "r2", "r3"]
