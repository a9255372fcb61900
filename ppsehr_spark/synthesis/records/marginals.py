"""Marginals: which attributes are counted together, what was released of them, and the same count of synthetic data.

Knows: cells. Must not know: how real records are counted (Spark) or noised. One patient is in exactly one cell of
every marginal, so removing a patient changes it by 1 in L2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ppsehr_spark.synthesis.records.domain import FIRST_VISIT, NO, YES, RecordDomain, find_band
from ppsehr_spark.synthesis.records.shapes import SyntheticEncounter, SyntheticPatient

Counts: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True)
class Marginal:
    """One table of counts: its name, the kind of record, the attributes of its axes and its share of rho."""

    name: str
    record: str
    attributes: tuple[str, ...]
    share: float = 1.0


@dataclass(frozen=True, eq=False)
class ReleasedMarginal:
    """What the ledger released of a marginal.

    Attributes:
        counts: int64, one per cell, last axis fastest; may be negative.
        noise_scale: standard deviation of the noise per cell, 0 for exact counts.
    """

    name: str
    record: str
    attributes: tuple[str, ...]
    counts: Counts
    noise_scale: float
    rho: float
    grant_id: str


class CellAxes(Protocol):
    """What tells the cells of a table: ``Marginal`` or ``ReleasedMarginal``."""

    @property
    def record(self) -> str:
        """Kind of record."""

    @property
    def attributes(self) -> tuple[str, ...]:
        """Axes, in order."""


def count_cells(marginal: CellAxes, domain: RecordDomain) -> int:
    """Number of cells, ``OTHER`` ones included."""
    return int(np.prod(domain.shape(marginal.attributes), dtype=np.int64))


def tabulate(patients: Sequence[SyntheticPatient], marginal: CellAxes, domain: RecordDomain) -> Counts:
    """Count synthetic patients as real ones were counted: one row per patient, the same cells in the same order.

    Of several pairs of consecutive visits one is taken, by the hash of the later visit's id.

    Returns:
        int64 of ``count_cells``; sums to the patients that have such a record.
    """
    shape = domain.shape(marginal.attributes)
    counts = np.zeros(int(np.prod(shape)), dtype=np.int64)
    for patient in patients:
        values = _describe(patient, marginal.record, domain)
        if values is not None:
            cell = tuple(domain.cell(name, values[name]) for name in marginal.attributes)
            counts[np.ravel_multi_index(cell, shape)] += 1
    return counts


def _describe(patient: SyntheticPatient, record: str, domain: RecordDomain) -> dict[str, str] | None:
    """Attribute values of the patient's row of this kind; ``None`` without one."""
    visits = patient.encounters
    if record == FIRST_VISIT:
        first = visits[0]
        quarter = f"{first.admitted_on.year}Q{(first.admitted_on.month + 2) // 3}"
        n_visits = str(min(len(visits), domain.max_visits))
        return {**_describe_visit(patient, first, domain), "n_visits": n_visits, "start_quarter": quarter}
    if len(visits) < 2:
        return None
    later = min(range(1, len(visits)), key=lambda at: hashlib.sha256(_id(visits[at]).encode()).digest())
    before, after = visits[later - 1], visits[later]
    return {
        **_describe_visit(patient, after, domain),
        "previous_diagnosis": before.diagnosis_code,
        "previous_department": before.department,
        "gap": find_band(domain.gap_bands, (after.admitted_on - before.discharged_on).days),
        "same_diagnosis": YES if before.diagnosis_code == after.diagnosis_code else NO,
    }


def _describe_visit(patient: SyntheticPatient, visit: SyntheticEncounter, domain: RecordDomain) -> dict[str, str]:
    return {
        "sex": patient.sex,
        "age_band": find_band(domain.age_bands, visit.age_years),
        "diagnosis": visit.diagnosis_code,
        "department": visit.department,
        "encounter_type": visit.encounter_type,
        "length_of_stay": find_band(domain.stay_bands, (visit.discharged_on - visit.admitted_on).days),
        "is_deceased": YES if visit.is_deceased else NO,
    }


def _id(visit: Any) -> str:
    return str(visit.synthetic_encounter_id)
