"""The values that templates ask for: every ``{slot}`` of a note, drawn or looked up.

Knows: how persona, visit and staff are written down. Must not know: which sentence asks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from ppsehr_spark.synthesis.simulator import obstetrics, venereal, vitals
from ppsehr_spark.synthesis.simulator.conditions import load_labs
from ppsehr_spark.synthesis.simulator.course import Persona, Visit, count_years
from ppsehr_spark.synthesis.simulator.dice import Dice
from ppsehr_spark.synthesis.simulator.draft import Fragment, join, mark
from ppsehr_spark.synthesis.simulator.laboratory import write_abnormal, write_table
from ppsehr_spark.synthesis.simulator.people import (
    draw_name,
    draw_residence_permit,
    draw_surname,
    find_surname,
    write_anonymous,
    write_email,
    write_id,
    write_landline,
    write_phone,
    write_qq,
    write_titled,
    write_wechat,
)
from ppsehr_spark.synthesis.simulator.places import (
    draw_brand,
    draw_division,
    draw_home,
    draw_hospital,
    write_low,
    write_medium,
)

_TITLES = ("主任", "主任", "主任医师", "副主任医师", "教授", "主任")
_OUTSIDE_TITLES = ("医生", "大夫", "医师", "主任")
_STAFF = ("doctor", "attending", "chief", "anaes", "nurse", "radiologist", "radiologist2", "technician", "technician2")
_DEPARTMENTS = (
    "心血管内科",
    "呼吸与危重症医学科",
    "神经内科",
    "消化内科",
    "内分泌科",
    "肾内科",
    "感染科",
    "麻醉科",
    "康复医学科",
    "营养科",
    "普外科",
    "骨科",
)
_JOBS = ("农民", "工人", "退休", "职员", "教师", "个体", "公务员", "自由职业", "司机", "会计")
_WORKPLACES = (
    "科技有限公司",
    "建筑工程公司",
    "纺织厂",
    "机械厂",
    "食品有限公司",
    "物流公司",
    "中学",
    "小学",
    "农业合作社",
)
_ETHNIC = ("汉族", "汉族", "汉族", "汉族", "汉族", "汉族", "回族", "满族", "壮族", "土家族", "苗族")
_PANELS = ("血常规", "肝肾功能", "电解质", "凝血功能", "血脂", "甲状腺功能", "尿常规")
_IMAGES = ("胸部CT平扫", "腹部彩超", "头颅MRI", "心脏彩超", "胸部正位片", "颈部血管彩超", "腹部增强CT", "下肢静脉彩超")
_PELVIC_IMAGES = ("盆腔彩超", "腹部彩超", "泌尿系彩超")
_COUNTRIES = ("德国", "日本", "美国", "中国", "瑞士", "丹麦", "法国")
_ROUTES = ("口服", "ivgtt", "iv", "皮下注射", "雾化吸入", "肌注")
_PRESSURE_DRUGS = ("氨氯地平片", "硝苯地平控释片", "厄贝沙坦", "缬沙坦")
_FREQUENCIES = ("qd", "bid", "tid", "q8h", "q12h", "qn", "st")


@dataclass(frozen=True, slots=True)
class Staff:
    """Full names of those who treat in one encounter, by role."""

    names: dict[str, str]


def draw_staff(dice: Dice) -> Staff:
    """The team of one encounter."""
    years = {"chief": 1966, "attending": 1978, "nurse": 1992}
    sexes = {"nurse": "F"}
    return Staff({
        role: draw_name(dice, sex=sexes.get(role, dice.pick("MF")), birth_year=years.get(role, 1987)) for role in _STAFF
    })  # fmt: skip


class Scene:
    """One note about to be written: resolves slots for its writer."""

    def __init__(self, dice: Dice, *, persona: Persona, visit: Visit, staff: Staff, fixed: dict[str, str]) -> None:
        self.dice = dice
        self.persona = persona
        self.visit = visit
        self.staff = staff
        self.fixed = fixed
        self.now: datetime = visit.start
        self.age = count_years(persona.birth_date, visit.start.date())

    def resolve(self, name: str) -> Fragment | str:
        """The value of a slot.

        Raises:
            KeyError: no such slot.
        """
        if name in self.fixed:
            return self.fixed[name]
        if name in self.staff.names:
            return mark(self.staff.names[name], "NAME")
        return SLOTS[name](self)


def draw_fixed(dice: Dice, *, persona: Persona, visit: Visit) -> dict[str, str]:
    """Plain values that stay the same over one encounter."""
    condition = visit.condition
    at = dice.between(0, len(condition.drugs) - 1)
    return {
        "drug1": condition.drugs[at], "drug2": condition.drugs[at - 1], "code": condition.code,
        "dept": condition.department,
        "symptom": dice.pick(condition.symptoms or ("不适",)), "sign": dice.pick(condition.signs or ("一般情况可",)),
        "dur": _draw_duration(dice, onset=condition.onset, age=count_years(persona.birth_date, visit.start.date())),
        "drughtn": dice.pick(_PRESSURE_DRUGS), "mrn": dice.digits(dice.between(6, 10)),
        "bed": str(dice.between(1, 68)), "insno": dice.digits(dice.between(9, 12)),
        "job": _draw_job(dice, age=count_years(persona.birth_date, visit.start.date())),
        "ethnic": dice.pick(_ETHNIC), "sexword": "男" if persona.sex == "M" else "女",
        "amen": str(visit.weeks * 7 + dice.between(0, 6)), "weeks": obstetrics.write_weeks(dice, visit.weeks),
        "amen0": str(dice.between(34, 42)), "early": str(dice.between(6, 9)),
        "staydays": str(max(1, (visit.end.date() - visit.start.date()).days)),
    }  # fmt: skip


def _draw_job(dice: Dice, *, age: int) -> str:
    return "儿童" if age < 6 else "学生" if age < 18 else "退休" if age > 62 and dice.chance(0.6) else dice.pick(_JOBS)


def _draw_duration(dice: Dice, *, onset: str, age: int) -> str:
    """How long it has lasted, in the words of a chief complaint."""
    if onset == "acute" or age < 3:
        return dice.pick((f"{dice.between(1, 9)}天", f"{dice.between(2, 20)}小时", f"{dice.between(1, 5)}天", "半天"))
    if onset == "subacute":
        return dice.pick((f"{dice.between(1, 6)}周", f"{dice.between(1, 10)}月", f"{dice.between(10, 25)}天"))
    years = max(1, min(16, age // 4))
    return dice.pick((f"{dice.between(1, 11)}月", f"{dice.between(1, years)}年", f"{dice.between(1, years)}年余"))


def _write_day(dice: Dice, day: date) -> str:
    form = dice.uniform()
    if form < 0.55:
        return f"{day:%Y-%m-%d}"
    return f"{day.year}年{day.month}月{day.day}日" if form < 0.85 else f"{day:%Y.%m.%d}"


def _past(scene: Scene) -> str:
    longest = max(2, min(700, (scene.now.date() - scene.persona.birth_date).days - 20))
    return _write_day(scene.dice, scene.now.date() - timedelta(days=scene.dice.between(2, longest)))


def _ahead(scene: Scene) -> str:
    return _write_day(scene.dice, scene.now.date() + timedelta(days=scene.dice.between(1, 45)))


def _write_age(scene: Scene) -> Fragment | str:
    if scene.age >= 18:
        return f"{scene.age}岁"
    if scene.age >= 1:
        return Fragment(f"{scene.age}岁", facts=frozenset({"minor"}))
    months = max(1, (scene.now.date() - scene.persona.birth_date).days // 30)
    return Fragment(f"{months}月", facts=frozenset({"minor"}))


def _write_marital(scene: Scene) -> Fragment | str:
    word = scene.persona.marital
    return Fragment(word, facts=frozenset({"unmarried"})) if word == "未婚" else word


def _name_patient(scene: Scene) -> Fragment:
    persona = scene.persona
    surname = find_surname(persona.name)
    if persona.canary is None and surname and scene.dice.chance(0.05):
        return write_anonymous(scene.dice, surname)
    return mark(persona.name, "NAME")


def _plain_or(scene: Scene, write: Callable[[Dice, str], Fragment], value: str, category: str) -> Fragment:
    return mark(value, category) if scene.persona.canary else write(scene.dice, value)


def _years(scene: Scene) -> str:
    return str(scene.dice.between(1, max(1, min(25, scene.age - 22))))


def _kids(scene: Scene) -> str:
    births = scene.visit.births if scene.persona.sex == "F" else max(1, scene.persona.births)
    sons = scene.dice.between(0, births)
    parts = [f"{count}{word}" for count, word in ((sons, "子"), (births - sons, "女")) if count]
    return "".join(parts)


def _kin_age(scene: Scene) -> str:
    return str(max(20, scene.age + scene.persona.wed_age % 7 - 3))


def _company(scene: Scene) -> str:
    place = scene.persona.home
    return (
        (place.city or place.province)
        + scene.dice.pick(("宏达", "华兴", "永安", "新程", "瑞丰"))
        + scene.dice.pick(_WORKPLACES)
    )


def _hospital(scene: Scene) -> Fragment:
    division = scene.persona.home if scene.dice.chance(0.75) else draw_division(scene.dice)
    return mark(draw_hospital(scene.dice, division), "HOSPITAL")


def _disease(scene: Scene) -> Fragment | str:
    condition, visit = scene.visit.condition, scene.visit
    if condition.is_obstetric:
        return obstetrics.write_diagnosis(scene.dice, visit, weeks=scene.fixed["weeks"])
    return venereal.write_diagnosis(condition.setting) or condition.name


def _operation(scene: Scene) -> Fragment | str:
    return obstetrics.write_operation(scene.visit) or scene.visit.condition.operation or "深静脉置管术"


def _complaint(scene: Scene) -> Fragment | str:
    if scene.visit.condition.is_obstetric:
        return obstetrics.write_complaint(scene.dice, scene.visit, weeks=scene.fixed["weeks"], days=scene.fixed["amen"])
    return scene.fixed["symptom"] + scene.fixed["dur"]


def _lives(scene: Scene) -> Fragment:
    return write_medium(scene.dice, scene.persona.home)


def _origin(scene: Scene) -> Fragment:
    origin = scene.persona.birthplace
    return write_low(scene.dice, origin) if scene.dice.chance(0.6) else write_medium(scene.dice, origin)


def _somewhere(scene: Scene) -> Fragment:
    division = draw_division(scene.dice)
    return write_low(scene.dice, division) if scene.dice.chance(0.65) else mark(division.county, "ADDRESS", 2)


def _clock(scene: Scene) -> str:
    return f"{scene.dice.between(6, 22):02d}:{scene.dice.between(0, 59):02d}"


def _has_fever(scene: Scene) -> bool:
    return "热" in scene.fixed["symptom"]


def _has_hypertension(scene: Scene) -> bool:
    return "htn" in scene.persona.chronic or scene.visit.condition.code.startswith("I10")


def _titled(scene: Scene) -> Fragment:
    return write_titled(scene.dice, draw_surname(scene.dice), _TITLES)


SLOTS: dict[str, Callable[[Scene], Fragment | str]] = {
    "patient": _name_patient,
    "age": _write_age,
    "marital": _write_marital,
    "native": lambda s: write_low(s.dice, s.persona.birthplace),
    "birthplace": _origin,
    "lives": _lives,
    "place": _somewhere,
    "addr": lambda s: mark(s.persona.address, "ADDRESS", 3),
    "newaddr": lambda s: mark(draw_home(s.dice, s.persona.home), "ADDRESS", 3),
    "id": lambda s: _plain_or(s, write_id, s.persona.id_number, "ID"),
    "phone": lambda s: _plain_or(s, write_phone, s.persona.phone, "CONTACT"),
    "kinphone": lambda s: write_phone(s.dice, s.persona.kin_phone) if s.dice.chance(0.85) else write_landline(s.dice),
    "landline": lambda s: write_landline(s.dice),
    "email": lambda s: write_email(s.dice),
    "wechat": lambda s: write_wechat(s.dice),
    "qq": lambda s: write_qq(s.dice),
    "kin": lambda s: mark(s.persona.kin_name, "NAME"),
    "kinrel": lambda s: s.persona.kin_relation,
    "kinage": _kin_age,
    "parentage": lambda s: str(s.age + s.dice.between(23, 33)),
    "kids": _kids,
    "wedage": lambda s: str(s.persona.wed_age),
    "wedyears": lambda s: str(max(1, s.age - s.persona.wed_age)),
    "yrs": _years,
    "menoyears": lambda s: str(max(1, s.age - s.dice.between(48, 53))),
    "company": _company,
    "hosp": lambda s: mark(s.persona.hospital, "HOSPITAL"),
    "hospx": _hospital,
    "hospshort": lambda s: mark(draw_brand(s.dice), "HOSPITAL"),
    "hospy": _hospital,
    "drtitle": _titled,
    "drtitle2": _titled,
    "anon": lambda s: write_anonymous(s.dice, draw_surname(s.dice)),
    "sibling": lambda s: mark(draw_name(s.dice, sex=s.dice.pick("MF"), birth_year=s.persona.birth_date.year), "NAME"),
    "hkid": lambda s: mark(draw_residence_permit(s.dice, birth=s.persona.birth_date), "ID"),
    "outdr": lambda s: write_titled(s.dice, draw_surname(s.dice), _OUTSIDE_TITLES),
    "worker": lambda s: join(mark(draw_surname(s.dice), "NAME"), s.dice.pick(("师傅", "阿姨", "大姐"))),
    "disease": _disease,
    "op": _operation,
    "complaint": _complaint,
    "parity": lambda s: obstetrics.write_parity(s.dice, s.visit),
    "lossn": lambda s: f"{max(1, s.visit.losses)}次",
    "lmp": lambda s: _write_day(s.dice, s.visit.start.date() - timedelta(weeks=s.visit.weeks)),
    "lmpnow": lambda s: _write_day(s.dice, s.now.date() - timedelta(days=s.dice.between(3, 27))),
    "edc": lambda s: _write_day(s.dice, s.visit.start.date() + timedelta(weeks=40 - s.visit.weeks)),
    "pastdate": lambda s: obstetrics.write_past_year(s.dice, age=s.age, now=s.now.date(), wed_age=s.persona.wed_age),
    "imaging": lambda s: s.dice.pick(s.visit.condition.imaging),
    "imgexam": lambda s: s.dice.pick(_PELVIC_IMAGES if s.visit.condition.is_obstetric else _IMAGES),
    "abn": lambda s: write_abnormal(s.dice, s.visit.condition, load_labs()),
    "labtable": lambda s: write_table(s.dice, s.visit.condition, load_labs()),
    "panel": lambda s: s.dice.pick(_PANELS),
    "dept2": lambda s: s.dice.pick(_DEPARTMENTS),
    "titer": lambda s: str(2 ** s.dice.between(3, 7)),
    "country": lambda s: s.dice.pick(_COUNTRIES),
    "route": lambda s: s.dice.pick(_ROUTES),
    "freq": lambda s: s.dice.pick(_FREQUENCIES),
    "lot": lambda s: f"{s.dice.pick('ABCDHZ')}{s.dice.digits(7)}",
    "barcode": lambda s: s.dice.digits(s.dice.pick((10, 12, 13))),
    "recno": lambda s: s.dice.pick(("", "CT", "US", "B")) + s.dice.digits(8),
    "postcode": lambda s: s.dice.pick("12345678") + s.dice.digits(5),
    "clock": _clock,
    "nowtime": lambda s: f"{s.now:%H:%M}",
    "temp": lambda s: vitals.write_temperature(s.dice, has_fever=_has_fever(s)),
    "hr": lambda s: vitals.write_pulse(s.dice, age=s.age),
    "rr": lambda s: vitals.write_breaths(s.dice, age=s.age),
    "bp": lambda s: vitals.write_pressure(s.dice, age=s.age, has_hypertension=_has_hypertension(s)),
    "height": lambda s: vitals.write_height(s.dice, age=s.age, sex=s.persona.sex),
    "weight": lambda s: vitals.write_weight(s.dice, age=s.age, sex=s.persona.sex),
    "today": lambda s: _write_day(s.dice, s.now.date()),
    "adm": lambda s: _write_day(s.dice, s.visit.start.date()),
    "dis": lambda s: _write_day(s.dice, s.visit.end.date()),
    "opdate": lambda s: _write_day(s.dice, s.visit.start.date() + timedelta(days=1)),
    "date0": _past,
    "date1": _ahead,
    "canaryprose": lambda s: s.persona.canary.prose if s.persona.canary else "",
}
