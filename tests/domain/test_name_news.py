"""NAME in the news, in social media and in questions of patients: what stands beside a name there."""

from __future__ import annotations

import pytest

from ppsehr_spark.config import read_conf_files
from ppsehr_spark.domain.notes import Note
from ppsehr_spark.domain.rules import compile_rules
from tests.domain.found import find
from tests.domain.test_tagging import ListedTagger


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("据郑怀仁介绍，该项目总投资约3亿元。", ["郑怀仁"]),
        ("记者从曹立新处了解到，工程将于年底完工。", ["曹立新"]),
        ("主教练贾斯汀·布朗赛后发布会上称裁判判罚有误。", ["贾斯汀·布朗"]),
        ("潘登梅开二度，祁宏送出助攻。", ["潘登", "祁宏"]),
        ("前锋德拉甘伤缺，伊万科维奇有望顶上。", ["德拉甘", "伊万科维奇"]),
        ("方圆圆（化名）说，她是被朋友骗来的。", ["方圆圆"]),
        ("孟祥云告诉记者，他每天六点出摊。", ["孟祥云"]),
        ("本片由温如玉执导，叶知秋、司徒朗主演。", ["温如玉", "叶知秋", "司徒朗"]),
        ("影评人聂小川留言：拍得真好。", ["聂小川"]),
        ("30岁的贺敬澜出演父亲。", ["贺敬澜"]),
        ("张翼之的新作下月上市。", ["张翼之"]),
        ("最美教师边巴卓玛在高原坚守二十年。", ["边巴卓玛"]),
        ("谢有福表示欢迎，李向东坦言意外。", ["谢有福", "李向东"]),
    ],
)
def test_acts_and_roles_of_the_news_stand_beside_names(text: str, names: list[str]) -> None:
    assert find(text) == names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("乐乐妈：求推荐儿科医生！", ["乐乐"]),
        ("雨桐妈妈，明天几点接孩子？", ["雨桐"]),
        ("帮我妈罗桂英问的，她不会用手机。", ["罗桂英"]),
        ("Tony老师剪的头发真好看。", ["Tony"]),
        ("民眾洪先生說，昨晚聽到巨響。", ["洪"]),
        ("大家请诸葛亮出山。", ["诸葛亮"]),
    ],
)
def test_persons_of_chats_and_questions(text: str, names: list[str]) -> None:
    assert find(text) == names


@pytest.mark.parametrize(
    "text",
    [
        "孩子妈：退烧了没有？",
        "他们妈妈，都在门口等。",
        "部门经理称此事正在处理。",
        "经纪人称并无此事。",
        "业主上诉，要求赔偿。",
        "王者荣耀新赛季开启。",
        "中医药堂今日开张。",
        "予多西他赛（泰索帝）120mg静滴。",
        "比亚迪、宁德时代成交活跃。",
        "切尔西客场2比2战平对手。",
        "2025中国·无锡国际马拉松今日鸣枪。",
        "本组文·图由本报提供。",
    ],
)
def test_what_looks_like_a_person_in_the_news(text: str) -> None:
    assert find(text) == []


@pytest.mark.parametrize("name", ["方克", "徐长卿", "艾恒"])
def test_a_word_with_a_dose_is_no_person_whatever_a_tagger_says(name: str) -> None:
    text = f"予{name} 10mg 口服。"
    spans = compile_rules(read_conf_files()).propose(Note("n", text), ListedTagger((name,), 0.999))
    assert not [s for s in spans if s.category == "NAME" and s.confidence >= 0.5]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("李宁的鞋很轻，周大福的黄金降价。", []),
        ("康师傅、老干妈相继发布财报。", []),
        ("患者李宁，男，45岁。", ["李宁"]),
        ("医师签名：杨国福", ["杨国福"]),
        ("主治医师张裕查房。", ["张裕"]),
    ],
)
def test_a_house_that_bears_a_name_is_a_person_where_a_mark_says_so(text: str, names: list[str]) -> None:
    assert find(text) == names


def test_a_post_that_one_is_made_is_no_part_of_the_name() -> None:
    assert find("聘任谢安平为总经理，李大为主任列席。") == ["谢安平", "李大为"]


@pytest.mark.parametrize(("text", "name"), [("王楠六段胜徐昕九段。", "徐昕"), ("柯宇九段执黑先行。", "柯宇")])
def test_ranks_of_players_are_titles(text: str, name: str) -> None:
    assert name in find(text)
