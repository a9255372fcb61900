"""Vital signs and body measures that fit age, sex, fever and blood pressure of the patient.

Knows: rough paediatric and adult ranges (WHO growth standards, GB/T 26343 for adults). Must not know: sentences.
"""

from __future__ import annotations

from ppsehr_spark.synthesis.simulator.dice import Dice

#: Median height in cm and weight in kg at ages 0, 1, 2, 4, 6, 8, 10, 12, 14 years.
_GROWTH = ((0, 62, 6.2), (1, 76, 9.8), (2, 88, 12.4), (4, 104, 16.8), (6, 117, 21.0), (8, 128, 26.0), (10, 139, 33.0),
           (12, 151, 42.0), (14, 163, 51.0))  # fmt: skip


def write_temperature(dice: Dice, *, has_fever: bool) -> str:
    """Degrees Celsius."""
    low, high = (37.6, 39.5) if has_fever and dice.chance(0.7) else (36.1, 37.2)
    return f"{low + (high - low) * dice.uniform():.1f}"


def write_pulse(dice: Dice, *, age: int) -> str:
    """Beats per minute."""
    low, high = (100, 142) if age < 3 else (80, 118) if age < 10 else (58, 106)
    return str(dice.between(low, high))


def write_breaths(dice: Dice, *, age: int) -> str:
    """Breaths per minute."""
    low, high = (26, 38) if age < 3 else (20, 28) if age < 10 else (14, 23)
    return str(dice.between(low, high))


def write_pressure(dice: Dice, *, age: int, has_hypertension: bool) -> str:
    """Systolic/diastolic in mmHg."""
    if age < 14:
        systolic = dice.between(84, 112)
    else:
        systolic = dice.between(126, 176) if has_hypertension else dice.between(98, 142)
    return f"{systolic}/{round(systolic * (0.56 + 0.1 * dice.uniform()))}"


def write_height(dice: Dice, *, age: int, sex: str) -> str:
    """Centimetres."""
    if age <= 14:
        return str(round(_interpolate(age, 1) * (0.95 + 0.1 * dice.uniform())))
    return str(round(dice.normal(169 if sex == "M" else 158, 5.5)))


def write_weight(dice: Dice, *, age: int, sex: str) -> str:
    """Kilograms."""
    if age <= 14:
        return f"{_interpolate(age, 2) * (0.88 + 0.26 * dice.uniform()):.1f}"
    return f"{min(max(dice.normal(67 if sex == 'M' else 57, 9), 38), 108):.1f}"


def _interpolate(age: int, column: int) -> float:
    below = max(row for row in _GROWTH if row[0] <= age)
    above = min((row for row in _GROWTH if row[0] > age), default=below)
    if above[0] == below[0]:
        return float(below[column])
    return below[column] + (above[column] - below[column]) * (age - below[0]) / (above[0] - below[0])
