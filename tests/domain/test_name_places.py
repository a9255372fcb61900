"""NAME: the places where a name stands, class by class, with names of our own making; and prose that holds none."""

from __future__ import annotations

import pytest

from ppsehr_spark.config import read_conf_files
from ppsehr_spark.domain.notes import Note
from ppsehr_spark.domain.rules import compile_rules


def find(text: str) -> list[str]:
    engine = compile_rules(read_conf_files())
    note = Note("k", text)
    return [text[s.start : s.end] for s in engine.finalise(note, engine.propose(note)) if s.category == "NAME"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("父：单国富，母：仇小娥，姐单晓梅体健", ["单国富", "仇小娥", "单晓梅"]),
        ("妻查桂英诉患者夜间打鼾", ["查桂英"]),
        ("儿媳佘秀芝代诉病史", ["佘秀芝"]),
        ("其侄种大山签字", ["种大山"]),
        ("家属（郭芙蓉，13912345678）", ["郭芙蓉"]),
        ("其丈夫（董勇，电话13800000000）陪同", ["董勇"]),
        ("祖母胡四妹、妹桓小雨均无症状", ["胡四妹", "桓小雨"]),
        ("告知其祖母郗王氏消毒隔离", ["郗王氏"]),
        ("联系人：子张大川 电话", ["张大川"]),
    ],
)
def test_kin_terms_announce_names(text: str, names: list[str]) -> None:
    assert find(text) == names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("护士闵如意执行医嘱", ["闵如意"]),
        ("社工晏小白电话0571-88023344", ["晏小白"]),
        ("村医敖成林上门随访", ["敖成林"]),
        ("翻译佟丽（俄语）陪同", ["佟丽"]),
        ("司机曲大龙驾车送至我院", ["曲大龙"]),
        ("检验者 宓芳 审核者 逄飞", ["宓芳", "逄飞"]),
        ("接生：乜小红 台下：缑敏", ["乜小红", "缑敏"]),
        ("交班：亓官明  接班：笪薇", ["亓官明", "笪薇"]),
        ("手术者：石磊  一助：金鑫  二助：池骋", ["石磊", "金鑫", "池骋"]),
        ("诊断医师：巩主任、贺晓兰。", ["巩", "贺晓兰"]),
        ("由派出所程警官送入，县妇联丰主席陪同", ["程", "丰"]),
        ("杜医生您好，我妈妈周桂芳上周做的手术", ["杜", "周桂芳"]),
        ("由村干部范德彪陪同就诊", ["范德彪"]),
    ],
)
def test_roles_titles_and_form_labels_announce_names(text: str, names: list[str]) -> None:
    assert find(text) == names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("丁香 女 35岁 已婚", ["丁香"]),
        ("水灵儿/女/19岁", ["水灵儿"]),
        ("男，45岁，游本山。反复上腹痛", ["游本山"]),
        ("3床 尚小云 男 66岁", ["尚小云"]),
        ("接龙：\n1. 司空明 13472250916 3幢\n2. 牟婷 18501730482", ["司空明", "牟婷"]),
        ("奚满仓，身份证号140525196301012345", ["奚满仓"]),
        ("危晓婧：男，47岁，进行性认知下降", ["危晓婧"]),
        ("缪婷婷之大子 生后1h", ["缪婷婷"]),
        ("姓名：昌怡之女  性别：2", ["昌怡"]),
        ("我姓边，自述叫张婷，名叫何晓", ["边", "张婷", "何晓"]),
        ("孩子小名豆豆，大名石一诺", ["豆豆", "石一诺"]),
    ],
)
def test_marks_beside_a_bare_name_are_enough(text: str, names: list[str]) -> None:
    assert find(text) == names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("扎西顿珠，男，45岁，藏族", ["扎西顿珠"]),
        ("妻子帕提古丽陪同", ["帕提古丽"]),
        ("患者其其格，女，61岁，蒙古族", ["其其格"]),
        ("患儿吉克小杰，男，18月龄", ["吉克小杰"]),
        ("研究生约瑟夫·李等", ["约瑟夫·李"]),
        ("患者麦高诗雅，女，42岁", ["麦高诗雅"]),
        ("钮祜禄·文珊，女，58岁", ["钮祜禄·文珊"]),
        ("患者 Zhang Wei 男 33岁", ["Zhang Wei"]),
        ("Patient: Li Na, F, 28y", ["Li Na"]),
        ("患者 Maria Garcia，女，30岁", ["Maria Garcia"]),
        ("钱*，孙**，欧阳*珊，赵某甲", ["钱*", "孙**", "欧阳*珊", "赵某甲"]),
        ("护士 靳 莉", ["靳 莉"]),
    ],
)
def test_names_of_other_forms(text: str, names: list[str]) -> None:
    assert find(text) == names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("（记者王吉瑛 通讯员陈浩）本报讯", ["王吉瑛", "陈浩"]),
        ("总裁沈东军表示，公司业绩良好", ["沈东军"]),
        ("教育局局长周国平介绍，今年招生人数增加", ["周国平"]),
        ("郭庆祥：收藏要有眼光。", ["郭庆祥"]),
        ("演员黄渤、徐峥和宁浩出席活动", ["黄渤", "徐峥", "宁浩"]),
        ("美国总统奥巴马昨天发表讲话", ["奥巴马"]),
        ("“我很高兴，”赵薇笑着说", ["赵薇"]),
    ],
)
def test_names_in_the_news(text: str, names: list[str]) -> None:
    assert find(text) == names


@pytest.mark.parametrize(
    "text",
    [
        "患者高度近视，双眼视力下降3年，无明显诱因",
        "主任医师查房后示：继续抗感染治疗，注意时间窗",
        "护士长提示：注意管路护理，严防脱管",
        "父母均体健，妻子体健，育有一子一女",
        "司机开车时突发意识丧失，同学聚会后饮酒",
        "予阿莫西林、奥美拉唑、克拉霉素四联治疗",
        "墨菲征可疑，布氏征(-)，霍夫曼征（-），佩吉特氏病",
        "药物：坦索罗辛0.2mg qn，（乐沙定）150mg，“安素泰”210mg",
        "针刺足三里、阳陵泉、曲池、血海",
        "金黄色葡萄球菌，白色念珠菌，黑色素瘤，马蹄内翻足",
        "常规消毒，习惯性流产，幸运的是，平素健康，成年后发病",
        "高考成绩公布，高分考生增多，经理表示此事与公司无关",
        "签字：__________  医师签名：          日期：",
        "查体：神清，颈软\n高危：是\n时间：上午",
    ],
)
def test_prose_without_names_stays_whole(text: str) -> None:
    assert find(text) == []


def test_an_ordinary_word_that_is_a_name_is_not_looked_for_again() -> None:
    assert find("兹有丁香，女，14岁。查体后予丁香油外用") == ["丁香"]


def test_a_sure_mark_outweighs_a_herb() -> None:
    assert find("白芷，女，30岁，予白芷10g") == ["白芷"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("护士小汪帮我们推轮椅", ["小汪"]),
        ("“老曹，你走了，谁管？”", ["老曹"]),
        ("生命体征平稳，尿色清。  计婷\n06-13 06:00 尿量80ml。      方敏\n", ["计婷", "方敏"]),
        ("核对 保丽华/资文娟  医师 角", ["保丽华", "资文娟", "角"]),
        ("周一 心内科 张静 主任医师 上午", ["张静"]),
        ("收：古丽米热·阿不都热依木 18999517326", ["古丽米热·阿不都热依木"]),
        ("由 祖丽皮亚·艾买提 陪同，家属 加娜尔·热合曼", ["祖丽皮亚·艾买提", "加娜尔·热合曼"]),
        ("阿西木呷已经背着药箱出门了", ["阿西木呷"]),
        ("我是张一凡（Evan Zhang），室友Tom在伦敦", ["张一凡", "Evan Zhang", "Tom"]),
        ("当值主裁傅明轩出示黄牌，萧雅轩被罚下", ["傅明轩", "萧雅轩"]),
        ("请问宣武那位关主任，或者门诊朱老师", ["关", "朱"]),
    ],
)
def test_names_of_news_chats_and_charts(text: str, names: list[str]) -> None:
    assert find(text)[: len(names)] == names
