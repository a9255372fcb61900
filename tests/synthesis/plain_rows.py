"""Marginals of simulated patients by plain Python, written apart from the product's code, as the truth to compare with.

A patient whose visits are given with times; days and ages are taken on the hospital's calendar.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta, timezone
from itertools import pairwise
from typing import Any

import numpy as np

from ppsehr_spark.synthesis.records import Marginal, RecordDomain

CHINA = timezone(timedelta(hours=8))


def make_tables(patients: Sequence[Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of phi.encounters and phi.patients for simulated patients."""
    people = [
        {"patient_key": p.patient.patient_id, "sex": p.patient.sex, "birth_date": p.patient.birth_date}
        for p in patients
    ]
    visits = [
        {
            "encounter_key": e.encounter_id, "patient_key": e.patient_id, "encounter_type": e.encounter_type,
            "department": e.department, "admitted_at": e.admitted_at, "discharged_at": e.discharged_at,
            "diagnosis_codes": list(e.diagnosis_codes), "is_deceased": e.is_deceased,
        }
        for p in patients
        for e in p.encounters
    ]  # fmt: skip
    return visits, people


def count_rows(rows: Sequence[Mapping[str, Any]], marginal: Marginal, domain: RecordDomain) -> list[int]:
    """One count per cell, last axis fastest."""
    counts = np.zeros(domain.shape(marginal.attributes), dtype=np.int64)
    for row in rows:
        places = []
        for name in marginal.attributes:
            values = domain.values(name)
            places.append(values.index(row[name]) if row[name] in values else len(values) - 1)
        counts[tuple(places)] += 1
    return [int(count) for count in counts.ravel()]


def first_rows(visits: Sequence[Mapping[str, Any]], people: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The first visit of every patient."""
    found = []
    for owned, person in _by_patient(visits, people):
        day = _day(owned[0]["admitted_at"])
        quarter = f"{day.year}Q{(day.month - 1) // 3 + 1}" if day else None
        found.append({**_visit(owned[0], person), "n_visits": str(min(len(owned), 6)), "start_quarter": quarter})
    return found


def pair_rows(visits: Sequence[Mapping[str, Any]], people: Sequence[Mapping[str, Any]]) -> list[list[dict[str, Any]]]:
    """For every patient with two visits or more, all pairs of consecutive ones."""
    found = []
    for owned, person in _by_patient(visits, people):
        pairs = [_pair(before, after, person) for before, after in pairwise(owned)]
        found += [pairs] if pairs else []
    return found


def choose_pairs(pairs: Sequence[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    """One pair per patient; any rule that looks at nothing but the patient will do."""
    return [owned[zlib.crc32(repr(owned).encode()) % len(owned)] for owned in pairs]


def _by_patient(
    visits: Sequence[Mapping[str, Any]], people: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[list[Mapping[str, Any]], Mapping[str, Any]]]:
    owners: dict[str, list[Mapping[str, Any]]] = {}
    for visit in visits:
        owners.setdefault(visit["patient_key"], []).append(visit)
    known = {person["patient_key"]: person for person in people}
    late = datetime(9999, 1, 1, tzinfo=CHINA)
    for key, owned in owners.items():
        yield sorted(owned, key=lambda v: (v["admitted_at"] or late, v["encounter_key"])), known.get(key, {})


def _pair(before: Mapping[str, Any], after: Mapping[str, Any], person: Mapping[str, Any]) -> dict[str, Any]:
    left, came = _day(before["discharged_at"]), _day(after["admitted_at"])
    codes = [(visit["diagnosis_codes"] or [None])[0] for visit in (before, after)]
    return {
        **_visit(after, person),
        "previous_diagnosis": codes[0],
        "previous_department": before["department"],
        "gap": _band((came - left).days if came and left else None, (0, 15, 31, 91, 181, 366, 731)),
        "same_diagnosis": "是" if codes[0] is not None and codes[0] == codes[1] else "否",
    }


def _visit(visit: Mapping[str, Any], person: Mapping[str, Any]) -> dict[str, Any]:
    came, left = _day(visit["admitted_at"]), _day(visit["discharged_at"])
    return {
        "sex": person.get("sex"),
        "age_band": _band(_age(person.get("birth_date"), came), (0, 7, 14, 18, 30, 40, 50, 60, 70, 80, 96)),
        "diagnosis": (visit["diagnosis_codes"] or [None])[0],
        "department": visit["department"],
        "encounter_type": visit["encounter_type"],
        "length_of_stay": _band((left - came).days if came and left else None, (0, 1, 4, 7, 10, 15, 22, 46)),
        "is_deceased": {True: "是", False: "否", None: None}[visit["is_deceased"]],
    }


def _band(number: int | None, edges: Sequence[int]) -> str | None:
    """Label of the band, the last one for anything beyond."""
    if number is None or number < 0:
        return None
    last = max(at for at in range(len(edges) - 1) if number >= edges[at])
    return f"{edges[last]}-{edges[last + 1] - 1}"


def _day(moment: datetime | None) -> date | None:
    return moment.astimezone(CHINA).date() if moment else None


def _age(birth: date | None, day: date | None) -> int | None:
    if birth is None or day is None:
        return None
    return (
        sum(1 for year in range(birth.year + 1, day.year + 1) if _birthday(birth, year) <= day) if birth <= day else -1
    )


def _birthday(birth: date, year: int) -> date:
    """The day on which a year of age is completed; 1 March for the 29th of February in common years."""
    try:
        return birth.replace(year=year)
    except ValueError:
        return date(year, 3, 1)
