"""ADDRESS and HOSPITAL in the forms people write: numbers, gaps, crossings, short names, other scripts."""

from __future__ import annotations

import pytest

from tests.domain.found import find, find_spans


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("家住青岛市市北区登州支路69号2单元501户，", "青岛市市北区登州支路69号2单元501户"),
        ("住址：九龍旺角彌敦道 608 號 12 樓 B 室", "九龍旺角彌敦道 608 號 12 樓 B 室"),
        ("地址：臺北市大安區忠孝東路四段 1 號 3 樓之 2", "臺北市大安區忠孝東路四段 1 號 3 樓之 2"),
        ("住彰化縣彰化市中山里12鄰光復路88號，", "彰化縣彰化市中山里12鄰光復路88號"),
        ("居於新界元朗天水圍天慈邨慈恩樓15樓1508室，", "新界元朗天水圍天慈邨慈恩樓15樓1508室"),
        ("家住和畅里七区14号楼2单元301，", "和畅里七区14号楼2单元301"),
        ("现住红旗大道与文昌街交汇处书香苑12栋1单元803室，", "红旗大道与文昌街交汇处书香苑12栋1单元803室"),
        ("住沙河口区西岗路99号-3", "沙河口区西岗路99号-3"),
        ("家住滨海新区医院路28号，", "滨海新区医院路28号"),
        ("住太原市迎泽区并州北路8号1幢3单元4层7号", "太原市迎泽区并州北路8号1幢3单元4层7号"),
        ("家住将军路12号，", "将军路12号"),
        ("住中山东二路58号海景阁18C，", "中山东二路58号海景阁18C"),
        ("西湖人家2栋3单元702", "西湖人家2栋3单元702"),
        ("1. 牟某 3幢201", "3幢201"),
        ("家庭地址 江西省 南昌市 青山湖区 京东镇 北沥村 5组 联系人", "江西省 南昌市 青山湖区 京东镇 北沥村 5组"),
        ("现住址：新疆生产建设兵团第八师石河子145团3连", "新疆生产建设兵团第八师石河子145团3连"),
        ("家住白音查干嘎查二组，", "白音查干嘎查二组"),
    ],
)
def test_doors_in_all_written_forms_are_tier_three(text: str, place: str) -> None:
    spans = find_spans(text, "ADDRESS")
    assert [(text[s.start : s.end], s.tier) for s in spans] == [(place, 3)]


@pytest.mark.parametrize(
    ("text", "places", "tier"),
    [
        ("原籍湖北省襄樊市", ["湖北省襄樊市"], 1),
        ("由台南迁来", ["台南"], 1),
        ("曾去泰国曼谷、普吉岛旅游", ["曼谷", "普吉岛"], 1),
        ("行程：北京→天津→石家庄", ["北京", "天津", "石家庄"], 1),
        ("浙江省-宁波市，", ["浙江省-宁波市"], 1),
        ("患者系江都市仙女镇人", ["江都市仙女镇"], 2),
        ("生于川沙县，", ["川沙县"], 2),
        ("内蒙古通辽市科左中旗人", ["内蒙古通辽市科左中旗"], 2),
        ("久居绍兴柯桥，", ["绍兴柯桥"], 2),
        ("石家庄长安，", ["石家庄长安"], 2),
        ("住新北市板橋區，", ["新北市板橋區"], 2),
        ("在长江路与金寨路交叉口被撞", ["长江路与金寨路交叉口"], 2),
        ("于天鹅湖小区门口摔倒", ["天鹅湖小区"], 2),
        ("从昆山过来复查", ["昆山"], 2),
    ],
)
def test_names_without_a_door_get_their_level(text: str, places: list[str], tier: int) -> None:
    spans = find_spans(text, "ADDRESS")
    assert [text[s.start : s.end] for s in spans] == places
    assert {s.tier for s in spans} == {tier}


@pytest.mark.parametrize(
    "text",
    [
        "安庆，男，55岁，急性病程",
        "同住父桓大庆，姓名:揭阳生",
        "北京降压0号停用，植入上海微创支架",
        "王忠诚.神经外科学.武汉：湖北科学技术出版社",
        "患者家住农村，家住本村3组",
        "死亡地点：家中",
        "市中心血站，长春胺缓释胶囊",
        "右心室流出道，左侧基底节区，3组淋巴结，2区",
        "转2号楼5层心内科，3号床",
        "血小板由120升到301，予观察",
    ],
)
def test_words_that_look_like_places_are_left(text: str) -> None:
    assert find(text, "ADDRESS") == []
    assert find(text, "HOSPITAL") == []


def test_an_address_ends_before_a_hospital_and_keeps_its_door() -> None:
    text = "住址：昆明市五华区学府路253号附1号云大西二院"
    assert find(text, "ADDRESS") == ["昆明市五华区学府路253号附1号"]
    assert find(text, "HOSPITAL") == ["云大西二院"]


def test_a_postcode_stays_outside() -> None:
    assert find("户籍：江苏省徐州市泉山区翟山街道221008", "ADDRESS") == ["江苏省徐州市泉山区翟山街道"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("  温 州 医 科 大 学 附 属 第 一 医 院\n入 院 记 录", ["温 州 医 科 大 学 附 属 第 一 医 院"]),
        ("在中信仁和生殖与遗传专科医院助孕", ["中信仁和生殖与遗传专科医院"]),
        ("应急总医院（原煤炭总医院）灌洗", ["应急总医院", "煤炭总医院"]),
        ("网上挂永煤集团总医院的号", ["永煤集团总医院"]),
        ("直接去海淀口腔吧，北大口腔排队太久", ["海淀口腔", "北大口腔"]),
        ("在林口長庚化療，轉介至瑪麗醫院", ["林口長庚", "瑪麗醫院"]),
        ("東區尤德夫人那打素醫院", ["東區尤德夫人那打素醫院"]),
        ("在市一院查CT，去了浙二看骨科", ["市一院", "浙二"]),
        ("由海口市120急救中心送来", ["海口市120急救中心"]),
        ("首都儿科研究所附属儿童医院", ["首都儿科研究所附属儿童医院"]),
        ("第910医院、联勤保障部队第九二〇医院", ["第910医院", "联勤保障部队第九二〇医院"]),
        ("庄行镇卫生院、中都镇卫生院", ["庄行镇卫生院", "中都镇卫生院"]),
        ("到301做手术", ["301"]),
        ("垫江县妇幼计划生育服务中心产检", ["垫江县妇幼计划生育服务中心"]),
    ],
)
def test_names_of_institutions_in_all_forms(text: str, names: list[str]) -> None:
    assert find(text, "HOSPITAL") == names
    assert find(text, "ADDRESS") == []


@pytest.mark.parametrize(
    "text",
    [
        "2008年在老家县医院手术，下周生殖中心随诊",
        "上海各大医院都看过，中国三甲医院",
        "在海军某部卫生队，某三甲医院就诊",
        "联合化疗，尿液澄清",
        "县级医院以上，附近诊所输液",
    ],
)
def test_vague_institutions_are_left(text: str) -> None:
    assert find(text, "HOSPITAL") == []
