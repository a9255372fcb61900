"""``bench.py ledger``: how long an admission takes beside many entries, and what many processes get from one ledger.

Knows: how a ledger of N entries is made, how processes hammer one and are killed, what is counted. Must not know: how
rows are stored or admitted. *Admission* is one ``reserve``: in a fresh process (which verifies every row first; the
imports that wait for the first use, dp-accounting and Arrow's pandas, stand apart: they take what they take
whatever the ledger holds) and in one that has asked before.
*Hammer*: processes reserve, draw and commit (three of four) or give back, without a pause; every few seconds one is
killed (SIGKILL) and replaced. Nothing may be overspent, and every answer that a process got must stand in the ledger.

    python scripts/bench.py ledger                      # 10,000 entries; then 8 processes for 60 s
    python scripts/bench.py ledger --entries 0 --seconds 30 --no-turns     # the fence alone, as between hosts
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pyarrow as pa

from ppsehr_spark.errors import BudgetRefusedError, ExitCode
from ppsehr_spark.lake import turns
from ppsehr_spark.lake.fenced_commits import Fence
from ppsehr_spark.lake.ledger_store import open_ledger, read_entries
from ppsehr_spark.lake.row_chain import GENESIS_HASH, hash_chained, verify_rows
from ppsehr_spark.lake.schemas import PRIVACY_LEDGER
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.privacy import noise
from ppsehr_spark.privacy.accounting import compute_epsilon
from ppsehr_spark.privacy.book import COMMIT, RESERVE, Book, Entry, read_book
from ppsehr_spark.privacy.events import ZeroConcentrated
from ppsehr_spark.privacy.grants import Grant, Query
from ppsehr_spark.privacy.ledger import Ledger
from ppsehr_spark.privacy.policy import Cap, Policy, Scope
from ppsehr_spark.privacy.units import Budget, ContributionBounds
from ppsehr_spark.privacy.verification import verify_entries

_DELTA = 1e-7
_ROOM = 1e6
_RHO = 1e-4
_ROWS_PER_FILE = 512
_N_ASKS = 20
_WORKER = Path(__file__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``bench.py ledger``."""
    parser.add_argument("--entries", type=int, default=10_000, metavar="N", help="committed entries (0: no admission)")
    parser.add_argument("--processes", type=int, default=8, metavar="N", help="that hammer one ledger")
    parser.add_argument("--seconds", type=float, default=60.0, metavar="S", help="of hammering (0: none)")
    parser.add_argument("--kill-every", type=float, default=5.0, metavar="S", help="seconds between two kills")
    parser.add_argument("--queries", type=int, default=0, metavar="N", help="room for N queries only (0: no end)")
    parser.add_argument("--no-turns", action="store_true", help="without locks of one host: the fence alone")
    parser.set_defaults(run=measure)


def measure(options: argparse.Namespace) -> int:
    """Print what was measured; exit 4 when the ledger was overspent or lost an entry."""
    with tempfile.TemporaryDirectory(prefix="ledger-") as folder:
        if options.entries:
            for name, seconds in time_admission(Lake(f"{folder}/full"), options.entries).items():
                print(f"{name:<40} {seconds:8.3f} s")
        if not options.seconds:
            return int(ExitCode.OK)
        result = hammer(
            Lake(f"{folder}/hammered"),
            n_processes=options.processes,
            seconds=options.seconds,
            kill_every_s=options.kill_every,
            n_affordable=options.queries,
            has_turns=not options.no_turns,
        )
        print("\n".join(result.lines()))
        return int(ExitCode.OK if result.is_sound else ExitCode.QUALITY_GATE)


@dataclass
class Hammered:
    """What processes got out of one ledger.

    Attributes:
        counts: ``reserve``, ``commit``, ``release`` and ``refused`` as answered to a process, and ``attempts``
            (commits tried), ``rejected`` (tried in vain).
        waits: seconds of every call that was answered.
        n_killed: processes killed; ``lost``: answered steps that the ledger does not hold; ``n_rows``: its rows.
        n_spent: reservations that count; ``faults``: of the verification from the rows alone.
    """

    seconds: float
    counts: Counter[str] = field(default_factory=Counter)
    waits: list[float] = field(default_factory=list)
    n_killed: int = 0
    lost: int = 0
    n_rows: int = 0
    n_spent: int = 0
    n_affordable: int = 0
    faults: tuple[str, ...] = ()

    @property
    def is_sound(self) -> bool:
        """Nothing lost, nothing overspent, and the rows verify."""
        return not self.lost and not self.faults and (not self.n_affordable or self.n_spent <= self.n_affordable)

    def wait(self, share: float) -> float:
        """Seconds below which this share of the answers came."""
        ordered = sorted(self.waits) or [0.0]
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def lines(self) -> list[str]:
        """For people."""
        counts = self.counts
        return [
            f"{self.n_rows} rows in {self.seconds:.0f} s ({counts['reserve']} reserved, {counts['commit']} committed, "
            f"{counts['release']} given back, {counts['refused']} refused), {self.n_killed} processes killed",
            f"commit attempts {counts['attempts']}, rejected {counts['rejected']}",
            f"wait: median {self.wait(0.5):.3f} s, p99 {self.wait(0.99):.3f} s, worst {self.wait(1.0):.3f} s",
            f"spent {self.n_spent} of {self.n_affordable or 'no limit'}, answers lost {self.lost}, "
            f"faults {', '.join(self.faults) or 'none'}",
        ]


def hammer(
    lake: Lake,
    *,
    n_processes: int,
    seconds: float,
    kill_every_s: float,
    n_affordable: int = 0,
    has_turns: bool = True,
) -> Hammered:
    """Let processes loose on a ledger, kill and replace one now and then, and check what is left."""
    epsilon = compute_epsilon({ZeroConcentrated(_RHO): n_affordable}, delta=_DELTA) if n_affordable else _ROOM
    with tempfile.TemporaryDirectory(prefix="hammer-") as folder:
        start = _starter(lake, epsilon, folder, has_turns)
        workers = [start() for _ in range(n_processes)]
        _wait_until(lambda: len(list(Path(folder).iterdir())) == n_processes, 120.0)
        Path(folder, "go").touch()
        began, n_killed = time.monotonic(), 0
        while time.monotonic() < began + seconds:
            time.sleep(min(kill_every_s, max(0.0, began + seconds - time.monotonic())))
            if time.monotonic() < began + seconds:
                _kill(workers.pop(random.randrange(len(workers))))
                workers.append(start())
                n_killed += 1
        took = time.monotonic() - began
        for worker in workers:
            _kill(worker)
        return _judge(lake, Hammered(took, n_killed=n_killed, n_affordable=n_affordable), Path(folder))


def time_admission(lake: Lake, n_entries: int) -> dict[str, float]:
    """Seconds of one ``reserve`` beside ``n_entries`` committed entries."""
    fill_ledger(lake, n_entries)
    command = [sys.executable, str(_WORKER), "once", lake.uri, repr(_ROOM)]
    said = subprocess.run(command, capture_output=True, text=True, check=True, env=_environment())
    figures = {f"fresh process, {name}": float(seconds) for name, seconds in json.loads(said.stdout).items()}
    ledger = open_ledger(lake, _policy(_ROOM))
    times = []
    for number in range(_N_ASKS):
        start = time.perf_counter()
        ledger.reserve(_query("warm", f"q{number}"))
        times.append(time.perf_counter() - start)
    times = sorted(times[1:])
    return {**figures, "same process, median reserve": times[len(times) // 2], "same process, worst": times[-1]}


def fill_ledger(lake: Lake, n_entries: int) -> None:
    """Reserve and commit ``n_entries`` queries in memory, and write their rows as compaction leaves them."""
    memory = MemoryStore()
    ledger = Ledger(memory, _policy(_ROOM))
    for number in range(n_entries):
        grant = ledger.reserve(_query("filled", f"q{number}"))
        assert isinstance(grant, Grant)
        ledger.commit(grant, noise.draw_counts([1_000] * 4, grant=grant))
    rows = list(_chain(memory.rows))
    for first in range(0, len(rows), _ROWS_PER_FILE):
        block = rows[first : first + _ROWS_PER_FILE]
        table = lake.open(PRIVACY_LEDGER) or lake.create(PRIVACY_LEDGER)
        fence = Fence(table, first + len(block), PRIVACY_LEDGER.full_name)
        fence.append(pa.Table.from_pylist(block, schema=PRIVACY_LEDGER.schema))


@dataclass
class MemoryStore:
    """A store in memory, for filling."""

    rows: list[Entry] = field(default_factory=list)
    known: Book = field(default_factory=Book)

    def entries(self) -> Sequence[Entry]:
        return self.rows

    def book(self) -> Book:
        return self.known

    def extend(self, kind: str, decide: Callable[[Book], Entry | None]) -> Entry | None:
        entry = decide(self.known)
        if entry is not None:
            self.rows.append(entry)
            self.known = self.known.follow([entry])
        return entry


def _chain(entries: Sequence[Entry]) -> Iterator[dict[str, object]]:
    from datetime import UTC, datetime

    previous = GENESIS_HASH
    for sequence, entry in enumerate(entries, start=1):
        row = {"sequence": sequence, "at": datetime.now(UTC), **asdict(entry), "previous_hash": previous}
        previous = hash_chained(PRIVACY_LEDGER, row)
        yield {**row, "row_hash": previous}


def _judge(lake: Lake, result: Hammered, folder: Path) -> Hammered:
    """Compare what the processes were told with what the ledger holds."""
    entries = read_entries(lake)
    held = {(entry.kind, entry.grant_id) for entry in entries}
    for line in (line for path in folder.glob("*.said") for line in path.read_text(encoding="utf-8").splitlines()):
        kind, grant_id, seconds, attempts = (line.split(" ") + [""] * 3)[:4]
        if not attempts:  # the line that the kill cut off
            continue
        result.counts.update({kind: 1, "attempts": int(attempts), "rejected": max(0, int(attempts) - 1)})
        result.waits.append(float(seconds))
        result.lost += kind != "refused" and (kind, grant_id) not in held
    found = verify_entries(entries)
    result.n_rows, result.n_spent = len(entries), len(read_book(entries).spent)
    is_whole = verify_rows(lake, PRIVACY_LEDGER).is_whole
    result.faults = tuple(fault.reason for fault in found.faults) + (() if is_whole else ("CHAIN",))
    return result


def _starter(lake: Lake, epsilon: float, folder: str, has_turns: bool) -> Callable[[], subprocess.Popen[bytes]]:
    numbers = iter(range(1_000_000))

    def start() -> subprocess.Popen[bytes]:
        said = f"{folder}/w{next(numbers)}.said"
        command = [sys.executable, str(_WORKER), "hammer", lake.uri, repr(epsilon), said, str(int(has_turns))]
        return subprocess.Popen(command, env=_environment())

    return start


def _kill(worker: subprocess.Popen[bytes]) -> None:
    worker.send_signal(signal.SIGKILL)
    worker.wait(timeout=60)


def _wait_until(is_so: Callable[[], bool], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.05)


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(_WORKER.parents[1]), os.environ.get("PYTHONPATH", "")])}


def _policy(epsilon: float) -> Policy:
    return Policy((Cap("total", Budget(epsilon, _DELTA)), Cap("bench", Budget(epsilon, _DELTA), purpose="statistics")))


def _query(run_id: str, name: str) -> Query:
    scope = Scope("encounters", "statistics", "bench")
    return Query(run_id, name, scope, ZeroConcentrated(_RHO), ContributionBounds(1, 1))


def _hammer_on(lake: Lake, epsilon: float, said: Path, has_turns: bool) -> None:
    """One process: reserve, draw, commit or give back, until it is killed."""
    _import_late()
    if not has_turns:
        turns.LONGEST_WAIT_S = 0.0
        turns._take = lambda folder, held: False
    ledger, n_attempts = open_ledger(lake, _policy(epsilon)), _count_attempts()
    with said.open("w", encoding="utf-8", buffering=1) as out:

        def step(kind: str, call: Callable[[], object]) -> object:
            n_attempts.clear()
            start = time.perf_counter()
            try:
                answer = call()
            except BudgetRefusedError:
                kind, answer = "refused", None
            grant = answer if isinstance(answer, Grant) else None
            grant_id = grant.grant_id if grant else getattr(answer, "grant_id", held)
            out.write(f"{kind} {grant_id or '-'} {time.perf_counter() - start:.6f} {len(n_attempts)}\n")
            return answer

        _wait_until((said.parent / "go").exists, 120.0)
        held, number = "", 0
        while True:
            number, held = number + 1, ""
            grant = step(RESERVE, lambda n=number: ledger.reserve(_query(said.stem, f"q{n}")))
            if not isinstance(grant, Grant):
                continue
            held = grant.grant_id
            if number % 4:
                value = noise.draw_counts([1_000_000], grant=grant)
                step(COMMIT, lambda g=grant, v=value: ledger.commit(g, v))
            else:
                step("release", lambda g=grant: ledger.release(g))


def _count_attempts() -> list[int]:
    """A list that grows by one with every commit that this process tries."""
    tried: list[int] = []
    append = Fence.append

    def counted(fence: Fence, rows: pa.Table) -> None:
        tried.append(fence.sequence)
        append(fence, rows)

    Fence.append = counted
    return tried


def _import_late() -> None:
    """What is imported on first use, so that no wait is an import: dp-accounting, OpenDP, pandas by Arrow."""
    compute_epsilon([ZeroConcentrated(2 * _RHO)], delta=_DELTA)
    importlib.import_module("opendp.prelude")
    pa.array([1])


def _ask_once(lake: Lake, epsilon: float) -> None:
    start = time.perf_counter()
    _import_late()
    imported, cpu = time.perf_counter(), time.process_time()
    open_ledger(lake, _policy(epsilon)).reserve(_query("fresh", f"q{os.getpid()}"))
    figures = {"imports on first use": imported - start, "first reserve": time.perf_counter() - imported}
    print(json.dumps({**figures, "first reserve, CPU": time.process_time() - cpu}))


if __name__ == "__main__":
    if sys.argv[1] == "once":
        _ask_once(Lake(sys.argv[2]), float(sys.argv[3]))
    else:
        _hammer_on(Lake(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4]), sys.argv[5] == "1")
