"""Patients with their notes for training: pinned tables in, bounded token rows out, one shard per rank.

Knows: which tables, which patients are held out, which notes of a patient stay, where a note is cut. Must not know:
gradients, Ray. Text lives in this process alone; nothing here puts it into a name, a log or an exception. Patient and
note keys are keyed HMACs, so a hash of them is a keyed-hash order: fixed under retry, unknown without the lake's key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ppsehr_spark.domain.codelists import CodeLists
from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.table_spec import TableSpec
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.privacy.training_plan import TrainingPlan
from ppsehr_spark.synthesis.note_header import render_header
from ray_actors.trained_model import Codec

#: What a training reads, each at the version that the question to the ledger names.
TABLES: tuple[TableSpec, ...] = (schemas.PROTECTED_NOTES, schemas.NOTES, schemas.ENCOUNTERS)
_NOTE_COLUMNS = ("note_key", "patient_key", "encounter_key", "note_type", "department", "text")
_HASH_RANGE = 2.0**64


@dataclass(frozen=True)
class Row:
    """One note as tokens: header, note, end mark; the loss counts from ``n_header`` on."""

    tokens: tuple[int, ...] = field(repr=False)
    n_header: int


@dataclass(frozen=True)
class Patient:
    """One sample: everything that one patient contributes."""

    patient_key: str
    rows: tuple[Row, ...]


def is_held_out(patient_key: str, *, share: float) -> bool:
    """True for the patients that never enter training; about ``share`` of them, always the same."""
    return _hash("holdout", patient_key) < share * _HASH_RANGE


def is_in_shard(patient_key: str, *, rank: int, world_size: int) -> bool:
    """True for the patients of this rank; every patient has exactly one."""
    return _hash("shard", patient_key) % world_size == rank


def pin_versions(lake: Lake) -> dict[str, int | None]:
    """Newest version of every table that a training reads."""
    return {spec.full_name: lake.version(spec) for spec in TABLES}


def read_patients(
    lake: Lake,
    *,
    plan: TrainingPlan,
    versions: Mapping[str, int | None],
    codelists: CodeLists,
    codec: Codec,
    is_wanted: Callable[[str], bool],
) -> list[Patient]:
    """Wanted patients with their bounded notes, in order of key.

    Args:
        versions: as ``pin_versions``.
        is_wanted: decides by patient key, before any text is kept.
    """
    chosen = _choose_notes(_read_notes(lake, versions, is_wanted), n=plan.max_notes_per_patient)
    people = _read_people(lake, versions, {note["note_key"] for notes in chosen.values() for note in notes})
    visits = _read_diagnoses(lake, versions, {note["encounter_key"] for notes in chosen.values() for note in notes})
    names = {diagnosis.code: diagnosis.name for diagnosis in codelists.diagnoses}
    patients = []
    for patient_key in sorted(chosen):
        rows = []
        for note in chosen[patient_key]:
            sex, age_years = people.get(note["note_key"], ("", None))
            header = render_header(
                note_type=note["note_type"],
                department=note["department"],
                sex=sex,
                age_years=age_years,
                diagnosis_name=names.get(visits.get(note["encounter_key"], ""), ""),
            )
            rows.append(make_row(codec, header=header, text=note["text"], max_note_tokens=plan.max_note_tokens))
        patients.append(Patient(patient_key, tuple(rows)))
    return patients


def make_row(codec: Codec, *, header: str, text: str, max_note_tokens: int) -> Row:
    """Tokens of a note after its header, cut so that note and end mark together keep the bound."""
    head = codec.encode_header(header)
    # a token stands for one character or more, so a cut text has all the tokens that can stay, and a long note is not
    # tokenized to its end; 16 characters a token is more than any real tokenizer packs
    body = codec.encode(text[: 16 * max_note_tokens])[: max_note_tokens - 1]
    return Row((*head, *body, codec.end_id), len(head))


def order_by_hash(keys: Iterable[str], *, purpose: str) -> list[str]:
    """Keys in an order that their holders cannot choose and a retry does not change."""
    return sorted(keys, key=lambda key: (_hash(purpose, key), key))


def _hash(purpose: str, key: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{purpose}\x1f{key}".encode()).digest()[:8], "big")


def _read_notes(
    lake: Lake, versions: Mapping[str, int | None], is_wanted: Callable[[str], bool]
) -> Iterable[dict[str, Any]]:
    spec = schemas.PROTECTED_NOTES
    for batch in lake.stream(spec, _NOTE_COLUMNS, version=versions[spec.full_name]):
        wanted = [is_wanted(key) for key in batch.column("patient_key").to_pylist()]
        yield from batch.filter(pa.array(wanted, pa.bool_())).to_pylist()


def _choose_notes(notes: Iterable[dict[str, Any]], *, n: int) -> dict[str, list[dict[str, Any]]]:
    """At most ``n`` notes per patient, the first by hash of the note key; no patient ever holds more in memory."""
    chosen: dict[str, list[dict[str, Any]]] = {}
    for note in notes:
        if note["text"]:
            kept = chosen.setdefault(note["patient_key"], [])
            kept.append(note)
            kept.sort(key=lambda row: (_hash("note", row["note_key"]), row["note_key"]))
            del kept[n:]
    return chosen


def _read_people(lake: Lake, versions: Mapping[str, int | None], keys: set[str]) -> dict[str, tuple[str, int | None]]:
    rows = _read_by_key(lake, versions, schemas.NOTES, ("note_key", "sex", "age_years"), keys)
    return {row["note_key"]: (row["sex"] or "", row["age_years"]) for row in rows}


def _read_diagnoses(lake: Lake, versions: Mapping[str, int | None], keys: set[str]) -> dict[str, str]:
    rows = _read_by_key(lake, versions, schemas.ENCOUNTERS, ("encounter_key", "diagnosis_codes"), keys)
    return {row["encounter_key"]: (row["diagnosis_codes"] or [""])[0] for row in rows}


def _read_by_key(
    lake: Lake, versions: Mapping[str, int | None], spec: TableSpec, columns: tuple[str, ...], keys: set[str]
) -> Iterable[dict[str, Any]]:
    """Rows whose first column is among the keys; the keys are compared here, never put into a query."""
    wanted = pa.array(sorted(key for key in keys if key), pa.string())
    for batch in lake.stream(spec, columns, version=versions[spec.full_name]):
        yield from batch.filter(pc.is_in(batch.column(columns[0]), wanted)).to_pylist()
