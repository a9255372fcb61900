"""A few fictional patients with visits of every kind, settings that write their notes, a lake that holds a model."""

from __future__ import annotations

import json
from datetime import date, timedelta
from typing import Any

import numpy as np

from ppsehr_spark.config import Settings, load_settings, settings_from_json
from ppsehr_spark.lake.record_model_store import write_marginals
from ppsehr_spark.lake.synthetic_store import write_patients
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.synthesis.records import (
    ReleasedMarginal,
    SyntheticEncounter,
    SyntheticPatient,
    count_cells,
    parse_record_plan,
)
from ray_actors.synthesize_run import plan_dataset
from ray_actors.synthesizer import NoteRequest

VISITS = (
    ("住院", "心血管内科", "I21.900", "急性心肌梗死"),
    ("门诊", "呼吸与危重症医学科", "J18.900", "肺炎"),
    ("急诊", "消化内科", "K29.500", "慢性胃炎"),
)


def make_patients(n_patients: int = 4) -> tuple[SyntheticPatient, ...]:
    """Patients of three visits each; every fourth one dies at the last, in hospital."""
    return tuple(_make_patient(number) for number in range(1, n_patients + 1))


def requests_for(n_patients: int = 4) -> list[NoteRequest]:
    """A note for each of their visits."""
    patients = make_patients(n_patients)
    return [NoteRequest(f"note-{v.synthetic_encounter_id}", v, p) for p in patients for v in p.encounters]


def _make_patient(number: int) -> SyntheticPatient:
    patient_id, visits = f"S{number:06d}", []
    for position in (1, 2, 3):
        kind, department, code, name = VISITS[(number + position) % 3]
        died = number % 4 == 0 and position == 3
        admitted = date(2021, position, number)
        days = 6 if kind == "住院" or died else 0
        visits.append(
            SyntheticEncounter(
                f"{patient_id}-{position:02d}",
                patient_id,
                position,
                "住院" if died else kind,
                department,
                code,
                name,
                50 + number,
                admitted,
                admitted + timedelta(days=days),
                died,
            )
        )
    return SyntheticPatient(patient_id, "MF"[number % 2], 2021 - 50 - number, tuple(visits))


def make_settings(engine: str = "openai", *, options: dict[str, Any] | None = None, **synthesize: Any) -> Settings:
    """The laptop profile with another engine, its options and other synthesize keys."""
    values = json.loads(load_settings("laptop").to_json())
    values["synthesize"].update({"engine": engine, "token_budget": 1_000_000, "notes_per_unit": 3, **synthesize})
    if options is not None:
        values["engine"][engine] |= options
    return settings_from_json(json.dumps(values))


def write_model(lake: Lake, settings: Settings, *, seed: int = 0) -> None:
    """A released record model of the smallest marginals, with noise of its own."""
    plan = parse_record_plan(settings.files, delta=1e-7)
    random = np.random.default_rng(seed)
    small = [m for m in plan.marginals if len(m.attributes) == 1 or count_cells(m, plan.domain) < 100]
    released = [
        ReleasedMarginal(
            m.name,
            m.record,
            m.attributes,
            random.integers(0, 40, count_cells(m, plan.domain)),
            2.0,
            0.1,
            "grant",
        )
        for m in small
    ]
    write_marginals(lake, released, model_id=f"model-{seed}", domain=plan.domain, run_id="r0")


def write_cases(lake: Lake, settings: Settings, *, n_patients: int = 4) -> str:
    """A model and the hand-made patients as its data set under these settings; returns the data set's id."""
    write_model(lake, settings)
    dataset = plan_dataset(lake, settings)
    patients = make_patients(n_patients)
    write_patients(lake, patients, dataset_id=dataset.dataset_id, model_id=dataset.stored.model_id, run_id="r0")
    return dataset.dataset_id
