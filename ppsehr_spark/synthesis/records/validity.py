"""Whether a synthetic patient could exist.

Knows: the public code lists and, where a domain is given, its rules. Must not know: how patients are drawn, so that it
can judge it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from itertools import pairwise

from ppsehr_spark.domain.codelists import CodeLists, Diagnosis
from ppsehr_spark.synthesis.records.domain import SEXES, RecordDomain
from ppsehr_spark.synthesis.records.shapes import SyntheticEncounter, SyntheticPatient


def find_impossibility(patient: SyntheticPatient, codelists: CodeLists, *, domain: RecordDomain | None = None) -> str:
    """Reason code of the first thing about this patient that cannot be, ``""`` when there is none.

    Args:
        codelists: limits of sex, age and department per diagnosis.
        domain: adds encounter types, years and the rules of ``conf/record_model.toml``.
    """
    reasons = [*_check_patient(patient), *_check_order(patient)]
    diagnoses = {diagnosis.code: diagnosis for diagnosis in codelists.diagnoses}
    for visit in patient.encounters:
        reasons += _check_visit(patient, visit, diagnoses.get(visit.diagnosis_code))
        reasons += _check_types(visit, domain) if domain else []
    reasons += _check_spacing(patient, domain) if domain else []
    return reasons[0] if reasons else ""


def _check_patient(patient: SyntheticPatient) -> Iterator[str]:
    if patient.sex not in SEXES:
        yield "SEX"
    if not patient.encounters:
        yield "NO_VISIT"
    elif not _has_birthday(patient):
        yield "AGE_AND_DATES"


def _has_birthday(patient: SyntheticPatient) -> bool:
    """True when one birthday in the year of birth gives every age on its day of admission."""
    latest, earliest = (12, 31), (1, 1)
    for visit in patient.encounters:
        day = (visit.admitted_on.month, visit.admitted_on.day)
        missing = visit.admitted_on.year - patient.birth_year - visit.age_years
        if missing == 0:
            latest = min(latest, day)  # had the birthday already
        elif missing == 1:
            earliest = max(earliest, (day[0], day[1] + 1))
        else:
            return False
    return earliest <= latest


def _check_order(patient: SyntheticPatient) -> Iterator[str]:
    for at, visit in enumerate(patient.encounters, start=1):
        if visit.position != at or visit.synthetic_patient_id != patient.synthetic_patient_id:
            yield "POSITION"
        if visit.is_deceased and at < len(patient.encounters):
            yield "VISIT_AFTER_DEATH"
    for before, after in pairwise(patient.encounters):
        if after.admitted_on < before.discharged_on:
            yield "VISITS_OVERLAP"


def _check_visit(patient: SyntheticPatient, visit: SyntheticEncounter, diagnosis: Diagnosis | None) -> Iterator[str]:
    if diagnosis is None or visit.diagnosis_name != diagnosis.name:
        yield "DIAGNOSIS_NOT_LISTED"
        return
    if not diagnosis.fits(sex=patient.sex, age_years=visit.age_years):
        yield "DIAGNOSIS_AND_PATIENT"
    if visit.department != diagnosis.department:
        yield "DIAGNOSIS_AND_DEPARTMENT"
    if visit.discharged_on < visit.admitted_on:
        yield "DISCHARGED_BEFORE_ADMITTED"


def _check_types(visit: SyntheticEncounter, domain: RecordDomain) -> Iterator[str]:
    rules = domain.rules
    if visit.encounter_type not in domain.encounter_types:
        yield "ENCOUNTER_TYPE"
    if visit.encounter_type in rules.same_day_types and visit.discharged_on != visit.admitted_on:
        yield "STAY_AND_TYPE"
    if visit.encounter_type in rules.deathless_types and visit.is_deceased:
        yield "DEATH_AND_TYPE"
    if visit.diagnosis_code in rules.inpatient_diagnoses and visit.encounter_type != rules.inpatient_type:
        yield "DIAGNOSIS_AND_TYPE"
    if not date(domain.first_year, 1, 1) <= visit.admitted_on <= date(domain.last_year, 12, 31):
        yield "YEAR"


def _check_spacing(patient: SyntheticPatient, domain: RecordDomain) -> Iterator[str]:
    for at, after in enumerate(patient.encounters):
        for before in patient.encounters[:at]:
            days = (after.admitted_on - before.discharged_on).days
            if days < domain.rules.wait_days(before.diagnosis_code, after.diagnosis_code):
                yield "TOO_SOON"
