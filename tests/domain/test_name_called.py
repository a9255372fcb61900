"""NAME as people call each other: speakers of a talk, ranks among siblings, by-names, members of a list.

Braces mark what a reader would mark; every person is fictional.
"""

from __future__ import annotations

import pytest

from tests.domain.found import find
from tests.domain.test_name_everyday import read_marked


@pytest.mark.parametrize(
    "marked",
    [
        # who speaks in a conversation, what is no field of a form
        "{老獾}：在吗\n护士：在的，请说。\n{老獾}：明天还要空腹吗\n护士：要的，水也不要喝。",
        "{涂}：昨晚收了两个病人\n值班：知道了，辛苦。\n{涂}：第二个还在等床位",
        "医生：都好，没事的。\n家属：谢谢，那我们先走。\n医生：不客气，慢走。",
        # ranks among siblings belong to the name, titles do not
        "患者{郝小妹}，女，22岁。",
        "工友{蔺老幺}送来，自称{龚家老三}同住。",
        "{滕}二婶说夜里又咳，{詹}太来电问结果。",
        # clan names beside kin
        "父务农，母{丁氏}早逝。",
        # by-names, of whatever characters
        "患儿小名{糯糯}，足月顺产。",
        "来访者化名{山雀}，自愿检测。",
        # masked names with their last character
        "被告人{郜某强}，男，1984年生。证人称{郜某强}当晚在家。",
        # nicknames before a title are one name
        "是{小董}医生接的电话。",
        # items of a list of names
        "签名：{谷满囤}、{左明}、{闻香}、{柴望}。",
        # Chinese surnames in Latin letters
        "合同由{Olivia Chen}与{Tang Chi Man}签署。",
        "下次随访：Dr. {肖}",
    ],
)
def test_found(marked: str) -> None:
    text, places = read_marked(marked)
    assert find(text, "NAME") == [text[a:b] for a, b in places]


@pytest.mark.parametrize(
    "text",
    [
        "患者：白天没人的话放楼下。\n客服：非常抱歉，马上处理。\n患者：好的，谢谢。",
        "吡非尼酮（艾思瑞）暂缓，替诺福韦25mg qd（韦立得）继续。",
        "高良姜、白豆蔻、石菖蒲、车前子各10g。",
        "出租车司机送入，救护车司机已返回。",
        "王婆卖瓜的老大爷，张家小妹妹都不在。",
        "手术顺利，麻醉满意，送病理。麻醉满意后铺巾。",
        "病人，东乡族，64岁，排湾族。",
        "病人，泰雅族，64岁。",
        "小名不详，乳名未取。",
    ],
)
def test_left(text: str) -> None:
    assert find(text, "NAME") == []
