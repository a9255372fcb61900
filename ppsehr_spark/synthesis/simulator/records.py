"""What the simulator hands out: patients, encounters and notes with gold spans.

Knows: the fields of a fictional source system. Must not know: how they are drawn or written to files.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from ppsehr_spark.domain.notes import Span


@dataclass(frozen=True, slots=True)
class Patient:
    """A fictional person; ``sex`` is ``M`` or ``F``, ``marital_status`` as a hospital records it (Chinese).

    ``region`` and ``city`` (province and prefecture of the home) are empty where the desk wrote none.
    """

    patient_id: str
    sex: str
    birth_date: date
    death_date: date | None
    marital_status: str
    name: str
    id_number: str
    phone: str
    address: str
    region: str = ""
    city: str = ""


@dataclass(frozen=True, slots=True)
class Encounter:
    """One visit or stay; times carry +08:00; ``diagnosis_codes`` are ICD-10 (Chinese clinical edition), main first.

    ``ward`` is empty outside stays, and where the desk wrote none.
    """

    encounter_id: str
    patient_id: str
    encounter_type: str
    department: str
    admitted_at: datetime
    discharged_at: datetime
    diagnosis_codes: tuple[str, ...]
    is_deceased: bool
    ward: str = ""


@dataclass(frozen=True, slots=True)
class SimulatedNote:
    """One note; ``spans`` are gold (source ``gold``), sorted and free of overlaps."""

    note_id: str
    patient_id: str
    encounter_id: str
    note_type: str
    department: str
    noted_at: datetime
    text: str
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class SimulatedPatient:
    """All that one patient leaves in the source systems, in order of time."""

    patient: Patient
    encounters: tuple[Encounter, ...]
    notes: tuple[SimulatedNote, ...]
