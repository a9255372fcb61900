"""Peers as processes beside ours: start one, ask it text by text, say why one is absent.

Knows: the JSON lines of ``bench_peers.py``, and how the peers' own environment is made. Must not know: corpora, scores.
Nothing of a peer enters the product's environment; texts go to a local process and nowhere else.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ppsehr_spark.domain.notes import Span
from ppsehr_spark.errors import ConfigurationError

HOME = Path(__file__).resolve().parents[1]
PEER_PYTHON = HOME / ".cache" / "peers" / "bin" / "python"
REQUIREMENTS = HOME / "requirements" / "peers.txt"
PEERS = ("lac", "jionlp", "presidio", "jieba", "helan")
#: Best peer that can be assembled: names, places, hospitals of the one, numbers of the other.
ASSEMBLED = "lac+jionlp"
_START_S = 180.0
#: One core for each, whatever library a peer brings.
_ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}


@dataclass
class Peer:
    """A running peer; ``remark`` is its version and set-up, ``n_failed`` counts texts that it could not take."""

    name: str
    remark: str
    process: subprocess.Popen[str]
    n_failed: int = 0

    def ask(self, text: str) -> tuple[tuple[Span, ...], float]:
        """Spans of one text and the CPU seconds they took the peer.

        Raises:
            ConfigurationError: ``PEER_ENDED``.
        """
        assert self.process.stdin and self.process.stdout
        try:
            self.process.stdin.write(json.dumps({"text": text}) + "\n")
            self.process.stdin.flush()
            reply = json.loads(self.process.stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError):
            raise ConfigurationError("PEER_ENDED", peer=self.name) from None
        self.n_failed += reply["failed"]
        return tuple(Span(start, end, category, source=self.name) for start, end, category in reply["spans"]), reply[
            "cpu_s"
        ]


@dataclass(frozen=True)
class Lineup:
    """Peers that answer, and for the others the reason why they do not."""

    peers: tuple[Peer, ...]
    absent: Mapping[str, str]


@contextmanager
def open_peers(names: Iterable[str], *, python: Path) -> Iterator[Lineup]:
    """Start the peers one after another; all have ended when the block ends."""
    peers: list[Peer] = []
    absent: dict[str, str] = {}
    try:
        for name in names:
            started = start_peer(name, python=python)
            if isinstance(started, Peer):
                peers.append(started)
            else:
                absent[name] = started
        yield Lineup(tuple(peers), absent)
    finally:
        for peer in peers:
            _end(peer.process)


def start_peer(name: str, *, python: Path) -> Peer | str:
    """A peer that is ready, or why it is not."""
    if not python.is_file():
        return "no environment for peers (python scripts/bench.py peers, or --peer-python)"
    command = [str(python), str(Path(__file__).with_name("bench_peers.py")), name]
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")} | _ONE_THREAD
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True, encoding="utf-8", env=environment,
    )  # fmt: skip
    assert process.stdout
    is_ready, _, _ = select.select([process.stdout], [], [], _START_S)
    try:
        said = json.loads(process.stdout.readline()) if is_ready else {"absent": f"not ready within {_START_S:.0f} s"}
    except json.JSONDecodeError:
        said = {"absent": "ended before it was ready"}
    if "ready" in said:
        return Peer(name, f"{said['ready']}, {said['note']}", process)
    _end(process)
    return str(said["absent"])


def run_peer(peer: Peer, texts: Mapping[str, str], *, seconds: float) -> dict[str, tuple[Span, ...]]:
    """Spans per note, in the order of ``texts``, for at most so many seconds of wall time."""
    deadline = time.monotonic() + seconds
    found: dict[str, tuple[Span, ...]] = {}
    for key, text in texts.items():
        if time.monotonic() > deadline:
            break
        found[key] = peer.ask(text)[0]
    return found


def assemble(
    lac: Mapping[str, tuple[Span, ...]], jionlp: Mapping[str, tuple[Span, ...]]
) -> dict[str, tuple[Span, ...]]:
    """LAC's names, places and hospitals with JioNLP's contacts and ID numbers, which win where they overlap."""
    assembled = {}
    for key in (key for key in lac if key in jionlp):
        numbers = [span for span in jionlp[key] if span.category in ("CONTACT", "ID")]
        free = [span for span in lac[key] if not any(span.overlaps(number) for number in numbers)]
        assembled[key] = tuple(sorted((*numbers, *free), key=lambda s: s.start))
    return assembled


def make_environment(python: Path) -> int:
    """A virtual environment of the pinned peers; the index is whatever uv is told by the site.

    Returns:
        The exit code: 0, or 3 when a step failed (its own words stand above).
    """
    uv = shutil.which("uv", path=f"{HOME / '.cache' / 'bootstrap' / 'bin'}{os.pathsep}{os.environ['PATH']}")
    if uv is None:
        print("bench peers: uv is missing (make setup fetches it)", file=sys.stderr)
        return 3
    environment = dict(os.environ) | {"UV_PYTHON_DOWNLOADS": "never"}
    environment.setdefault("UV_SYSTEM_CERTS", "true")
    if environment.get("PIP_INDEX_URL"):
        environment.setdefault("UV_DEFAULT_INDEX", environment["PIP_INDEX_URL"])
    pins = ["--no-deps", "--require-hashes", "-r", str(REQUIREMENTS)]
    steps = (
        [uv, "venv", "--quiet", "--allow-existing", "--python", "3.11", str(python.parents[1])],
        [uv, "pip", "install", "--quiet", "--python", str(python), *pins],
    )
    return 3 if any(subprocess.run(step, env=environment, check=False).returncode for step in steps) else 0


def _end(process: subprocess.Popen[str]) -> None:
    """A peer has nothing to save."""
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream:
            with suppress(BrokenPipeError):  # what was written to a dead peer cannot be flushed
                stream.close()
