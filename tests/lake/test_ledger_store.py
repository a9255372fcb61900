"""The privacy ledger on Delta: crashes at every commit point, several processes, tampering, verification."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from deltalake import DeltaTable

from ppsehr_spark.errors import BudgetRefusedError, QualityGateError
from ppsehr_spark.lake import turns
from ppsehr_spark.lake.ledger_store import LedgerStore, open_ledger, read_entries
from ppsehr_spark.lake.row_chain import verify_rows
from ppsehr_spark.lake.schemas import PRIVACY_LEDGER
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.privacy import noise
from ppsehr_spark.privacy.accounting import compute_epsilon
from ppsehr_spark.privacy.book import read_book
from ppsehr_spark.privacy.events import ZeroConcentrated
from ppsehr_spark.privacy.grants import Grant
from ppsehr_spark.privacy.ledger import Ledger, Released, answer_once
from ppsehr_spark.privacy.verification import verify_entries
from scripts.verify_ledger import main as verify_main
from tests.privacy.small_ledger import DELTA, make_policy, make_query

_WRITER = Path(__file__).with_name("ledger_writer.py")
_ROOT = Path(__file__).resolve().parents[2]
RHO = ZeroConcentrated(0.01)


def _cap_for(n_queries: int) -> float:
    """A cap that holds exactly ``n_queries`` queries of the writer."""
    return compute_epsilon([RHO] * n_queries, delta=DELTA)


def _ledger(lake: Lake, n_queries: int) -> Ledger:
    return open_ledger(lake, make_policy(_cap_for(n_queries)))


def _start(
    lake: Lake, n_affordable: int, run_id: str, n_queries: int, *more: str, crash_at: str = ""
) -> subprocess.Popen[str]:
    command = [sys.executable, str(_WRITER), lake.uri, repr(_cap_for(n_affordable)), run_id, str(n_queries), *more]
    environment = {**os.environ, "PYTHONPATH": str(_ROOT), "PPSEHR_CRASH_AT": crash_at}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment)


def _say_go(writer: subprocess.Popen[str]) -> str:
    """Open the gate of a waiting writer; its first outcome."""
    assert writer.stdin and writer.stdout
    writer.stdin.write("go\n")
    writer.stdin.flush()
    return writer.stdout.readline()


def _n_spent(lake: Lake) -> int:
    return len(read_book(read_entries(lake)).spent)


def _draw(grant: Grant) -> list[int]:
    return noise.draw_counts([1_000_000], grant=grant)


def test_rows_survive_the_lake(lake: Lake) -> None:
    ledger = _ledger(lake, 5)
    released = answer_once(ledger, make_query("a", bounds=(4, 3)), draw=_draw)
    given = ledger.reserve(make_query("b"))
    assert isinstance(given, Grant)
    ledger.release(given)
    entries = read_entries(lake)
    assert [entry.kind for entry in entries] == ["reserve", "commit", "reserve", "release"]
    assert entries == list(LedgerStore(lake).entries())
    assert (entries[0].max_cells, entries[0].max_per_cell, entries[0].purpose) == (4, 3, "statistics")
    assert entries[1].released == f"[{released.value[0]}]"
    assert verify_rows(lake, PRIVACY_LEDGER).is_whole and not verify_entries(entries).faults


def test_an_empty_ledger_has_everything_left(lake: Lake) -> None:
    assert list(LedgerStore(lake).entries()) == []
    balance = _ledger(lake, 5).balances()[0]
    assert (balance.n_events, balance.epsilon_left) == (0, _cap_for(5))
    assert lake.version(PRIVACY_LEDGER) is None


def test_the_last_unit_of_a_cap_is_spent_and_not_one_more(lake: Lake) -> None:
    ledger = _ledger(lake, 2)
    for name in ("a", "b"):
        answer_once(ledger, make_query(name), draw=_draw)
    rows = lake.version(PRIVACY_LEDGER)
    with pytest.raises(BudgetRefusedError) as caught:
        answer_once(ledger, make_query("c"), draw=_draw)
    assert lake.version(PRIVACY_LEDGER) == rows
    assert caught.value.fields["epsilon_remaining"] == 0
    assert caught.value.fields["epsilon_requested"] == pytest.approx(_cap_for(1), abs=1e-6)


@pytest.mark.chaos
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("crash_at", "n_spent", "n_spent_after_retry"),
    [
        ("ledger.before_reserve", 0, 1),
        ("ledger.after_reserve", 1, 2),
        ("ledger.before_commit", 1, 2),
        ("ledger.after_commit", 1, 1),
    ],
)
def test_spent_stays_spent_after_a_crash(lake: Lake, crash_at: str, n_spent: int, n_spent_after_retry: int) -> None:
    died = _start(lake, 9, "r1", 1, crash_at=crash_at)
    _, errors = died.communicate(timeout=60)
    assert died.returncode == 137 and crash_at in errors
    assert _n_spent(lake) == n_spent
    committed = [entry.released for entry in read_entries(lake) if entry.released]
    ledger = _ledger(lake, 9)
    released = answer_once(ledger, make_query("q0"), draw=_draw)
    assert _n_spent(lake) == n_spent_after_retry
    if committed:
        assert committed == [f"[{released.value[0]}]"]
    assert answer_once(ledger, make_query("q0"), draw=_draw) == released
    assert verify_main([lake.uri]) == 0


@pytest.mark.chaos
@pytest.mark.timeout(120)
@pytest.mark.parametrize(("crash_at", "n_spent"), [("ledger.before_release", 1), ("ledger.after_release", 0)])
def test_only_a_written_release_gives_back(lake: Lake, crash_at: str, n_spent: int) -> None:
    died = _start(lake, 9, "giver", 1, crash_at=crash_at)
    died.communicate(timeout=60)
    assert died.returncode == 137
    assert _n_spent(lake) == n_spent
    assert verify_main([lake.uri]) == 0


@pytest.mark.chaos
@pytest.mark.timeout(300)
def test_several_processes_and_a_killed_one_never_overspend(lake: Lake) -> None:
    """Room for 40; a victim spends without end until it is killed, four processes beside it ask 15 times each.

    Nothing here asks the machine to be fair: who is served and how often is open, that 40 are served is not.
    """
    names = ("w0", "w1", "w2", "w3")
    victim = _start(lake, 40, "victim", 100_000, "gated")
    writers = [_start(lake, 40, name, 15, "gated") for name in names]
    for process in (victim, *writers):
        assert process.stdout and process.stdout.readline() == "ready\n"
    assert _say_go(victim).startswith("released")
    first_words = [_say_go(writer) for writer in writers]
    victim.send_signal(signal.SIGKILL)
    victim.communicate(timeout=60)
    assert victim.returncode == -signal.SIGKILL
    n_released = 0
    for name, writer, first in zip(names, writers, first_words, strict=True):
        assert writer.stdout and writer.stderr
        # Not communicate(): it would lose what readline() has buffered.
        said, errors = first + writer.stdout.read(), writer.stderr.read()
        assert writer.wait(timeout=60) == 0, f"{name}: {errors[-800:]}"
        outcomes = Counter(line.split()[0] for line in said.splitlines())
        assert outcomes.total() == 15
        n_released += outcomes["released"]
    entries = read_entries(lake)
    n_victim = sum(entry.run_id == "victim" for entry in entries if entry.kind == "reserve")
    assert _n_spent(lake) == 40, "room was left although somebody was refused, or somebody overspent"
    assert n_released == 40 - n_victim
    assert verify_main([lake.uri]) == 0
    with pytest.raises(BudgetRefusedError):
        _ledger(lake, 40).reserve(make_query("late"))


def test_two_ledgers_on_one_snapshot_cannot_both_spend(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """The interleaving itself: while one decides, another commits; the first must decide again and is refused."""
    monkeypatch.setattr(turns, "LONGEST_WAIT_S", 0.0)  # one process, one turn: the fence alone decides
    ledger, rival = _ledger(lake, 1), _ledger(lake, 1)
    admit = Ledger._admit
    is_first = [True]

    def admit_late(self: Ledger, *arguments: object) -> object:
        entry = admit(self, *arguments)  # type: ignore[arg-type]
        if is_first.pop() if is_first else False:
            monkeypatch.setattr(Ledger, "_admit", admit)
            assert isinstance(rival.reserve(make_query("theirs")), Grant)
        return entry

    monkeypatch.setattr(Ledger, "_admit", admit_late)
    with pytest.raises(BudgetRefusedError):
        ledger.reserve(make_query("ours"))
    assert [entry.query for entry in read_entries(lake)] == ["theirs"]


def test_a_blind_append_would_overspend(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted mistake: without the transaction on the version read, the interleaving above does overspend."""
    import pyarrow as pa
    from deltalake import write_deltalake

    from ppsehr_spark.lake.fenced_commits import Fence

    def append_blindly(fence: Fence, rows: pa.Table) -> None:
        write_deltalake(fence.table, rows, mode="append")

    monkeypatch.setattr(Fence, "append", append_blindly)
    monkeypatch.setattr(turns, "LONGEST_WAIT_S", 0.0)  # one process, one turn: the fence alone decides
    ledger, rival = _ledger(lake, 1), _ledger(lake, 1)
    admit = Ledger._admit

    def admit_late(self: Ledger, *arguments: object) -> object:
        entry = admit(self, *arguments)  # type: ignore[arg-type]
        monkeypatch.setattr(Ledger, "_admit", admit)
        rival.reserve(make_query("theirs"))
        return entry

    monkeypatch.setattr(Ledger, "_admit", admit_late)
    ledger.reserve(make_query("ours"))
    assert _n_spent(lake) == 2
    assert verify_main([lake.uri]) == 4


@pytest.mark.parametrize(
    ("assignment", "predicate"),
    [
        ({"epsilon": "0.01"}, "sequence = 1"),
        ({"event": '\'{"event":"ZeroConcentrated","rho":0.0001}\''}, "sequence = 1"),
        ({"released": "'[1]'"}, "sequence = 2"),
        ({"sequence": "7"}, "sequence = 3"),
    ],
)
def test_a_changed_row_stops_the_ledger_and_the_script(
    lake: Lake, capsys: pytest.CaptureFixture[str], assignment: dict[str, str], predicate: str
) -> None:
    ledger = _ledger(lake, 9)
    answer_once(ledger, make_query("a"), draw=_draw)
    ledger.reserve(make_query("b"))
    assert verify_main([lake.uri]) == 0
    DeltaTable(lake.table_uri(PRIVACY_LEDGER)).update(assignment, predicate=predicate)
    assert verify_main([lake.uri]) == 4
    assert "FAULT row" in capsys.readouterr().out
    with pytest.raises(QualityGateError, match="PRIVACY_LEDGER"):
        ledger.reserve(make_query("c"))


def test_a_deleted_row_is_missed(lake: Lake) -> None:
    ledger = _ledger(lake, 9)
    for name in ("a", "b"):
        answer_once(ledger, make_query(name), draw=_draw)
    DeltaTable(lake.table_uri(PRIVACY_LEDGER)).delete("sequence = 3")
    assert verify_main([lake.uri]) == 4
    with pytest.raises(QualityGateError, match="PRIVACY_LEDGER"):
        ledger.reserve(make_query("c"))


def test_the_script_states_what_the_rows_cost(lake: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    ledger = _ledger(lake, 9)
    assert isinstance(answer_once(ledger, make_query("a"), draw=_draw), Released)
    assert verify_main([lake.uri]) == 0
    said = capsys.readouterr().out
    assert f"epsilon {_cap_for(1):.6f} at delta 1e-06" in said
    assert "unit patient" in said


def test_a_forged_figure_with_fresh_hashes_is_still_found(lake: Lake, tmp_path: Path) -> None:
    """Somebody who rewrites the chain cannot rewrite what the events cost."""
    from ppsehr_spark.lake.row_chain import append_row

    def forge(_table: DeltaTable) -> dict[str, object]:
        import dataclasses

        honest = Lake(str(tmp_path / "honest"))
        _ledger(honest, 9).reserve(make_query("a"))
        return {**dataclasses.asdict(read_entries(honest)[0]), "epsilon": 0.01}

    append_row(lake, PRIVACY_LEDGER, forge, code="PRIVACY_LEDGER")
    assert verify_rows(lake, PRIVACY_LEDGER).is_whole
    assert verify_main([lake.uri]) == 4
