"""Evaluations: written once for exactly what was evaluated, each figure with its basis; the job and its exit codes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jobs.evaluate import STAGE
from ppsehr_spark.config import PublishSettings, Settings
from ppsehr_spark.evaluation.metrics import METRICS, PUBLIC
from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.evaluation_figures import Measured, measure_membership, measure_notes, measure_statistics
from ppsehr_spark.lake.evaluations import evaluate_lake, make_evaluation_id, read_evaluations
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.runtime import run_job
from tests.lake.dp_lake import CHECKPOINT_ID, PLAN, make_note, make_patient, make_scores

LIMITS = PublishSettings()


def _by_name(figures: list[Measured]) -> dict[tuple[str, str], Measured]:
    return {(figure.metric, figure.slice): figure for figure in figures}


def _run(lake: Lake, tmp_path: Path, *more: str) -> int:
    return run_job(STAGE, ["--lake", lake.uri, "--set", f"identity.key_file={tmp_path / 'key'}", *more])


def test_the_same_tables_and_limits_are_evaluated_once(dp_lake: Lake, settings: Settings, tmp_path: Path) -> None:
    before = dp_lake.version(schemas.EVALUATIONS)
    assert evaluate_lake(dp_lake, settings, run_id="again")["n_failed"] == 0
    assert dp_lake.version(schemas.EVALUATIONS) == before
    assert _run(dp_lake, tmp_path, "--set", "publish.min_agreement=0.95") == 0
    assert dp_lake.version(schemas.EVALUATIONS) == (before or 0) + 1
    rows = dp_lake.read(schemas.EVALUATIONS).to_pylist()
    limits = {row["gate_limit"] for row in rows if row["metric"] == "statement_agreement"}
    assert limits == {0.8, 0.95}


def test_a_lake_without_anything_has_no_figures(lake: Lake, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(lake, tmp_path) == 0
    assert "n_figures=0" in capsys.readouterr().err and lake.version(schemas.EVALUATIONS) is None


def test_every_figure_has_the_basis_of_its_metric(dp_lake: Lake, settings: Settings) -> None:
    rows = read_evaluations(dp_lake, make_evaluation_id(dp_lake, settings))
    assert rows and all(row["basis"] == METRICS[row["metric"]] for row in rows)
    assert {row["metric"] for row in rows} == set(METRICS)
    assert all((row["n"] is None) == (row["basis"] != PUBLIC) for row in rows)


def test_the_noise_of_one_cell_is_told_in_people() -> None:
    shared = {"ask_id": "a", "query": "q", "is_suppressed": False}
    rows: list[dict[str, Any]] = [
        {**shared, "value": 30.0, "low": 20.0, "high": 40.0},
        {**shared, "value": 4.0, "low": -6.0, "high": 14.0, "is_suppressed": True},
        {**shared, "query": "quantile", "value": 7.0, "low": None, "high": None},
    ]
    found = {figure.metric: figure.value for figure in measure_statistics(rows)}
    assert found == {
        "noise_half_width": 10.0,
        "expected_cell_error": pytest.approx(10 / 1.959964 * 0.797885, rel=1e-5),
        "smallest_readable_group": 20.0,
        "suppressed_cells": 0.5,
        "cells_above_noise": 0.5,
    }


def test_notes_that_were_dropped_are_counted_by_reason_and_not_for_agreement() -> None:
    patient = make_patient(0)
    visit = patient.encounters[0]
    dropped = {"text": None, "n_agreed": 0}
    notes = [
        make_note(patient, visit),
        make_note(patient, visit, n_agreed=2),
        make_note(patient, visit, outcome="PHI_NAME", n_phi_spans=2, **dropped),
        make_note(patient, visit, outcome="CONTRADICTION_OTHER_AGE", **dropped),
    ]
    found = _by_name(measure_notes("d", notes, limits=LIMITS))
    assert found["statement_agreement", ""].value == 6 / 8 and found["statement_agreement", ""].is_passed is False
    assert found["record_agreement", ""].value == 0.5
    assert found["dropped_notes", ""].value == 0.5 and found["dropped_notes", "PHI_NAME"].value == 0.25
    assert found["notes_with_identifiers", ""].value == 0 and found["notes_with_identifiers", ""].is_passed is True


def test_a_data_set_whose_notes_were_all_dropped_has_no_agreement() -> None:
    patient = make_patient(0)
    note = make_note(patient, patient.encounters[0], outcome="EMPTY", text=None)
    assert {figure.metric for figure in measure_notes("d", [note], limits=LIMITS)} == {"dropped_notes"}
    assert measure_notes("d", [], limits=LIMITS) == []


@pytest.mark.parametrize(("gap", "is_passed"), [(0.0, True), (5.0, False)])
def test_an_attack_is_held_against_the_plan_that_was_paid(gap: float, is_passed: bool) -> None:
    scores = [row for row in make_scores(gap) for _ in range(4)]
    checkpoint = {"checkpoint_id": CHECKPOINT_ID, "plan": PLAN.to_json()}
    found = _by_name(measure_membership(checkpoint, scores, delta=1e-7, limits=LIMITS))
    bound = found["epsilon_lower_bound", "loss"]
    assert bound.gate_limit == PLAN.epsilon(1e-7) and bound.is_passed is is_passed
    assert found["membership_auc", "loss"].is_passed is is_passed
    assert all(figure.basis == "internal" and figure.n is None for figure in found.values())


def test_an_attack_without_anybody_held_out_says_nothing() -> None:
    checkpoint = {"checkpoint_id": CHECKPOINT_ID, "plan": PLAN.to_json()}
    members = [row for row in make_scores() if row["is_member"]]
    assert measure_membership(checkpoint, members, delta=1e-7, limits=LIMITS) == []
