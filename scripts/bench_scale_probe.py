"""A command measured from outside: wall and CPU seconds, and how much memory its processes held at most.

Knows: ``/proc``. Must not know: what the command does. Resident sizes (RSS) are sampled; Python workers are forked and
share pages, so that their sum counts some twice: an upper bound.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import monotonic

_EVERY_S = 0.5
_PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / 2**20
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_WORKER = b"pyspark"


@dataclass(frozen=True)
class Usage:
    """What one command took.

    Attributes:
        wall_s: from start to exit.
        cpu_s: user and system time of all its processes, as last seen: Spark's Python workers have no parent who would
            account for them, so they are read while they live, and what a process does in its last half second is lost.
        jvm_mib: resident size of its largest Java process, at most.
        worker_mib: of its largest Python worker.
        workers_mib: of all its Python workers together.
    """

    wall_s: float = 0.0
    cpu_s: float = 0.0
    jvm_mib: float = 0.0
    worker_mib: float = 0.0
    workers_mib: float = 0.0

    def to_dict(self) -> dict[str, float]:
        return {name: round(value, 1) for name, value in asdict(self).items()}


def run_measured(command: Sequence[str], *, env: Mapping[str, str], log: Path) -> Usage:
    """Run ``command`` with its output in ``log``.

    Raises:
        subprocess.CalledProcessError: it exits with anything but 0.
    """
    started = monotonic()
    with log.open("ab") as out:
        process = subprocess.Popen(command, env=dict(env), stdout=out, stderr=out)
        sampler = _Sampler(process.pid)
        sampler.start()
        try:
            code = process.wait()
        finally:
            process.kill()
            sampler.stop()
    if code:
        raise subprocess.CalledProcessError(code, list(command)[-8:])
    return replace(sampler.peak, wall_s=monotonic() - started, cpu_s=sum(sampler.cpu_s.values()))


class _Sampler(threading.Thread):
    """Keeps the largest sizes it has seen among a process and its descendants."""

    def __init__(self, root: int) -> None:
        super().__init__(daemon=True)
        self._root, self._stop_asked = root, threading.Event()
        self.peak = Usage()
        self.cpu_s: dict[int, float] = {}

    def run(self) -> None:
        while not self._stop_asked.wait(_EVERY_S):
            self._look()

    def stop(self) -> None:
        """End the sampling."""
        self._stop_asked.set()
        self.join()

    def _look(self) -> None:
        jvm, workers = [0.0], [0.0]
        for pid in _descend(self._root):
            self.cpu_s[pid] = max(self.cpu_s.get(pid, 0.0), _cpu_s(pid))
            name, mib = _describe(pid)
            if name:
                (workers if name == "worker" else jvm).append(mib)
        was = self.peak
        self.peak = Usage(
            jvm_mib=max(was.jvm_mib, *jvm),
            worker_mib=max(was.worker_mib, *workers),
            workers_mib=max(was.workers_mib, sum(workers)),
        )


def _descend(root: int) -> Iterator[int]:
    """``root`` and all that descend from it now."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            parent = _parent(entry)
            children.setdefault(parent, []).append(int(entry.name))
    queue = [root]
    while queue:
        pid = queue.pop()
        yield pid
        queue += children.get(pid, [])


def _parent(entry: Path) -> int:
    fields = _stat(entry)
    return int(fields[1]) if fields else -1


def _cpu_s(pid: int) -> float:
    fields = _stat(Path(f"/proc/{pid}"))
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S if fields else 0.0


def _stat(entry: Path) -> list[bytes]:
    """Fields of ``/proc/PID/stat`` behind the command's name; none when the process has gone in between."""
    try:
        return (entry / "stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return []


def _describe(pid: int) -> tuple[str, float]:
    """``jvm``, ``worker`` or nothing, and its resident size in MiB."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        mib = int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * _PAGE_MIB
    except (OSError, IndexError, ValueError):
        return "", 0.0
    if command[0].endswith(b"java"):
        return "jvm", mib
    return ("worker", mib) if any(part.startswith(_WORKER) for part in command[1:]) else ("", mib)
