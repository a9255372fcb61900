"""How pregnancies are written down, with the tiers of the guideline's clarifications on parity.

Knows: parity that adds up (any loss 3, a present pregnancy or birth 2, live births only 1). Must not know: templates.
"""

from __future__ import annotations

from datetime import date

from ppsehr_spark.synthesis.simulator.course import Visit
from ppsehr_spark.synthesis.simulator.dice import Dice
from ppsehr_spark.synthesis.simulator.draft import Fragment, join, mark

_CURRENT = 0
_BIRTHS = ("delivery", "caesarean")


def write_weeks(dice: Dice, weeks: int) -> str:
    """Weeks of gestation: ``39`` or ``39+2``."""
    return f"{weeks}+{dice.between(1, 6)}" if dice.chance(0.6) else str(weeks)


def write_parity(dice: Dice, visit: Visit) -> Fragment:
    """``孕2产1`` or ``G2P1`` as it stands at this visit."""
    is_current = visit.condition.is_obstetric
    gravidity = visit.births + visit.losses + is_current
    tier = 3 if visit.losses else _CURRENT if is_current else 1
    form = dice.uniform()
    if form < 0.6:
        written = f"孕{gravidity}产{visit.births}"
    else:
        written = f"G{gravidity}P{visit.births}" if form < 0.9 else f"孕{gravidity}次产{visit.births}次"
    return mark(written, "PREGNANCY", tier)


def write_complaint(dice: Dice, visit: Visit, *, weeks: str, days: str) -> Fragment:
    """Reason for admission."""
    if visit.condition.setting in (*_BIRTHS, "antenatal"):
        return join(mark(f"停经{weeks}周", "PREGNANCY", _CURRENT), dice.pick(("，下腹痛", "，阴道流液", "，要求住院")))
    return join(mark(f"停经{days}天", "PREGNANCY", _CURRENT), dice.pick(("，阴道流血", "，下腹痛")))


def write_diagnosis(dice: Dice, visit: Visit, *, weeks: str) -> Fragment:
    """Diagnosis as written at the end of a note."""
    setting = visit.condition.setting
    if setting == "threatened":
        return mark("先兆流产", "PREGNANCY", 3)
    if setting == "ectopic":
        return mark(dice.pick(("输卵管妊娠", "异位妊娠", "右侧输卵管妊娠")), "PREGNANCY", 3)
    if setting == "abortion":
        return mark(dice.pick(("早孕", "宫内早孕")), "PREGNANCY", _CURRENT)
    current = mark(dice.pick((f"孕{weeks}周", f"宫内孕{weeks}周", f"宫内妊娠{weeks}周")), "PREGNANCY", _CURRENT)
    if setting == "antenatal":
        return current
    birth = "剖宫产" if setting == "caesarean" else dice.pick(("经阴道分娩", "顺产"))
    return join(write_parity(dice, visit), "，", current, "，", mark(birth, "PREGNANCY", _CURRENT))


def write_operation(visit: Visit) -> Fragment | None:
    """The obstetric operation, ``None`` where it is not a pregnancy mention."""
    if visit.condition.setting == "caesarean":
        return join("子宫下段", mark("剖宫产术", "PREGNANCY", _CURRENT))
    return mark("人工流产术", "PREGNANCY", 3) if visit.condition.setting == "abortion" else None


def write_past_year(dice: Dice, *, age: int, now: date, wed_age: int) -> str:
    """Year and month of an earlier pregnancy: after marriage, before last year, before the 45th birthday."""
    youngest = min(max(wed_age, 19), age - 1)
    years_ago = dice.between(max(1, age - 44), max(1, age - youngest))
    return f"{now.year - years_ago}年{dice.between(1, 12)}月"
