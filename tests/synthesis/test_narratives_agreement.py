"""Agreement of a note with its record, on worked notes that say the right thing, the wrong thing, or nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from ppsehr_spark.config import read_conf_files
from ppsehr_spark.domain.codelists import load_codelists
from ppsehr_spark.synthesis.narratives import Agreement, check_agreement, compile_narratives
from ppsehr_spark.synthesis.narratives.forms import choose_form, render_note
from ppsehr_spark.synthesis.narratives.mentions import read_number
from ppsehr_spark.synthesis.records import SyntheticEncounter, SyntheticPatient

FILES = read_conf_files()
BOOK = compile_narratives(FILES)
DIAGNOSES = {diagnosis.name: diagnosis for diagnosis in load_codelists(FILES).diagnoses}
HEADER = "入院记录\n科室：心血管内科　入院日期：2021年3月5日\n性别：男　年龄：56岁\n"
FOOTER = "\n初步诊断：急性心肌梗死"


def visit(
    diagnosis: str = "急性心肌梗死", *, age: int = 56, is_deceased: bool = False, kind: str = "住院"
) -> SyntheticEncounter:
    about = DIAGNOSES[diagnosis]
    return SyntheticEncounter(
        "e1", "p1", 1, kind, about.department, about.code, about.name, age, date(2021, 3, 5), date(2021, 3, 12),
        is_deceased,
    )  # fmt: skip


def owner(encounter: SyntheticEncounter, sex: str = "M") -> SyntheticPatient:
    return SyntheticPatient("p1", sex, 2021 - encounter.age_years, (encounter,))


def check(text: str, encounter: SyntheticEncounter, sex: str = "M") -> Agreement:
    return check_agreement(text, encounter, owner(encounter, sex), rules=BOOK.agreement)


def man(prose: str) -> tuple[str, ...]:
    """Contradictions of prose in the admission record of a man of 56 with a heart attack."""
    return check(HEADER + prose + FOOTER, visit()).contradictions


def woman(prose: str, *, diagnosis: str = "肺炎", age: int = 34) -> tuple[str, ...]:
    encounter = visit(diagnosis, age=age)
    header = f"入院日期：2021年3月5日　性别：女　年龄：{age}岁\n"
    return check(header + prose + f"\n诊断：{diagnosis}", encounter, "F").contradictions


def test_a_note_that_says_everything() -> None:
    stated = check(HEADER + "主诉：胸痛3小时。" + FOOTER, visit())
    assert stated == Agreement(6, 6), "sex, age, diagnosis, admission, outcome, one usual finding"


def test_what_is_missing_is_not_agreed_and_not_contradicted() -> None:
    silent = check("主诉：不适。", visit())
    assert silent == Agreement(6, 1), "only that nobody died stands"
    assert check(HEADER + "无胸痛。" + FOOTER, visit()).n_agreed == 5, "a finding that is absent is not the finding"


def test_every_form_of_every_diagnosis_agrees_with_itself() -> None:
    for diagnosis in DIAGNOSES.values():
        for form in BOOK.forms:
            sex = diagnosis.sex or "F"
            encounter = visit(diagnosis.name, age=diagnosis.age_low, is_deceased=form.is_deceased)
            signs = "、".join(BOOK.findings[diagnosis.code].signs)
            prose = dict.fromkeys(form.sections, f"{signs}，{form.outcome}。")
            text = render_note(form, encounter, owner(encounter, sex), sections=prose)
            found = check(text, encounter, sex)
            assert not found.contradictions and found.n_agreed == found.n_checks, (form.name, diagnosis.name, found)


@pytest.mark.parametrize(
    "prose",
    [
        "患者男性，胸痛3小时。",
        "患者56岁，胸痛。",
        "五十六岁男性，胸痛。",
        "20岁时患阑尾炎，40岁起吸烟。",
        "父亲72岁死于心肌梗死，母亲女性亲属均体健。",
        "其妻子怀孕，其女儿8岁。",
        "使用前列腺素后好转。",
        "既往有2型糖尿病、高血压病史。",
        "不考虑肺炎，诊断为急性心肌梗死合并肺炎。",
        "2019年5月1日曾因胸痛就诊。",
        "否认死亡家族史，无死亡风险告知异常。",
        "大夫予以处理。",
        "住院7天，住院共8天。",
        "65岁以上人群常见。",
        "育有1女。",
    ],
)
def test_prose_that_may_stand(prose: str) -> None:
    assert man(prose) == ()


@pytest.mark.parametrize(
    ("prose", "code"),
    [
        ("患者女性，胸痛3小时。", "OTHER_SEX"),
        ("患者，女，胸痛。", "OTHER_SEX"),
        ("老年女患者。", "OTHER_SEX"),
        ("月经规律。", "OTHER_SEX"),
        ("子宫切除术后。", "OTHER_SEX"),
        ("患者65岁，胸痛。", "OTHER_AGE"),
        ("六十五岁，胸痛。", "OTHER_AGE"),
        ("70岁时患脑梗死。", "OTHER_AGE"),
        ("患儿8个月大。", "OTHER_AGE"),
        ("确诊为肺炎。", "OTHER_DIAGNOSIS"),
        ("心电图诊断为脑梗死。", "OTHER_DIAGNOSIS"),
        ("诊断：2型糖尿病。", "OTHER_DIAGNOSIS"),
        ("停经3个月。", "IMPOSSIBLE_PREGNANCY"),
        ("否认妊娠。", "IMPOSSIBLE_PREGNANCY"),
        ("出院日期：2021年3月13日", "OTHER_DATE"),
        ("入院日期：2021年3月4日", "OTHER_DATE"),
        ("2022年1月1日复诊。", "OTHER_DATE"),
        ("2021-02-30 起病。", "OTHER_DATE"),
        ("1931年5月1日起病。", "OTHER_DATE"),
        ("住院21天。", "OTHER_STAY"),
        ("住院天数：2天。", "OTHER_STAY"),
        ("抢救无效死亡。", "OTHER_OUTCOME"),
        ("宣布临床死亡。", "OTHER_OUTCOME"),
    ],
)
def test_prose_that_contradicts(prose: str, code: str) -> None:
    assert man(prose) == (code,)


@pytest.mark.parametrize(
    ("prose", "age", "diagnosis", "codes"),
    [
        ("停经40天。", 34, "肺炎", ()),
        ("停经40天。", 8, "肺炎", ("IMPOSSIBLE_PREGNANCY",)),
        ("现妊娠20周。", 70, "肺炎", ("IMPOSSIBLE_PREGNANCY",)),
        ("既往剖宫产史。", 70, "肺炎", ()),
        ("无妊娠。", 70, "肺炎", ()),
        ("B超未见妊娠囊，无妊娠迹象。", 30, "宫内妊娠（产前检查）", ("DENIED_PREGNANCY",)),
        ("妊娠20周，无不适。", 30, "宫内妊娠（产前检查）", ()),
        ("前列腺增大。", 34, "肺炎", ("OTHER_SEX",)),
        ("患者男，咳嗽。", 34, "肺炎", ("OTHER_SEX",)),
        ("丈夫男性不育。", 34, "女性不孕症", ()),
    ],
)
def test_prose_about_women(prose: str, age: int, diagnosis: str, codes: tuple[str, ...]) -> None:
    assert woman(prose, diagnosis=diagnosis, age=age) == codes


@pytest.mark.parametrize(
    ("prose", "codes"),
    [
        ("抢救无效死亡。", ()),
        ("病情好转出院。", ("OTHER_OUTCOME",)),
        ("抢救无效死亡，嘱门诊随访。", ("OTHER_OUTCOME",)),
    ],
)
def test_the_dead_do_not_go_home(prose: str, codes: tuple[str, ...]) -> None:
    encounter = visit(is_deceased=True)
    found = check(HEADER + "胸痛。" + prose + FOOTER, encounter)
    assert found.contradictions == codes
    assert (found.n_agreed == found.n_checks) is (codes == ())


def test_a_contradicted_statement_is_not_agreed_although_it_also_stands() -> None:
    found = check(HEADER + "胸痛，患者78岁。" + FOOTER, visit())
    assert (found.n_checks, found.n_agreed, found.contradictions) == (6, 5, ("OTHER_AGE",))


def test_infants_have_no_years() -> None:
    encounter = visit("急性支气管炎", age=0)
    text = "入院日期：2021年3月5日　性别：男　年龄：不满1岁\n咳嗽3天，患儿8个月大。\n诊断：急性支气管炎"
    assert check(text, encounter) == Agreement(6, 6)
    assert check(text.replace("8个月", "18个月"), encounter).contradictions == ("OTHER_AGE",)


def test_several_contradictions_are_named_once_each() -> None:
    assert man("女，女，23岁，32岁，确诊为肺炎。") == ("OTHER_AGE", "OTHER_DIAGNOSIS", "OTHER_SEX")


@pytest.mark.parametrize(
    ("text", "number"),
    [("56", 56), ("五十六", 56), ("十", 10), ("十八", 18), ("一百零二", 102), ("九", 9), ("二十", 20)],
)
def test_numbers_in_words(text: str, number: int) -> None:
    assert read_number(text) == number


def test_the_form_follows_type_and_outcome() -> None:
    names = {choose_form(BOOK.forms, replace(visit(), synthetic_encounter_id=f"e{n}")).name for n in range(40)}
    assert names == {"入院记录", "出院记录"}, "both forms of a stay occur"
    assert choose_form(BOOK.forms, visit(is_deceased=True)).name == "死亡记录"
    assert choose_form(BOOK.forms, visit(kind="门诊")).name == "门诊病历"
    assert choose_form(BOOK.forms, visit(kind="急诊")).name == "急诊病历"
