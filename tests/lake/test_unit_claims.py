"""Leases: whose a unit is, when it may be taken over, and that the table stays cheap to read."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ppsehr_spark.lake.owners import Owner, parse_owner, started_at, this_process
from ppsehr_spark.lake.schemas import UNIT_CLAIMS
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.lake.unit_claims import UnitClaims, kept_leases

ROOT = Path(__file__).resolve().parents[2]
UNITS = [f"u{n}" for n in range(6)]


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.at = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at

    def pass_s(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


@pytest.fixture
def clock() -> Clock:
    return Clock()


def make_claims(lake: Lake, owner: str, clock: Clock) -> UnitClaims:
    return UnitClaims(lake, f"run-{owner}", lease_s=60.0, max_clock_skew_s=10.0, owner=owner, now=clock)


def test_units_are_claimed_in_order_once(lake: Lake, clock: Clock) -> None:
    one, other = make_claims(lake, "a", clock), make_claims(lake, "b", clock)
    assert one.claim(UNITS, limit=2) == ["u0", "u1"]
    assert other.claim(UNITS, limit=3) == ["u2", "u3", "u4"]
    assert one.claim(["u2", "u3"], limit=2) == [] and one.n_elsewhere == 2


def test_released_units_are_free_after_the_next_commit(lake: Lake, clock: Clock) -> None:
    one, other = make_claims(lake, "a", clock), make_claims(lake, "b", clock)
    one.claim(UNITS, limit=2)
    one.release(["u0"])
    one.renew()
    assert other.claim(UNITS[:2], limit=2) == ["u0"]
    one.close()
    assert other.claim(["u1"], limit=1) == ["u1"]


def test_lease_runs_until_its_end_by_the_most_cautious_clock(lake: Lake, clock: Clock) -> None:
    one, other = make_claims(lake, "a", clock), make_claims(lake, "b", clock)
    one.claim(UNITS, limit=1)
    clock.pass_s(69)
    assert other.claim(["u0"], limit=1) == []
    clock.pass_s(2)
    assert other.claim(["u0"], limit=1) == ["u0"] and other.n_taken_over == 1
    one.renew()
    assert one.take_lost() == {"u0"} and one.take_lost() == set()
    clock.pass_s(1)
    assert one.claim(["u0"], limit=1) == [], "the unit is the other's now"


def test_renewed_lease_holds(lake: Lake, clock: Clock) -> None:
    one, other = make_claims(lake, "a", clock), make_claims(lake, "b", clock)
    one.claim(UNITS, limit=1)
    for _ in range(5):
        clock.pass_s(50)
        one.renew()
        assert other.claim(["u0"], limit=1) == []


def test_end_of_a_lease_never_moves_back(lake: Lake, clock: Clock) -> None:
    """Else the row that gives units back could be out of sight while the row that took them is not."""
    one = make_claims(lake, "a", clock)
    one.claim(UNITS, limit=1)
    clock.pass_s(-30)
    one.renew()
    one.close()
    rows = lake.read(UNIT_CLAIMS).sort_by("sequence").to_pylist()
    assert [row["expires_at"] for row in rows] == sorted(row["expires_at"] for row in rows)
    assert rows[-1]["unit_ids"] == []


def test_dead_owner_on_this_machine_is_not_waited_for(lake: Lake, clock: Clock) -> None:
    own = this_process()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    started = started_at(ended.pid)
    assert started is not None and Owner(own.host, ended.pid, started).name.count(".") == 2
    ended.wait()
    dead = make_claims(lake, Owner(own.host, ended.pid, started).name, clock)
    alive, elsewhere = make_claims(lake, own.name, clock), make_claims(lake, Owner("ffff", ended.pid, 1).name, clock)
    assert [claims.claim(UNITS, limit=1) for claims in (dead, alive, elsewhere)] == [["u0"], ["u0"], ["u1"]]
    assert make_claims(lake, "b", clock).claim(UNITS, limit=6) == UNITS[2:], "living owners keep their units"


def test_number_that_somebody_else_got_is_another_owner() -> None:
    own = this_process()
    assert own.is_alive and parse_owner(own.name) == own
    assert not Owner(own.host, os.getpid(), own.started + 1).is_alive
    assert not Owner("ffff", os.getpid(), own.started).is_alive
    assert not parse_owner("somebody").is_here


def test_leases_are_kept_in_the_background_and_given_back(lake: Lake) -> None:
    claims = UnitClaims(lake, "r", lease_s=0.6, max_clock_skew_s=0.0, owner="a")
    with kept_leases(claims):
        claims.claim(UNITS, limit=1)
        subprocess.run(["sleep", "1.5"], check=True)
        assert UnitClaims(lake, "r", lease_s=0.6, max_clock_skew_s=0.0, owner="b").claim(["u0"], limit=1) == []
    rows = lake.read(UNIT_CLAIMS).sort_by("sequence").to_pylist()
    assert len(rows) >= 3 and rows[-1]["unit_ids"] == []


#: Claims two at a time until others hold the rest, says what it has, and lives until it is told to end.
CLAIMER = """
import sys
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.lake.unit_claims import UnitClaims
claims = UnitClaims(Lake(sys.argv[1]), "r", lease_s=600.0, max_clock_skew_s=0.0)
units, mine = [f"u{n}" for n in range(24)], []
while taken := claims.claim([unit for unit in units if unit not in mine], limit=2):
    mine += taken
print(*mine, flush=True)
sys.stdin.readline()
"""


def test_four_processes_at_once_share_out_every_unit_once(lake: Lake) -> None:
    lake.create(UNIT_CLAIMS)
    command = [sys.executable, "-c", CLAIMER, lake.uri]
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, **streams) for _ in range(4)]
    held = [process.stdout.readline().split() for process in processes]
    for process in processes:
        process.communicate("end\n", timeout=60)
        assert process.returncode == 0
    assert sorted(unit for units in held for unit in units) == sorted(f"u{n}" for n in range(24))
