"""``ppsehr dp plan``: what it says from conf alone, what earlier releases add, and that it writes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jobs.cli import main
from ppsehr_spark.config import load_settings
from ppsehr_spark.service.release_plan import ReleasePlan, make_plan, render_plan

SETTINGS = load_settings()


def _rows(values: list[float], name: str = "visits_per_patient") -> list[dict[str, Any]]:
    labels = ["1", "2", "3", "4", "5-7", "8-12", "13+"]
    return [
        {"cell": at, "value": value, "is_suppressed": False, "group_keys": [{"name": name, "value": label}]}
        for at, (value, label) in enumerate(zip(values, labels, strict=False))
    ]


def _line(plan: ReleasePlan, name: str) -> Any:
    return next(line for line in plan.releases if line.id == name)


def test_from_conf_alone_it_states_cost_and_noise_and_knows_no_signal() -> None:
    plan = make_plan(SETTINGS, {})
    assert plan.epsilon == pytest.approx(1.5, abs=1e-3) and not plan.is_relative
    assert all(line.signal is None for line in plan.releases)
    assert sum(line.share for line in plan.releases) == pytest.approx(sum(line.proposed for line in plan.releases))
    assert plan.error_proposed < plan.error_now
    quantiles = _line(plan, "length_of_stay_quantiles")
    assert quantiles.noise_sd is None and quantiles.proposed == pytest.approx(quantiles.share)
    assert _line(plan, "common_diagnosis_codes").delta == 1e-10


def test_what_was_released_before_tells_signal_size_and_a_bound() -> None:
    before = {"visits_per_patient": _rows([500.0, 300, 100, 80, 60, 5, -3])}
    plan = make_plan(SETTINGS, before)
    line = _line(plan, "visits_per_patient")
    assert line.signal == pytest.approx(5 / 7), "five bins stand above twice the noise of 20"
    assert plan.is_relative and line.proposed == pytest.approx(line.share), "alone of a known size, it keeps its share"
    assert _line(plan, "encounters_by_department").proposed_encounters == 7, "95% of these patients have at most seven"
    assert _line(plan, "visits_per_patient").proposed_encounters == 0
    assert "unknown" in render_plan(plan) and "71%" in render_plan(plan)


def test_the_command_writes_nothing_and_gives_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["dp", "plan", "--lake", str(tmp_path / "none"), "--error", "absolute", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["releases"]) == len(make_plan(SETTINGS, {}).releases)
    assert not list(tmp_path.iterdir())
    assert main(["dp", "plan", "--explain"]) == 0 and "proportional to" in capsys.readouterr().out
    assert main(["dp", "plan", "--set", "nothing.here=1"]) == 3
