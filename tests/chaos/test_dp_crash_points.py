"""The privacy half, killed at its named points and started again: spent stays spent, nothing is drawn or written twice.

Stages without Spark die in processes of their own (``os._exit``, as by SIGKILL). Spark stages share the session of the
test run; there the lake is copied at the moment of death and the copy goes on, so that nothing the dying process does
while it unwinds (giving reservations back, for one) can reach what is tested.
"""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ppsehr_spark.config import load_settings
from ppsehr_spark.errors import ExitCode
from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.ledger_store import read_entries
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.privacy.book import COMMIT, RESERVE
from ppsehr_spark.privacy.verification import verify_entries
from ppsehr_spark.runtime import run_job
from tests.chaos.fictional_lake import write_fictional_lake

pytestmark = [pytest.mark.spark, pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(1_500)]
ROOT = Path(__file__).resolve().parents[2]

IS_FULL = os.environ.get("PPSEHR_CHAOS") == "full"
SPARK_STAGES = ("stats", "fit")
#: Stage -> the points at which it dies, one after the other, before it is let through; rooms test the points between
#: them in one process. `make chaos` walks all of them.
EVERY_POINT = {
    "stats": (
        "ledger.after_reserve", "stats.after_draw", "ledger.after_commit", "stats.before_rows", "stats.after_rows",
        "stats.after_sketch", "stats.before_record",
    ),
    "fit": ("fit.after_collect", "ledger.after_commit", "fit.before_write", "fit.after_write"),
    "train": ("ledger.after_reserve", "ledger.after_commit", "train.after_row"),
    "synthesize": ("synthesize.after_encounters", "synthesize.after_notes"),
    "evaluate": ("evaluate.after_rows",),
    "publish": ("publish.after_dp_statistics", "publish.after_catalogue_synthetic"),
}  # fmt: skip
#: `make test` takes each kind of step once (reserved, drawn, committed, written, published). Killed training and
#: killed synthesis are tested by their rooms (test_training_run, test_synthesizer).
ONE_OF_A_KIND = {
    "stats": ("ledger.after_reserve", "stats.after_draw", "stats.after_rows"),
    "fit": ("ledger.after_commit",),
    "publish": ("publish.after_dp_statistics",),
}
POINTS = EVERY_POINT if IS_FULL else ONE_OF_A_KIND
#: Wide enough for every reservation that a kill leaves behind.
_WIDE = "200.0"
_SETTINGS = (
    "train.n_steps=2", "train.n_workers=1", "train.hidden_size=16", "train.n_layers=1", "synthesize.generator=trained",
    "synthesize.n_patients=3", "synthesize.max_note_tokens=8",
)  # fmt: skip


#: Tables that must hold rows in the end.
_EXPECTED = {
    "protected.dp_statistics", "phi.drift_sketches", "protected.record_model", "release.dp_statistics",
    "release.claim_cards", "release.releases",
}  # fmt: skip
_EXPECTED_OF_ALL = {
    "protected.checkpoints", "phi.membership_scores", "protected.synthetic_patients", "protected.synthetic_encounters",
    "protected.synthetic_notes", "protected.evaluations", "release.synthetic_patients", "release.evaluations",
}  # fmt: skip


_TRIES = 3


class KilledError(BaseException):
    """Stands for SIGKILL inside this process: no ``except Exception`` of the product may catch it."""


@dataclass(frozen=True)
class Paid:
    """What a ledger says at one moment: grants ever reserved, released value by question."""

    grants: frozenset[str]
    released: Mapping[tuple[str, str], str | None]


@dataclass
class Place:
    """A lake that stages run on, with its conf and key."""

    lake: Lake
    arguments: list[str]

    @property
    def folder(self) -> Path:
        return Path(self.lake.uri)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, key_file: str) -> Place:
    base = tmp_path_factory.mktemp("dp")
    shutil.copytree(ROOT / "conf", base / "conf")
    _widen(base / "conf" / "privacy.toml")
    own = [*_SETTINGS, f'identity.key_file="{key_file}"']
    lake = Lake(str(base / "lake"))
    write_fictional_lake(lake, load_settings("ci", own, str(base / "conf")))
    arguments = ["--lake", lake.uri, "--profile", "ci", "--conf", str(base / "conf")]
    return Place(lake, [*arguments, *(part for item in own for part in ("--set", item))])


def _widen(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    wide = [f"epsilon = {_WIDE}" if line.startswith("epsilon = ") else line for line in lines]
    assert wide.count(f"epsilon = {_WIDE}") >= 4
    path.write_text("\n".join(wide), encoding="utf-8")


def _read_paid(lake: Lake) -> Paid:
    entries = read_entries(lake)
    assert not verify_entries(entries).faults
    commits = [entry for entry in entries if entry.kind == COMMIT]
    released = {entry.question: entry.released for entry in commits}
    assert len(released) == len(commits), "one commit row per question"
    return Paid(frozenset(e.grant_id for e in entries if e.kind == RESERVE), released)


def _follow(before: Paid, lake: Lake) -> Paid:
    """The ledger now; refused when a reservation vanished or a released value changed."""
    now = _read_paid(lake)
    assert before.grants <= now.grants, "a reservation vanished"
    assert before.released.items() <= now.released.items(), "a finished release changed"
    return now


def _die_in_process(place: Place, stage: str, point: str, monkeypatch: pytest.MonkeyPatch, spare: Path) -> None:
    """Run a Spark stage up to the point, then go on with the lake as it was at that moment."""

    def die(code: int) -> None:
        if not spare.exists():
            shutil.copytree(place.folder, spare)
        raise KilledError(code)

    with monkeypatch.context() as patch:
        patch.setattr(os, "_exit", die)
        patch.setenv("PPSEHR_CRASH_AT", point)
        with pytest.raises(KilledError):
            run_job(importlib.import_module(f"jobs.{stage}").STAGE, place.arguments)
    shutil.rmtree(place.folder)
    shutil.move(spare, place.folder)


def _run_process(place: Place, stage: str, *more: str, crash_at: str = "") -> int:
    command = [sys.executable, "-m", f"jobs.{stage}", *place.arguments, *more]
    environment = {**os.environ, "PPSEHR_CRASH_AT": crash_at, "PYTHONPATH": str(ROOT)}
    for _ in range(_TRIES):  # a machine too busy to start Ray says so with the code that means: try again
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != ExitCode.INFRASTRUCTURE:
            break
    if crash_at:
        assert f"crash point {crash_at}" in done.stderr, done.stderr
    return done.returncode


def _count_rows(lake: Lake) -> dict[str, int]:
    """Rows per table of the second half, each key once."""
    counts = {}
    for spec in schemas.TABLES.values():
        if lake.version(spec) is None or spec.zone == "control" or spec.engine != "deltalake":
            continue
        keys = [tuple(row.values()) for row in lake.read(spec, list(spec.keys)).to_pylist()]
        assert len(set(keys)) == len(keys), f"duplicate rows in {spec.full_name}"
        counts[spec.full_name] = len(keys)
    return counts


def test_killed_everywhere_spent_stays_spent_and_nothing_is_done_twice(
    spark: Any, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paid = Paid(frozenset(), {})
    for stage, points in POINTS.items():
        is_spark = stage in SPARK_STAGES
        for point in points:
            if is_spark:
                _die_in_process(place, stage, point, monkeypatch, tmp_path / "at-death")
            else:
                assert _run_process(place, stage, crash_at=point) == 137
            paid = _follow(paid, place.lake)
            _count_rows(place.lake)
        run = _run_stage if is_spark else _run_process
        assert run(place, stage) == 0, stage
        paid = _follow(paid, place.lake)
    counts = _count_rows(place.lake)
    expected = _EXPECTED | (_EXPECTED_OF_ALL if IS_FULL else set())
    assert {name for name, n_rows in counts.items() if n_rows} >= expected
    for stage in SPARK_STAGES:  # forced, with everything asked and written: the ledger answers
        assert _run_stage(place, stage, "--force") == 0, stage
    assert _run_process(place, "publish", "--force") == 0
    assert _read_paid(place.lake) == paid, "something was asked or drawn again"
    assert _count_rows(place.lake) == counts, "something was written again"


def _run_stage(place: Place, stage: str, *more: str) -> int:
    return run_job(importlib.import_module(f"jobs.{stage}").STAGE, [*place.arguments, *more])
