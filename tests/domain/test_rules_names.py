"""NAME: rows of the annotation guideline, positive and negative, with exact boundaries."""

from __future__ import annotations

import pytest

from tests.domain.found import find


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("姓名：张三  性别：男", ["张三"]),
        ("姓 名：欧阳建国", ["欧阳建国"]),
        ("姓名：张　三", ["张　三"]),
        ("今日王主任查房后指示", ["王"]),
        ("李建国主任医师查房", ["李建国"]),
        ("主管医师：陈静/周晓明", ["陈静", "周晓明"]),
        ("医师签名：诸葛文 2023-05-01", ["诸葛文"]),
        ("其子李明陪同就诊", ["李明"]),
        ("患者张伟，男，45岁", ["张伟"]),
        ("联系人：买买提·艾合买提，关系：父子", ["买买提·艾合买提"]),
        ("患者张某，与李某某同住", ["张某", "李某某"]),
        ("患者：王**，因腹痛入院", ["王**"]),
        ("姓名：John Smith 性别：男", ["John Smith"]),
        ("参加人员：孙主任、周洁敏、张莉蕾", ["孙", "周洁敏", "张莉蕾"]),
        ("联系人赵丽（女儿）", ["赵丽"]),
        ("上官主任会诊意见", ["上官"]),
        ("姓名：張麗華", ["張麗華"]),
    ],
)
def test_names_are_found_with_exact_boundaries(text: str, names: list[str]) -> None:
    assert find(text) == names


@pytest.mark.parametrize(
    "text",
    [
        "帕金森病史5年，克罗恩病3年",
        "患者高热3天，白细胞升高，黄疸加深",
        "主管医师查房，副主任医师不在",
        "患者家属诉其母有高血压病史",
        "口服华法林、万古霉素、马来酸依那普利",
        "请相关专家会诊，向家属交代病情",
        "巴宾斯基征阴性，墨菲征阳性",
        "联系人：同上，关系：本人",
        "于**医院就诊后转入我院",
        "高密度影，左侧基底节区，全身麻醉下手术",
    ],
)
def test_words_that_only_look_like_names_are_left(text: str) -> None:
    assert find(text) == []


def test_a_certain_name_is_found_again_where_nothing_announces_it() -> None:
    assert find("姓名：钭璧珩\n复诊时钭璧珩情况稳定") == ["钭璧珩", "钭璧珩"]
