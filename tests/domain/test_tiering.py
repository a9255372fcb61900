"""Tier rules: the table of the guideline, its clarifications, and a new tiered category by conf alone."""

from __future__ import annotations

import pytest

from ppsehr_spark.config import read_conf_files
from ppsehr_spark.domain.notes import Note, Span
from ppsehr_spark.domain.tiering import TierRules
from ppsehr_spark.errors import ConfigurationError

RULES = TierRules(read_conf_files())


def tier_of(text: str, mention: str, category: str, **about: object) -> tuple[int | None, str]:
    """Tier and rule id of the one mention given; other spans are not known."""
    start = text.index(mention)
    note = Note("n", text, **about)  # type: ignore[arg-type]
    span = RULES.assign(note, [Span(start, start + len(mention), category)])[0]
    return span.tier, span.tier_rule


@pytest.mark.parametrize(
    ("address", "tier"),
    [
        ("山东省", 1), ("山东", 1), ("济南市", 1), ("山东省济南市", 1), ("山东济南", 1), ("北京市", 1),
        ("内蒙古自治区", 1),
        ("新疆维吾尔自治区伊犁哈萨克自治州", 1), ("延边朝鲜族自治州", 1), ("湖南省长沙市", 1), ("浙江·宁波", 1),
        ("江苏省昆山市", 2), ("昆山", 2), ("北京市朝阳区", 2), ("海淀", 2), ("长沙县", 2), ("河北省正定县", 2),
        ("海淀区中关村街道", 2), ("大兴区黄村镇", 2), ("阳光花园小区", 2), ("解放路", 2), ("张家村", 2),
        ("鄂温克族自治旗", 2),
        ("岳麓区麓山南路12号", 3), ("阳光小区3栋2单元501室", 3), ("张家村3组", 3), ("李庄村第五村民小组", 3),
        ("建设路１８号", 3),
        ("中山路88号院", 3), ("阳光小区3-2-501", 3), ("幸福里二号楼", 3), ("朝阳区建国路甲12号", 3), ("科技大厦", 3),
        ("芙蓉区五一大道10号4楼", 3), ("王家湾村六组", 3), ("10号线", 2),
    ],
)  # fmt: skip
def test_address_by_its_finest_level(address: str, tier: int) -> None:
    assert tier_of(f"现住{address}。", address, "ADDRESS")[0] == tier


@pytest.mark.parametrize(
    ("text", "mention", "tier"),
    [
        ("否认高血压、结核、梅毒、艾滋病等传染病史。", "梅毒、艾滋病", 1),
        ("否认肝炎、结核，梅毒、艾滋病等传染病史。", "梅毒、艾滋病", 1),
        ("否认肝炎，有梅毒病史。", "梅毒病史", 3),
        ("无发热，梅毒抗体阳性。", "梅毒抗体阳性", 3),
        ("不能排除梅毒。", "梅毒", 2),
        ("梅毒？", "梅毒", 2),
        ("TPPA待回报。", "TPPA", 2),
        ("有冶游史。", "冶游史", 2),
        ("父亲患梅毒。", "梅毒", 1),
        ("父亲体健，确诊梅毒2年。", "梅毒", 3),
        ("丈夫患淋病。", "淋病", 2),
        ("被丈夫传染淋病。", "淋病", 3),
        ("丈夫HIV感染。", "HIV感染", 3),
        ("母亲HIV阳性。", "HIV阳性", 3),
        ("丈夫HIV阴性。", "HIV阴性", 1),
        ("源患者HIV阳性。", "HIV阳性", 3),
        ("梅毒已治愈。", "梅毒", 2),
        ("梅毒未治愈。", "梅毒", 3),
        ("梅毒，治愈后复发。", "梅毒", 3),
        ("HIV感染，肺炎已治愈。", "HIV感染", 3),
        ("驱梅治疗后治愈。", "驱梅治疗", 2),
        ("治愈后TPPA阳性。", "TPPA阳性", 3),
        ("TRUST假阳性。", "TRUST假阳性", 3),
        ("HIV暴露后预防第3天。", "HIV暴露后预防", 2),
        ("发放艾滋病防治知识手册。", "艾滋病", 1),
        ("予HIV感染者健康宣教。", "HIV感染者", 3),
        ("TP-Ab 0.08 S/CO。", "TP-Ab 0.08 S/CO", 1),
        ("TP-Ab 12.6 S/CO。", "TP-Ab 12.6 S/CO", 3),
        ("尿道分泌物见细胞内革兰阴性双球菌。", "细胞内革兰阴性双球菌", 3),
    ],
)
def test_std_with_its_context(text: str, mention: str, tier: int) -> None:
    assert tier_of(text, mention, "STD")[0] == tier


@pytest.mark.parametrize(
    ("text", "mention", "tier"),
    [
        ("停经38天。", "停经38天", 2),
        ("未婚。停经38天。", "停经38天", 3),
        ("未婚妻陪同。停经38天。", "停经38天", 2),
        ("女，16岁，停经38天。", "停经38天", 3),
        ("女，26岁，月经初潮14岁，停经38天。", "停经38天", 2),
        ("被强奸后停经38天。", "停经38天", 3),
        ("否认性侵，停经38天。", "停经38天", 2),
        ("未婚，尿HCG阴性。", "尿HCG阴性", 1),
        ("血HCG 2.1 mIU/ml。", "血HCG 2.1 mIU/ml", 1),
        ("血HCG 3520 mIU/ml。", "血HCG 3520 mIU/ml", 2),
        ("孕2产2。", "孕2产2", 1),
        ("孕2产1。", "孕2产1", 3),
        ("孕三产一。", "孕三产一", 3),
        ("G3P1A1。", "G3P1A1", 3),
        ("G2P2A0。", "G2P2A0", 1),
        ("2-0-0-2。", "2-0-0-2", 1),
        ("2-0-1-2。", "2-0-1-2", 3),
        ("先兆流产。", "先兆流产", 3),
        ("否认流产史。", "否认流产史", 1),
        ("人流0次。", "人流0次", 1),
        ("无痛人流术后。", "无痛人流术", 3),
        ("排除宫外孕。", "排除宫外孕", 1),
        ("宫外孕待排。", "宫外孕", 3),
        ("因输卵管壶腹部妊娠手术。", "输卵管壶腹部妊娠", 3),
        ("2006年于无锡市剖宫产。", "剖宫产", 2),
        ("引产分娩一死婴。", "分娩", 3),
        ("2010年剖宫产。", "剖宫产", 2),
        ("未婚，2010年剖宫产。", "剖宫产", 2),
        ("试管婴儿。", "试管婴儿", 2),
    ],
)
def test_pregnancy_with_its_context(text: str, mention: str, tier: int) -> None:
    assert tier_of(text, mention, "PREGNANCY")[0] == tier


def assign_all(text: str, mentions: list[tuple[str, str]]) -> list[int | None]:
    spans = [Span(text.index(m), text.index(m) + len(m), category) for m, category in mentions]
    return [span.tier for span in RULES.assign(Note("n", text), spans)]


def test_present_std_raises_a_pregnancy_but_that_of_a_partner_does_not() -> None:
    own = [("孕20周", "PREGNANCY"), ("TPPA阳性", "STD")]
    assert assign_all("孕20周，TPPA阳性。", own) == [3, 3]
    assert assign_all("孕20周，丈夫TPPA阳性。", own) == [2, 2]
    assert assign_all("孕20周，TPPA阴性。", [own[0], ("TPPA阴性", "STD")]) == [2, 1]


def test_a_current_pregnancy_explains_one_gravida_without_birth() -> None:
    assert assign_all("孕2产1，孕30周。", [("孕2产1", "PREGNANCY"), ("孕30周", "PREGNANCY")]) == [2, 2]
    assert assign_all("孕3产1，孕30周。", [("孕3产1", "PREGNANCY"), ("孕30周", "PREGNANCY")]) == [3, 2]


def test_a_loss_elsewhere_does_not_raise_the_present_pregnancy() -> None:
    assert assign_all("停经38天，人流1次。", [("停经38天", "PREGNANCY"), ("人流1次", "PREGNANCY")]) == [2, 3]


def test_the_age_of_the_note_outranks_the_text() -> None:
    assert tier_of("停经38天。", "停经38天", "PREGNANCY", age_years=16, sex="F")[0] == 3
    assert tier_of("停经38天。", "停经38天", "PREGNANCY", age_years=30, sex="F")[0] == 2
    # A newborn's file speaks of the mother's pregnancy.
    assert tier_of("患儿，孕39周顺产。", "孕39周", "PREGNANCY", age_years=0)[0] == 2


def test_an_std_of_the_next_patient_or_of_the_man_does_not_raise_a_pregnancy() -> None:
    mentions = [("孕16周", "PREGNANCY"), ("TPPA阳性", "STD")]
    assert assign_all("1床 甲 女 29岁 孕16周\n2床 乙 男 40岁 TPPA阳性", mentions) == [2, 3]
    assert assign_all("1床 甲 女 29岁 孕16周 TPPA阳性\n2床 乙 男 40岁 肺炎", mentions) == [3, 3]
    assert assign_all("我TPPA阳性，老婆孕16周。", mentions) == [2, 3]


def test_a_past_delivery_stays_while_the_present_one_is_raised() -> None:
    past = [("停经28周", "PREGNANCY"), ("顺产", "PREGNANCY"), ("TPPA阳性", "STD")]
    assert assign_all("停经28周，2019年顺产一女，TPPA阳性。", past) == [3, 2, 3]
    present = [("孕39周", "PREGNANCY"), ("顺产后2小时", "PREGNANCY"), ("TPPA阳性", "STD")]
    assert assign_all("孕39周，顺产后2小时，TPPA阳性。", present) == [3, 3, 3]


def test_one_pregnancy_more_than_births_is_a_loss_once_the_present_one_is_lost() -> None:
    mentions = [("孕2产1", "PREGNANCY"), ("停经50天", "PREGNANCY"), ("稽留流产", "PREGNANCY")]
    assert assign_all("孕2产1，停经50天，诊断稽留流产。", mentions) == [3, 2, 3]
    wanted = [("孕2产1", "PREGNANCY"), ("停经50天", "PREGNANCY"), ("人流", "PREGNANCY")]
    assert assign_all("孕2产1，停经50天，要求人流。", wanted) == [2, 2, 3]


def test_tiers_read_through_traditional_and_invisible_characters() -> None:
    assert tier_of("愛滋病毒抗體陰性。", "愛滋病毒抗體陰性", "STD")[0] == 1
    assert tier_of("查TPPA\u200b阴\u200b性。", "TPPA\u200b阴\u200b性", "STD")[0] == 1
    assert tier_of("否\u200b认梅毒史。", "梅毒史", "STD")[0] == 1


def test_assigning_twice_changes_nothing() -> None:
    note = Note("n", "未婚，孕2产1，停经38天，TPPA阳性。")
    mentions = [("孕2产1", "PREGNANCY"), ("停经38天", "PREGNANCY"), ("TPPA阳性", "STD")]
    spans = [Span(note.text.index(m), note.text.index(m) + len(m), c) for m, c in mentions]
    once = RULES.assign(note, spans)
    assert RULES.assign(note, once) == once


def test_tiers_of_a_person_and_of_the_model_stay_and_untiered_spans_too() -> None:
    spans = (
        Span(0, 2, "STD", tier=1, tier_rule="person"),
        Span(3, 5, "STD", tier=2, tier_rule="qwen.tier"),
        Span(6, 8, "NAME"),
    )
    assert RULES.assign(Note("n", "梅毒，淋病，张三"), spans) == spans


NEW_CATEGORY = 'id = "VEHICLE"\nname = "车辆"\nis_tiered = true\n'
NEW_TIERS = """
[cue."车牌"]
patterns = ['[京沪粤][A-Z][0-9A-Z]{5}']
[cue."曾用"]
where = "before"
words = ["曾用"]
[cue."车龄"]
where = "sentence"
patterns = ['车龄(?P<n>\\\\d+)年', '已用(?P<n>\\\\d+)年']
at_least = 10
[[rule]]
id = "VEHICLE.3.plate"
category = "VEHICLE"
tier = 3
all = ["车牌"]
none = ["曾用", "车龄"]
[[rule]]
id = "VEHICLE.1.former"
category = "VEHICLE"
tier = 1
any = ["曾用", "车龄"]
""".replace("\\\\", "\\")


def test_a_new_tiered_category_needs_conf_only() -> None:
    files = {"categories/VEHICLE.toml": NEW_CATEGORY, "tiers.toml": NEW_TIERS}
    rules = TierRules(files)

    def tier(text: str, mention: str) -> tuple[int | None, str]:
        start = text.index(mention)
        span = rules.assign(Note("n", text), [Span(start, start + len(mention), "VEHICLE")])[0]
        return span.tier, span.tier_rule

    assert tier("车牌京A12345", "京A12345") == (3, "VEHICLE.3.plate")
    assert tier("曾用京A12345", "京A12345") == (1, "VEHICLE.1.former")
    assert tier("京a12345，已用12年", "京a12345") == (1, "VEHICLE.1.former")
    assert tier("京A12345，车龄3年", "京A12345") == (3, "VEHICLE.3.plate")
    assert tier("一辆面包车", "面包车") == (3, "VEHICLE.3.unsure")


def test_what_looks_like_a_sentence_end_may_be_inside_one() -> None:
    tiers = NEW_TIERS + "[text]\nsentence_ends = ['？']\nsentence_ends_except = ['？答']\n"
    rules = TierRules({"categories/VEHICLE.toml": NEW_CATEGORY, "tiers.toml": tiers})
    answered, asked_again = "京A12345？答已用12年", "京A12345？已用12年"
    assert rules.assign(Note("n", answered), [Span(0, 7, "VEHICLE")])[0].tier == 1
    assert rules.assign(Note("n", asked_again), [Span(0, 7, "VEHICLE")])[0].tier == 3


def test_cues_are_joined_by_all_of_and_none_of() -> None:
    tiers = """
[cue."蓝"]
words = ["蓝"]
[cue."牌"]
words = ["牌"]
[cue."旧"]
where = "before"
words = ["旧"]
[cue."新蓝牌"]
all_of = ["蓝", "牌"]
none_of = ["旧"]
[[rule]]
id = "VEHICLE.2.blue"
category = "VEHICLE"
tier = 2
all = ["新蓝牌"]
[[rule]]
id = "VEHICLE.1.other"
category = "VEHICLE"
tier = 1
"""
    rules = TierRules({"categories/VEHICLE.toml": NEW_CATEGORY, "tiers.toml": tiers})

    def tier(text: str, mention: str) -> int | None:
        start = text.index(mention)
        return rules.assign(Note("n", text), [Span(start, start + len(mention), "VEHICLE")])[0].tier

    assert tier("蓝牌车", "蓝牌") == 2
    assert tier("蓝色车", "蓝色") == 1
    assert tier("旧蓝牌车", "蓝牌") == 1


@pytest.mark.parametrize(
    ("tiers", "key"),
    [
        ('[[rule]]\nid = "STD.3.x"\ncategory = "STD"\ntier = 3\nall = ["没有的提示"]', "rule.STD.3.x.all"),
        ('[[rule]]\nid = "STD.2.x"\ncategory = "STD"\ntier = 3', "rule.STD.2.x"),
        ('[[rule]]\nid = "STD.4.x"\ncategory = "STD"\ntier = 4', "rule.STD.4.x.tier"),
        ('[[rule]]\nid = "STD.3.x"\ncategory = "STD"\ntier = 3\nwhen = 1', "rule.STD.3.x.when"),
        ('[cue."甲"]\nwords = ["@没有"]', "cue.甲"),
        ('[cue."甲"]\nall_of = ["乙"]', "cue.甲.all_of"),
        ('[cue."甲"]\nnone_of = ["乙"]', "cue.甲.none_of"),
        ('[text]\npatient_starts = ["("]', "text.patient_starts"),
        ('[cue."甲"]\npatterns = ["("]', "cue.甲"),
        ('[cue."甲"]\nwhere = "beside"', "cue.甲.where"),
        ('[cue."甲"]\ncolour = "red"', "cue.甲.colour"),
        ('[cue."甲"]\nfile = "lexicons/none.tsv"', "cue.甲.file"),
    ],
)
def test_a_wrong_entry_is_named(tiers: str, key: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        TierRules({"tiers.toml": tiers})
    assert (caught.value.code, caught.value.fields["key"]) == ("TIERS_FILE", key)


def test_a_missing_file_or_broken_toml_is_refused() -> None:
    for files in ({"categories/VEHICLE.toml": NEW_CATEGORY}, {"tiers.toml": "[cue"}):
        with pytest.raises(ConfigurationError, match="TIERS_FILE"):
            TierRules(files)


def test_without_tiered_categories_nothing_is_needed() -> None:
    span = Span(0, 2, "NAME")
    assert TierRules({}).assign(Note("n", "张三"), [span]) == (span,)
