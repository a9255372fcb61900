"""Runs that died without a word: a mark is left when a stage begins, and whoever comes next writes the missing row.

Knows: the marks below ``control/running`` in the lake and which process left them (``lake.owners``). Must not know:
what a stage does. A mark goes when the row of its run stands. One that stays belongs to a dead process of this machine,
which the next stage sees at once, or to a process that cannot be asked (another host, or a boot before), which counts
as dead after ``UNKNOWN_AFTER``. The row is appended under a Delta transaction of its mark, so it lands once whoever
finds it.
"""

from __future__ import annotations

import json
import secrets
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from pyarrow import fs

from ppsehr_spark.config import Settings
from ppsehr_spark.errors import ExitCode
from ppsehr_spark.lake.locations import open_file_system
from ppsehr_spark.lake.owners import parse_owner, this_process
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.operations.records import INTERRUPTED, RunEnd, RunStart, append_run, read_runs

FOLDER = "control/running"
#: A stage process that ended without leaving a row: killed, out of memory, or at a crash point of a test.
PROCESS_DIED = "PROCESS_DIED"
#: No stage runs longer than this.
UNKNOWN_AFTER = timedelta(days=7)
_TOLD = ("run_id", "stage", "fingerprint", "conf_fingerprint", "input_versions", "work_rows", "resources")


def leave_mark(lake: Lake, start: RunStart) -> str:
    """Say that this process works on a run; returns the name of the mark."""
    told = {name: getattr(start, name) for name in _TOLD}
    plain = {**told, "started_at": start.started_at.isoformat(), "owner": this_process().name}
    name = f"{start.stage}.{secrets.token_hex(8)}.json"
    filesystem, folder = _place(lake)
    filesystem.create_dir(folder, recursive=True)
    with filesystem.open_output_stream(f"{folder}/{name}", compression=None) as stream:
        stream.write(json.dumps(plain, sort_keys=True).encode())
    return name


def remove_mark(lake: Lake, name: str) -> None:
    """The run has its row; a mark that somebody else has removed is no matter."""
    filesystem, folder = _place(lake)
    try:
        filesystem.delete_file(f"{folder}/{name}")
    except FileNotFoundError:
        return


def settle_deaths(lake: Lake, settings: Settings) -> int:
    """Write the rows of dead processes and take their marks away; returns how many rows were missing."""
    n_missing = 0
    for name, mark in _read_marks(lake).items():
        if not _is_dead(mark):
            continue
        start = _read_start(mark)
        if not _has_row(lake, start):
            end = RunEnd(INTERRUPTED, int(ExitCode.INFRASTRUCTURE), PROCESS_DIED)
            append_run(lake, settings, start, end, app_id=f"run.{name}")
            n_missing += 1
        remove_mark(lake, name)
    return n_missing


def record_death(lake: Lake, settings: Settings, start: RunStart, *, exit_code: int, wait_s: float = 0.0) -> bool:
    """Write the row that a killed stage could not write; True when one was missing.

    Args:
        wait_s: how long the stage may still take to write its own: a Spark driver outlives its JVM for a moment.
    """
    deadline = time.monotonic() + wait_s
    while not (has_row := _has_row(lake, start)) and time.monotonic() < deadline:
        time.sleep(1.0)
    if has_row:
        return False
    settle_deaths(lake, settings)  # the stage's own mark says more than its caller knows
    if not _has_row(lake, start):
        append_run(lake, settings, start, RunEnd(INTERRUPTED, exit_code, PROCESS_DIED))
    return True


def _is_dead(mark: dict[str, Any]) -> bool:
    owner = parse_owner(mark["owner"])
    if owner.is_here:
        return not owner.is_alive
    return datetime.now(UTC) - datetime.fromisoformat(mark["started_at"]) > UNKNOWN_AFTER


def _has_row(lake: Lake, start: RunStart) -> bool:
    """Whether this very run has its row: of the same run id, not older than the start (a run may be taken up again).

    A row that a caller wrote for a dead stage begins when the stage was launched, before its process could say so.
    """
    runs = [run for run in read_runs(lake, start.stage) if run["run_id"] == start.run_id]
    return any(run["started_at"] >= start.started_at or _covers(run, start) for run in runs)


def _covers(run: dict[str, Any], start: RunStart) -> bool:
    until = run["started_at"] + timedelta(seconds=run["seconds"] or 0.0)
    return run["error_code"] == PROCESS_DIED and run["started_at"] <= start.started_at <= until


def _read_marks(lake: Lake) -> dict[str, dict[str, Any]]:
    """Name -> content; a mark that cannot be read (half written by a process that died) is left alone."""
    filesystem, folder = _place(lake)
    marks = {}
    for entry in filesystem.get_file_info(fs.FileSelector(folder, allow_not_found=True)):
        try:
            with filesystem.open_input_stream(entry.path, compression=None) as stream:
                marks[entry.base_name] = json.loads(stream.read())
        except (FileNotFoundError, ValueError):
            continue
    return marks


def _read_start(mark: dict[str, Any]) -> RunStart:
    told = {name: mark[name] for name in _TOLD}
    return RunStart(**told, started_at=datetime.fromisoformat(mark["started_at"]), clock=None)


def _place(lake: Lake) -> tuple[fs.FileSystem, str]:
    filesystem, root = open_file_system(lake.uri)
    return filesystem, f"{root}/{FOLDER}"
