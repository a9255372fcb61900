"""A small lake as the first half of the pipeline leaves it, made without Spark: simulated patients, gold spans, real
protection. Tables that the JVM writes in production are written by deltalake here; readers see no difference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
from deltalake import write_deltalake

from ppsehr_spark.config import Settings
from ppsehr_spark.domain.identity import keyed_hash, load_key
from ppsehr_spark.domain.notes import Note
from ppsehr_spark.domain.protection import Protector, compile_protector
from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.schemas import TableSpec
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.synthesis.simulator import SimulatedNote, SimulatedPatient, simulate_patient, simulate_record

_SOURCE = "simulated"
_RUN = {"run_id": "r0"}
_SPAN_FIELDS = ("start", "end", "category", "tier", "source", "confidence", "rule", "tier_rule")
Row = Mapping[str, Any]


def write_fictional_lake(lake: Lake, settings: Settings) -> None:
    """Patients, encounters, notes, annotations and protected notes of the settings' simulation."""
    chosen, key = settings.simulate, load_key(settings.identity.key_file)
    protector = compile_protector(settings.files, settings.protect.policy, key)
    tables: dict[str, list[Row]] = {}
    people = [simulate_patient(index, chosen) for index in range(chosen.n_patients)]
    after = range(chosen.n_patients, chosen.n_patients + chosen.n_record_patients)
    people += [simulate_record(index, chosen) for index in after]
    for person in people:
        for name, rows in _list_rows(person, key, protector, settings.protect.policy).items():
            tables.setdefault(name, []).extend(rows)
    for name, rows in tables.items():
        _write(lake, schemas.TABLES[name], rows)


def _list_rows(person: SimulatedPatient, key: bytes, protector: Protector, policy: str) -> dict[str, list[Row]]:
    patient_key = keyed_hash(key, "patient", person.patient.patient_id)
    notes = [_note(note, person, key, patient_key) for note in person.notes]
    pairs = list(zip(person.notes, notes, strict=True))
    return {
        schemas.PATIENTS.full_name: [_patient(person, patient_key)],
        schemas.ENCOUNTERS.full_name: [_encounter(e, key, patient_key) for e in person.encounters],
        schemas.NOTES.full_name: notes,
        schemas.ANNOTATIONS.full_name: [_annotation(note, row) for note, row in pairs],
        schemas.PROTECTED_NOTES.full_name: [_protected(note, row, protector, policy) for note, row in pairs],
    }


def _patient(person: SimulatedPatient, patient_key: str) -> Row:
    taken = ("sex", "birth_date", "death_date", "marital_status", "region", "city")
    known = {name: getattr(person.patient, name) for name in taken}
    return {**known, "patient_key": patient_key, "source_patient_id": person.patient.patient_id, "source": _SOURCE}


def _encounter(encounter: Any, key: bytes, patient_key: str) -> Row:
    taken = ("encounter_type", "department", "admitted_at", "discharged_at", "is_deceased", "ward")
    known = {name: getattr(encounter, name) for name in taken}
    ids = {"encounter_key": keyed_hash(key, "encounter", encounter.encounter_id), "patient_key": patient_key}
    codes = list(encounter.diagnosis_codes)
    return {**known, **ids, "source_encounter_id": encounter.encounter_id, "diagnosis_codes": codes, "source": _SOURCE}


def _note(note: SimulatedNote, person: SimulatedPatient, key: bytes, patient_key: str) -> Row:
    ids = {"note_key": keyed_hash(key, "note", note.note_id), "patient_key": patient_key}
    ids["encounter_key"] = keyed_hash(key, "encounter", note.encounter_id)
    age = _years(person.patient.birth_date, note.noted_at)
    taken = {name: getattr(note, name) for name in ("note_type", "department", "noted_at", "text")}
    context = {"sex": person.patient.sex, "age_years": age, "n_chars": len(note.text)}
    text_hash = keyed_hash(key, "text", note.text)
    return {**ids, **taken, **context, "source_note_id": note.note_id, "text_hash": text_hash, "source": _SOURCE}


def _annotation(note: SimulatedNote, row: Row) -> Row:
    spans = [{name: getattr(span, name) for name in _SPAN_FIELDS} for span in note.spans]
    ids = {"note_key": row["note_key"], "text_hash": row["text_hash"]}
    return {**ids, "spans": spans, "n_open_segments": 0, "knowledge_version": "gold", "input_hash": "i", **_RUN}


def _protected(note: SimulatedNote, row: Row, protector: Protector, policy: str) -> Row:
    context = Note(row["note_key"], row["text"], row["note_type"], row["sex"], row["age_years"])
    done = protector.protect(context, note.spans, row["patient_key"])
    carried = {name: row[name] for name in ("note_key", "patient_key", "encounter_key", "note_type", "department")}
    month = note.noted_at.astimezone(UTC).strftime("%Y-%m")
    counts = {"n_spans": done.n_spans, "n_open_segments": 0, "policy": policy, "input_hash": "i"}
    return {**carried, **counts, "noted_month": month, "text": done.text, **_RUN}


def _years(birth: date, at: datetime) -> int:
    return at.year - birth.year - ((at.month, at.day) < (birth.month, birth.day))


def _write(lake: Lake, spec: TableSpec, rows: Sequence[Row]) -> None:
    table = pa.Table.from_pylist([dict(row) for row in rows], schema=spec.schema)
    write_deltalake(lake.table_uri(spec), table, description=spec.description)
