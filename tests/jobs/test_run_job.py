"""run_job: settings, skip-if-unchanged, run records, exit codes, and silence about foreign exceptions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ppsehr_spark.errors import BudgetRefusedError, ExitCode
from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.runtime import RunContext, Stage, StageResult, run_job

SECRET = "欧阳金丝雀13900001234"


@pytest.fixture
def arguments(tmp_path: Path, key_file: str) -> list[str]:
    return ["--lake", str(tmp_path / "lake"), "--profile", "ci", "--set", f'identity.key_file="{key_file}"']


def _stage(body: object, **extra: object) -> Stage:
    return Stage(name="sample", help="a sample", body=body, fingerprint=lambda context: "same", **extra)  # type: ignore[arg-type]


def test_a_finished_stage_is_recorded_and_not_run_again(arguments: list[str], tmp_path: Path) -> None:
    calls: list[str] = []

    def body(context: RunContext) -> StageResult:
        calls.append(context.run_id)
        return StageResult({"rows": 3})

    assert [run_job(_stage(body), [*arguments, "--run-id", f"r{i}"]) for i in range(2)] == [0, 0]
    assert calls == ["r0"]
    (run,) = Lake(str(tmp_path / "lake")).read(schemas.RUNS).to_pylist()
    assert (run["run_id"], run["status"], json.loads(run["counts"])) == ("r0", "ok", {"rows": 3})
    assert run_job(_stage(body), [*arguments, "--run-id", "r9", "--force"]) == 0 and calls == ["r0", "r9"]


def test_a_changed_setting_runs_only_the_stages_that_depend_on_it(arguments: list[str]) -> None:
    calls: list[str] = []
    stage = _stage(lambda context: calls.append("ran") or StageResult(), conf_sections=("partition",))
    for extra in ([], ["--set", "protect.policy=strict"], ["--set", "partition.unit_tokens=99"]):
        assert run_job(stage, [*arguments, *extra]) == 0
    assert len(calls) == 2


def test_a_setting_changed_back_runs_again_because_the_tables_are_the_other_ones(arguments: list[str]) -> None:
    calls: list[str] = []
    stage = _stage(lambda context: calls.append("ran") or StageResult(), conf_sections=("partition",))
    for extra in ([], ["--set", "partition.unit_tokens=99"], [], []):
        assert run_job(stage, [*arguments, *extra]) == 0
    assert len(calls) == 3


def test_a_partial_result_has_its_own_exit_code_and_is_tried_again(arguments: list[str]) -> None:
    stage = _stage(lambda context: StageResult({}, is_partial=True))
    assert [run_job(stage, arguments), run_job(stage, arguments)] == [ExitCode.PARTIAL, ExitCode.PARTIAL]


def test_a_foreign_exception_is_told_by_class_and_place_only(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    def body(context: RunContext) -> StageResult:
        raise ValueError(SECRET)

    assert run_job(_stage(body), arguments) == ExitCode.INFRASTRUCTURE
    said = capsys.readouterr()
    assert "ValueError" in said.err and "test_run_job.py" in said.err
    assert SECRET not in said.err + said.out


def test_our_own_errors_carry_their_exit_code(arguments: list[str]) -> None:
    def body(context: RunContext) -> StageResult:
        raise BudgetRefusedError("NO_BUDGET")

    assert run_job(_stage(body), arguments) == ExitCode.BUDGET_REFUSED


@pytest.mark.parametrize(
    "extra",
    [
        ["--profile", "nowhere"],
        ["--set", "partition.unit_tokens=many"],
        ["--set", "partition.no_such_key=1"],
        ["--set", "spark.master=local"],
        ["--conf", "no-such-folder"],
    ],
)
def test_a_wrong_setting_is_a_configuration_error(arguments: list[str], extra: list[str]) -> None:
    assert run_job(_stage(lambda context: StageResult()), [*arguments, *extra]) == ExitCode.CONFIGURATION


def test_a_lake_refuses_another_identity_key(arguments: list[str], tmp_path: Path) -> None:
    stage = _stage(lambda context: StageResult())
    assert run_job(stage, arguments) == 0
    other = tmp_path / "other.key"
    other.write_text("ff" * 32, encoding="ascii")
    assert run_job(stage, [*arguments, "--set", f'identity.key_file="{other}"']) == ExitCode.CONFIGURATION


def test_a_dry_run_writes_nothing(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stage = _stage(lambda context: pytest.fail("ran"), inputs=(schemas.NOTES,), writes=(schemas.ANNOTATIONS,))
    assert run_job(stage, [*arguments, "--dry-run"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan == {"stage": "sample", "inputs": {"phi.notes": None}, "writes": ["phi.annotations"]}
    assert not (tmp_path / "lake").exists()
