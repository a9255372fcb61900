"""run_job: settings, skip-if-unchanged, run records, exit codes, and silence about foreign exceptions."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest

from ppsehr_spark.errors import BudgetRefusedError, ExitCode, PartialResultError
from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.runtime import RunContext, Stage, StageResult, run_job

ROOT = Path(__file__).resolve().parents[2]
WAITING_JOB = """
import sys, time
from ppsehr_spark.runtime import Stage, run_job
def body(context):
    print("body runs", file=sys.stderr, flush=True)
    time.sleep(120)
sys.exit(run_job(Stage("sample", "waits", body)))
"""
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
    assert plan == {
        "stage": "sample",
        "would_run": True,
        "inputs": {"phi.notes": None},
        "volumes": {},
        "writes": ["phi.annotations"],
        "work_rows": None,
        "estimated_seconds": None,
        "estimated_tokens": None,
        "estimate_from": "the input is not there yet",
    }
    assert not (tmp_path / "lake").exists()


def test_a_dry_run_of_what_is_done_says_that_nothing_would_run(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    stage = _stage(lambda context: StageResult(), work=lambda context: 7)
    assert run_job(stage, arguments) == 0
    capsys.readouterr()
    assert run_job(stage, [*arguments, "--dry-run"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["would_run"], plan["work_rows"], plan["estimated_seconds"]) == (False, 7, 0.0)


def _fail(error: BaseException) -> Callable[[RunContext], StageResult]:
    def body(context: RunContext) -> StageResult:
        logging.getLogger("a.library").warning("value '%s' and %s", SECRET, SECRET)
        raise error

    return body


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (BudgetRefusedError("NO_BUDGET", cap="total"), ("failed", 5, "NO_BUDGET")),
        (PartialResultError("SOME_LEFT"), ("partial", 6, "SOME_LEFT")),
        (ValueError(SECRET), ("failed", 7, "UNEXPECTED.ValueError")),
        (KeyboardInterrupt(), ("interrupted", 7, "INTERRUPTED")),
        (SystemExit(15), ("interrupted", 7, "INTERRUPTED")),
    ],
)
def test_a_run_that_does_not_end_well_leaves_a_row_without_a_message(
    arguments: list[str], tmp_path: Path, error: BaseException, expected: tuple[str, int, str]
) -> None:
    assert run_job(_stage(_fail(error), inputs=(schemas.NOTES,)), arguments) == expected[1]
    (run,) = Lake(str(tmp_path / "lake")).read(schemas.RUNS).to_pylist()
    assert (run["status"], run["exit_code"], run["error_code"]) == expected
    assert run["seconds"] >= 0 and json.loads(run["input_versions"]) == {"phi.notes": None}
    assert SECRET not in repr(run)


def test_a_failed_run_is_not_done_and_makes_the_one_before_it_undone(arguments: list[str]) -> None:
    calls: list[str] = []
    good = _stage(lambda context: calls.append("ran") or StageResult())
    outcomes = [run_job(stage, arguments) for stage in (good, good)]
    outcomes += [run_job(_stage(_fail(ValueError()), conf_sections=("protect",)), arguments)]
    assert [*outcomes, run_job(good, arguments), run_job(good, arguments)] == [0, 0, 7, 0, 0]
    assert len(calls) == 2, "what the failed run may have written is written over"


def test_the_row_says_with_what_it_was_made_and_what_it_cost(arguments: list[str], tmp_path: Path) -> None:
    body = _stage(
        lambda context: StageResult({"prompt_tokens": 3_000_000, "cached_tokens": 1_000_000, "output_tokens": 500_000})
    )
    prices = ["--set", "cost.prompt_per_million=2.0", "--set", "cost.output_per_million=8.0"]
    assert run_job(replace(body, uses_knowledge=True, conf_sections=("partition",)), [*arguments, *prices]) == 0
    assert run_job(body, [*arguments, "--force"]) == 0
    runs = Lake(str(tmp_path / "lake")).read(schemas.RUNS).to_pylist()
    priced, unpriced = sorted(runs, key=lambda run: run["started_at"])
    assert priced["cost"] == pytest.approx(2.0 * 2 + 8.0 * 0.5) and unpriced["cost"] is None
    assert (priced["prompt_tokens"], priced["cached_tokens"], priced["output_tokens"]) == (
        3_000_000,
        1_000_000,
        500_000,
    )
    libraries = json.loads(priced["library_versions"])
    assert libraries["python"].startswith("3.11.") and libraries["pyspark"] == metadata.version("pyspark")
    assert {"delta", "deltalake", "ray", "torch", "vllm"} <= set(libraries)
    assert json.loads(priced["resource_versions"]) == {"knowledge": 0, "tagger": "none"}


def test_sigterm_ends_a_job_with_its_row(arguments: list[str], tmp_path: Path) -> None:
    script = tmp_path / "waits.py"
    script.write_text(WAITING_JOB, encoding="utf-8")
    command = [sys.executable, str(script), *arguments]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr and "body runs" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == ExitCode.INFRASTRUCTURE
    (run,) = Lake(str(tmp_path / "lake")).read(schemas.RUNS).to_pylist()
    assert (run["status"], run["error_code"]) == ("interrupted", "INTERRUPTED")


@pytest.fixture
def logging_as_before() -> Iterator[None]:
    handlers, level = list(logging.root.handlers), logging.root.level
    yield
    logging.captureWarnings(False)
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


@pytest.mark.usefixtures("logging_as_before")
def test_json_lines_carry_the_event_and_no_value(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    stage = _stage(lambda context: StageResult({"rows": 3}))
    as_json = [*arguments, "--run-id", "r7", "--set", "log.format=json"]
    assert run_job(stage, as_json) == 0
    assert run_job(_stage(_fail(ValueError(SECRET))), [*as_json, "--force"]) == 7
    said = capsys.readouterr().err
    lines = [json.loads(line) for line in said.splitlines()]
    assert [line["event"] for line in lines] == ["finished", "library", "UNEXPECTED"]
    assert {(line["stage"], line["run_id"]) for line in lines if "stage" in line} == {("sample", "r7")}
    assert lines[1]["message"] == "value * and **", "a library's line keeps its words and loses its values"
    assert (lines[0]["counts"], lines[0]["status"], lines[0]["level"]) == ({"rows": 3}, "ok", "info")
    assert SECRET not in said


def test_another_word_for_the_format_is_refused(arguments: list[str]) -> None:
    stage = _stage(lambda context: pytest.fail("ran"))
    assert run_job(stage, [*arguments, "--set", "log.format=xml"]) == ExitCode.CONFIGURATION
