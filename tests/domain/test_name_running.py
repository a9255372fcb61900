"""NAME in running text: bare and dotted names, lists, speakers, fields no list holds; and words that look alike."""

from __future__ import annotations

import pytest

from ppsehr_spark.config import read_conf_files
from ppsehr_spark.domain.notes import Note
from ppsehr_spark.domain.rules import compile_rules
from tests.domain.found import find


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("11-20 17:47     加娜尔·热合曼 副主任医师查房记录", ["加娜尔·热合曼"]),
        ("局麻下由玛依热·托合提主刀", ["玛依热·托合提"]),
        ("家属祖丽皮亚·艾买提诉其曾用止痛药", ["祖丽皮亚·艾买提"]),
        ("患者阿依古丽·吐尔逊及其丈夫李金建（电话18900001111）", ["阿依古丽·吐尔逊", "李金建"]),
        ("今日古丽扎提·艾买提主治医师查看病人", ["古丽扎提·艾买提"]),
        ("已听取努尔买买提·艾买提医师说明，共提问6项", ["努尔买买提·艾买提"]),
        ("患者钮祜禄·文珊，女，58岁", ["钮祜禄·文珊"]),
        ("与约翰·史密斯先生沟通", ["约翰·史密斯"]),
    ],
)
def test_dotted_names_are_found_whole(text: str, names: list[str]) -> None:
    assert find(text) == names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("今天陈静给3床抽的血，李娜又给补了一针。", ["陈静", "李娜"]),
        ("这个病人是张敏收的，跟周洋说一下。", ["张敏", "周洋"]),
        ("让王强去拿药，找刘洋签字，请徐丽帮忙看一下。", ["王强", "刘洋", "徐丽"]),
        ("白班吴倩接班。", ["吴倩"]),
        ("7月3日，张伟强被送往医院抢救无效死亡。", ["张伟强"]),
        ("吴阶安曾经回忆，她对人温和", ["吴阶安"]),
        ("病房里，毛子涵上周返校后发病。", ["毛子涵"]),
        ("请孔建看片后再定", ["孔建"]),
        ("12:30 王芳测血压", ["王芳"]),
    ],
)
def test_bare_names_stand_between_words(text: str, names: list[str]) -> None:
    assert find(text) == names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("全科讨论（黄飞、王旭志、高丽、陈丹雪参加）", ["黄飞", "王旭志", "高丽", "陈丹雪"]),
        ("3床董洁，夜间发热；8床 叶青 无特殊", ["董洁", "叶青"]),
        ("取血者：花蕾　核对者1：曲艺", ["花蕾", "曲艺"]),
        ("肿瘤科（高源洁）、病理科（于洋帆）", ["高源洁", "于洋帆"]),
        ("【姓名】林建国【性别】男", ["林建国"]),
        ("2022.06.26吴主任医师与潘主任", ["吴", "潘"]),
        ("陈总昨晚喝了酒，孙局，林队也在。", ["陈", "孙", "林"]),
        ("快递放门卫室，我表姐钱芳收\n", ["钱芳"]),
        ("谢谢小杨护士和廖阿姨。", ["小杨", "廖"]),
        ("患者贺子萱，女，9岁。今晨子萱诉腹痛。", ["贺子萱", "子萱"]),
    ],
)
def test_lists_beds_fields_and_titles_hold_names(text: str, names: list[str]) -> None:
    assert find(text) == names


@pytest.mark.parametrize(
    "text",
    [
        "床位紧张，由当班医师负责，由值班护士接诊，通知管床医生、带教老师、上级医师",
        "治疗上予头孢曲松静滴，予美罗培南联合去甲肾上腺素，口服希罗达",
        "骨小梁密度增高，直肠周小淋巴结，口周发绀，大小便正常",
        "莫斯科联合国军演，县卫健局通知，《白洁传》已下架",
        "诊断为格雷夫兹氏病，饮用牛奶后腹泻，手术过程顺利",
        "IgM和IgG阳性，由Horn首先提出",
    ],
)
def test_words_of_duty_drugs_and_titles_of_works_are_left(text: str) -> None:
    assert find(text) == []


def test_many_names_in_a_row_take_linear_time() -> None:
    engine = compile_rules(read_conf_files())
    for unit in ("王", "王磊", "王主任", "患者王", "张三·", "向阳：好\n"):
        spans = engine.propose(Note("k", unit * 1500))
        assert len(spans) <= 4500
