"""A life in the hospital: who the patient is, which visits follow one another, who dies.

Knows: what may follow what (no pregnant man, no visit after death, parity that adds up). Must not know: prose.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta, timezone

from ppsehr_spark.config import SimulateSettings
from ppsehr_spark.synthesis.simulator.canaries import CanaryPatient, find_canary
from ppsehr_spark.synthesis.simulator.conditions import VENEREAL, Condition, draw_condition, find_condition
from ppsehr_spark.synthesis.simulator.dice import Dice
from ppsehr_spark.synthesis.simulator.people import draw_id_number, draw_mobile, draw_name, find_surname
from ppsehr_spark.synthesis.simulator.places import (
    Division,
    draw_division,
    draw_home,
    draw_own_hospital,
    find_division,
)

CHINA = timezone(timedelta(hours=8))


@dataclass(frozen=True, slots=True)
class Persona:
    """What stays the same over a life; ``births`` and ``losses`` are those before the first visit."""

    index: int
    sex: str
    birth_date: date
    name: str
    marital: str
    id_number: str
    phone: str
    address: str
    home: Division
    birthplace: Division
    hospital: str
    chronic: frozenset[str]
    venereal: str
    births: int
    losses: int
    wed_age: int
    kin_relation: str
    kin_name: str
    kin_phone: str
    canary: CanaryPatient | None


@dataclass(frozen=True, slots=True)
class Visit:
    """One encounter as planned; ``births`` and ``losses`` are those before it, ``weeks`` of a current pregnancy."""

    condition: Condition
    kind: str
    start: datetime
    end: datetime
    births: int
    losses: int
    weeks: int = 0
    is_operated: bool = False
    is_deceased: bool = False


def count_years(birth: date, day: date) -> int:
    """Completed years of age."""
    return day.year - birth.year - ((day.month, day.day) < (birth.month, birth.day))


def draw_persona(dice: Dice, *, index: int, settings: SimulateSettings) -> tuple[Persona, datetime]:
    """A person and the time of the first visit."""
    canary = find_canary(index)
    sex = canary.sex if canary else ("F" if dice.chance(0.53) else "M")
    first = _draw_first_visit(dice, settings=settings)
    birth = canary.birth_date if canary else _draw_birth(dice, first=first.date())
    age = count_years(birth, first.date())
    home = draw_division(dice)
    origin = home if dice.chance(0.55) else draw_division(dice)
    marital = _draw_marital(dice, age=age)
    births, losses = _draw_parity(dice, sex=sex, age=age, marital=marital)
    relation, kin_sex = _draw_kin(dice, age=age, marital=marital, sex=sex, births=births)
    kin_year = (
        birth.year - 26
        if relation in ("父亲", "母亲")
        else birth.year + 26
        if relation in ("儿子", "女儿")
        else birth.year
    )
    name = draw_name(dice, sex=sex, birth_year=birth.year)
    kin_surname = find_surname(name) if relation in ("父亲", "儿子", "女儿", "哥哥", "妹妹") else ""
    persona = Persona(
        index=index, sex=sex, birth_date=birth, name=canary.name if canary else name, marital=marital,
        id_number=draw_id_number(dice, division=origin.code, birth=birth, sex=sex), phone=draw_mobile(dice),
        address=draw_home(dice, home), home=home, birthplace=origin, hospital=draw_own_hospital(dice, home),
        chronic=_draw_chronic(dice, age=age), venereal=_draw_venereal(dice, age=age), births=births, losses=losses,
        wed_age=min(dice.between(20, 29), max(age - 1, 18)), kin_relation=relation,
        kin_name=draw_name(dice, sex=kin_sex, birth_year=kin_year, surname=kin_surname), kin_phone=draw_mobile(dice),
        canary=canary,
    )  # fmt: skip
    return _plant(persona), first


def _plant(persona: Persona) -> Persona:
    canary = persona.canary
    if canary is None:
        return persona
    home = find_division(canary.id_number[:6])
    return replace(
        persona, id_number=canary.id_number, phone=canary.phone, address=canary.address, home=home, birthplace=home
    )


def _draw_first_visit(dice: Dice, *, settings: SimulateSettings) -> datetime:
    begin = date(settings.first_year, 1, 1)
    span = (date(settings.last_year, 10, 1) - begin).days
    return _at(begin + timedelta(days=int(dice.uniform() * span)), dice)


def _at(day: date, dice: Dice) -> datetime:
    return datetime(day.year, day.month, day.day, dice.between(8, 17), dice.between(0, 59), tzinfo=CHINA)


def _draw_birth(dice: Dice, *, first: date) -> date:
    form = dice.uniform()
    if form < 0.12:
        age_days = dice.between(60, 13 * 365)
    elif form < 0.46:
        age_days = dice.between(16 * 365 + 20, 46 * 365)
    else:
        age_days = int(min(max(dice.normal(66, 13), 40), 94) * 365.25)
    return first - timedelta(days=age_days)


def _draw_marital(dice: Dice, *, age: int) -> str:
    form = dice.uniform()
    if age < 21:
        return "未婚"
    if age < 31:
        return "未婚" if form < 0.45 else "已婚"
    if form < 0.05:
        return "未婚"
    if form < 0.10:
        return "离异"
    return "丧偶" if form < 0.10 + max(0, age - 55) * 0.009 else "已婚"


def _draw_parity(dice: Dice, *, sex: str, age: int, marital: str) -> tuple[int, int]:
    if marital == "未婚" or age < 23:
        return 0, (1 if sex == "F" and age >= 21 and dice.chance(0.08) else 0)
    births = dice.pick((0, 1, 1) if age < 30 else (1, 1, 2, 2, 3) if age > 55 else (0, 1, 1, 2, 2))
    return births, dice.pick((0, 0, 0, 1, 1, 2)) if sex == "F" else 0


def _draw_kin(dice: Dice, *, age: int, marital: str, sex: str, births: int) -> tuple[str, str]:
    if age < 16:
        return "母亲", "F"
    if marital == "已婚":
        return ("妻子", "F") if sex == "M" else ("丈夫", "M")
    if marital == "未婚":
        return dice.pick((("父亲", "M"), ("母亲", "F"), ("哥哥", "M")) if age < 40 else (("哥哥", "M"), ("妹妹", "F")))
    return dice.pick((("儿子", "M"), ("女儿", "F"))) if births else ("妹妹", "F")


def _draw_chronic(dice: Dice, *, age: int) -> frozenset[str]:
    weight = max(0.0, age - 35) / 100
    odds = (("htn", 1.1 * weight), ("dm", 0.55 * weight), ("hepb", 0.05 if age > 18 else 0.0))
    return frozenset(name for name, probability in odds if dice.chance(min(probability, 0.6)))


def _draw_venereal(dice: Dice, *, age: int) -> str:
    form = dice.uniform()
    if not 20 <= age <= 75 or form > 0.035:
        return ""
    return "syphcured" if form < 0.016 else "syphilis" if form < 0.026 else "hiv"


def plan_visits(dice: Dice, persona: Persona, first: datetime, *, settings: SimulateSettings) -> tuple[Visit, ...]:
    """Visits in order of time; the last one may end in death; nothing after the last simulated year."""
    visits: list[Visit] = []
    births, losses, was_pregnant = persona.births, persona.losses, False
    start, wanted = first, dice.pick((1, 1, 2, 2, 3, 4))
    while len(visits) < wanted and start.year <= settings.last_year:
        age = count_years(persona.birth_date, start.date())
        condition = _draw_next(dice, persona, age=age, visits=visits, has_obstetrics=not was_pregnant)
        chain = _plan_chain(dice, persona, condition, start=start, births=births, losses=losses)
        chain = [visit for visit in chain if visit.end.year <= settings.last_year] or chain[:0]
        visits.extend(chain)
        if not chain or chain[-1].is_deceased:
            break
        was_pregnant = was_pregnant or condition.is_obstetric
        births += sum(v.condition.setting in ("delivery", "caesarean") for v in chain)
        losses += sum(v.condition.setting in ("ectopic", "abortion") for v in chain)
        gap = dice.between(70, 420) if condition.is_obstetric else dice.between(12, 330)
        start = _at(chain[-1].end.date() + timedelta(days=gap), dice)
    return tuple(visits)


def _draw_next(dice: Dice, persona: Persona, *, age: int, visits: list[Visit], has_obstetrics: bool) -> Condition:
    last = visits[-1].condition if visits else None
    if last and not last.is_obstetric and last.age_low <= age <= last.age_high and dice.chance(0.5):
        return last
    for _ in range(20):
        drawn = draw_condition(dice, sex=persona.sex, age=age, has_obstetrics=has_obstetrics and not persona.canary)
        is_settled = persona.venereal and drawn.setting in VENEREAL
        if not is_settled and not (persona.canary and drawn.setting in VENEREAL):
            return drawn
    return draw_condition(dice, sex=persona.sex, age=age, has_obstetrics=False)


def _plan_chain(
    dice: Dice, persona: Persona, condition: Condition, *, start: datetime, births: int, losses: int
) -> list[Visit]:
    """One visit, or the check-ups and the birth of one pregnancy."""
    age = count_years(persona.birth_date, start.date())
    if condition.setting not in ("antenatal", "delivery", "caesarean"):
        weeks = dice.between(6, 9) if condition.is_obstetric else 0
        return [_plan_visit(dice, condition, start=start, age=age, births=births, losses=losses, weeks=weeks)]
    weeks, check_up = dice.between(12, 30), find_condition("antenatal")
    chain = [_plan_visit(dice, check_up, start=start, age=age, births=births, losses=losses, weeks=weeks)]
    if condition.setting == "antenatal" and dice.chance(0.4):
        return chain
    due = dice.between(38, 40)
    birth = condition if condition.setting != "antenatal" else find_condition("delivery")
    begin = _at(start.date() + timedelta(weeks=due - weeks), dice)
    return [*chain, _plan_visit(dice, birth, start=begin, age=age, births=births, losses=losses, weeks=due)]


def _plan_visit(
    dice: Dice, condition: Condition, *, start: datetime, age: int, births: int, losses: int, weeks: int
) -> Visit:
    kind = _draw_kind(dice, condition)
    if kind != "住院":
        end = start + timedelta(hours=dice.between(1, 6))
        return Visit(condition, kind, start, end, births, losses, weeks)
    days = max(2, round(condition.stay_days * (0.6 + 0.8 * dice.uniform()) * (1.15 if age > 75 else 1.0)))
    factor = 0.3 if age < 50 else 1.0 if age < 76 else 1.8
    is_deceased = dice.chance(condition.mortality * factor)
    end = _at(start.date() + timedelta(days=days), dice)
    is_operated = bool(condition.operation) and not (is_deceased and dice.chance(0.5)) and dice.chance(0.85)
    is_operated = is_operated or condition.setting == "caesarean"
    return Visit(condition, kind, start, end, births, losses, weeks, is_operated, is_deceased)


def _draw_kind(dice: Dice, condition: Condition) -> str:
    if condition.setting in ("delivery", "caesarean", "ectopic"):
        return "住院"
    if condition.setting in ("antenatal", "out") or (condition.setting in VENEREAL and condition.setting != "hiv"):
        return "门诊" if dice.chance(0.93) else "急诊"
    odds = {"both": 0.3, "threatened": 0.4, "abortion": 0.3}.get(condition.setting, 0.5)
    form = dice.uniform()
    return "住院" if form < odds else "门诊" if form < 0.93 else "急诊"
