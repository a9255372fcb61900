"""Whatever breaks while units are annotated, the answers end as those of a run that nothing disturbed: none lost, none
twice. Every case is compared by content; what is repeated is counted.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray

from jobs.annotate import replay
from ppsehr_spark.errors import ExitCode, InfrastructureError
from ppsehr_spark.lake.schemas import DEAD_LETTERS, RUNS, SEGMENT_ANNOTATIONS, UNIT_CLAIMS
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.lake.unit_claims import UnitClaims, utc_now
from ray_actors import annotate_run
from tests.chaos.annotated_lake import (
    BAD,
    KEY,
    KEYS,
    N_SEGMENTS,
    PER_UNIT,
    annotate,
    answered,
    arguments_of,
    content_of,
    dead,
    leases,
    make_lake,
    start_driver,
    tagged,
)

pytestmark = [pytest.mark.ray, pytest.mark.chaos]
full = pytest.mark.full_chaos
#: Where a driver may die; in this order, so that each one meets work that the one before left.
CRASH_POINTS = (
    "annotate.after_plan", "annotate.after_claim", "annotate.after_part", "annotate.before_commit",
    "annotate.after_commit", "annotate.before_record",
)  # fmt: skip
SLOW = 'fault="slow", delay_s=0.4'


@pytest.fixture(scope="module", autouse=True)
def shared_ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One Ray for all drivers, in this process and in others; its address."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PPSEHR_ENGINE_FOLDER", str(tmp_path_factory.mktemp("engines")))
        _start_ray()
        address = ray.get_runtime_context().gcs_address
        patch.setenv("RAY_ADDRESS", address)
        yield address
        ray.shutdown()


def _start_ray(tries: int = 3) -> None:
    """A machine that is too busy gets another chance."""
    try:
        ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, object_store_memory=128 * 2**20)
    except Exception:
        ray.shutdown()
        if tries <= 1:
            raise
        _start_ray(tries - 1)


@pytest.fixture(scope="module")
def oracle(shared_ray: str, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = make_lake(tmp_path_factory.mktemp("oracle"))
    counts = annotate(lake)
    assert (counts.tally["segments"], counts.n_repeated, counts.n_open_after) == (N_SEGMENTS, 0, 0)
    return lake


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return make_lake(tmp_path)


def assert_whole(lake: Lake, oracle: Lake) -> None:
    assert answered(lake) == set(KEYS)
    assert content_of(lake) == content_of(oracle)
    assert_silent(lake)


def assert_silent(lake: Lake) -> None:
    """What says how the work went says nothing about whom it was about."""
    written = [Path(lake.table_uri(spec)) for spec in (SEGMENT_ANNOTATIONS, DEAD_LETTERS, UNIT_CLAIMS)]
    logs = [path.read_text(encoding="utf-8") for folder in written for path in folder.glob("_delta_log/*.json")]
    told = [*logs, str(dead(lake)), str(leases(lake)), str([path.name for path in Path(lake.uri).rglob("*")])]
    assert logs and not [text for text in told if "李伟" in text or "王主任" in text]


@pytest.mark.parametrize(
    "fault", ["sigkill", "oom", *(pytest.param(fault, marks=full) for fault in ("exception", "hang", "crash"))]
)
def test_fault_that_passes_costs_a_second_attempt_and_nothing_else(
    fault: str, lake: Lake, oracle: Lake, tmp_path: Path
) -> None:
    options = {"fault": fault, "trigger": BAD, "marker": str(tmp_path / "struck"), "delay_s": 600.0}
    counts = annotate(lake, options=options, unit_timeout_s=4.0)
    assert (tmp_path / "struck").exists(), "nothing broke"
    assert counts.n_repeated >= PER_UNIT and counts.n_dead_letters == 0
    assert_whole(lake, oracle)


def test_children_of_a_killed_engine_are_ended(lake: Lake, oracle: Lake, tmp_path: Path) -> None:
    tag = f"ppsehr-test-{tmp_path.name}"
    options = {"fault": "sigkill", "trigger": BAD, "marker": str(tmp_path / "struck"), "child_tag": tag}
    assert annotate(lake, options=options).n_repeated > 0
    assert list(tagged(tag)) == []
    assert_whole(lake, oracle)


def test_poison_is_given_up_alone_left_alone_and_replayed(
    lake: Lake, oracle: Lake, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PPSEHR_TEST_KEY", KEY)
    poison = KEYS[13]
    counts = annotate(lake, options={"fault": "exception", "trigger": BAD}, max_attempts=1)
    assert (counts.n_dead_letters, counts.n_open_after) == (1, 1)
    assert [(row["segment_key"], row["error_code"]) for row in dead(lake)] == [(poison, "ENGINE_BROKE")]
    assert content_of(lake) == content_of(oracle, without=[poison])
    assert annotate(lake).n_open_before == 0, "an ordinary run asks about a dead letter again"
    assert replay([*arguments_of(lake), "--dry-run"]) == ExitCode.OK
    assert '"dead_letters": {"ENGINE_BROKE": 1}' in capfd.readouterr().out and len(dead(lake)) == 1
    assert replay([*arguments_of(lake), "--error-code", "UNIT_TIMEOUT"]) == ExitCode.OK
    assert poison not in answered(lake)
    assert replay(arguments_of(lake, options=f'fault="exception", trigger="{BAD}"')) == ExitCode.PARTIAL
    assert [row["is_replay"] for row in dead(lake)].count(False) == 2, "still poison: a letter after each attempt"
    assert replay(arguments_of(lake)) == ExitCode.OK
    assert_whole(lake, oracle)


@full
def test_overlong_row_is_answered_with_its_reason_and_stops_nobody(lake: Lake, oracle: Lake) -> None:
    counts = annotate(lake, options={"fault": "too_long", "trigger": BAD})
    assert counts.to_dict()["outcome_PROMPT_TOO_LONG"] == 1 and counts.n_dead_letters == 0
    assert answered(lake) == set(KEYS)
    assert content_of(lake, without=[KEYS[13]]) == content_of(oracle, without=[KEYS[13]])


@pytest.mark.parametrize("worker", ["TearingWorker", pytest.param("LosingWorker", marks=full)])
def test_part_that_is_not_whole_is_never_committed(
    worker: str, lake: Lake, oracle: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(annotate_run, "WORKER", f"tests.chaos.bad_store:{worker}")
    counts = annotate(lake)
    assert (counts.n_repeated, counts.tally["segments"]) == (PER_UNIT, N_SEGMENTS)
    assert_whole(lake, oracle)


def test_full_disk_ends_the_run_with_everything_finished_committed(lake: Lake, oracle: Lake, tmp_path: Path) -> None:
    parts = tmp_path / "lake" / SEGMENT_ANNOTATIONS.path
    parts.mkdir(parents=True)
    n_pages = sum(-(-path.stat().st_size // 4096) for path in Path(oracle.table_uri(SEGMENT_ANNOTATIONS)).rglob("*.*"))
    mount = ["mount", "-t", "tmpfs", "-o", f"size={n_pages * 4 * 2 // 3}k", "tmpfs", str(parts)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("a small file system needs the right to mount one")
    try:
        with pytest.raises(InfrastructureError, match=r"PART_WRITE|COMMIT_FAILED") as failure:
            annotate(lake, units_per_commit=2)
        assert failure.value.exit_code == ExitCode.INFRASTRUCTURE and failure.value.is_retryable
        finished = answered(lake)
        assert 0 < len(finished) < N_SEGMENTS and dead(lake) == []
        subprocess.run(["mount", "-o", "remount,size=4m", str(parts)], check=True)
        assert annotate(lake).n_open_before == N_SEGMENTS - len(finished)
        assert_whole(lake, oracle)
    finally:
        subprocess.run(["umount", str(parts)], check=True)


@pytest.mark.parametrize("points", [CRASH_POINTS[3:4], pytest.param(CRASH_POINTS, marks=full)], ids=["one", "all"])
def test_driver_killed_at_named_points_and_run_again(
    points: tuple[str, ...], lake: Lake, oracle: Lake, tmp_path: Path
) -> None:
    tag = f"ppsehr-test-{tmp_path.name}"
    for point in points:
        driver = start_driver(
            lake, "--run-id", point, options=f'child_tag="{tag}"', env={"PPSEHR_CRASH_AT": point}, lease_s=3_600.0
        )
        _, stderr = driver.communicate(timeout=120)
        assert driver.returncode == 137 and f"crash point {point}" in stderr, stderr
        content_of(lake)
    last = start_driver(lake, "--resume")
    _, stderr = last.communicate(timeout=120)
    assert last.returncode == 0, stderr
    assert f"run {points[-1]} finds" in stderr, "the run that did not end goes on under its id"
    assert_whole(lake, oracle)
    assert list(tagged(tag)) == [], "engines of dead drivers outlived the next run"


def test_two_drivers_share_the_work(lake: Lake, oracle: Lake) -> None:
    drivers = [start_driver(lake, "--run-id", f"r{n}", options=SLOW) for n in range(2)]
    texts = [driver.communicate(timeout=240)[1] for driver in drivers]
    assert [driver.returncode for driver in drivers] == [0, 0], texts
    assert_whole(lake, oracle)
    assert all("repeated_calls=0" in text for text in texts), texts
    assert {row["run_id"] for row in lake.read(SEGMENT_ANNOTATIONS).to_pylist()} == {"r0", "r1"}
    assert [row["unit_ids"] for row in leases(lake)][-1] == []


@full
def test_clock_far_ahead_repeats_work_and_no_row(lake: Lake, oracle: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = start_driver(lake, "--run-id", "r0", options='fault="slow", delay_s=2.0', units_per_commit=6)
    wait_for(lambda: leases(lake), "the first driver claims nothing")
    monkeypatch.setattr(annotate_run, "UnitClaims", partial(UnitClaims, now=lambda: utc_now() + timedelta(days=1)))
    counts = annotate(lake, units_per_commit=6)
    _, stderr = driver.communicate(timeout=240)
    assert driver.returncode == 0, stderr
    held = {row["run_id"]: set(row["unit_ids"]) for row in leases(lake) if row["unit_ids"]}
    assert held["r0"] & held["r1"], "a lease that had run out by the second clock was respected"
    assert counts.n_repeated or "repeated_calls=0" not in stderr, "nothing was asked twice"
    assert_whole(lake, oracle)


@full
def test_ray_that_dies_takes_the_driver_along_and_nothing_else(lake: Lake, oracle: Lake) -> None:
    with own_ray() as (address, daemons):
        driver = start_driver(lake, options='fault="slow", delay_s=3.0', env={"RAY_ADDRESS": address})
        wait_for(lambda: answered(lake), "the driver makes no progress")
        below = {process for daemon in daemons for process in (daemon, *daemon.children(recursive=True))}
        assert {"gcs_server", "raylet"} < {process.name() for process in below}
        for process in below:
            process.kill()
        _, stderr = driver.communicate(timeout=180)
    assert driver.returncode != 0 and "李伟" not in stderr
    n_before = len(answered(lake))
    assert 0 < n_before < N_SEGMENTS
    assert annotate(lake).n_open_before == N_SEGMENTS - n_before
    assert_whole(lake, oracle)


@contextmanager
def own_ray() -> Iterator[tuple[str, list[psutil.Process]]]:
    """Another Ray: its address, and the two processes above all others."""
    code = (
        "import ray, sys; ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False,"
        " object_store_memory=128 * 2**20); print(ray.get_runtime_context().gcs_address, flush=True); sys.stdin.read()"
    )
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    holder = subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        address = next(line.strip() for line in holder.stdout if ":" in line)
        below = psutil.Process(holder.pid).children(recursive=True)
        yield address, [process for process in below if process.name() in ("gcs_server", "raylet")]
    finally:
        holder.kill()
        holder.communicate()


def test_sigterm_finishes_what_is_out_and_gives_back_the_rest(lake: Lake, oracle: Lake) -> None:
    driver = start_driver(lake, options='fault="slow", delay_s=1.0', units_per_commit=2)
    wait_for(lambda: len(answered(lake)) > 0, "the driver makes no progress")
    driver.send_signal(signal.SIGTERM)
    _, stderr = driver.communicate(timeout=120)
    assert driver.returncode == ExitCode.INFRASTRUCTURE and "INTERRUPTED" in stderr and "李伟" not in stderr
    assert 0 < len(answered(lake)) < N_SEGMENTS and len(answered(lake)) % PER_UNIT == 0
    assert leases(lake)[-1]["unit_ids"] == [], "units are still held"
    (run,) = lake.read(RUNS).to_pylist()
    assert run["error_code"] == "INTERRUPTED" and run["output_tokens"] >= len(answered(lake))
    assert json.loads(run["counts"])["segments"] == len(answered(lake)), "what it did is in the row, though it failed"
    counts = annotate(lake)
    assert (counts.n_repeated, counts.n_taken_over) == (0, 0)
    assert_whole(lake, oracle)


def wait_for(is_so: Any, complaint: str, *, seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, complaint
        time.sleep(0.1)
