"""What the record model hands out: fictional patients with their visits.

Knows: the fields. Must not know: how they are drawn, tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True)
class SyntheticEncounter:
    """One fictional visit.

    Attributes:
        position: 1 for the patient's first visit.
        encounter_type: 住院, 门诊 or 急诊.
        department, diagnosis_code, diagnosis_name: from the public code lists.
        age_years: completed years on the day of admission.
        discharged_on: not before ``admitted_on``.
        is_deceased: died during the visit; then it is the patient's last.
    """

    synthetic_encounter_id: str
    synthetic_patient_id: str
    position: int
    encounter_type: str
    department: str
    diagnosis_code: str
    diagnosis_name: str
    age_years: int
    admitted_on: date
    discharged_on: date
    is_deceased: bool


@dataclass(frozen=True, slots=True)
class SyntheticPatient:
    """A fictional person; ``sex`` is ``M`` or ``F``, ``encounters`` (at least one) stand in order of time."""

    synthetic_patient_id: str
    sex: str
    birth_year: int
    encounters: tuple[SyntheticEncounter, ...]
