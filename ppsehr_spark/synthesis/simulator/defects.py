"""Deliberately broken rows and files, as a hospital would deliver them, with the reject that each must become.

Knows: defects by reason code of ingest. Must not know: where files lie. All text is fictional.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass

from ppsehr_spark.synthesis.simulator.exports import (
    ENCOUNTER_COLUMNS,
    ENCOUNTER_ENCODING,
    PATIENT_COLUMNS,
    compress,
    render_note,
)
from ppsehr_spark.synthesis.simulator.records import SimulatedPatient

#: Longer than any sensible ``ingest.max_note_chars``.
_LONG_NOTE_CHARS = 400_000
_LATE_NOTES = "notes/zz-late.jsonl"


@dataclass(frozen=True, slots=True)
class BadRow:
    """Where a defect lies and what it must be rejected for; ``row`` is 1-based, 0 stands for the file."""

    file: str
    row: int
    field: str
    reason: str


@dataclass(frozen=True, slots=True)
class Defects:
    """Extra files (path below the source root -> content) and the rejects they must lead to."""

    files: dict[str, bytes]
    bad_rows: tuple[BadRow, ...]

    def to_json(self) -> bytes:
        """The manifest ``bad_rows.json``."""
        return (json.dumps([asdict(row) for row in self.bad_rows], ensure_ascii=False, indent=1) + "\n").encode()


def build_defects(patient: SimulatedPatient, *, count: int) -> Defects:
    """The first ``count`` defects: ten kinds of rows and files, then rows again under new ids.

    Args:
        patient: whose note is broken in all these ways.
        count: how many rejects to cause, >= 0.
    """
    files: dict[str, bytes] = {}
    bad_rows: list[BadRow] = []
    late: list[bytes] = []
    for at in range(count):
        note = {**render_note(patient.notes[0]), "note_id": f"X{at:06d}"}
        if at < len(_FILE_DEFECTS):
            path, content, row = _FILE_DEFECTS[at](note)
            files[path] = content
            bad_rows.append(row)
            continue
        line, field, reason = _ROW_DEFECTS[(at - len(_FILE_DEFECTS)) % len(_ROW_DEFECTS)](note, patient)
        late.append(line)
        bad_rows.append(BadRow(_LATE_NOTES, len(late), field, reason))
    if late:
        files[_LATE_NOTES] = b"".join(line + b"\n" for line in late)
    return Defects(files, tuple(bad_rows))


Raw = dict[str, object]
FileDefect = tuple[str, bytes, BadRow]


def _dump(note: Raw) -> bytes:
    return json.dumps(note, ensure_ascii=False).encode()


def _break_encoding(note: Raw) -> FileDefect:
    path = "notes/zz-oldsystem.jsonl"
    content = json.dumps(note, ensure_ascii=False).encode("gb18030") + b"\n"
    return path, content, BadRow(path, 1, "", "INVALID_ENCODING")


def _tear_gzip(note: Raw) -> FileDefect:
    path = "notes/zz-torn.jsonl.gz"
    whole = compress(_dump(note) + b"\n")
    return path, whole[: len(whole) // 2], BadRow(path, 1, "", "TORN_GZIP")


def _empty_file(note: Raw) -> FileDefect:
    path = "notes/zz-empty.jsonl"
    return path, b"", BadRow(path, 0, "", "EMPTY_FILE")


def _drop_cell(note: Raw) -> FileDefect:
    path = "encounters/zz-late.csv"
    rows = [",".join(ENCOUNTER_COLUMNS), f"X-{note['encounter_id']},{note['patient_id']},门诊"]
    return path, "".join(row + "\r\n" for row in rows).encode(ENCOUNTER_ENCODING), BadRow(path, 2, "", "COLUMN_COUNT")


def _break_date(note: Raw) -> FileDefect:
    path = "patients/zz-late.csv"
    rows = [",".join(PATIENT_COLUMNS), f"X-{note['patient_id']},F,1980-02-31" + "," * (len(PATIENT_COLUMNS) - 3)]
    return path, "".join(row + "\r\n" for row in rows).encode(), BadRow(path, 2, "birth_date", "BAD_DATE")


_FILE_DEFECTS: tuple[Callable[[Raw], FileDefect], ...] = (
    _break_encoding, _tear_gzip, _empty_file, _drop_cell, _break_date,
)  # fmt: skip

RowDefect = tuple[bytes, str, str]


def _drop_text(note: Raw, patient: SimulatedPatient) -> RowDefect:
    return _dump({key: value for key, value in note.items() if key != "text"}), "text", "MISSING_FIELD"


def _insert_null(note: Raw, patient: SimulatedPatient) -> RowDefect:
    return _dump({**note, "text": f"{note['text']}\x00"}), "text", "NULL_BYTE"


def _break_json(note: Raw, patient: SimulatedPatient) -> RowDefect:
    return json.dumps(note, ensure_ascii=False)[:-9].encode(), "", "NOT_JSON"


def _lengthen(note: Raw, patient: SimulatedPatient) -> RowDefect:
    text = str(note["text"])
    long = (text * (_LONG_NOTE_CHARS // len(text) + 1))[:_LONG_NOTE_CHARS]
    return _dump({**note, "text": long}), "text", "NOTE_TOO_LONG"


def _change_type(note: Raw, patient: SimulatedPatient) -> RowDefect:
    return _dump({**note, "text": 20230101}), "text", "WRONG_TYPE"


def _break_time(note: Raw, patient: SimulatedPatient) -> RowDefect:
    return _dump({**note, "noted_at": "2023-13-45 25:61"}), "noted_at", "BAD_TIMESTAMP"


def _repeat_id(note: Raw, patient: SimulatedPatient) -> RowDefect:
    return _dump({**note, "note_id": patient.notes[0].note_id}), "", "DUPLICATE_KEY"


_ROW_DEFECTS: tuple[Callable[[Raw, SimulatedPatient], RowDefect], ...] = (
    _drop_text, _insert_null, _break_json, _lengthen, _change_type, _break_time, _repeat_id,
)  # fmt: skip
