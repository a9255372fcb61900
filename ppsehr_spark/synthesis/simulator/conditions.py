"""The catalogue of conditions and laboratory items, read from the data files.

Knows: codes, who falls ill with what, what belongs to it. Must not know: patients, prose.
Codes: ICD-10, Chinese clinical edition (national clinical edition 2.0).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import accumulate

from ppsehr_spark.synthesis.simulator.datafiles import read_rows
from ppsehr_spark.synthesis.simulator.dice import Dice

#: Settings of conditions that are a pregnancy, and of those that are a sexually transmitted disease.
OBSTETRIC = frozenset({"antenatal", "delivery", "caesarean", "threatened", "ectopic", "abortion"})
VENEREAL = frozenset({"syphilis", "gonorrhea", "hiv", "warts", "herpes", "urethritis"})


@dataclass(frozen=True, slots=True)
class Condition:
    """One row of ``conditions.tsv``.

    Attributes:
        age_low: youngest age in years; ``age_high`` the oldest.
        stay_days: mean length of stay in days.
        mortality: share of stays that end in death at 50-75 years.
        setting: where it is treated, or which pregnancy or venereal disease it is.
        onset: ``acute``, ``subacute`` or ``chronic``.
    """

    code: str
    name: str
    department: str
    sex: str
    age_low: int
    age_high: int
    weight: float
    stay_days: int
    mortality: float
    setting: str
    onset: str
    symptoms: tuple[str, ...]
    signs: tuple[str, ...]
    drugs: tuple[str, ...]
    operation: str
    imaging: tuple[str, ...]
    labs: tuple[str, ...]

    @property
    def is_obstetric(self) -> bool:
        """A current pregnancy."""
        return self.setting in OBSTETRIC


@dataclass(frozen=True, slots=True)
class LabItem:
    """One laboratory item with its reference range."""

    panel: str
    name: str
    code: str
    unit: str
    low: float
    high: float
    decimals: int


@cache
def load_conditions() -> tuple[Condition, ...]:
    """Every condition of the catalogue."""
    return tuple(_build_condition(row) for row in read_rows("conditions"))


def _build_condition(row: dict[str, str]) -> Condition:
    parts = {key: tuple(x.strip() for x in row[key].split(";") if x) for key in
             ("symptoms", "signs", "drugs", "imaging", "labs")}  # fmt: skip
    return Condition(
        row["code"], row["name"], row["department"], row["sex"], int(row["age_low"]), int(row["age_high"]),
        float(row["weight"]), int(row["stay_days"]), float(row["mortality"]), row["setting"], row["onset"],
        parts["symptoms"], parts["signs"], parts["drugs"], row["operation"], parts["imaging"], parts["labs"],
    )  # fmt: skip


@cache
def load_labs() -> tuple[LabItem, ...]:
    """Every laboratory item."""
    return tuple(
        LabItem(r["panel"], r["name"], r["code"], r["unit"], float(r["low"]), float(r["high"]), int(r["decimals"]))
        for r in read_rows("labs")
    )


@cache
def _eligible(sex: str, age: int, has_obstetrics: bool) -> tuple[tuple[Condition, ...], tuple[float, ...]]:
    fits = tuple(
        c
        for c in load_conditions()
        if c.sex in ("", sex) and c.age_low <= age <= c.age_high and (has_obstetrics or not c.is_obstetric)
    )
    return fits, tuple(accumulate(c.weight for c in fits))


def draw_condition(dice: Dice, *, sex: str, age: int, has_obstetrics: bool) -> Condition:
    """A condition that can befall this sex at this age, by frequency."""
    fits, weights = _eligible(sex, min(age, 94), has_obstetrics)
    return dice.weighted(fits, weights)


@cache
def find_condition(setting: str) -> Condition:
    """The first condition of an obstetric or venereal setting."""
    return next(c for c in load_conditions() if c.setting == setting)
