"""The newest synthetic data set as it stands in ``protected.synthetic_*``: rows that may leave, patients to compare.

Knows: those three tables. Must not know: how records or notes came to be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ppsehr_spark.lake.schemas import SYNTHETIC_ENCOUNTERS, SYNTHETIC_NOTES, SYNTHETIC_PATIENTS, TableSpec
from ppsehr_spark.lake.synthetic_store import find_newest_dataset, read_patients
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.synthesis.records import SyntheticPatient

Row = Mapping[str, Any]


@dataclass(frozen=True)
class SyntheticDataset:
    """One data set: rows as they stand in the lake, sorted by their ids, and the patients they describe.

    Attributes:
        model_id: record model that the patients were drawn from.
        patients: those with a visit, visits in order.
    """

    dataset_id: str
    model_id: str
    patient_rows: tuple[Row, ...]
    encounter_rows: tuple[Row, ...]
    note_rows: tuple[Row, ...]
    patients: tuple[SyntheticPatient, ...]


def read_newest_dataset(lake: Lake) -> SyntheticDataset | None:
    """The data set whose patients were drawn last, ``None`` when there is none."""
    dataset_id = find_newest_dataset(lake)
    if dataset_id is None:
        return None
    people = _read(lake, SYNTHETIC_PATIENTS, dataset_id, key="synthetic_patient_id")
    return SyntheticDataset(
        dataset_id=dataset_id,
        model_id=people[0]["model_id"] or "",
        patient_rows=people,
        encounter_rows=_read(lake, SYNTHETIC_ENCOUNTERS, dataset_id, key="synthetic_encounter_id"),
        note_rows=_read(lake, SYNTHETIC_NOTES, dataset_id, key="synthetic_note_id"),
        patients=read_patients(lake, dataset_id=dataset_id),
    )


def _read(lake: Lake, spec: TableSpec, dataset_id: str, *, key: str) -> tuple[Row, ...]:
    rows = (row for row in lake.read(spec).to_pylist() if row["dataset_id"] == dataset_id)
    return tuple(sorted(rows, key=lambda row: str(row[key])))
