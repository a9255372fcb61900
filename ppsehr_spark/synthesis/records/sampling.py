"""Drawing patients from a record model: first visit, then visit after visit, in order of time.

Knows: the model, the calendar and the rules. Must not know: real records, noise. Sampling is post-processing of what
has been released, so it is seeded: patient i depends on the model, the seed and i alone. Values outside the public
lists are never drawn, and what a rule forbids is masked before drawing: a record is possible whatever the noise was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from ppsehr_spark.domain.codelists import Diagnosis
from ppsehr_spark.errors import ConfigurationError, UsageError
from ppsehr_spark.synthesis.records.ages import count_years, find_births
from ppsehr_spark.synthesis.records.domain import FIRST_VISIT, NEXT_VISIT, NO, YES, RecordDomain, find_band
from ppsehr_spark.synthesis.records.model import Conditional, Floats, RecordModel
from ppsehr_spark.synthesis.records.shapes import SyntheticEncounter, SyntheticPatient

_QUARTER_MONTHS = 3
Mask = NDArray[np.bool_]


def sample_patients(model: RecordModel, *, n_patients: int, seed: int) -> tuple[SyntheticPatient, ...]:
    """Fictional patients with one or more visits each.

    Args:
        n_patients: 0 or more; a choice, never counted in the data.
        seed: 0 or more; equal seeds give equal patients, and more patients begin with the same ones.

    Raises:
        UsageError: ``SAMPLE_SIZE``.
        ConfigurationError: ``RECORD_MODEL`` when the lists leave no possible patient.
    """
    if n_patients < 0 or seed < 0:
        raise UsageError("SAMPLE_SIZE", hint="number of patients and seed are 0 or more")
    limits = _find_limits(model.domain)
    return tuple(
        _Life(model, limits, np.random.default_rng([seed, at]), f"S{at + 1:06d}").live() for at in range(n_patients)
    )


@dataclass(frozen=True, eq=False)
class _Limits:
    """The public limits as arrays over the listed diagnoses.

    Attributes:
        fits_sex: axes sex, diagnosis.
        fits: axes sex, age band, diagnosis; true when some age of the band is allowed.
        ages: lowest and highest age, one row each.
        wait_days: axes earlier diagnosis, diagnosis.
    """

    fits_sex: Mask
    fits: Mask
    ages: NDArray[np.int64]
    wait_days: NDArray[np.int64]


def _find_limits(domain: RecordDomain) -> _Limits:
    diagnoses, codes = domain.diagnoses, domain.codes
    ages = np.array([[d.age_low for d in diagnoses], [d.age_high for d in diagnoses]])
    sexes = domain.values("sex")[: domain.n_listed("sex")]
    fits_sex = np.array([[d.sex in ("", sex) for d in diagnoses] for sex in sexes])
    fits_age = np.array([(ages[0] <= band.high) & (band.low <= ages[1]) for band in domain.age_bands])
    wait_days = np.array([[domain.rules.wait_days(previous, code) for code in codes] for previous in codes])
    fits = fits_sex[:, None, :] & fits_age[None, :, :]
    if not fits.any():
        raise ConfigurationError("RECORD_MODEL", hint="no diagnosis of the public list fits any age band")
    return _Limits(fits_sex, fits, ages, wait_days)


@dataclass(frozen=True, slots=True)
class _Moment:
    """Where a life stands before the next visit is drawn."""

    sex: str
    birth: date
    planned: int
    visits: tuple[SyntheticEncounter, ...]


@dataclass(frozen=True)
class _Life:
    """One patient's own source of randomness, and the model."""

    model: RecordModel
    limits: _Limits
    random: np.random.Generator
    patient_id: str

    @property
    def domain(self) -> RecordDomain:
        """Public values."""
        return self.model.domain

    def live(self) -> SyntheticPatient:
        """All visits of this patient."""
        moment = self._begin()
        while len(moment.visits) < moment.planned and not moment.visits[-1].is_deceased:
            visit = self._draw_next(moment)
            if visit is None:
                break
            moment = _Moment(moment.sex, moment.birth, moment.planned, (*moment.visits, visit))
        return SyntheticPatient(self.patient_id, moment.sex, moment.birth.year, moment.visits)

    def _begin(self) -> _Moment:
        """The person and the first visit."""
        domain, values = self.domain, dict[str, str]()
        values["sex"] = self._pick(FIRST_VISIT, "sex", values, np.array(self.limits.fits.any(axis=(1, 2))))
        fits = self.limits.fits[domain.cell("sex", values["sex"])]
        values["age_band"] = self._pick(FIRST_VISIT, "age_band", values, np.array(fits.any(axis=1)))
        at = domain.cell("age_band", values["age_band"])
        values["diagnosis"] = self._pick(FIRST_VISIT, "diagnosis", values, fits[at])
        diagnosis, band = self._diagnosis(values["diagnosis"]), domain.age_bands[at]
        self._draw_type(FIRST_VISIT, values, diagnosis)
        values["is_deceased"] = self._pick(FIRST_VISIT, "is_deceased", values, self._allow_death(values))
        planned = np.ones(domain.max_visits, dtype=bool)
        planned[1:] = values["is_deceased"] == NO
        values["n_visits"] = self._pick(FIRST_VISIT, "n_visits", values, planned)
        admitted = self._draw_day(self._pick(FIRST_VISIT, "start_quarter", values, None))
        age = self._between(max(band.low, diagnosis.age_low), min(band.high, diagnosis.age_high))
        first, last = find_births(age, admitted)
        birth = first + timedelta(days=self._between(0, (last - first).days))
        visit = self._write_visit(FIRST_VISIT, values, admitted=admitted, birth=birth, position=1)
        return _Moment(values["sex"], birth, int(values["n_visits"]), (visit,))

    def _draw_next(self, moment: _Moment) -> SyntheticEncounter | None:
        """The visit after the last one; ``None`` when none is possible any more."""
        domain, last = self.domain, moment.visits[-1]
        values = {
            "sex": moment.sex, "previous_diagnosis": last.diagnosis_code, "previous_department": last.department,
        }  # fmt: skip
        admitted = self._draw_return(values, last)
        if admitted is None:
            return None
        age = count_years(moment.birth, admitted)
        values["age_band"] = find_band(domain.age_bands, age)
        possible = self._list_possible(moment, admitted=admitted, age=age)
        again = domain.cell("diagnosis", last.diagnosis_code)
        is_possible = np.array([possible.sum() > possible[again], possible[again]])
        if not is_possible.any():
            return None
        values["same_diagnosis"] = self._pick(NEXT_VISIT, "same_diagnosis", values, is_possible)
        values["diagnosis"] = last.diagnosis_code
        if values["same_diagnosis"] == NO:
            possible[again] = False
            values["diagnosis"] = self._draw_other_diagnosis(values, possible)
        self._draw_type(NEXT_VISIT, values, self._diagnosis(values["diagnosis"]))
        position = len(moment.visits) + 1
        values["is_deceased"] = self._draw_end(values, moment.planned) if position == moment.planned else NO
        return self._write_visit(NEXT_VISIT, values, admitted=admitted, birth=moment.birth, position=position)

    def _draw_return(self, values: dict[str, str], last: SyntheticEncounter) -> date | None:
        """Day of the next admission: after the last discharge, within the public years; sets ``gap``."""
        room = (date(self.domain.last_year, 12, 31) - last.discharged_on).days
        bands = self.domain.gap_bands
        allowed = np.array([max(band.low, 1) <= min(band.high, room) for band in bands])
        if not allowed.any():
            return None
        values["gap"] = self._pick(NEXT_VISIT, "gap", values, allowed)
        band = bands[self.domain.cell("gap", values["gap"])]
        return last.discharged_on + timedelta(days=self._between(max(band.low, 1), min(band.high, room)))

    def _list_possible(self, moment: _Moment, *, admitted: date, age: int) -> Mask:
        """Which diagnoses this person can have on that day, after all earlier visits."""
        limits, domain = self.limits, self.domain
        possible: Mask = (
            limits.fits_sex[domain.cell("sex", moment.sex)] & (limits.ages[0] <= age) & (age <= limits.ages[1])
        )
        for visit in moment.visits:
            days = (admitted - visit.discharged_on).days
            possible = possible & (limits.wait_days[domain.cell("diagnosis", visit.diagnosis_code)] <= days)
        return possible

    def _draw_other_diagnosis(self, values: Mapping[str, str], possible: Mask) -> str:
        """A diagnosis other than the last one.

        Few patients stand behind one context, so what first visits say of this sex and age is mixed in with the weight
        of as many patients as the noise amounts to.
        """
        n = self.domain.n_listed("diagnosis")
        next_visit = self._slice(self.model.conditionals[NEXT_VISIT]["diagnosis"], values)[:n]
        first_visit = self._slice(self.model.conditionals[FIRST_VISIT]["diagnosis"], values)[:n]
        n_known = next_visit * self.model.totals[NEXT_VISIT]
        weights = n_known + self.model.noise_patients * first_visit / max(float(first_visit.sum()), 1e-300)
        return self.domain.codes[self._choose((weights, first_visit), possible)]

    def _draw_type(self, record: str, values: dict[str, str], diagnosis: Diagnosis) -> None:
        """Department of the diagnosis, and a type of visit in which it is seen."""
        rules = self.domain.rules
        is_inpatient = diagnosis.code in rules.inpatient_diagnoses
        types = self.domain.encounter_types
        values["department"] = diagnosis.department
        allowed = np.array([not is_inpatient or name == rules.inpatient_type for name in types])
        values["encounter_type"] = self._pick(record, "encounter_type", values, allowed)

    def _allow_death(self, values: Mapping[str, str]) -> Mask:
        return np.array([True, values["encounter_type"] not in self.domain.rules.deathless_types])

    def _draw_end(self, values: Mapping[str, str], planned: int) -> str:
        """Whether the last visit ends in death: the chance of one follow-up visit, over all that were planned."""
        weights = self._slice(self.model.conditionals[NEXT_VISIT]["is_deceased"], values)[:2]
        total = float(weights.sum())
        survival = (float(weights[0]) / total if total > 0 else 1.0) ** (planned - 1)
        chances = np.array([survival, 1 - survival])
        return (NO, YES)[self._choose((chances,), self._allow_death(values))]

    def _write_visit(
        self, record: str, values: dict[str, str], *, admitted: date, birth: date, position: int
    ) -> SyntheticEncounter:
        """The visit with its length of stay."""
        is_same_day = values["encounter_type"] in self.domain.rules.same_day_types
        bands = self.domain.stay_bands
        allowed = np.array([at == 0 or not is_same_day for at in range(len(bands))])
        stay = bands[self.domain.cell("length_of_stay", self._pick(record, "length_of_stay", values, allowed))]
        days = 0 if is_same_day else self._between(stay.low, stay.high)
        diagnosis = self._diagnosis(values["diagnosis"])
        return SyntheticEncounter(
            f"{self.patient_id}-{position:02d}", self.patient_id, position, values["encounter_type"],
            diagnosis.department, diagnosis.code, diagnosis.name, count_years(birth, admitted), admitted,
            admitted + timedelta(days=days), values["is_deceased"] == YES,
        )  # fmt: skip

    def _draw_day(self, quarter: str) -> date:
        year, number = int(quarter[:4]), int(quarter[-1])
        first = date(year, (number - 1) * _QUARTER_MONTHS + 1, 1)
        after = date(year + number // 4, number % 4 * _QUARTER_MONTHS + 1, 1)
        return first + timedelta(days=self._between(0, (after - first).days - 1))

    def _diagnosis(self, code: str) -> Diagnosis:
        return self.domain.diagnoses[self.domain.cell("diagnosis", code)]

    def _between(self, low: int, high: int) -> int:
        return int(self.random.integers(low, high + 1))

    def _pick(self, record: str, attribute: str, values: Mapping[str, str], allowed: Mask | None) -> str:
        """A listed value given those drawn before; without any mass there, as overall; without that, any allowed."""
        table = self.model.conditionals[record][attribute]
        n = self.domain.n_listed(attribute)
        allowed = np.ones(n, dtype=bool) if allowed is None else allowed
        at = self._choose((self._slice(table, values)[:n], table.overall[:n]), allowed)
        return self.domain.values(attribute)[at]

    def _slice(self, table: Conditional, values: Mapping[str, str]) -> Floats:
        """Weights of the attribute in its context."""
        sliced: Floats = table.joint[tuple(self.domain.cell(name, values[name]) for name in table.given)]
        return sliced

    def _choose(self, candidates: tuple[Floats, ...], allowed: Mask) -> int:
        """Place drawn from the first weights that give anything allowed a chance; uniform when none does."""
        for weights in (*candidates, allowed.astype(np.float64)):
            sums = np.cumsum(np.where(allowed, weights, 0.0))
            if sums[-1] > 0:
                at = int(np.searchsorted(sums, self.random.random() * sums[-1], side="right"))
                return at if at < len(sums) else int(np.searchsorted(sums, sums[-1]))  # rounding, once in a blue moon
        raise ConfigurationError("RECORD_MODEL", hint="the public lists leave nothing to draw from")
