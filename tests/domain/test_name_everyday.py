"""NAME in everyday notes: cues that no list holds, names that are words, rosters, lists, kin, registers.

Braces mark what a reader would mark; every person is fictional.
"""

from __future__ import annotations

import re

import pytest

from tests.domain.found import find_spans


def read_marked(marked: str) -> tuple[str, list[tuple[int, int]]]:
    """The text without its braces, and where they stood."""
    parts, text, places = re.split(r"[{}]", marked), "", []
    for at, part in enumerate(parts):
        if at % 2:
            places.append((len(text), len(text) + len(part)))
        text += part
    return text, places


@pytest.mark.parametrize(
    "marked",
    [
        # a bridge between the cue and the name
        "联系人“{眭小军}”，电话13800002222。",
        "经核实患者名{璩美凤}，身份证号已登记。",
        "儿子叫“{国栋}”，在外地打工。",
        # roles by their last character, posts, kin of every degree
        "银行柜员{牟静}发现异常，报警处理。",
        "陪审员{常江}、书记员{安宁}到庭。",
        "二姨{晁有兰}患抑郁症，三叔{晁有田}体健。",
        "我爸爸{鲍国安}去年做了心脏搭桥。",
        "子{娄晓斌}、女{娄晓雯}，均体健。",
        "患者之父{雷恪生}死于肝硬化。",
        # names that are words or towns
        "患者{华山}，男，56岁，陕西人，因胸闷3天入院。",
        "患者{泰安}2天前受凉后发热，自服感冒药无效。",
        "护送民警{郁达}、辅警{戈阳}。",
        "巡诊医生{濮阳明}，护士{俞芬}",
        "复核：{周末}/{季节}",
        # a verb ends the name
        "朋友{鄢飞}骑摩托车送其来院。",
        "父{骆明}留电话13655556666。",
        "其妻{毛丽}死于乳腺癌。",
        "由{徐亮}作麻醉。",
        # given names with function characters
        "患者{李向东}，男",
        "责任护士：{祝无双}",
        "申报人：{王全有}（孙）",
        # surnames alone
        "挂的是{竺}主任的号，排了两小时。",
        "由{应}老师代课。",
        "已报告{申}科长和{韩}副院长。",
        "术者{蓝}/{喻}，麻醉{卫}。",
        "医生{段} 护士{乔}",
        # lists and rosters
        "参加人员：{裴琳}（呼吸科）、{闻达}（影像科）。",
        "A组：{温岚}、{常胜}、{和平}、{盛开}；",
        "周一 {王莉} {战鹏} {杨帆}",
        "悉尼——{何俊} +61 412 558 093",
        # Viet Nam, Tibet
        "{阮氏梅}（越南籍），女，26岁。",
        "001 {卓玛措} 27 称多县",
        "③{次仁拉姆} 卡介苗补种。",
        "病史由其弟{艾力·买买提}代述。",
        "病理学教授{乔瓦尼·贝尔图奇}与肿瘤专家开展研究。",
    ],
)
def test_every_name_is_found_whole(marked: str) -> None:
    text, places = read_marked(marked)
    assert [(s.start, s.end) for s in find_spans(text, "NAME")] == places


@pytest.mark.parametrize(
    "text",
    [
        "患者平安返室，安静入睡，家属陪护在旁，情绪平稳。",
        "护士安全宣教，家属表示理解，患者方便时自行如厕。",
        "麻醉成功后取仰卧位，常规消毒铺巾。麻醉史：无。",
        "医师高度怀疑肺栓塞，家属强烈要求出院。",
        "周一复查血常规，周二上午行胃镜检查，周三出院。",
        "母亲高血压，父亲高龄去世，祖父死于肺癌。",
        "经第五肋间进胸，子宫前位，附件未及。",
        "向主任请示，和主任汇报，马上将患者送手术室。",
        "检查：墨菲征阳性。肿瘤科、药学部会诊。",
        "金黄散外敷，白芍、当归、黄芪、党参煎服。",
    ],
)
def test_plain_prose_holds_no_name(text: str) -> None:
    assert find_spans(text, "NAME") == []
