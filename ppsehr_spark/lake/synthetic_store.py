"""Synthetic data on Delta: patients and visits of a data set once, notes unit by unit, and how readers find them.

Knows: protected.synthetic_patients, _encounters, _notes. Must not know: how records are drawn, who writes notes. A data
set is complete as to its patients once its rows stand in synthetic_patients: visits are written before them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ppsehr_spark.lake.crash_points import crash_point
from ppsehr_spark.lake.schemas import SYNTHETIC_ENCOUNTERS, SYNTHETIC_NOTES, SYNTHETIC_PATIENTS
from ppsehr_spark.lake.table_spec import TableSpec
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.synthesis.records import SyntheticEncounter, SyntheticPatient

_ENCOUNTER_FIELDS = tuple(SyntheticEncounter.__dataclass_fields__)


def write_patients(
    lake: Lake, patients: Sequence[SyntheticPatient], *, dataset_id: str, model_id: str, run_id: str
) -> None:
    """Write all patients of a data set with their visits; a second call changes nothing."""
    about = {"dataset_id": dataset_id, "run_id": run_id}
    visits = [{**asdict(visit), **about} for patient in patients for visit in patient.encounters]
    _append(lake, SYNTHETIC_ENCOUNTERS, visits, app_id=f"synthesize.encounters.{dataset_id}")
    crash_point("synthesize.after_encounters")
    now = datetime.now(UTC)
    people = [
        {
            "synthetic_patient_id": patient.synthetic_patient_id,
            "sex": patient.sex,
            "birth_year": patient.birth_year,
            "n_encounters": len(patient.encounters),
            "model_id": model_id,
            "synthesized_at": now,
            **about,
        }
        for patient in patients
    ]
    _append(lake, SYNTHETIC_PATIENTS, people, app_id=f"synthesize.patients.{dataset_id}")
    crash_point("synthesize.after_patients")


def write_notes(lake: Lake, rows: Iterable[Mapping[str, Any]], *, dataset_id: str, run_id: str) -> None:
    """Append the notes of one unit in one commit; the transaction is named after the data set and its note ids."""
    notes = [{**row, "dataset_id": dataset_id, "run_id": run_id} for row in rows]
    if not notes:
        return
    listed = "|".join(sorted(note["synthetic_note_id"] for note in notes))
    digest = hashlib.sha256(f"{dataset_id}|{listed}".encode()).hexdigest()[:32]
    crash_point("synthesize.before_notes")
    _append(lake, SYNTHETIC_NOTES, notes, app_id=f"synthesize.notes.{digest}")
    crash_point("synthesize.after_notes")


def find_newest_dataset(lake: Lake) -> str | None:
    """The data set whose patients were drawn last; ``None`` when there is none."""
    rows = lake.read(SYNTHETIC_PATIENTS, ["dataset_id", "synthesized_at"])
    return rows.sort_by("synthesized_at")["dataset_id"][-1].as_py() if rows.num_rows else None


def read_patients(lake: Lake, *, dataset_id: str) -> tuple[SyntheticPatient, ...]:
    """Patients with their visits, both in order; empty when the data set is not there."""
    visits: dict[str, list[SyntheticEncounter]] = {}
    rows = _read(lake, SYNTHETIC_ENCOUNTERS, dataset_id).sort_by("position")
    for row in rows.select(list(_ENCOUNTER_FIELDS)).to_pylist():
        visits.setdefault(row["synthetic_patient_id"], []).append(SyntheticEncounter(**row))
    people = _read(lake, SYNTHETIC_PATIENTS, dataset_id).sort_by("synthetic_patient_id").to_pylist()
    return tuple(
        SyntheticPatient(
            row["synthetic_patient_id"], row["sex"], row["birth_year"], tuple(visits[row["synthetic_patient_id"]])
        )
        for row in people
    )


def read_note_ids(lake: Lake, *, dataset_id: str) -> frozenset[str]:
    """Ids of the notes that are written or dropped already."""
    rows = lake.read(SYNTHETIC_NOTES, ["dataset_id", "synthetic_note_id"])
    own = rows.filter(pc.equal(rows["dataset_id"], dataset_id))
    return frozenset(own["synthetic_note_id"].to_pylist())


def _read(lake: Lake, spec: TableSpec, dataset_id: str) -> pa.Table:
    rows = lake.read(spec)
    return rows.filter(pc.equal(rows["dataset_id"], dataset_id))


def _append(lake: Lake, spec: TableSpec, rows: list[dict[str, Any]], *, app_id: str) -> None:
    lake.append(spec, pa.Table.from_pylist(rows, schema=spec.schema), app_id=app_id, app_version=1)
