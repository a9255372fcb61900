"""Who holds something: one process of one machine, told apart from a later process with the same number.

Knows: process numbers, start times, boots and containers of this machine. Must not know: what is held. A name holds a
hash of the machine, never its name.
"""

from __future__ import annotations

import hashlib
import os
import socket
from dataclasses import dataclass
from pathlib import Path

#: Fields of /proc/PID/stat after the command's closing bracket: state, then 18 others, then start time.
_STATE, _STARTED = 0, 19
_GONE = ("Z", "X")


@dataclass(frozen=True)
class Owner:
    """One process.

    Attributes:
        host: hash of machine, boot and container.
        pid: process number there.
        started: ticks between the boot and the start of the process.
    """

    host: str
    pid: int
    started: int

    @property
    def name(self) -> str:
        """``host.pid.started``."""
        return f"{self.host}.{self.pid}.{self.started}"

    @property
    def is_here(self) -> bool:
        """True when it ran on this machine, so that ``is_alive`` can tell."""
        return self.host == host_hash()

    @property
    def is_alive(self) -> bool:
        """True while the process runs on this machine; a process that took over its number does not count."""
        return self.is_here and started_at(self.pid) == self.started


def this_process() -> Owner:
    """The running process."""
    return Owner(host_hash(), os.getpid(), started_at(os.getpid()) or 0)


def parse_owner(name: str) -> Owner:
    """Inverse of ``Owner.name``; a name of another form belongs to no machine."""
    host, _, rest = name.partition(".")
    pid, _, started = rest.partition(".")
    return Owner(host, int(pid), int(started)) if pid.isdigit() and started.isdigit() else Owner("", 0, 0)


def started_at(pid: int) -> int | None:
    """Start of a living process in ticks since boot, ``None`` when there is none of this number."""
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return int(fields[_STARTED]) if len(fields) > _STARTED and fields[_STATE] not in _GONE else None


def host_hash() -> str:
    """12 hex digits that are the same for all processes that can see one another, until the next boot."""
    try:
        container = os.readlink("/proc/self/ns/pid")
    except OSError:
        container = ""
    known = (socket.gethostname(), _read("/proc/sys/kernel/random/boot_id").strip(), container)
    return hashlib.sha256("|".join(known).encode()).hexdigest()[:12]


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
