"""The annotate job on a real Ray with a scripted engine: once each, within budget, through failures and kills."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
from tqdm import tqdm

from ppsehr_spark.errors import InfrastructureError
from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.tables import Lake
from ray_actors.annotate_counts import AnnotateCounts
from ray_actors.annotate_run import annotate_lake
from tests.ray_actors.open_lake import make_settings, segment_row, write_units

pytestmark = pytest.mark.ray
ROOT = Path(__file__).resolve().parent.parent.parent


def annotate(lake: Lake, *, options: dict[str, Any] | None = None, **keys: Any) -> AnnotateCounts:
    settings = make_settings(options=options or {}, **keys)
    return annotate_lake(lake, settings=settings, run_id="r1", progress=tqdm(disable=True))


def keys_of(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(row["segment_key"] for row in rows)


def answered(lake: Lake) -> list[dict[str, Any]]:
    return lake.read(schemas.SEGMENT_ANNOTATIONS).to_pylist()


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    return [segment_row(n) for n in range(12)]


@pytest.fixture(scope="module")
def shared_ray() -> Iterator[None]:
    """One local Ray for the tests that do not look at its start and end."""
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, object_store_memory=128 * 2**20)
    yield
    ray.shutdown()


@pytest.fixture
def no_ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Starting Ray is an error."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("Ray must not start")

    monkeypatch.setattr("ray.init", refuse)
    yield


def test_nothing_starts_without_open_units_or_model_or_budget(lake: Lake, rows: list[Any], no_ray: None) -> None:
    assert annotate(lake).to_dict()["open_segments"] == 0
    write_units(lake, rows, per_unit=4)
    assert annotate(lake, token_budget=0).n_open_after == 12
    settings = make_settings("rules", options={})
    assert annotate_lake(lake, settings=settings, run_id="r1", progress=tqdm(disable=True)).n_open_after == 12


def test_budget_bounds_a_run_and_the_next_one_goes_on(shared_ray: None, lake: Lake, rows: list[Any]) -> None:
    write_units(lake, rows, per_unit=4)
    first = annotate(lake, token_budget=700, batch_prompts=2)
    assert 0 < first.tally["segments"] < 12
    assert first.usage.charged <= 700
    assert first.n_open_after == 12 - first.tally["segments"]
    second = annotate(lake)
    assert second.n_open_before == first.n_open_after and second.n_open_after == 0
    assert keys_of(answered(lake)) == keys_of(rows), "every segment once"
    assert {row["run_id"] for row in answered(lake)} == {"r1"}


def test_poisoned_segment_is_isolated_when_it_kills_its_actor(shared_ray: None, lake: Lake, rows: list[Any]) -> None:
    write_units(lake, rows, per_unit=4)
    counts = annotate(lake, options={"fault": "crash", "trigger": "第6日"}, max_attempts=1, units_per_commit=1)
    (dead,) = lake.read(schemas.DEAD_LETTERS).to_pylist()
    assert (dead["segment_key"], dead["error_code"]) == (rows[6]["segment_key"], "ACTOR_DIED")
    assert counts.n_dead_letters == counts.n_open_after == 1
    assert keys_of(answered(lake)) == sorted(set(keys_of(rows)) - {dead["segment_key"]})


def test_hanging_and_failing_units_are_tried_again(shared_ray: None, lake: Lake, rows: list[Any]) -> None:
    write_units(lake, rows, per_unit=12)
    hang = {"fault": "hang", "trigger": "第3日", "delay_s": 600.0}
    counts = annotate(lake, options=hang, max_attempts=1, unit_timeout_s=3.0)
    assert counts.tally["segments"] == 11
    assert [row["error_code"] for row in lake.read(schemas.DEAD_LETTERS).to_pylist()] == ["UNIT_TIMEOUT"]
    once = annotate(lake, options={"fault": "exception", "times": 1})
    assert once.n_open_after == 0, "a failure that passes costs a second attempt, no segment"


def test_engine_that_never_answers_ends_the_run(shared_ray: None, lake: Lake, rows: list[Any]) -> None:
    write_units(lake, rows, per_unit=2)
    with pytest.raises(InfrastructureError, match="ENGINE_DOWN"):
        annotate(lake, options={"fault": "exception"})
    with pytest.raises(InfrastructureError, match="ENGINE_START"):
        annotate(lake, options={"fail_start": True})
    assert answered(lake) == []


def start_job(lake: Lake, *, options: str, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """``jobs/annotate.py`` in a process group of its own."""
    command = [sys.executable, "jobs/annotate.py", "--lake", lake.uri, "--profile", "ci", "--run-id", "r1"]
    overrides = ["annotate.engine=fault", "annotate.token_budget=1000000", "annotate.units_per_commit=1", options]
    arguments = [part for override in overrides for part in ("--set", override)]
    key = "00" * 32
    return subprocess.Popen(
        [*command, *arguments, "--set", "identity.key_file=env:PPSEHR_TEST_KEY"],
        cwd=ROOT,
        env={**os.environ, "PPSEHR_TEST_KEY": key, "PYTHONPATH": str(ROOT), **(env or {})},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for_rows(lake: Lake, *, at_least: int, seconds: float = 240.0) -> None:
    deadline = time.monotonic() + seconds
    while len(answered(lake)) < at_least:
        assert time.monotonic() < deadline, "the job made no progress"
        time.sleep(0.3)


def descendants(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


SLOW = 'engine.fault={inner="scripted", fault="slow", delay_s=0.7}'


@pytest.mark.chaos
@pytest.mark.full_chaos
def test_killed_job_leaves_no_process_and_resumes_without_doubles(lake: Lake) -> None:
    rows = [segment_row(n) for n in range(16)]
    write_units(lake, rows, per_unit=1)
    job = start_job(lake, options=SLOW)
    wait_for_rows(lake, at_least=2)
    started = descendants(job.pid)
    os.kill(job.pid, signal.SIGKILL)
    job.communicate()
    _, alive = psutil.wait_procs(started, timeout=30)
    # Ray's two small agents end by themselves when they miss their parent, which takes them about a minute
    lasting = [name for p in alive if p.is_running() and "Agent" not in (name := p.name())]
    assert lasting == [], "Ray, its store and the annotators must die with the driver"
    n_before = len(answered(lake))
    assert 2 <= n_before < 16
    counts = annotate(lake)
    assert counts.n_open_before == 16 - n_before, "what was committed is not asked again"
    assert keys_of(answered(lake)) == keys_of(rows)


@pytest.mark.chaos
@pytest.mark.full_chaos
def test_sigterm_commits_ends_cleanly_and_says_so(lake: Lake) -> None:
    write_units(lake, [segment_row(n) for n in range(40)], per_unit=1)
    job = start_job(lake, options=SLOW)
    wait_for_rows(lake, at_least=1)
    started = descendants(job.pid)
    job.send_signal(signal.SIGTERM)
    _, stderr = job.communicate(timeout=300)
    assert job.returncode == 7
    assert "INTERRUPTED" in stderr and "李伟" not in stderr
    _, alive = psutil.wait_procs(started, timeout=30)
    assert [p.name() for p in alive] == []
    assert 1 <= len(answered(lake)) < 40
