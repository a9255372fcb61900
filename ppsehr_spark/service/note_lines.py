"""One line of a note file and of a span file: what is accepted, and the reason code of what is not.

Knows: the JSON shapes of file mode. Must not know: files, engines. A refusal names field and reason, never content.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ppsehr_spark.domain.notes import Note, Span

_SEXES = {"M": "M", "F": "F", "m": "M", "f": "F", "男": "M", "女": "F", "男性": "M", "女性": "F"}
_MAX_AGE_YEARS = 150
_MAX_ID_CHARS = 1_000
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class NoteLine:
    """An accepted line: the note, its id as the file wrote it (string or integer), and whose note it is."""

    note: Note
    note_id: str | int
    patient_key: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a line was refused; ``note_id`` is ``None`` where the line did not give a usable one."""

    reason: str
    field: str = ""
    note_id: str | int | None = None


class LineRefusedError(Exception):
    """Carries a Refusal out of the checks below; never leaves this file."""

    def __init__(self, reason: str, field: str = "") -> None:
        super().__init__(reason)
        self.refusal = Refusal(reason, field)


def read_note_line(raw: bytes, *, max_note_chars: int) -> NoteLine | Refusal:
    """Parse ``{"note_id", "text"}`` with optional ``note_type``, ``sex``, ``age_years``, ``patient_id``.

    Reasons: ``EMPTY_LINE``, ``INVALID_UTF8``, ``NOT_JSON``, ``NOT_OBJECT``, ``MISSING_FIELD``, ``WRONG_TYPE``,
    ``NULL_BYTE``, ``BAD_UNICODE`` (half a surrogate pair), ``TEXT_TOO_LONG``, ``OUT_OF_RANGE``.
    """
    note_id: str | int | None = None
    try:
        fields = _read_object(raw)
        note_id = _read_id(fields, "note_id")
        note = _read_note(fields, note_id, max_note_chars)
        has_patient = fields.get("patient_id") is not None
        return NoteLine(note, note_id, str(_read_id(fields, "patient_id") if has_patient else note_id))
    except LineRefusedError as error:
        return Refusal(error.refusal.reason, error.refusal.field, note_id)


def read_span_line(raw: bytes) -> tuple[str, tuple[Span, ...]] | Refusal:
    """Parse ``{"note_id", "spans": [{"start", "end", "category", ...}]}``; the key is the id as a string.

    A line that carries an ``error`` of its own is refused with ``ERROR_LINE``: its note was never annotated.
    """
    note_id: str | int | None = None
    try:
        fields = _read_object(raw)
        if fields.get("error"):  # such a line may have no id
            raise LineRefusedError("ERROR_LINE", "error")
        note_id = _read_id(fields, "note_id")
        return str(note_id), tuple(_read_span(item, f"spans[{at}]") for at, item in enumerate(_read_spans(fields)))
    except LineRefusedError as error:
        return Refusal(error.refusal.reason, error.refusal.field, note_id)


def span_fields(span: Span, *, is_explained: bool = False) -> dict[str, Any]:
    """The JSON form of a span in file mode; explained, with the rules that found it and decided its tier."""
    reasons = {"rule": span.rule, "tier_rule": span.tier_rule} if is_explained else {}
    return {
        "start": span.start,
        "end": span.end,
        "category": span.category,
        "tier": span.tier,
        "source": span.source,
        "confidence": round(span.confidence, 4),
        **reasons,
    }


def _read_object(raw: bytes) -> Mapping[str, Any]:
    stripped = raw.removeprefix(_BOM).strip()
    if not stripped:
        raise LineRefusedError("EMPTY_LINE")
    try:
        text = stripped.decode("utf-8")
    except UnicodeDecodeError:
        raise LineRefusedError("INVALID_UTF8") from None
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        raise LineRefusedError("NOT_JSON") from None
    if not isinstance(fields, dict):
        raise LineRefusedError("NOT_OBJECT")
    return fields


def _read_id(fields: Mapping[str, Any], name: str) -> str | int:
    value = fields.get(name)
    if value is None or value == "":
        raise LineRefusedError("MISSING_FIELD", name)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise LineRefusedError("WRONG_TYPE", name)
    if isinstance(value, str):
        _check_text(value, name, _MAX_ID_CHARS)
    return value


def _read_note(fields: Mapping[str, Any], note_id: str | int, max_note_chars: int) -> Note:
    text = fields.get("text")
    if text is None:
        raise LineRefusedError("MISSING_FIELD", "text")
    if not isinstance(text, str):
        raise LineRefusedError("WRONG_TYPE", "text")
    _check_text(text, "text", max_note_chars)
    note_type, sex = (_read_optional_text(fields, name) for name in ("note_type", "sex"))
    return Note(str(note_id), text, note_type, _SEXES.get(sex, ""), _read_age(fields))


def _check_text(value: str, name: str, max_chars: int) -> None:
    if len(value) > max_chars:
        raise LineRefusedError("TEXT_TOO_LONG", name)
    if "\x00" in value:
        raise LineRefusedError("NULL_BYTE", name)
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise LineRefusedError("BAD_UNICODE", name) from None


def _read_optional_text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise LineRefusedError("WRONG_TYPE", name)
    _check_text(value, name, _MAX_ID_CHARS)
    return value.strip()


def _read_age(fields: Mapping[str, Any]) -> int | None:
    value = fields.get("age_years")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise LineRefusedError("WRONG_TYPE", "age_years")
    if not 0 <= value <= _MAX_AGE_YEARS:
        raise LineRefusedError("OUT_OF_RANGE", "age_years")
    return value


def _read_spans(fields: Mapping[str, Any]) -> Sequence[Any]:
    spans = fields.get("spans")
    if spans is None:
        raise LineRefusedError("MISSING_FIELD", "spans")
    if not isinstance(spans, list):
        raise LineRefusedError("WRONG_TYPE", "spans")
    return spans


def _read_span(item: Any, where: str) -> Span:
    if not isinstance(item, dict):
        raise LineRefusedError("WRONG_TYPE", where)
    start, end = (_read_offset(item, name, where) for name in ("start", "end"))
    if end <= start:
        raise LineRefusedError("OUT_OF_RANGE", f"{where}.end")
    category = item.get("category")
    if not isinstance(category, str) or not category:
        raise LineRefusedError("MISSING_FIELD" if category is None else "WRONG_TYPE", f"{where}.category")
    source, confidence = item.get("source", "gold"), item.get("confidence", 1.0)
    if not isinstance(source, str) or isinstance(confidence, bool) or not isinstance(confidence, int | float):
        raise LineRefusedError("WRONG_TYPE", where)
    return Span(start, end, category, _read_tier(item, where), source, float(confidence))


def _read_offset(item: Mapping[str, Any], name: str, where: str) -> int:
    value = item.get(name)
    if value is None:
        raise LineRefusedError("MISSING_FIELD", f"{where}.{name}")
    if isinstance(value, bool) or not isinstance(value, int):
        raise LineRefusedError("WRONG_TYPE", f"{where}.{name}")
    if value < 0:
        raise LineRefusedError("OUT_OF_RANGE", f"{where}.{name}")
    return value


def _read_tier(item: Mapping[str, Any], where: str) -> int | None:
    tier = item.get("tier")
    if tier is not None and (isinstance(tier, bool) or not isinstance(tier, int)):
        raise LineRefusedError("WRONG_TYPE", f"{where}.tier")
    if tier not in (None, 1, 2, 3):
        raise LineRefusedError("OUT_OF_RANGE", f"{where}.tier")
    return tier
