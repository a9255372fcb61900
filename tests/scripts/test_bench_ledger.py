"""The hammer of ``bench.py ledger``, in short: several processes, kills, a ledger with less room than they ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

from ppsehr_spark.lake.tables import Lake
from scripts.bench_ledger import Hammered, hammer


@pytest.mark.chaos
@pytest.mark.timeout(180)
def test_a_hammered_ledger_is_never_overspent_and_loses_nothing(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    result = hammer(lake, n_processes=3, seconds=3.5, kill_every_s=1.5, n_affordable=20)
    assert result.is_sound, result.lines()
    assert result.n_killed >= 2 and result.counts["commit"] > 0
    assert result.n_spent <= 20


def test_what_is_lost_or_overspent_is_said() -> None:
    assert Hammered(1.0, n_spent=3, n_affordable=3).is_sound
    assert not Hammered(1.0, n_spent=4, n_affordable=3).is_sound
    assert not Hammered(1.0, lost=1).is_sound
    assert not Hammered(1.0, faults=("OVER_CAP",)).is_sound
