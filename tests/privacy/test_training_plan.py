"""A training plan is what is accounted: its event, its text, its steps, and the grant it needs."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest

from ppsehr_spark.config import TrainSettings
from ppsehr_spark.errors import QualityGateError, UsageError
from ppsehr_spark.privacy.accounting import compute_epsilon
from ppsehr_spark.privacy.events import Exact, SampledGaussian
from ppsehr_spark.privacy.training_plan import (
    ExecutedSteps,
    TrainingPlan,
    executed_from_json,
    make_plan,
    plan_from_json,
)

DELTA = 1e-7


@pytest.fixture(scope="module")
def plan() -> TrainingPlan:
    return make_plan(TrainSettings(epsilon=2.5, n_steps=20), delta=DELTA)


def run_steps(plan: TrainingPlan, n: int) -> ExecutedSteps:
    executed = ExecutedSteps()
    for _ in range(n):
        executed = executed.add_step(plan)
    return executed


def test_the_least_noise_that_keeps_the_wish(plan: TrainingPlan) -> None:
    assert plan.event == SampledGaussian(plan.noise_multiplier, plan.sampling_rate, 20)
    assert 2.49 < plan.epsilon(DELTA) <= 2.5
    less = SampledGaussian(plan.noise_multiplier * 0.999, plan.sampling_rate, 20)
    assert compute_epsilon([less], delta=DELTA) > 2.5


def test_an_infinite_wish_is_an_exact_training() -> None:
    plan = make_plan(TrainSettings(epsilon=math.inf), delta=DELTA)
    assert plan.event == Exact() and plan.epsilon(DELTA) == math.inf


def test_text_and_back(plan: TrainingPlan) -> None:
    assert plan_from_json(plan.to_json()) == plan
    assert plan_from_json(plan.to_json()).hash == plan.hash
    assert list(json.loads(plan.to_json())) == sorted(plan.to_plain())


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(TrainingPlan)])
def test_every_field_changes_the_hash(plan: TrainingPlan, field: str) -> None:
    value = getattr(plan, field)
    changed = "other" if isinstance(value, str) else value + 1 if isinstance(value, int) else value / 2
    assert dataclasses.replace(plan, **{field: changed}).hash != plan.hash


def test_workers_and_memory_are_no_part_of_a_plan() -> None:
    few, many = TrainSettings(n_workers=1, physical_rows=1), TrainSettings(n_workers=8, physical_rows=64)
    assert make_plan(few, delta=DELTA) == make_plan(many, delta=DELTA)


def test_a_base_model_is_named_without_its_place() -> None:
    plan = make_plan(TrainSettings(base_model="/models/here/Qwen/"), delta=DELTA, base_fingerprint="ab")
    assert (plan.base_model, plan.base_fingerprint) == ("Qwen", "ab")


@pytest.mark.parametrize(
    ("field", "value"),
    [("sampling_rate", 0.0), ("sampling_rate", 1.1), ("clip_norm", 0.0), ("n_steps", 0), ("expected_patients", 0),
     ("max_notes_per_patient", 0), ("holdout_share", 1.0), ("noise_multiplier", -1.0), ("clip_norm", math.nan)],
)  # fmt: skip
def test_impossible_values_are_refused(plan: TrainingPlan, field: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"TRAINING_PLAN field={field}"):
        dataclasses.replace(plan, **{field: value})


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"sampling_rate": 1}'])
def test_other_text_is_no_plan(text: str) -> None:
    with pytest.raises(UsageError, match="TRAINING_PLAN"):
        plan_from_json(text)


def test_executed_steps_cost_what_was_planned(plan: TrainingPlan) -> None:
    executed = run_steps(plan, 20)
    executed.require_plan(plan)
    assert executed.epsilon(DELTA) == plan.epsilon(DELTA)
    assert executed_from_json(executed.to_json()) == executed
    assert executed_from_json(run_steps(plan, 7).to_json()).n_steps == 7


def test_another_training_is_not_taken_for_the_plan(plan: TrainingPlan) -> None:
    weaker = dataclasses.replace(plan, noise_multiplier=plan.noise_multiplier / 2)
    mixed = run_steps(plan, 19).add_step(weaker)
    assert mixed.n_steps == 20
    for executed in (run_steps(plan, 19), run_steps(plan, 21), run_steps(weaker, 20), mixed, ExecutedSteps()):
        with pytest.raises(QualityGateError, match="PLAN_NOT_EXECUTED"):
            executed.require_plan(plan)
    assert mixed.epsilon(DELTA) > plan.epsilon(DELTA)
