"""Every exit code of the design, from commands as people and schedulers start them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ppsehr_spark.errors import ExitCode
from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.tables import Lake
from tests.ray_actors.open_lake import segment_row, write_units
from tests.ray_actors.training_lake import note_rows, write_notes

ROOT = Path(__file__).resolve().parents[2]
CLI = ("-m", "jobs.cli")
LAKE = "LAKE"

#: Name -> command (``LAKE`` stands for the lake), exit code, what it says.
COMMANDS: dict[str, tuple[tuple[str, ...], ExitCode, str]] = {
    "plan": (("jobs/publish.py", "--lake", LAKE, "--dry-run"), ExitCode.OK, '"would_run": true'),
    "check": ((*CLI, "conf", "check"), ExitCode.OK, "0 处错误"),
    "no lake": (("jobs/publish.py",), ExitCode.USAGE, "--lake"),
    "no such command": ((*CLI, "sing"), ExitCode.USAGE, "invalid choice"),
    "stages backwards": (
        (*CLI, "run", "--lake", LAKE, "--from", "publish", "--until", "ingest"),
        ExitCode.USAGE,
        "STAGE_ORDER",
    ),
    "profile": ((*CLI, "run", "--lake", LAKE, "--profile", "nowhere"), ExitCode.CONFIGURATION, "UNKNOWN_PROFILE"),
    "log format": (
        ("jobs/publish.py", "--lake", LAKE, "--set", "log.format=xml"),
        ExitCode.CONFIGURATION,
        "LOG_FORMAT",
    ),
    "secret": (
        (*CLI, "run", "--lake", LAKE, "--profile", "ci", "--spark-extra", "SECRETS"),
        ExitCode.CONFIGURATION,
        "SPARK_SECRET",
    ),
    "nothing to publish": (("jobs/publish.py", "--lake", LAKE), ExitCode.QUALITY_GATE, "NOTHING_TO_PUBLISH"),
    "no source": (
        ("jobs/ingest.py", "--lake", LAKE, "--source", "no-such-folder"),
        ExitCode.QUALITY_GATE,
        "SOURCE_MISSING",
    ),
    "lake that cannot be written": (
        ("jobs/publish.py", "--lake", "/proc/ppsehr-lake"),
        ExitCode.INFRASTRUCTURE,
        "TABLE_CREATE",
    ),
}


def _run(command: tuple[str, ...], tmp_path: Path, key_file: str, *extra: str) -> subprocess.CompletedProcess[str]:
    secrets = tmp_path / "secrets.conf"
    secrets.write_text("# a site's mistake\nspark.hadoop.fs.s3a.secret.key CANARY-KEY\n", encoding="utf-8")
    given = {LAKE: str(tmp_path / "lake"), "SECRETS": str(secrets)}
    words = [given.get(word, word) for word in command]
    if "--lake" in words:
        words += ["--set", f'identity.key_file="{key_file}"', *extra]
    return subprocess.run(
        [sys.executable, *words], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_ends_with_the_code_of_the_design(name: str, tmp_path: Path, key_file: str) -> None:
    command, code, said = COMMANDS[name]
    done = _run(command, tmp_path, key_file)
    assert done.returncode == code, done.stderr
    assert said in done.stdout + done.stderr
    assert "CANARY-KEY" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def _statuses(tmp_path: Path) -> list[tuple[str, int, str | None]]:
    runs = Lake(str(tmp_path / "lake")).read(schemas.RUNS).to_pylist()
    return [(run["status"], run["exit_code"], run["error_code"]) for run in runs]


@pytest.mark.slow
def test_a_refused_budget_is_5_and_on_record(tmp_path: Path, key_file: str) -> None:
    write_notes(Lake(str(tmp_path / "lake")), note_rows(2, 1))
    command = ("jobs/train.py", "--lake", LAKE, "--profile", "ci", "--set", "train.epsilon=50.0")
    done = _run(command, tmp_path, key_file)
    assert done.returncode == ExitCode.BUDGET_REFUSED, done.stderr
    assert _statuses(tmp_path) == [("failed", 5, "PRIVACY_BUDGET")]


@pytest.mark.ray
@pytest.mark.slow
def test_dead_letters_are_6_and_on_record(tmp_path: Path, key_file: str) -> None:
    rows = [segment_row(n) for n in range(3)]
    write_units(Lake(str(tmp_path / "lake")), rows, per_unit=3)
    fault = (
        "engine.fault.fault=exception",
        f'engine.fault.trigger="{rows[1]["text"][:4]}"',
        "engine.fault.inner=scripted",
    )
    script = [word for item in ("annotate.engine=fault", *fault) for word in ("--set", item)]
    done = _run(("jobs/annotate.py", "--lake", LAKE, "--profile", "ci"), tmp_path, key_file, *script)
    assert done.returncode == ExitCode.PARTIAL, done.stderr
    assert _statuses(tmp_path) == [("partial", 6, None)]
