"""Forms of a note: the skeleton that is rendered from the record, and the sections that a model writes.

Knows: ``[form]`` of ``conf/narratives/forms.toml``. Must not know: prompts, replies. What must agree with the record
(sex, age, dates, department, diagnosis) is put in here and never left to a model.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any

from ppsehr_spark.errors import ConfigurationError
from ppsehr_spark.synthesis.records.shapes import SyntheticEncounter, SyntheticPatient

FORMS_FILE = "narratives/forms.toml"
SEX_NAMES = {"M": "男", "F": "女"}
_SLOT = re.compile(r"\{\{(?:正文:)?(\w+)\}\}")
_SECTION = re.compile(r"\{\{正文:(\w+)\}\}")
_FACTS = frozenset({"科室", "性别", "年龄", "入院日期", "出院日期", "天数", "诊断"})


@dataclass(frozen=True)
class Form:
    """One note type.

    Attributes:
        name: note type in Chinese (``出院记录``).
        encounter_types: visits it is written for.
        layout: text with slots for facts and sections.
        is_deceased: written when the patient died, and only then.
        outcome: how the stay ended, in words for the prompt; empty for a form written before its end.
    """

    name: str
    encounter_types: tuple[str, ...]
    layout: str
    is_deceased: bool = False
    outcome: str = ""

    @cached_property
    def sections(self) -> tuple[str, ...]:
        """Names of the sections that a model writes, in order."""
        return tuple(_SECTION.findall(self.layout))


def read_forms(raw: Mapping[str, Any]) -> tuple[Form, ...]:
    """The ``[form]`` tables.

    Raises:
        ConfigurationError: ``NARRATIVE_FORM`` for an unknown key or slot, or a form without a section.
    """
    forms = tuple(_read_form(name, values) for name, values in raw.items())
    if not forms:
        raise ConfigurationError("NARRATIVE_FORM", file=FORMS_FILE, hint="there must be at least one form")
    return forms


def _read_form(name: str, values: Mapping[str, Any]) -> Form:
    wrong = set(values) - {"encounter_types", "layout", "is_deceased", "outcome"}
    layout = str(values.get("layout", "")).strip("\n")
    sections = _SECTION.findall(layout)
    unknown = set(_SLOT.findall(layout)) - _FACTS - set(sections)
    if wrong or unknown or not sections or len(set(sections)) != len(sections):
        key = min(wrong or unknown or {"layout"})
        hint = f"slots are {'、'.join(sorted(_FACTS))} and sections, each once"
        raise ConfigurationError("NARRATIVE_FORM", file=FORMS_FILE, form=name, key=key, hint=hint)
    kinds = tuple(str(kind) for kind in values.get("encounter_types", ()))
    return Form(name, kinds, layout, bool(values.get("is_deceased", False)), str(values.get("outcome", "")))


def choose_form(forms: Sequence[Form], encounter: SyntheticEncounter) -> Form:
    """A form that fits type and outcome of the visit, by hash of its id.

    Raises:
        ConfigurationError: ``NARRATIVE_FORM`` when none fits.
    """
    kind, is_deceased = encounter.encounter_type, encounter.is_deceased
    fitting = [form for form in forms if kind in form.encounter_types and form.is_deceased == is_deceased]
    if not fitting:
        hint = "no form for visits of this type and outcome"
        raise ConfigurationError("NARRATIVE_FORM", file=FORMS_FILE, encounter_type=kind, hint=hint)
    digest = hashlib.sha256(encounter.synthetic_encounter_id.encode()).digest()
    return fitting[digest[0] % len(fitting)]


def render_note(
    form: Form, encounter: SyntheticEncounter, patient: SyntheticPatient, *, sections: Mapping[str, str]
) -> str:
    """The whole note: facts of the record in their slots, prose in its sections, in one pass over the layout."""
    facts = state_facts(encounter, patient)
    return _SLOT.sub(lambda slot: sections[slot[1]] if "正文:" in slot[0] else facts[slot[1]], form.layout)


def state_facts(encounter: SyntheticEncounter, patient: SyntheticPatient) -> dict[str, str]:
    """Slot name -> what the record says, in words of a note."""
    return {
        "科室": encounter.department,
        "性别": SEX_NAMES[patient.sex],
        "年龄": state_age(encounter.age_years),
        "入院日期": state_date(encounter.admitted_on),
        "出院日期": state_date(encounter.discharged_on),
        "天数": f"{count_days(encounter)}天",
        "诊断": encounter.diagnosis_name,
    }


def state_age(age_years: int) -> str:
    """``56岁``; below one year ``不满1岁``."""
    return f"{age_years}岁" if age_years else "不满1岁"


def state_date(day: date) -> str:
    """``2021年3月5日``."""
    return f"{day.year}年{day.month}月{day.day}日"


def count_days(encounter: SyntheticEncounter) -> int:
    """Length of stay in days, at least 1."""
    return max(1, (encounter.discharged_on - encounter.admitted_on).days)
