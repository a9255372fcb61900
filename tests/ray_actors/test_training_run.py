"""A whole training on Ray Train: a killed rank, a killed driver, one question, one checkpoint, no text anywhere."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import ray
from tqdm import tqdm

from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.checkpoint_store import locate
from ppsehr_spark.lake.ledger_store import open_ledger, read_entries
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.privacy.events import decode_event
from ppsehr_spark.privacy.policy import parse_policy
from ppsehr_spark.privacy.training_plan import executed_from_json, plan_from_json
from ray_actors import train_run
from ray_actors.checkpoint_engine import load_engine
from ray_actors.engine import Prompt
from ray_actors.train_run import train_lake
from ray_actors.trained_model import hash_weights, read_executed
from ray_actors.training_data import is_held_out
from tests.ray_actors.dying_loop import FOLDER_VARIABLE
from tests.ray_actors.training_lake import CANARY, key, note_rows, training_settings, write_notes

pytestmark = [pytest.mark.ray, pytest.mark.slow]
SETTINGS = training_settings(n_workers=2)
N_PATIENTS = 24


class KilledError(BaseException):
    """Stands for SIGKILL of the driver."""


def train(lake: Lake) -> dict[str, int | float]:
    return train_lake(lake, settings=SETTINGS, run_id="r1", progress=tqdm(disable=True))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lake, Path, list[str]]:
    """A lake named by URI; the first rank dies in step 3, the driver after the commit; then it is run again."""
    base = tmp_path_factory.mktemp("training")
    lake = Lake(f"file://{base}/lake")
    write_notes(lake, note_rows(N_PATIENTS, 3))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER_VARIABLE, str(base))
        patch.setattr(train_run, "LOOP", "tests.ray_actors.dying_loop:run_rank")
        patch.setattr(train_run, "crash_point", _die_before_row)
        with pytest.raises(KilledError):
            train(lake)
    logs = [str(path) for path in _session_logs().rglob("*") if path.is_file()]
    return lake, base, logs


def _die_before_row(name: str) -> None:
    if name == "train.before_row":
        raise KilledError


def _session_logs() -> Path:
    return Path(os.path.realpath("/tmp/ray/session_latest")) / "logs"


@pytest.fixture
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("Ray must not start")

    monkeypatch.setattr(ray, "init", refuse)


def checkpoint_row(lake: Lake) -> dict[str, Any]:
    (row,) = lake.read(schemas.CHECKPOINTS).to_pylist()
    return dict(row)


def checkpoint_folder(lake: Lake) -> Path:
    return Path(locate(lake, checkpoint_row(lake)["path"]).path)


def test_after_the_commit_only_what_is_missing_is_written(trained: tuple[Lake, Path, list[str]], no_ray: None) -> None:
    lake, _, _ = trained
    assert lake.version(schemas.CHECKPOINTS) is None
    assert train(lake)["n_scored"] == N_PATIENTS
    versions = [lake.version(spec) for spec in (schemas.CHECKPOINTS, schemas.MEMBERSHIP_SCORES, schemas.PRIVACY_LEDGER)]
    assert train(lake)["n_scored"] == 0
    assert versions == [
        lake.version(spec) for spec in (schemas.CHECKPOINTS, schemas.MEMBERSHIP_SCORES, schemas.PRIVACY_LEDGER)
    ]


def test_a_killed_rank_resumes_and_the_steps_are_the_plan(trained: tuple[Lake, Path, list[str]]) -> None:
    lake, base, _ = trained
    assert (base / "died").exists()
    steps = [int(line) for line in (base / "steps").read_text(encoding="utf-8").split()]
    assert steps == [1, 2, 3, 3, 4, 5, 6]  # step 3 was lost with the rank and is done anew, with other noise
    row, (reserved, committed) = checkpoint_row(lake), read_entries(lake)
    plan = plan_from_json(row["plan"])
    assert decode_event(reserved.event) == decode_event(row["event"]) == plan.event
    assert row["n_steps_done"] == plan.n_steps == 6
    assert (row["grant_id"], row["ask_id"]) == (committed.grant_id, committed.run_id)
    executed = executed_from_json(row["accountant"])
    assert executed == read_executed(checkpoint_folder(lake), plan=plan)
    (total, *_) = open_ledger(lake, parse_policy(SETTINGS.files)).balances()
    assert executed.epsilon(total.cap.budget.delta) == pytest.approx(total.epsilon_spent) == reserved.epsilon


def test_the_checkpoint_is_weights_and_figures_alone(trained: tuple[Lake, Path, list[str]]) -> None:
    lake, _, _ = trained
    folder = checkpoint_folder(lake)
    names = {path.name for path in folder.iterdir()}
    assert names == {"config.json", "generation_config.json", "model.safetensors", "plan.json", "executed.json"}
    assert checkpoint_row(lake)["weights_hash"] == hash_weights(folder)
    assert not any((folder.parent / ".runs").iterdir())  # no state to resume is left behind


def test_no_text_leaves_the_ranks(trained: tuple[Lake, Path, list[str]]) -> None:
    lake, _, logs = trained
    written = [path for path in checkpoint_folder(lake).rglob("*") if path.is_file()]
    needles = [CANARY.encode(), CANARY.encode("unicode_escape"), key("p", 1).encode()]
    found = [str(path) for path in (*map(Path, logs), *written) if any(n in path.read_bytes() for n in needles)]
    assert len(logs) > 5 and not found


def test_scores_name_members_and_held_out_patients(trained: tuple[Lake, Path, list[str]]) -> None:
    lake, _, _ = trained
    rows = lake.read(schemas.MEMBERSHIP_SCORES).to_pylist()
    assert {row["patient_key"] for row in rows} == {key("p", p) for p in range(N_PATIENTS)}
    assert all(row["is_member"] != is_held_out(row["patient_key"], share=SETTINGS.train.holdout_share) for row in rows)
    assert {row["is_member"] for row in rows} == {True, False}
    assert all(0 < row["loss"] < 20 and row["n_tokens"] == 32 for row in rows)


def test_the_checkpoint_engine_continues_a_header(trained: tuple[Lake, Path, list[str]]) -> None:
    lake, _, _ = trained
    engine = load_engine({"path": str(checkpoint_folder(lake)), "batch_size": 2})
    header = "出院记录|神经内科|男|55岁|帕金森病"
    drawn = [Prompt("", header, max_tokens=9, temperature=1.0, seed=seed) for seed in range(3)]
    prompts = [*drawn, Prompt("", header, max_tokens=4), Prompt("", "x" * 2000), Prompt("", header, choices=("是",))]
    replies = engine.generate(prompts)
    assert [reply.error_code for reply in replies] == ["", "", "", "", "PROMPT_TOO_LONG", "UNSUPPORTED_PROMPT"]
    assert len({reply.text for reply in replies[:3]}) == 3 and replies[0] == engine.generate(drawn[:1])[0]
    assert replies[3].output_tokens <= 4 and replies[3].prompt_tokens == len(header) + 2
    assert engine.info.fingerprint == checkpoint_row(lake)["weights_hash"][:12]
