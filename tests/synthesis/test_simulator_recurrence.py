"""The recurrence knob: the share of sentences that repeat an earlier sentence of the corpus."""

from __future__ import annotations

import re

import pytest

from ppsehr_spark.config import SimulateSettings
from ppsehr_spark.synthesis.simulator import simulate_patient


def measure_recurrence(recurrence: float, n_patients: int) -> float:
    chosen = SimulateSettings(recurrence=recurrence)
    seen: set[str] = set()
    total = 0
    for index in range(n_patients):
        for note in simulate_patient(index, chosen).notes:
            sentences = [s.strip() for s in re.split(r"[。！？；\n]", note.text) if s.strip()]
            seen.update(sentences)
            total += len(sentences)
    return 1 - len(seen) / total


@pytest.mark.parametrize("wanted", [0.25, 0.5, 0.65])
def test_knob_holds(wanted: float) -> None:
    assert measure_recurrence(wanted, 300) == pytest.approx(wanted, abs=0.05)


def test_knob_is_monotone_and_bounded() -> None:
    shares = [measure_recurrence(r, 60) for r in (0.0, 0.3, 0.6, 1.0)]
    assert shares == sorted(shares)
    assert shares[0] < 0.2
    assert shares[-1] > 0.55
