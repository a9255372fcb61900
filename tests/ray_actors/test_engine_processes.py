"""Processes that an engine left behind are ended, and nobody else's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from ppsehr_spark.lake.owners import Owner, started_at, this_process
from ray_actors.engine_processes import FOLDER_VARIABLE, forget_children, reap_engines, recorded_children

ROOT = Path(__file__).resolve().parents[2]
#: Plays an actor: starts a worker while it loads, says so, and waits.
ACTOR = """
import subprocess, sys, time
from ray_actors.engine_processes import recorded_children
with recorded_children(sys.argv[1]):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "engines"))
    return tmp_path / "engines"


def start_actor(driver: str) -> tuple[subprocess.Popen[str], psutil.Process]:
    actor = subprocess.Popen(
        [sys.executable, "-c", ACTOR, driver],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert actor.stdout is not None
    return actor, psutil.Process(int(actor.stdout.readline()))


def end(actor: subprocess.Popen[str], child: psutil.Process) -> None:
    for process in (actor, child):
        if psutil.pid_exists(process.pid):
            process.kill()
    actor.communicate()


def test_worker_of_a_killed_actor_is_ended(folder: Path) -> None:
    actor, child = start_actor(this_process().name)
    try:
        assert os.getpgid(child.pid) == actor.pid, "the engine has no group of its own"
        assert reap_engines() == 0 and child.is_running(), "its owner lives"
        actor.send_signal(signal.SIGKILL)
        actor.wait()
        assert child.is_running(), "a child that ends with its parent needs nobody"
        assert reap_engines() == 1
        assert not child.is_running() and list(folder.iterdir()) == []
    finally:
        end(actor, child)


def test_actor_and_worker_of_a_dead_driver_are_ended(folder: Path) -> None:
    driver = subprocess.Popen([sys.executable, "-c", ""])
    started = started_at(driver.pid)
    driver.wait()
    actor, child = start_actor(Owner(this_process().host, driver.pid, started or 0).name)
    try:
        assert reap_engines() == 2
        assert not psutil.pid_exists(actor.pid) and not child.is_running()
    finally:
        end(actor, child)


def test_process_that_got_the_number_of_a_dead_one_is_left_alone(folder: Path) -> None:
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    own, started = this_process(), started_at(bystander.pid)
    assert started is not None
    gone = Owner(own.host, own.pid, own.started + 1).name
    folder.mkdir(mode=0o700)
    record = {"driver": [gone], "actor": [gone], "members": [Owner(own.host, bystander.pid, started - 1).name]}
    (folder / "old").write_text(json.dumps(record), encoding="utf-8")
    (folder / "broken").write_text("{", encoding="utf-8")
    try:
        assert reap_engines() == 0
        time.sleep(0.2)
        assert bystander.poll() is None and [path.name for path in folder.iterdir()] == ["broken"]
    finally:
        bystander.kill()
        bystander.wait()


def test_engine_that_ended_its_processes_leaves_no_record(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "setpgid", lambda *_: None)  # this process stays in the group of the test run
    with recorded_children(this_process().name):
        assert len(list(folder.iterdir())) == 1
    forget_children()
    assert list(folder.iterdir()) == []
