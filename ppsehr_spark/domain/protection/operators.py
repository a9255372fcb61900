"""The operators: small pure functions from one value to its protected form.

Knows: which generator serves which category. Must not know: notes, offsets, policies. An operator answers ``None``
when it cannot change the value; the caller then falls back to a placeholder, never to the original.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, final

from ppsehr_spark.domain.protection.draw import Draw
from ppsehr_spark.domain.protection.fiction import Fiction
from ppsehr_spark.domain.protection.name_surrogates import draw_name
from ppsehr_spark.domain.protection.number_surrogates import draw_contact, draw_form, draw_id
from ppsehr_spark.domain.protection.place_surrogates import (
    draw_address,
    draw_hospital,
    generalise_address,
    hospital_core,
)
from ppsehr_spark.domain.protection.policy import Operation

_WEEKS = re.compile(r"(\d{1,2})\s*\+?\s*\d?\s*周")
_DAYS = re.compile(r"(\d{1,3})\s*[天日]")
_YEAR = re.compile(r"(?:19|20)\d\d")
_SECOND_TRIMESTER_WEEK, _THIRD_TRIMESTER_WEEK = 14, 28


@final
class Mention:
    """What an operator works on; no dataclass, for a note has many and those take longer to make.

    Attributes:
        value: the original characters of the span.
        category: category id.
        label: Chinese name of the category, for placeholders.
        operation: operator and argument.
        patient_key: scope of consistency.
        attempt: 0, then higher when a draw collided with another identifier of the note.
    """

    def __init__(
        self, value: str, *, category: str, label: str, operation: Operation, patient_key: str, attempt: int = 0
    ) -> None:
        self.value: Final = value
        self.category: Final = category
        self.label: Final = label
        self.operation: Final = operation
        self.patient_key: Final = patient_key
        self.attempt: Final = attempt


@dataclass(frozen=True, slots=True)
class Toolbox:
    """What operators draw on: word lists and the key."""

    fiction: Fiction
    key: bytes


def apply_operation(mention: Mention, tools: Toolbox) -> str:
    """The protected form of one mention; a placeholder where the operator has no answer.

    For every operator but ``keep`` the result differs from the value.
    """
    drawn = _OPERATORS[mention.operation.operator](mention, tools)
    if drawn is None or (drawn == mention.value and mention.operation.operator != "keep"):
        drawn = write_placeholder(mention, tools)
    return drawn if drawn != mention.value or mention.operation.operator == "keep" else tools.fiction.redacted


def keep(mention: Mention, tools: Toolbox) -> str:
    """The value itself."""
    return mention.value


def write_placeholder(mention: Mention, tools: Toolbox) -> str:
    """The category's name in brackets: ``【姓名】``."""
    return tools.fiction.placeholder.format(name=mention.label)


def mask(mention: Mention, tools: Toolbox) -> str:
    """One ``*`` per letter, digit or Hanzi; punctuation and white space stay."""
    return "".join("*" if char.isalnum() else char for char in mention.value)


def redact(mention: Mention, tools: Toolbox) -> str:
    """The mark that does not say what stood here."""
    return tools.fiction.redacted


def draw_surrogate(mention: Mention, tools: Toolbox) -> str | None:
    """A fictional value of the same form, by the generator the operation names, else that of the category."""
    kind = mention.operation.argument or _KIND_OF.get(mention.category, "form")
    if kind == "person_name":
        scope = (mention.patient_key, str(mention.attempt))
        return draw_name(mention.value, fiction=tools.fiction, key=tools.key, scope=scope)
    core = hospital_core(mention.value, tools.fiction) if kind == "hospital" else "".join(mention.value.split())
    draw = Draw(tools.key, kind, core, mention.patient_key, str(mention.attempt))
    generator = _GENERATORS.get(kind)
    return generator(mention.value, tools.fiction, draw) if generator else draw_form(mention.value, draw)


def generalise(mention: Mention, tools: Toolbox) -> str | None:
    """A coarser statement: division, trimester, year, or the category's phrase in ``[generalise]``."""
    level = mention.operation.argument
    if mention.category == "ADDRESS":
        return generalise_address(mention.value, level or "province", tools.fiction)
    if mention.category == "PREGNANCY" and (trimester := read_trimester(mention.value)):
        return trimester
    if mention.category == "DATE":
        year = _YEAR.search(mention.value)
        return f"{year[0]}年" if year else None
    return tools.fiction.phrases.get(mention.category)


def read_trimester(value: str) -> str:
    """``妊娠早期`` (< 14 weeks), ``妊娠中期`` (< 28 weeks), ``妊娠晚期``, or ``""`` when no duration is given."""
    weeks, days = _WEEKS.search(value), _DAYS.search(value)
    n_weeks = int(weeks[1]) if weeks else int(days[1]) // 7 if days else None
    if n_weeks is None:
        return ""
    if n_weeks < _SECOND_TRIMESTER_WEEK:
        return "妊娠早期"
    return "妊娠中期" if n_weeks < _THIRD_TRIMESTER_WEEK else "妊娠晚期"


_KIND_OF = {
    "NAME": "person_name",
    "ID": "resident_id",
    "CONTACT": "phone",
    "ADDRESS": "address",
    "HOSPITAL": "hospital",
}
_GENERATORS: Mapping[str, Callable[[str, Fiction, Draw], str | None]] = {
    "resident_id": draw_id,
    "phone": draw_contact,
    "address": draw_address,
    "hospital": draw_hospital,
}
_OPERATORS: Mapping[str, Callable[[Mention, Toolbox], str | None]] = {
    "keep": keep,
    "placeholder": write_placeholder,
    "mask": mask,
    "surrogate": draw_surrogate,
    "generalise": generalise,
    "redact": redact,
}
