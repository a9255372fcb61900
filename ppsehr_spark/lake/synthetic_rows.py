"""The newest synthetic data set out of ``protected.synthetic_*``, as rows and as patients.

Knows: those three tables. Must not know: how records or notes came to be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ppsehr_spark.lake.schemas import SYNTHETIC_ENCOUNTERS, SYNTHETIC_NOTES, SYNTHETIC_PATIENTS
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.synthesis.records import SyntheticEncounter, SyntheticPatient

Row = Mapping[str, Any]
_ENCOUNTER_FIELDS = tuple(SyntheticEncounter.__dataclass_fields__)


@dataclass(frozen=True)
class SyntheticDataset:
    """One data set: rows as they stand in the lake, sorted by their ids, and the patients they describe."""

    dataset_id: str
    model_id: str
    patient_rows: tuple[Row, ...]
    encounter_rows: tuple[Row, ...]
    note_rows: tuple[Row, ...]

    @property
    def patients(self) -> tuple[SyntheticPatient, ...]:
        """Patients with their visits in order; one without a visit is left out."""
        visits: dict[str, list[SyntheticEncounter]] = {}
        for row in sorted(self.encounter_rows, key=lambda row: int(row["position"])):
            visit = SyntheticEncounter(**{name: row[name] for name in _ENCOUNTER_FIELDS})
            visits.setdefault(visit.synthetic_patient_id, []).append(visit)
        return tuple(
            SyntheticPatient(row["synthetic_patient_id"], row["sex"], row["birth_year"], tuple(own))
            for row in self.patient_rows
            if (own := visits.get(row["synthetic_patient_id"]))
        )


def read_newest_dataset(lake: Lake) -> SyntheticDataset | None:
    """The data set of the newest run, ``None`` when there is none."""
    patients = lake.read(SYNTHETIC_PATIENTS).to_pylist()
    if not patients:
        return None
    newest = max(patients, key=lambda row: (row["run_id"], row["dataset_id"]))
    dataset_id = newest["dataset_id"]
    encounters, notes = (lake.read(spec).to_pylist() for spec in (SYNTHETIC_ENCOUNTERS, SYNTHETIC_NOTES))
    return SyntheticDataset(
        dataset_id=dataset_id,
        model_id=newest["model_id"] or "",
        patient_rows=_own(patients, dataset_id, "synthetic_patient_id"),
        encounter_rows=_own(encounters, dataset_id, "synthetic_encounter_id"),
        note_rows=_own(notes, dataset_id, "synthetic_note_id"),
    )


def _own(rows: Sequence[Row], dataset_id: str, key: str) -> tuple[Row, ...]:
    return tuple(sorted((row for row in rows if row["dataset_id"] == dataset_id), key=lambda row: str(row[key])))
