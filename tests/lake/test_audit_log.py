"""The audit chain under concurrent writers, a killed writer and tampering."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from deltalake import DeltaTable

from ppsehr_spark.errors import QualityGateError, UsageError
from ppsehr_spark.lake.audit_log import Anchor, append_entry, hash_row, verify_chain
from ppsehr_spark.lake.schemas import AUDIT_LOG
from ppsehr_spark.lake.tables import Lake

_WRITER = Path(__file__).with_name("audit_writer.py")
_ROOT = Path(__file__).resolve().parents[2]


def _fill(lake: Lake, n_entries: int) -> list[Anchor]:
    return [
        append_entry(lake, actor="job:test", action="run", target="phi.notes", run_id="r1", details={"n": number})
        for number in range(n_entries)
    ]


def _start_writer(lake: Lake, name: str, n_entries: int) -> subprocess.Popen[str]:
    command = [sys.executable, str(_WRITER), lake.uri, name, str(n_entries)]
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def test_an_empty_log_is_whole(tmp_path: Path) -> None:
    report = verify_chain(Lake(str(tmp_path)))
    assert report.is_whole and report.n_rows == 0 and report.head is None


def test_rows_are_numbered_and_linked(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    anchors = _fill(lake, 3)
    rows = sorted(lake.read(AUDIT_LOG).to_pylist(), key=lambda row: row["sequence"])
    assert [row["sequence"] for row in rows] == [1, 2, 3]
    assert [row["previous_hash"] for row in rows[1:]] == [row["row_hash"] for row in rows[:-1]]
    assert all(hash_row(row) == row["row_hash"] for row in rows)
    report = verify_chain(lake, anchors=anchors)
    assert report.is_whole and report.head == anchors[-1]


@pytest.mark.chaos
@pytest.mark.timeout(180)
def test_the_chain_holds_under_four_writers_one_of_them_killed(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    writers = [_start_writer(lake, f"w{number}", 8) for number in range(3)]
    victim = _start_writer(lake, "victim", 1_000)
    assert victim.stdout is not None
    for _ in range(3):
        assert victim.stdout.readline()
    victim.send_signal(signal.SIGKILL)
    victim.communicate(timeout=60)
    assert victim.returncode == -signal.SIGKILL
    for writer in writers:
        writer.communicate(timeout=120)
        assert writer.returncode == 0
    actors = Counter(lake.read(AUDIT_LOG, ["actor"])["actor"].to_pylist())
    assert {name: n for name, n in actors.items() if name != "victim"} == {"w0": 8, "w1": 8, "w2": 8}
    assert actors["victim"] >= 3
    report = verify_chain(lake)
    assert report.is_whole and report.n_rows == sum(actors.values())
    _fill(lake, 1)
    assert verify_chain(lake).is_whole


@pytest.mark.parametrize(
    ("assignment", "reason"),
    [
        ({"actor": "'somebody else'"}, "CHANGED"),
        ({"details": "'{}'"}, "CHANGED"),
        ({"sequence": "2"}, "DUPLICATE"),
        ({"sequence": "7"}, "MISSING"),
    ],
)
def test_a_changed_row_is_found(tmp_path: Path, assignment: dict[str, str], reason: str) -> None:
    lake = Lake(str(tmp_path))
    _fill(lake, 5)
    DeltaTable(lake.table_uri(AUDIT_LOG)).update(assignment, predicate="sequence = 3")
    report = verify_chain(lake)
    assert not report.is_whole and report.reason == reason
    assert report.broken_at == (2 if reason == "DUPLICATE" else 3)


def test_a_rehashed_row_breaks_the_link_behind_it(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    _fill(lake, 5)
    row = next(row for row in lake.read(AUDIT_LOG).to_pylist() if row["sequence"] == 3)
    forged = hash_row({**row, "actor": "nobody"})
    table = DeltaTable(lake.table_uri(AUDIT_LOG))
    table.update({"actor": "'nobody'", "row_hash": f"'{forged}'"}, predicate="sequence = 3")
    report = verify_chain(lake)
    assert (report.broken_at, report.reason) == (4, "UNLINKED")


def test_a_deleted_row_is_found_in_the_middle_and_at_the_end(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    _fill(lake, 5)
    table = DeltaTable(lake.table_uri(AUDIT_LOG))
    table.delete("sequence = 5")
    report = verify_chain(lake)
    assert (report.broken_at, report.reason, report.n_rows) == (5, "TRUNCATED", 4)
    with pytest.raises(QualityGateError, match="AUDIT_CHAIN"):
        _fill(lake, 1)
    table.delete("sequence = 2")
    report = verify_chain(lake)
    assert (report.broken_at, report.reason) == (2, "MISSING")


def test_an_anchor_shows_a_log_that_was_rebuilt(tmp_path: Path) -> None:
    anchors = _fill(Lake(str(tmp_path / "old")), 4)
    rebuilt = Lake(str(tmp_path / "new"))
    _fill(rebuilt, 4)
    assert verify_chain(rebuilt).is_whole
    assert verify_chain(rebuilt, anchors=anchors[1:2]).reason == "ANCHOR"
    assert verify_chain(Lake(str(tmp_path / "gone")), anchors=anchors).reason == "ANCHOR"
    assert verify_chain(rebuilt, anchors=[Anchor(9, anchors[0].row_hash)]).broken_at == 9


def test_equal_entries_stay_apart(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    entry = {"actor": "a", "action": "b", "target": "c", "run_id": "r"}
    hashes = {append_entry(lake, **entry, details={}).row_hash for _ in range(2)}
    assert len(hashes) == 2


@pytest.mark.parametrize("value", ["x" * 201, {"a": 1}, [["deep"]], object()])
def test_details_take_short_scalars_only(tmp_path: Path, value: object) -> None:
    lake = Lake(str(tmp_path))
    with pytest.raises(UsageError, match="AUDIT_DETAILS") as caught:
        append_entry(lake, actor="a", action="b", target="c", run_id="r", details={"field": value})
    assert "xxx" not in str(caught.value)
    assert lake.version(AUDIT_LOG) is None
