"""The public world of the record model: its attributes, the values each may take, and what cannot be.

Knows: bands, lists and rules, all public (code lists and ``conf/record_model.toml``). Must not know: data, counts,
noise. A value that no list names, or that is missing, has the last place of its attribute (``OTHER``): it is counted,
so that every patient is in exactly one cell, and never drawn.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ppsehr_spark.domain.codelists import Diagnosis
from ppsehr_spark.errors import ConfigurationError

#: Last place of every attribute that has one: outside the public list, or unknown.
OTHER = "其他"
YES, NO = "是", "否"
SEXES = ("M", "F")
FIRST_VISIT, NEXT_VISIT = "first_visit", "next_visit"
#: Kinds of record, one row per patient each, and their attributes.
RECORDS: dict[str, tuple[str, ...]] = {
    FIRST_VISIT: (
        "sex", "age_band", "n_visits", "start_quarter", "diagnosis", "department", "encounter_type", "length_of_stay",
        "is_deceased",
    ),
    NEXT_VISIT: (
        "sex", "age_band", "previous_diagnosis", "previous_department", "gap", "same_diagnosis", "diagnosis",
        "department", "encounter_type", "length_of_stay", "is_deceased",
    ),
}  # fmt: skip
_WITHOUT_OTHER = frozenset({"n_visits", "same_diagnosis"})
_QUARTERS = 4


@dataclass(frozen=True)
class Band:
    """Whole years or days from ``low`` to ``high``, both included; data beyond the last band count in it."""

    low: int
    high: int

    @property
    def label(self) -> str:
        """Such as ``7-13``."""
        return f"{self.low}-{self.high}"


@dataclass(frozen=True)
class Spacing:
    """A visit for one of ``then`` comes at least ``min_days`` after the discharge from one for one of ``after``."""

    after: tuple[str, ...]
    then: tuple[str, ...]
    min_days: int


@dataclass(frozen=True)
class RecordRules:
    """What cannot be, beside the limits of each diagnosis.

    Attributes:
        same_day_types: encounter types that end on the day they begin.
        deathless_types: encounter types in which nobody dies.
        inpatient_type: the type that ``inpatient_diagnoses`` need.
        inpatient_diagnoses: codes seen in that type only.
        spacings: least distances between visits.
    """

    same_day_types: tuple[str, ...]
    deathless_types: tuple[str, ...]
    inpatient_type: str
    inpatient_diagnoses: tuple[str, ...]
    spacings: tuple[Spacing, ...]

    def wait_days(self, previous: str, code: str) -> int:
        """Least days from the discharge from a visit for ``previous`` to a visit for ``code``."""
        return max((s.min_days for s in self.spacings if previous in s.after and code in s.then), default=0)


@dataclass(frozen=True)
class RecordDomain:
    """All public values of one record model."""

    diagnoses: tuple[Diagnosis, ...]
    departments: tuple[str, ...]
    encounter_types: tuple[str, ...]
    age_bands: tuple[Band, ...]
    stay_bands: tuple[Band, ...]
    gap_bands: tuple[Band, ...]
    first_year: int
    last_year: int
    max_visits: int
    rules: RecordRules

    @cached_property
    def codes(self) -> tuple[str, ...]:
        """Codes of the diagnoses, in the order of their cells."""
        return tuple(diagnosis.code for diagnosis in self.diagnoses)

    def values(self, attribute: str) -> tuple[str, ...]:
        """Values of an attribute in the order of its cells, ``OTHER`` last where it has one."""
        return self._values[attribute]

    def n_listed(self, attribute: str) -> int:
        """How many values may be drawn; they come first."""
        return len(self._listed[attribute])

    def shape(self, attributes: Sequence[str]) -> tuple[int, ...]:
        """Cells along each axis of a marginal."""
        return tuple(len(self.values(name)) for name in attributes)

    def cell(self, attribute: str, value: str) -> int:
        """Place of a value; the last one for a value that is not listed."""
        return self._places[attribute].get(value, len(self.values(attribute)) - 1)

    @cached_property
    def _values(self) -> dict[str, tuple[str, ...]]:
        return {name: values if name in _WITHOUT_OTHER else (*values, OTHER) for name, values in self._listed.items()}

    @cached_property
    def _places(self) -> dict[str, dict[str, int]]:
        return {name: {value: at for at, value in enumerate(self._listed[name])} for name in self._listed}

    @cached_property
    def _listed(self) -> dict[str, tuple[str, ...]]:
        years = range(self.first_year, self.last_year + 1)
        return {
            "sex": SEXES,
            "age_band": tuple(band.label for band in self.age_bands),
            "n_visits": tuple(str(n) for n in range(1, self.max_visits + 1)),
            "start_quarter": tuple(f"{year}Q{q}" for year in years for q in range(1, _QUARTERS + 1)),
            "diagnosis": self.codes,
            "previous_diagnosis": self.codes,
            "department": self.departments,
            "previous_department": self.departments,
            "encounter_type": self.encounter_types,
            "length_of_stay": tuple(band.label for band in self.stay_bands),
            "gap": tuple(band.label for band in self.gap_bands),
            "same_diagnosis": (NO, YES),
            "is_deceased": (NO, YES),
        }


def find_band(bands: Sequence[Band], number: int | None) -> str:
    """Label of the band that a number falls in, the last one for a larger number, ``OTHER`` below 0 or missing."""
    if number is None or number < bands[0].low:
        return OTHER
    return next((band.label for band in bands if number <= band.high), bands[-1].label)


def encode_domain(domain: RecordDomain) -> str:
    """Canonical JSON; a model carries its domain, so that a later change of a list does not change its meaning."""
    return json.dumps(dataclasses.asdict(domain), ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def decode_domain(text: str) -> RecordDomain:
    """The domain that ``encode_domain`` wrote.

    Raises:
        ConfigurationError: ``RECORD_DOMAIN`` when the text is not one.
    """
    try:
        return _to_domain(json.loads(text))
    except (ValueError, TypeError, KeyError):
        hint = "the model was fitted by another version; fit it again"
        raise ConfigurationError("RECORD_DOMAIN", hint=hint) from None


def _to_domain(plain: dict[str, Any]) -> RecordDomain:
    rules = plain["rules"]
    spacings = tuple(Spacing(tuple(s["after"]), tuple(s["then"]), s["min_days"]) for s in rules["spacings"])
    bands = {name: tuple(Band(**band) for band in plain[name]) for name in ("age_bands", "stay_bands", "gap_bands")}
    return RecordDomain(
        diagnoses=tuple(Diagnosis(**diagnosis) for diagnosis in plain["diagnoses"]),
        departments=tuple(plain["departments"]),
        encounter_types=tuple(plain["encounter_types"]),
        first_year=plain["first_year"],
        last_year=plain["last_year"],
        max_visits=plain["max_visits"],
        rules=RecordRules(
            same_day_types=tuple(rules["same_day_types"]),
            deathless_types=tuple(rules["deathless_types"]),
            inpatient_type=rules["inpatient_type"],
            inpatient_diagnoses=tuple(rules["inpatient_diagnoses"]),
            spacings=spacings,
        ),
        **bands,
    )
