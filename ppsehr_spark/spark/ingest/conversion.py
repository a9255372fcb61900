"""A raw record becomes a typed row with minted keys, or a Reject that names the field.

Knows: types, limits and key minting per target table. Must not know: files, Spark.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

from ppsehr_spark.domain.identity import keyed_hash
from ppsehr_spark.domain.residence import read_residence
from ppsehr_spark.spark.ingest.mapping import DELETE, OPERATION, ROW_NUMBER, FileGroup
from ppsehr_spark.spark.ingest.records import Record, Reject, has_lone_surrogate

#: Hospital clocks without a zone show China Standard Time (GB/T 7408).
_CHINA = timezone(timedelta(hours=8))
_DATE_TIME_FORMATS = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%Y%m%d%H%M%S")
_DATE_FORMATS = ("%Y-%m-%d", "%Y/%m/%d", "%Y%m%d", "%Y.%m.%d", "%Y年%m月%d日")
_SEXES = {"男": "M", "女": "F", "m": "M", "f": "F", "male": "M", "female": "F", "1": "M", "2": "F"}
_TRUE_WORDS = frozenset({"1", "true", "t", "y", "yes", "是"})
_MAX_ID_CHARS = 256


class FieldError(ValueError):
    """A value that does not fit its field; carries field and reason, never the value."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


@dataclass(frozen=True)
class Converter:
    """Turns records of one file group into rows of its target table.

    Attributes:
        group: mapping of the file group.
        source: source mapping name, part of every key.
        key: identity key.
        max_note_chars: longer notes are rejected with ``NOTE_TOO_LONG``.
        file: path of the file below the source root, part of ``@row`` ids.
    """

    group: FileGroup
    source: str
    key: bytes
    max_note_chars: int
    file: str

    def convert(self, record: Record) -> dict[str, Any] | Reject:
        """One typed row, or the reject that says which field is wrong."""
        try:
            if self.group.is_journal and self._is_deletion(record):
                return {_KEYS[self.group.table][0]: self._key(record), "_is_deleted": True}
            fields = (f for f in (*self.group.fields, *self.group.constants) if f != OPERATION)
            values = {field: self._value(field, record) for field in fields}
            return _BUILDERS[self.group.table](self, values)
        except FieldError as error:
            return Reject(record.row, error.field, error.reason)

    def find_key(self, record: Record) -> str | None:
        """The key of a record that was rejected for another field, ``None`` when its id cannot be read."""
        try:
            return self._key(record)
        except FieldError:
            return None

    def _key(self, record: Record) -> str:
        _, kind, field = _KEYS[self.group.table]
        return self.mint(kind, _identifier({field: self._value(field, record)}, field))

    def _is_deletion(self, record: Record) -> bool:
        value = self._value(OPERATION, record)
        wanted = self.group.operations.get(str(value).strip()) if value is not None else None
        if wanted is None:
            raise FieldError(OPERATION, "UNKNOWN_OPERATION")
        return wanted == DELETE

    def mint(self, kind: str, source_id: str) -> str:
        """Opaque key of a source id."""
        return keyed_hash(self.key, kind, self.source, source_id)

    def _value(self, field: str, record: Record) -> Any:
        if field in self.group.constants:
            return self.group.constants[field]
        column = self.group.fields[field]
        if column == ROW_NUMBER:
            return f"{self.file}#{record.row}"
        if column not in record.values:
            raise FieldError(field, "MISSING_FIELD")
        value = record.values[column]
        if isinstance(value, str):
            if "\x00" in value:
                raise FieldError(field, "NULL_BYTE")
            if has_lone_surrogate(value):
                raise FieldError(field, "INVALID_ENCODING")
        return value


def _text(values: Mapping[str, Any], field: str, *, is_required: bool = False) -> str:
    value = values.get(field)
    if value is None or value == "":
        if is_required:
            raise FieldError(field, "MISSING_VALUE")
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise FieldError(field, "WRONG_TYPE")
    return str(value)


def _identifier(values: Mapping[str, Any], field: str) -> str:
    text = _text(values, field, is_required=True).strip()
    if not text:
        raise FieldError(field, "MISSING_VALUE")
    if len(text) > _MAX_ID_CHARS:
        raise FieldError(field, "ID_TOO_LONG")
    return text


def _sex(values: Mapping[str, Any]) -> str:
    return _SEXES.get(_text(values, "sex").strip().lower(), "")


def _moment(values: Mapping[str, Any], field: str) -> datetime | None:
    text = _text(values, field).strip()
    if not text:
        return None
    moment = _parse_first(text, _DATE_TIME_FORMATS + _DATE_FORMATS)
    if moment is None:
        raise FieldError(field, "BAD_TIMESTAMP")
    return (moment if moment.tzinfo else moment.replace(tzinfo=_CHINA)).astimezone(UTC)


def _day(values: Mapping[str, Any], field: str) -> date | None:
    text = _text(values, field).strip()
    if not text:
        return None
    moment = _parse_first(text, _DATE_FORMATS + _DATE_TIME_FORMATS)
    if moment is None:
        raise FieldError(field, "BAD_DATE")
    return moment.date()


def _parse_first(text: str, formats: tuple[str, ...]) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    for pattern in formats:
        try:
            return datetime.strptime(text, pattern)
        except ValueError:
            continue
    return None


def _flag(values: Mapping[str, Any], field: str) -> bool:
    value = values.get(field)
    return value if isinstance(value, bool) else _text(values, field).strip().lower() in _TRUE_WORDS


def _whole_number(values: Mapping[str, Any], field: str) -> int | None:
    text = _text(values, field).strip()
    if not text:
        return None
    if not text.isdecimal() or len(text) > 3:
        raise FieldError(field, "BAD_NUMBER")
    return int(text)


def _patient(convert: Converter, values: Mapping[str, Any]) -> dict[str, Any]:
    source_id = _identifier(values, "patient_id")
    home = read_residence(_text(values, "region"), _text(values, "city"))
    return {
        "patient_key": convert.mint("patient", source_id),
        "source_patient_id": source_id,
        "sex": _sex(values),
        "birth_date": _day(values, "birth_date"),
        "death_date": _day(values, "death_date"),
        "marital_status": _text(values, "marital_status"),
        "source": convert.source,
        "region": home.region,
        "city": home.city,
    }


def _encounter(convert: Converter, values: Mapping[str, Any]) -> dict[str, Any]:
    source_id = _identifier(values, "encounter_id")
    codes = _text(values, "diagnosis_codes")
    return {
        "encounter_key": convert.mint("encounter", source_id),
        "patient_key": convert.mint("patient", _identifier(values, "patient_id")),
        "source_encounter_id": source_id,
        "encounter_type": _text(values, "encounter_type"),
        "department": _text(values, "department"),
        "admitted_at": _moment(values, "admitted_at"),
        "discharged_at": _moment(values, "discharged_at"),
        "diagnosis_codes": [code for code in codes.replace(";", "|").split("|") if code],
        "is_deceased": _flag(values, "is_deceased"),
        "source": convert.source,
        "ward": _text(values, "ward").strip() or None,
    }


def _note(convert: Converter, values: Mapping[str, Any]) -> dict[str, Any]:
    source_id = _identifier(values, "note_id")
    text = values.get("text")
    if not isinstance(text, str):
        raise FieldError("text", "MISSING_VALUE" if text is None else "WRONG_TYPE")
    if not text.strip():
        raise FieldError("text", "EMPTY_TEXT")
    if len(text) > convert.max_note_chars:
        raise FieldError("text", "NOTE_TOO_LONG")
    # a note without a patient is its own privacy unit: it must never be pooled with another person's notes
    patient = _text(values, "patient_id") or f"note:{source_id}"
    encounter = _text(values, "encounter_id")
    return {
        "note_key": convert.mint("note", source_id),
        "patient_key": convert.mint("patient", patient),
        "encounter_key": convert.mint("encounter", encounter) if encounter else None,
        "source_note_id": source_id,
        "note_type": _text(values, "note_type"),
        "department": _text(values, "department"),
        "noted_at": _moment(values, "noted_at"),
        "sex": _sex(values),
        "age_years": _whole_number(values, "age_years"),
        "text": text,
        "text_hash": keyed_hash(convert.key, "text", text),
        "n_chars": len(text),
        "source": convert.source,
    }


def _gold(convert: Converter, values: Mapping[str, Any]) -> dict[str, Any]:
    spans = values.get("spans")
    if not isinstance(spans, list) or not all(_is_gold_span(span) for span in spans):
        raise FieldError("spans", "WRONG_TYPE")
    kept = [{name: span.get(name) for name in ("start", "end", "category", "tier")} for span in spans]
    key = convert.mint("note", _identifier(values, "note_id"))
    return {"note_key": key, "spans": kept, "source": convert.source}


def _merge(convert: Converter, values: Mapping[str, Any]) -> dict[str, Any]:
    merged, surviving = _identifier(values, "patient_id"), _identifier(values, "surviving_id")
    if merged == surviving:
        raise FieldError("surviving_id", "MERGE_INTO_ITSELF")
    keys = {"patient_key": convert.mint("patient", merged), "surviving_key": convert.mint("patient", surviving)}
    return {**keys, "source": convert.source}


def _is_gold_span(span: object) -> bool:
    if not isinstance(span, dict):
        return False
    start, end = span.get("start"), span.get("end")
    has_range = isinstance(start, int) and isinstance(end, int) and 0 <= start < end
    return has_range and isinstance(span.get("category"), str) and span.get("tier") in (None, 1, 2, 3)


_BUILDERS: dict[str, Callable[[Converter, Mapping[str, Any]], dict[str, Any]]] = {
    "patients": _patient,
    "encounters": _encounter,
    "notes": _note,
    "gold": _gold,
    "merges": _merge,
}
#: Target table -> its key column, the kind of key, the field with the source id.
_KEYS = {
    "patients": ("patient_key", "patient", "patient_id"),
    "encounters": ("encounter_key", "encounter", "encounter_id"),
    "notes": ("note_key", "note", "note_id"),
    "gold": ("note_key", "note", "note_id"),
    "merges": ("patient_key", "patient", "patient_id"),
}
