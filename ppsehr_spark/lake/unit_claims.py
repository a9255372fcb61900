"""Leases on work units: who works on which, so that two drivers share a lake without asking everything twice.

Knows: control.unit_claims and the clock. Must not know: what a unit holds, engines, answers. A lease saves work and no
more: whatever the clocks say, answers are fenced where they are committed (``fenced_commits``), so a unit that two
drivers hold is asked twice and stored once. A finished unit is known from its answers, not from here.

One row says all that one driver holds; its newest one counts. Only rows whose lease may still run are read (statistics
on ``expires_at``), so the table costs the same however long its past is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pyarrow as pa
from deltalake import DeltaTable

from ppsehr_spark.errors import InfrastructureError
from ppsehr_spark.lake.fenced_commits import Fence, commit_fenced
from ppsehr_spark.lake.owners import parse_owner, this_process
from ppsehr_spark.lake.schemas import UNIT_CLAIMS
from ppsehr_spark.lake.tables import Lake

#: Renewals within one lease: two may fail before it runs out.
_RENEWALS_PER_LEASE = 3
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


def utc_now() -> datetime:
    """This machine's clock."""
    return datetime.now(UTC)


@dataclass
class UnitClaims:
    """What this driver holds.

    Attributes:
        lease_s: how long others keep off after a claim or a renewal, in seconds.
        max_clock_skew_s: how much longer, because clocks differ.
        owner: name of this driver.
        now: clock.
        n_taken_over: units that an owner without a running lease still held when they were claimed here.
        n_elsewhere: wanted units that another driver held at the last claim.
    """

    lake: Lake
    run_id: str
    lease_s: float
    max_clock_skew_s: float
    owner: str = field(default_factory=lambda: this_process().name)
    now: Callable[[], datetime] = utc_now
    n_taken_over: int = 0
    n_elsewhere: int = 0
    _held: list[str] = field(default_factory=list)
    _lost: set[str] = field(default_factory=set)
    _expires_at: datetime = _NEVER
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def claim(self, wanted: Sequence[str], *, limit: int) -> list[str]:
        """Take the first ``limit`` wanted units that nobody else holds, in one commit, and renew the others.

        Raises:
            InfrastructureError: ``COMMIT_CONTENTION``, ``COMMIT_FAILED``.
        """

        def attempt(fence: Fence) -> list[str]:
            elsewhere, stale = self._read_others(fence.table)
            free = [unit for unit in wanted if unit not in elsewhere]
            taken = free[:limit]
            self.n_elsewhere = len(wanted) - len(free)
            if taken:
                self._write(fence, self._keep(elsewhere) + taken)
                self.n_taken_over += len(stale.intersection(taken))
            return taken

        with self._lock:
            taken = commit_fenced(self.lake, UNIT_CLAIMS, attempt)
            self._held += taken
        return taken

    def renew(self) -> None:
        """Prolong the lease of everything held; units that others have taken over meanwhile are lost."""
        with self._lock:
            if self._held:
                commit_fenced(
                    self.lake,
                    UNIT_CLAIMS,
                    lambda fence: self._write(fence, self._keep(self._read_others(fence.table)[0])),
                )

    def release(self, unit_ids: Iterable[str]) -> None:
        """Hold these no longer; others learn of it with the next claim, renewal or ``close``."""
        with self._lock:
            gone = set(unit_ids)
            self._held = [unit for unit in self._held if unit not in gone]

    def take_lost(self) -> set[str]:
        """Units lost to others since the last call."""
        with self._lock:
            lost, self._lost = self._lost, set()
        return lost

    def close(self) -> None:
        """Give everything back at once."""
        with self._lock:
            self._held = []
            if self._expires_at > self.now() - timedelta(seconds=self.max_clock_skew_s):
                commit_fenced(self.lake, UNIT_CLAIMS, lambda fence: self._write(fence, []))

    def _keep(self, elsewhere: set[str]) -> list[str]:
        self._lost |= elsewhere.intersection(self._held)
        self._held = [unit for unit in self._held if unit not in elsewhere]
        return self._held

    def _write(self, fence: Fence, unit_ids: list[str]) -> None:
        now = self.now()
        self._expires_at = max(self._expires_at, now + timedelta(seconds=self.lease_s if unit_ids else 0))
        row = {
            "sequence": fence.sequence,
            "owner": self.owner,
            "run_id": self.run_id,
            "unit_ids": unit_ids,
            "claimed_at": now,
            "expires_at": self._expires_at,
        }
        fence.append(pa.Table.from_pylist([row], schema=UNIT_CLAIMS.schema))

    def _read_others(self, table: DeltaTable) -> tuple[set[str], set[str]]:
        """Units that others hold, and units that others left behind when they died or stalled."""
        held: set[str] = set()
        left: set[str] = set()
        horizon = timedelta(seconds=self.lease_s * 2 + self.max_clock_skew_s)
        for row in read_leases(self.lake, table, since=self.now() - horizon):
            if row["owner"] != self.owner:
                (held if self._is_running(row["owner"], row["expires_at"]) else left).update(row["unit_ids"])
        return held, left - held

    def _is_running(self, owner: str, expires_at: datetime) -> bool:
        """A lease runs until its end by the most cautious clock, or until its owner is seen to be dead."""
        process = parse_owner(owner)
        is_known_dead = process.is_here and not process.is_alive
        return not is_known_dead and expires_at + timedelta(seconds=self.max_clock_skew_s) > self.now()


def read_leases(lake: Lake, table: DeltaTable, *, since: datetime) -> list[dict[str, object]]:
    """The newest row of every owner whose lease ran at ``since`` or later."""
    where = f"expires_at >= to_timestamp_micros({int(since.timestamp() * 1e6)})"
    columns = ["sequence", "owner", "run_id", "unit_ids", "expires_at"]
    rows = lake.read(UNIT_CLAIMS, columns, where, version=table.version()).to_pylist()
    newest = {row["owner"]: row for row in sorted(rows, key=lambda row: row["sequence"])}
    return list(newest.values())


@contextmanager
def kept_leases(claims: UnitClaims) -> Iterator[None]:
    """Renew in the background, also while an engine loads, and give everything back at the end."""
    is_over = threading.Event()

    def keep() -> None:
        while not is_over.wait(claims.lease_s / _RENEWALS_PER_LEASE):
            try:
                claims.renew()
            except InfrastructureError:
                continue  # two more renewals fit into the lease; one that is lost costs work, not rows

    keeper = threading.Thread(target=keep, name="leases", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        is_over.set()
        keeper.join(claims.lease_s)
        with suppress(InfrastructureError):  # the lease runs out by itself
            claims.close()
