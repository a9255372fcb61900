"""One patient from index and settings: persona, visits, notes.

Knows: which notes an encounter leaves and when. Must not know: files, Spark, recognisers (the gold must not lean on
the rules it will judge).
"""

from __future__ import annotations

from datetime import date, datetime, timedelta

from ppsehr_spark.config import SimulateSettings
from ppsehr_spark.synthesis.simulator.conditions import VENEREAL
from ppsehr_spark.synthesis.simulator.course import Persona, Visit, count_years, draw_persona, plan_visits
from ppsehr_spark.synthesis.simulator.dice import Dice
from ppsehr_spark.synthesis.simulator.draft import Fragment
from ppsehr_spark.synthesis.simulator.records import Encounter, Patient, SimulatedNote, SimulatedPatient
from ppsehr_spark.synthesis.simulator.registration import Registration, register
from ppsehr_spark.synthesis.simulator.scene import Scene, draw_fixed, draw_staff
from ppsehr_spark.synthesis.simulator.writer import Writer

#: Topics whose sentences are copied forward from one encounter to the next, not only within one.
_LASTING_TOPICS = ("past", "personal", "family")


def simulate_patient(index: int, settings: SimulateSettings) -> SimulatedPatient:
    """The patient at ``index``: equal for equal (seed, index, settings), whatever else is simulated.

    Args:
        index: 0 <= index.
        settings: seed, recurrence and the range of years.

    Returns:
        Patient, encounters and notes in order of time; at least one encounter and one note.
    """
    dice = Dice(settings.seed, index)
    persona, first = draw_persona(dice, index=index, settings=settings)
    visits = plan_visits(dice, persona, first, settings=settings)
    registered = _register(persona, visits, settings)
    memory: dict[str, list[Fragment]] = {}
    notes: list[SimulatedNote] = []
    for encounter, visit in zip(registered.encounters, visits, strict=True):
        memory = {topic: memory[topic] for topic in _LASTING_TOPICS if topic in memory}
        notes.extend(_write_notes(dice, persona, visit, encounter=encounter, memory=memory, settings=settings))
    patient = _build_patient(dice, persona, visits, registered=registered)
    return SimulatedPatient(patient, registered.encounters, tuple(notes))


def simulate_record(index: int, settings: SimulateSettings) -> SimulatedPatient:
    """The patient at ``index`` as a registry keeps one whose visits left no electronic notes.

    Same draw as ``simulate_patient`` (only a death long after the last visit may differ: notes come before it in the
    stream of chance), without prose: 0.2 ms.

    Args:
        index: 0 <= index.
        settings: seed and the range of years.

    Returns:
        Patient and encounters in order of time, no notes.
    """
    dice = Dice(settings.seed, index)
    persona, first = draw_persona(dice, index=index, settings=settings)
    visits = plan_visits(dice, persona, first, settings=settings)
    registered = _register(persona, visits, settings)
    return SimulatedPatient(_build_patient(dice, persona, visits, registered=registered), registered.encounters, ())


def _register(persona: Persona, visits: tuple[Visit, ...], settings: SimulateSettings) -> Registration:
    return register(persona.home, _build_encounters(persona, visits), seed=settings.seed, index=persona.index)


def _build_patient(dice: Dice, persona: Persona, visits: tuple[Visit, ...], *, registered: Registration) -> Patient:
    return Patient(
        patient_id=f"P{persona.index:08d}", sex=persona.sex, birth_date=persona.birth_date,
        death_date=_draw_death(dice, persona, visits), marital_status=persona.marital, name=persona.name,
        id_number=persona.id_number, phone=persona.phone, address=persona.address,
        region=registered.region, city=registered.city,
    )  # fmt: skip


def _draw_death(dice: Dice, persona: Persona, visits: tuple[Visit, ...]) -> date | None:
    last = visits[-1]
    if last.is_deceased:
        return last.end.date()
    is_late = count_years(persona.birth_date, last.end.date()) > 70 and dice.chance(0.04)
    return last.end.date() + timedelta(days=dice.between(30, 400)) if is_late else None


def _build_encounters(persona: Persona, visits: tuple[Visit, ...]) -> tuple[Encounter, ...]:
    return tuple(_build_encounter(persona, visit, at) for at, visit in enumerate(visits))


def _build_encounter(persona: Persona, visit: Visit, at: int) -> Encounter:
    chronic = {"htn": "I10.x00", "dm": "E11.900", "hepb": "B18.100"}
    others = sorted(chronic[name] for name in persona.chronic if chronic[name] != visit.condition.code)
    return Encounter(
        encounter_id=f"E{persona.index:08d}-{at + 1:02d}", patient_id=f"P{persona.index:08d}",
        encounter_type=visit.kind, department=visit.condition.department, admitted_at=visit.start,
        discharged_at=visit.end, diagnosis_codes=(visit.condition.code, *others), is_deceased=visit.is_deceased,
    )  # fmt: skip


def collect_flags(persona: Persona, visit: Visit) -> set[str]:
    """What guards may ask about this patient at this visit."""
    age, setting = count_years(persona.birth_date, visit.start.date()), visit.condition.setting
    marital = {"未婚": "unmarried", "已婚": "married", "离异": "divorced", "丧偶": "widowed"}[persona.marital]
    is_woman, is_birth = persona.sex == "F", setting in ("delivery", "caesarean")
    truths = {
        "child": age < 14, "minor": age < 18, "adult": age >= 18, "elder": age >= 65,
        "fertile": is_woman and 15 <= age <= 50, "menopause": is_woman and age > 53,
        "ob": visit.condition.is_obstetric, "preg": visit.condition.is_obstetric, "birth": is_birth,
        "fetal": is_birth or setting == "antenatal", "surg": visit.is_operated, "died": visit.is_deceased,
        "parent": (visit.births if is_woman else persona.births) > 0, "losses": visit.losses > 0,
        "parous": is_woman and visit.births > 0, "nulliparous": is_woman and visit.births + visit.losses == 0,
        "std": bool(persona.venereal) or setting in VENEREAL, "stdvisit": setting in VENEREAL,
        "canary": persona.canary is not None, "inpatient": visit.kind == "住院",
    }  # fmt: skip
    named = {persona.sex, marital, setting, *persona.chronic, persona.venereal}
    return {name for name, holds in truths.items() if holds} | {name for name in named if name}


def plan_notes(dice: Dice, visit: Visit) -> list[tuple[str, float]]:
    """Note types with their place in the encounter (0 admission, 1 discharge), in order of time."""
    plans = {"门诊": _plan_outpatient, "急诊": _plan_emergency, "住院": _plan_inpatient}
    return sorted(plans[visit.kind](dice, visit), key=lambda item: item[1])


def _maybe(dice: Dice, *items: tuple[str, float, float]) -> list[tuple[str, float]]:
    return [(note_type, place) for note_type, place, probability in items if dice.chance(probability)]


def _plan_outpatient(dice: Dice, visit: Visit) -> list[tuple[str, float]]:
    optional = _maybe(dice, ("检验报告", 0.5, 0.35), ("影像报告", 0.7, 0.25), ("随访记录", 1.0, 0.25))
    return [("门诊病历", 0.1), *optional]


def _plan_emergency(dice: Dice, visit: Visit) -> list[tuple[str, float]]:
    return [("急诊病历", 0.05), *_maybe(dice, ("检验报告", 0.4, 0.8), ("影像报告", 0.5, 0.6), ("护理记录", 0.8, 0.5))]


def _plan_inpatient(dice: Dice, visit: Visit) -> list[tuple[str, float]]:
    days = max(1, (visit.end.date() - visit.start.date()).days)
    plan = [("入院记录", 0.01), ("首次病程记录", 0.02), ("医嘱单", 0.03), ("护理记录", 0.2), ("检验报告", 0.1)]
    plan += [("日常病程记录", 0.3 + 0.5 * dice.uniform()) for _ in range(min(4, 1 + days // 4))]
    plan += _maybe(dice, ("上级医师查房记录", 0.25, 0.9), ("护理记录", 0.6, 0.6), ("影像报告", 0.15, 0.7))
    plan += _maybe(
        dice, ("会诊记录", 0.45, 0.35), ("知情同意书", 0.12, 0.4), ("随访记录", 1.0, 0.0 if visit.is_deceased else 0.2)
    )
    if visit.is_operated:
        plan += [("手术记录", 0.2), *_maybe(dice, ("术前小结", 0.15, 0.7), ("知情同意书", 0.16, 0.9))]
    if visit.condition.setting == "delivery":
        plan.append(("分娩记录", 0.3))
    plan.append(("死亡记录" if visit.is_deceased else "出院记录", 0.999))
    return plan


def _write_notes(
    dice: Dice,
    persona: Persona,
    visit: Visit,
    *,
    encounter: Encounter,
    memory: dict[str, list[Fragment]],
    settings: SimulateSettings,
) -> list[SimulatedNote]:
    fixed = draw_fixed(dice, persona=persona, visit=visit)
    scene = Scene(dice, persona=persona, visit=visit, staff=draw_staff(dice), fixed=fixed)
    flags = collect_flags(persona, visit)
    writer = Writer(dice, flags=flags, resolve=scene.resolve, recurrence=settings.recurrence, memory=memory)
    notes = []
    timed = sorted((_time_note(visit, place), place, note_type) for note_type, place in plan_notes(dice, visit))
    for at, (moment, place, note_type) in enumerate(timed):
        scene.now = moment
        if "birth" in flags and place > 0.3:
            flags.discard("fetal")
            flags.add("delivered")
        _set_occasional(dice, flags)
        text, spans = writer.write_note(note_type).finish()
        notes.append(SimulatedNote(
            note_id=f"N{encounter.encounter_id[1:]}-{at + 1:03d}", patient_id=encounter.patient_id,
            encounter_id=encounter.encounter_id, note_type=note_type, department=encounter.department,
            noted_at=scene.now, text=text, spans=spans,
        ))  # fmt: skip
    return notes


def _time_note(visit: Visit, place: float) -> datetime:
    """A whole minute between admission and discharge; wards write by day, so nights move to the morning."""
    at = visit.start + timedelta(minutes=int((visit.end - visit.start).total_seconds() / 60 * place))
    if visit.kind != "住院" or 7 <= at.hour < 22:
        return at
    moved = at.replace(hour=8, minute=10 + at.minute % 40) + timedelta(days=at.hour >= 22)
    return min(max(moved, visit.start), visit.end)


def _set_occasional(dice: Dice, flags: set[str]) -> None:
    for flag, probability in (("letterhead", 0.4), ("long", 0.02)):
        flags.discard(flag)
        if dice.chance(probability):
            flags.add(flag)
