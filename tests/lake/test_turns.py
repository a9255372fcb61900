"""Turns before a fenced commit: in the order of arrival, never in the way for ever."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ppsehr_spark.lake import turns
from ppsehr_spark.lake.schemas import PRIVACY_LEDGER
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.lake.turns import take_turn


def _queue(lake: Lake) -> Path:
    return Path(lake.table_uri(PRIVACY_LEDGER), ".writers")


def test_writers_are_served_in_the_order_in_which_they_came(lake: Lake) -> None:
    served: list[int] = []

    def write(number: int) -> None:
        with take_turn(lake, PRIVACY_LEDGER) as is_held:
            assert is_held
            served.append(number)

    with take_turn(lake, PRIVACY_LEDGER):
        waiting = [threading.Thread(target=write, args=(number,)) for number in range(4)]
        for n_queued, thread in enumerate(waiting, start=1):
            thread.start()
            while len([name for name in os.listdir(_queue(lake)) if name[1:2].isdigit()]) < n_queued:
                time.sleep(0.001)
        assert not served
    for thread in waiting:
        thread.join(timeout=10)
    assert served == [0, 1, 2, 3]
    assert os.listdir(_queue(lake)) == [".turn"]


def test_nobody_waits_longer_than_the_longest_wait(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "LONGEST_WAIT_S", 0.2)
    with take_turn(lake, PRIVACY_LEDGER) as is_first:
        start = time.monotonic()
        with take_turn(lake, PRIVACY_LEDGER) as is_second:
            assert 0.2 <= time.monotonic() - start < 2.0
    assert (is_first, is_second) == (True, False)


@pytest.mark.chaos
def test_a_killed_writer_is_in_nobodys_way(lake: Lake) -> None:
    """One holds the turn, one waits before us; both are killed."""
    script = (
        "import sys, time\n"
        "from ppsehr_spark.lake.schemas import PRIVACY_LEDGER\n"
        "from ppsehr_spark.lake.tables import Lake\n"
        "from ppsehr_spark.lake.turns import take_turn\n"
        "with take_turn(Lake(sys.argv[1]), PRIVACY_LEDGER):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(60)\n"
    )
    root = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": root}
    command = [sys.executable, "-c", script, lake.uri]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert holder.stdout and holder.stdout.readline() == "held\n"
    waiter = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    while not [name for name in os.listdir(_queue(lake)) if name[1:2].isdigit()]:
        time.sleep(0.01)
    for process in (waiter, holder):
        process.kill()
        process.communicate(timeout=30)
    start = time.monotonic()
    with take_turn(lake, PRIVACY_LEDGER) as is_held:
        assert is_held and time.monotonic() - start < 1.0
    assert os.listdir(_queue(lake)) == [".turn"]


def test_a_store_without_local_files_has_no_turns() -> None:
    with take_turn(Lake("s3a://bucket/lake"), PRIVACY_LEDGER) as is_held:
        assert not is_held


def test_a_folder_that_cannot_be_locked_is_written_all_the_same(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError("no locks here")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with take_turn(lake, PRIVACY_LEDGER) as is_held:
        assert not is_held
