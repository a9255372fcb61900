"""The line that conditions a note on its record: the same one when a model is trained and when it is sampled.

Knows: which fields stand in it and in which order. Must not know: who trains or samples, tokens. A model that was tuned
under differential privacy learns what follows such a line; a synthetic record is put to it in exactly this form.
"""

from __future__ import annotations

_SEXES = {"M": "男", "F": "女"}
_MAX_FIELD_CHARS = 16
_SEPARATOR = "|"
_UNKNOWN = "不详"


def render_header(*, note_type: str, department: str, sex: str, age_years: int | None, diagnosis_name: str) -> str:
    """Fields joined by a bar, each cut to 16 characters; what is missing says so.

    Args:
        sex: ``M``, ``F`` or empty.
        age_years: completed years; ``None`` when unknown.
        diagnosis_name: in Chinese, from the public list.
    """
    age = "" if age_years is None else f"{age_years}岁"
    fields = (note_type, department, _SEXES.get(sex, ""), age, diagnosis_name)
    return _SEPARATOR.join(_clean(field) for field in fields)


def _clean(field: str | None) -> str:
    return (field or "").replace(_SEPARATOR, " ").replace("\n", " ").strip()[:_MAX_FIELD_CHARS] or _UNKNOWN
