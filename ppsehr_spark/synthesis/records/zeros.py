"""Structural zeros: combinations of values that public knowledge rules out, and so have probability 0 in a model.

Knows: limits of each diagnosis and the rules of the domain. Must not know: counts. ``OTHER`` fits everything: what is
not known to be impossible is not ruled out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from ppsehr_spark.domain.codelists import Diagnosis
from ppsehr_spark.synthesis.records.domain import OTHER, RECORDS, YES, RecordDomain


@dataclass(frozen=True, eq=False)
class Zeros:
    """Combinations that cannot be: one row of places per combination, columns as ``attributes``."""

    attributes: tuple[str, ...]
    impossible: NDArray[np.int64]


def list_zeros(record: str, domain: RecordDomain) -> tuple[Zeros, ...]:
    """All structural zeros of one kind of record that has any."""
    finders: tuple[tuple[tuple[str, ...], Callable[..., bool]], ...] = (
        (("sex", "age_band", "diagnosis"), lambda *values: _fits_patient(domain, *values)),
        (("diagnosis", "department"), lambda *values: _fits_department(domain, *values)),
        (("previous_diagnosis", "previous_department"), lambda *values: _fits_department(domain, *values)),
        (("encounter_type", "length_of_stay"), lambda *values: _fits_stay(domain, *values)),
        (("encounter_type", "is_deceased"), lambda *values: _may_die(domain, *values)),
        (("n_visits", "is_deceased"), lambda n_visits, died: died != YES or n_visits == "1"),
    )
    found = (
        _collect(attributes, is_possible, domain)
        for attributes, is_possible in finders
        if set(attributes) <= set(RECORDS[record])
    )
    return tuple(zeros for zeros in found if len(zeros.impossible))


def find_diagnosis(domain: RecordDomain, code: str) -> Diagnosis:
    """The diagnosis of a listed code."""
    return domain.diagnoses[domain.cell("diagnosis", code)]


def _collect(attributes: Sequence[str], is_possible: Callable[..., bool], domain: RecordDomain) -> Zeros:
    values = [domain.values(name) for name in attributes]
    places = product(*(range(len(listed)) for listed in values))
    wrong = [at for at in places if not is_possible(*(listed[i] for listed, i in zip(values, at, strict=True)))]
    return Zeros(tuple(attributes), np.array(wrong, dtype=np.int64).reshape(-1, len(attributes)))


def _fits_patient(domain: RecordDomain, sex: str, age_band: str, code: str) -> bool:
    """True when some age of the band allows the diagnosis for this sex."""
    if code == OTHER:
        return True
    diagnosis = find_diagnosis(domain, code)
    fits_sex = sex == OTHER or diagnosis.sex in ("", sex)
    if age_band == OTHER:
        return fits_sex
    band = domain.age_bands[domain.cell("age_band", age_band)]
    return fits_sex and diagnosis.age_low <= band.high and band.low <= diagnosis.age_high


def _fits_department(domain: RecordDomain, code: str, department: str) -> bool:
    return code == OTHER or find_diagnosis(domain, code).department == department


def _fits_stay(domain: RecordDomain, encounter_type: str, stay: str) -> bool:
    return encounter_type not in domain.rules.same_day_types or stay in (domain.stay_bands[0].label, OTHER)


def _may_die(domain: RecordDomain, encounter_type: str, died: str) -> bool:
    return died != YES or encounter_type not in domain.rules.deathless_types
