"""Processes of an engine that outlive their owner: written down while they start, ended by whoever comes next.

Knows: one file per actor in a private folder of this machine, process numbers with start times. Must not know: Ray,
engines, lakes. A process is ended only if number and start time are those that were written down, so a number that
somebody else got meanwhile is safe.
"""

from __future__ import annotations

import json
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from ppsehr_spark.lake.owners import Owner, parse_owner, started_at, this_process

_LOOK_S = 1.0
_END_TIMEOUT_S = 5.0
#: Names another folder, for tests.
FOLDER_VARIABLE = "PPSEHR_ENGINE_FOLDER"


@contextmanager
def recorded_children(driver: str) -> Iterator[None]:
    """While an engine loads, and once at the end, write down this process and all its children.

    The process becomes the leader of a group of its own, so that a signal to its owner's group does not reach it half.

    Args:
        driver: name (``Owner.name``) of the process that the engine works for.
    """
    with suppress(OSError):  # a session leader is its group's leader already
        os.setpgid(0, 0)
    is_loaded = threading.Event()

    def look() -> None:
        while not is_loaded.wait(_LOOK_S):
            _write(driver)

    _write(driver)
    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    try:
        yield
    finally:
        is_loaded.set()
        looking.join()
        _write(driver)


def forget_children() -> None:
    """The engine has ended its processes itself."""
    (_folder() / this_process().name).unlink(missing_ok=True)


def reap_engines() -> int:
    """End what engines left behind whose own process or whose driver is dead; returns how many processes."""
    n_ended = 0
    for path in sorted(_folder().iterdir()):
        record = _read(path)
        if record is not None and not _is_in_use(record):
            n_ended += _end([parse_owner(name) for name in record["members"]])
            path.unlink(missing_ok=True)
    return n_ended


def _is_in_use(record: dict[str, list[str]]) -> bool:
    """An actor works as long as it and its driver live; a driver on another machine is looked after by Ray."""
    actor, driver = parse_owner(record["actor"][0]), parse_owner(record["driver"][0])
    return not actor.is_here or (actor.is_alive and (driver.is_alive or not driver.is_here))


def _end(members: list[Owner]) -> int:
    """Kill the living members and what descends from them; they had their chance to end by themselves."""
    doomed: set[psutil.Process] = set()
    for member in members:
        with suppress(psutil.Error):
            if member.is_alive:
                process = psutil.Process(member.pid)
                doomed |= {process, *process.children(recursive=True)}
    for process in doomed:
        with suppress(psutil.Error):  # psutil, too, compares the start time before it signals
            process.kill()
    psutil.wait_procs(doomed, timeout=_END_TIMEOUT_S)
    return len(doomed)


def _write(driver: str) -> None:
    """Replace the file of this process; a half-written one is never seen."""
    own = this_process()
    children = [(child.pid, started_at(child.pid)) for child in psutil.Process().children(recursive=True)]
    members = [own.name, *(Owner(own.host, pid, started).name for pid, started in children if started is not None)]
    path = _folder() / own.name
    beside = path.with_suffix(".new")
    record = {"driver": [driver], "actor": [own.name], "members": members}
    beside.write_text(json.dumps(record), encoding="utf-8")
    beside.replace(path)


def _read(path: Path) -> dict[str, list[str]] | None:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return record if {"driver", "actor", "members"} <= set(record) else None
    except (OSError, ValueError):
        return None


def _folder() -> Path:
    """Only this account may write here: what stands in these files gets killed."""
    named = os.environ.get(FOLDER_VARIABLE)
    folder = Path(named) if named else Path(tempfile.gettempdir()) / f"ppsehr-engines-{os.getuid()}"
    folder.mkdir(mode=0o700, parents=bool(named), exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        folder = Path(tempfile.mkdtemp(prefix="ppsehr-engines-"))  # somebody else was first; ours is then only for us
    return folder
