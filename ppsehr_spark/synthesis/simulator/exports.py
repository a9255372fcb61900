"""How a fictional hospital exports its tables: CSV and JSON lines, byte for byte the same on every run.

Knows: formats and encodings of the four file groups (``conf/sources/simulated.toml``). Must not know: Spark, paths.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterable

from ppsehr_spark.synthesis.simulator.records import Encounter, Patient, SimulatedNote

PATIENT_COLUMNS = (
    "patient_id", "sex", "birth_date", "death_date", "marital_status", "name", "id_number", "phone", "address",
    "region", "city",
)  # fmt: skip
ENCOUNTER_COLUMNS = (
    "encounter_id", "patient_id", "encounter_type", "department", "admitted_at", "discharged_at", "diagnosis_codes",
    "is_deceased", "ward",
)  # fmt: skip
#: Excel writes the mark at the head of a UTF-8 CSV; registration desks export through Excel.
PATIENT_ENCODING = "utf-8-sig"
ENCOUNTER_ENCODING = "gb18030"


def render_patients(patients: Iterable[Patient], *, with_header: bool) -> bytes:
    """CSV rows, UTF-8; the byte order mark comes with the header."""
    rows = (
        (p.patient_id, p.sex, p.birth_date.isoformat(), p.death_date.isoformat() if p.death_date else "",
         p.marital_status, p.name, p.id_number, p.phone, p.address, p.region, p.city)
        for p in patients
    )  # fmt: skip
    text = _render_csv(PATIENT_COLUMNS, rows, with_header=with_header)
    return text.encode(PATIENT_ENCODING if with_header else "utf-8")


def render_encounters(encounters: Iterable[Encounter], *, with_header: bool) -> bytes:
    """CSV rows, GB18030, local times without a zone."""
    rows = (
        (e.encounter_id, e.patient_id, e.encounter_type, e.department, f"{e.admitted_at:%Y-%m-%d %H:%M:%S}",
         f"{e.discharged_at:%Y-%m-%d %H:%M:%S}", "|".join(e.diagnosis_codes), str(int(e.is_deceased)), e.ward)
        for e in encounters
    )  # fmt: skip
    return _render_csv(ENCOUNTER_COLUMNS, rows, with_header=with_header).encode(ENCOUNTER_ENCODING)


def _render_csv(columns: Iterable[str], rows: Iterable[Iterable[str]], *, with_header: bool) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    if with_header:
        writer.writerow(columns)
    writer.writerows(rows)
    return buffer.getvalue()


def render_note(note: SimulatedNote) -> dict[str, object]:
    """One note as it stands on a JSON line."""
    return {
        "note_id": note.note_id,
        "patient_id": note.patient_id,
        "encounter_id": note.encounter_id,
        "note_type": note.note_type,
        "department": note.department,
        "noted_at": note.noted_at.isoformat(),
        "text": note.text,
    }


def render_gold(note: SimulatedNote) -> dict[str, object]:
    """The gold spans of one note as they stand on a JSON line."""
    spans = [{"start": s.start, "end": s.end, "category": s.category, "tier": s.tier} for s in note.spans]
    return {"note_id": note.note_id, "spans": spans}


def render_lines(values: Iterable[dict[str, object]]) -> bytes:
    """JSON lines, UTF-8."""
    return "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values).encode()


def compress(content: bytes) -> bytes:
    """A gzip member without a time stamp; members may follow one another in a file (RFC 1952)."""
    return gzip.compress(content, compresslevel=5, mtime=0)
