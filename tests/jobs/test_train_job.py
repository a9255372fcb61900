"""The train job at its door: a plan without a run, a refusal before any record is read, a grant for another event."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jobs.train import STAGE
from ppsehr_spark.errors import ExitCode, UsageError
from ppsehr_spark.lake.ledger_store import open_ledger, read_entries
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.privacy.grants import Grant
from ppsehr_spark.privacy.policy import parse_policy
from ppsehr_spark.runtime import run_job
from ray_actors import train_run, training_data
from ray_actors.train_run import ask_training, plan_training, redeem_for_plan
from tests.ray_actors.training_lake import note_rows, training_settings, write_notes


def run(lake: Path, key_file: str, *extra: str) -> int:
    settings = [f'identity.key_file="{key_file}"', "train.n_steps=4", "train.hidden_size=32", "train.n_layers=1"]
    given = [part for s in settings for part in ("--set", s)]
    return run_job(STAGE, ["--lake", str(lake), "--profile", "ci", *given, *extra])


def test_a_dry_run_prints_the_plan_and_its_epsilon(
    tmp_path: Path, key_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path / "lake", key_file, "--dry-run", "--set", "train.epsilon=1.5") == ExitCode.OK
    said = json.loads(capsys.readouterr().out)
    assert 1.49 < said["epsilon"] <= 1.5 and said["delta"] == 1e-7
    assert said["plan"]["n_steps"] == 4 and said["ask_id"].startswith("train-")
    assert not (tmp_path / "lake").exists()


def test_a_refusal_comes_before_any_record_is_read(
    tmp_path: Path, key_file: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("no record may be read")

    monkeypatch.setattr(training_data, "read_patients", refuse)
    monkeypatch.setattr(train_run, "_train", refuse)
    write_notes(Lake(str(tmp_path / "lake")), note_rows(2, 1))
    assert run(tmp_path / "lake", key_file, "--set", "train.epsilon=50.0") == ExitCode.BUDGET_REFUSED
    assert "PRIVACY_BUDGET cap=" in capsys.readouterr().err
    assert read_entries(Lake(str(tmp_path / "lake"))) == []


def test_a_question_is_its_plan_and_its_data(lake: Lake) -> None:
    first = ask_training(lake, training_settings())
    assert ask_training(lake, training_settings(n_workers=7)).query.run_id == first.query.run_id
    assert ask_training(lake, training_settings(clip_norm=2.0)).query.run_id != first.query.run_id
    write_notes(lake, note_rows(1, 1))
    assert ask_training(lake, training_settings()).query.run_id != first.query.run_id
    assert first.query.event == first.plan.event == plan_training(training_settings()).event


def test_a_grant_for_another_event_does_not_train(lake: Lake) -> None:
    settings = training_settings()
    grant = open_ledger(lake, parse_policy(settings.files)).reserve(ask_training(lake, settings).query)
    assert isinstance(grant, Grant)
    cheaper = plan_training(training_settings(n_steps=7))
    with pytest.raises(UsageError, match="PLAN_CHANGED"):
        redeem_for_plan(grant, cheaper)
    with pytest.raises(UsageError, match="GRANT_REDEEMED"):
        redeem_for_plan(grant, plan_training(settings))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty lake."""
    return Lake(str(tmp_path / "lake"))
