"""A small lake with the whole privacy half, made by the real parts: ledger, noise, stores. Patients are invented."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

from ppsehr_spark.config import Settings
from ppsehr_spark.lake.checkpoint_store import write_checkpoint_row, write_membership_scores
from ppsehr_spark.lake.ledger_store import open_ledger
from ppsehr_spark.lake.record_model_store import write_marginals
from ppsehr_spark.lake.statistics_store import append_statistics
from ppsehr_spark.lake.synthetic_store import write_notes, write_patients
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.privacy.catalogue import COUNT, QUANTILE, Catalogue, Release
from ppsehr_spark.privacy.events import encode_event
from ppsehr_spark.privacy.grants import Query, redeem_grant
from ppsehr_spark.privacy.ledger import Ledger, answer_once
from ppsehr_spark.privacy.policy import Scope, parse_policy
from ppsehr_spark.privacy.releases import Counts, PlannedRelease, draw_part, make_rows, plan_releases
from ppsehr_spark.privacy.training_plan import ExecutedSteps, TrainingPlan
from ppsehr_spark.privacy.units import Budget, ContributionBounds
from ppsehr_spark.synthesis.records import (
    SyntheticEncounter,
    SyntheticPatient,
    parse_record_plan,
    release_marginals,
    tabulate,
)

STATS_ASK, MODEL_ID, TRAIN_ASK = "stats-a", "fit-a", "train-a"
DATASET_ID, CHECKPOINT_ID = "dataset-a", "checkpoint-a"
DEPARTMENTS = ("心血管内科", "普外科", "其他科室")
RUN_ID = "r1"
#: Multiplier 2 over 40 steps at rate 0.1: epsilon 1.4 at delta 1e-7.
PLAN = TrainingPlan(
    sampling_rate=0.1, noise_multiplier=2.0, clip_norm=1.0, n_steps=40, expected_patients=12, max_notes_per_patient=2,
    max_note_tokens=96, holdout_share=0.2, learning_rate=0.003, hidden_size=16, n_layers=1,
)  # fmt: skip
_COUNTS = Release("patients_by_department", "各科室就诊患者数", COUNT, 0.5, "人", keys=("department",), max_cells=2)
_QUANTILES = Release(
    "length_of_stay_quantiles", "住院天数分位数", QUANTILE, 0.5, "天", measure="length_of_stay_days",
    candidates=tuple(range(61)), quantiles=((1, 4), (1, 2), (3, 4)), max_encounters=1,
)  # fmt: skip
CATALOGUE = Catalogue(Budget(1.0, 1e-7), (_COUNTS, _QUANTILES), suppress_below_sd=2.0)


def fill_privacy_half(lake: Lake, settings: Settings) -> None:
    """Statistics, record model, checkpoint with scores, synthetic patients and notes; not evaluated, not published."""
    ledger = open_ledger(lake, parse_policy(settings.files))
    _release_statistics(lake, ledger)
    patients = tuple(make_patient(number) for number in range(40))
    _fit(lake, ledger, settings, patients * 20)
    _train(lake, ledger)
    write_patients(lake, patients, dataset_id=DATASET_ID, model_id=MODEL_ID, run_id=RUN_ID)
    notes = [make_note(patient, visit) for patient in patients[:6] for visit in patient.encounters]
    write_notes(lake, notes, dataset_id=DATASET_ID, run_id=RUN_ID)


def make_patient(number: int) -> SyntheticPatient:
    """One of two kinds: a woman with two visits for the heart, a man with one for the appendix."""
    identity, is_woman = f"p{number:02d}", number % 2 == 0
    first = date(2021, 3, 4) + timedelta(days=7 * (number % 10))
    days = [first, first + timedelta(days=60)] if is_woman else [first]
    visits = tuple(_make_visit(identity, at, day, is_woman=is_woman) for at, day in enumerate(days, start=1))
    return SyntheticPatient(identity, "F" if is_woman else "M", 1970, visits)


def _make_visit(patient: str, position: int, day: date, *, is_woman: bool) -> SyntheticEncounter:
    department, code, name = ("心血管内科", "I10.x00", "高血压病") if is_woman else ("普外科", "K35.800", "急性阑尾炎")
    return SyntheticEncounter(
        synthetic_encounter_id=f"{patient}v{position}",
        synthetic_patient_id=patient,
        position=position,
        encounter_type="住院",
        department=department,
        diagnosis_code=code,
        diagnosis_name=name,
        age_years=day.year - 1970,
        admitted_on=day,
        discharged_on=day + timedelta(days=5),
        is_deceased=False,
    )


def make_note(patient: SyntheticPatient, visit: SyntheticEncounter, **changes: Any) -> dict[str, Any]:
    """A note that says what its record says."""
    day = visit.admitted_on
    sex = "女" if patient.sex == "F" else "男"
    text = f"患者{sex}，{visit.age_years}岁，{day.year}年{day.month}月{day.day}日入院。诊断：{visit.diagnosis_name}。"
    note = {
        "synthetic_note_id": f"n{visit.synthetic_encounter_id}",
        "synthetic_encounter_id": visit.synthetic_encounter_id,
        "synthetic_patient_id": patient.synthetic_patient_id,
        "note_type": "入院记录",
        "text": text,
        "generator": "public",
        "model": "public-model",
        "outcome": "ok",
        "n_phi_spans": 0,
        "n_checks": 4,
        "n_agreed": 4,
        "prompt_tokens": 10,
        "output_tokens": 10,
    }
    return {**note, **changes}


def _release_statistics(lake: Lake, ledger: Ledger) -> None:
    counts = {"patients_by_department": [400, 300, 0], "length_of_stay_quantiles": [0, 0, *[50] * 10, *[0] * 49]}
    for planned in plan_releases(CATALOGUE, lists={"department": DEPARTMENTS}, span_cells=()):
        release_statistic(lake, ledger, planned, counts[planned.release.id])


def release_statistic(
    lake: Lake, ledger: Ledger, planned: PlannedRelease, counts: Counts, *, ask_id: str = STATS_ASK
) -> None:
    """Reserve, draw, commit and store one release."""
    part, scope = planned.part, Scope("lake", "statistics", "job:stats")
    query = Query(ask_id, part.name, scope, part.event, part.bounds)
    answer = answer_once(ledger, query, draw=lambda grant: draw_part(part, counts, grant=grant))
    append_statistics(
        lake, planned, make_rows(planned, part, answer.value), ask_id=ask_id, grant_id=answer.grant_id,
        versions={"phi.encounters": 0}, run_id=RUN_ID,
    )  # fmt: skip


def _fit(lake: Lake, ledger: Ledger, settings: Settings, patients: tuple[SyntheticPatient, ...]) -> None:
    plan = parse_record_plan(settings.files, delta=ledger.policy.total.delta)
    wanted = {"first_type_stay", "next_same_gap", "first_quarter_visits"}
    plan = replace(plan, marginals=tuple(each for each in plan.marginals if each.name in wanted))
    counts = {each.name: [int(n) for n in tabulate(patients, each, plan.domain)] for each in plan.marginals}
    scope = Scope("lake", "record_model", "job:fit")
    marginals = release_marginals(ledger, plan, model_id=MODEL_ID, scope=scope, tabulate=lambda: counts)
    write_marginals(lake, marginals, model_id=MODEL_ID, domain=plan.domain, run_id=RUN_ID)


def _train(lake: Lake, ledger: Ledger) -> None:
    executed = ExecutedSteps({(PLAN.noise_multiplier, PLAN.sampling_rate): PLAN.n_steps}).to_json()
    value = {"checkpoint_id": CHECKPOINT_ID, "weights_hash": "00", "n_steps_done": PLAN.n_steps, "accountant": executed}
    query = Query(TRAIN_ASK, "checkpoint", Scope("lake", "training", "job:train"), PLAN.event, ContributionBounds(1, 1))

    def draw(grant: Any) -> Mapping[str, Any]:
        redeem_grant(grant)
        return value

    answer = answer_once(ledger, query, draw=draw)
    about = {"ask_id": TRAIN_ASK, "path": "", "base_model": "", "plan": PLAN.to_json(), "run_id": RUN_ID}
    row = {**value, **about, "event": encode_event(PLAN.event), "grant_id": answer.grant_id}
    write_checkpoint_row(lake, row)
    write_membership_scores(lake, make_scores(), checkpoint_id=CHECKPOINT_ID)


def make_scores(gap: float = 0.0) -> list[dict[str, Any]]:
    """Losses of 80 members and 20 others, interleaved; ``gap`` is what members lie lower."""
    return [
        {
            "checkpoint_id": CHECKPOINT_ID,
            "patient_key": f"k{number:03d}",
            "is_member": number % 5 > 0,
            "loss": 2.0 + (number * 37 % 101) / 100 - (gap if number % 5 else 0.0),
            "n_tokens": 50,
            "run_id": RUN_ID,
        }
        for number in range(100)
    ]
