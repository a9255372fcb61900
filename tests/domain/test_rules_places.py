"""ADDRESS and HOSPITAL: rows of the annotation guideline, positive and negative, with exact boundaries."""

from __future__ import annotations

import pytest

from tests.domain.found import find


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("籍贯：浙江宁波，职业：农民", ["浙江宁波"]),
        ("住址：浙江省宁波市鄞州区江东北路12号3幢402室，电话", ["浙江省宁波市鄞州区江东北路12号3幢402室"]),
        ("生于河南省周口市，久居本地", ["河南省周口市"]),
        ("家住幸福小区3号楼2单元501室", ["幸福小区3号楼2单元501室"]),
        ("李家村3组村民", ["李家村3组"]),
        ("出生地：北京", ["北京"]),
        ("户籍地址 四川省成都市武侯区 职业 工人", ["四川省成都市武侯区"]),
        ("居住于江苏省南通市启东市长安街道河口庄村，务农", ["江苏省南通市启东市长安街道河口庄村"]),
        ("长期在海南打工", ["海南"]),
        ("住上海市徐汇区天钥桥路408号北楼", ["上海市徐汇区天钥桥路408号北楼"]),
        ("住址：九龙雅居12-3-502", ["九龙雅居12-3-502"]),
        ("由北京市崇文区迁来", ["北京市崇文区"]),
    ],
)
def test_places_are_one_maximal_span(text: str, places: list[str]) -> None:
    assert find(text, "ADDRESS") == places


@pytest.mark.parametrize(
    "text",
    [
        "于北京协和医院就诊",
        "香港脚病史，长春新碱化疗，云南白药外敷",
        "久居本地，否认外地及疫区居住史，户籍：中国",
        "上海医药集团股份有限公司生产",
        "位于直肠上段，距齿状线5cm，阴道3点处",
        "朝阳性改变，和平相处，新华字典",
        "静脉通路1路，双侧输尿管3组",
    ],
)
def test_other_words_are_not_places(text: str) -> None:
    assert find(text, "ADDRESS") == []


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("3年前于北京协和医院行手术", ["北京协和医院"]),
        ("曾在协和医院住院", ["协和医院"]),
        ("转至湘雅二医院就诊，后到华西复查", ["湘雅二医院", "华西"]),
        ("在朝阳区妇幼保健院分娩", ["朝阳区妇幼保健院"]),
        ("于某某卫生服务中心换药", ["某某卫生服务中心"]),
        ("在仁和诊所输液", ["仁和诊所"]),
        ("首都医科大学附属北京天坛医院会诊", ["首都医科大学附属北京天坛医院"]),
        ("2019年5月在301医院化疗", ["301医院"]),
        ("由120送至自贡市急救中心", ["自贡市急救中心"]),
        ("上海市第六人民医院东院就诊", ["上海市第六人民医院东院"]),
        ("于洪山乡卫生院测血压", ["洪山乡卫生院"]),
    ],
)
def test_institutions_are_found_with_exact_boundaries(text: str, names: list[str]) -> None:
    assert find(text, "HOSPITAL") == names
    assert find(text, "ADDRESS") == []


@pytest.mark.parametrize(
    "text",
    [
        "收入我院，外院CT示占位",
        "当地医院、县医院、社区医院均未诊治",
        "考虑医院获得性肺炎，预防医院感染",
        "请呼吸科会诊，转上级医院",
        "市疾控中心，生殖中心门诊",
        "家住新华西路570弄11号",
    ],
)
def test_unnamed_institutions_are_left(text: str) -> None:
    assert find(text, "HOSPITAL") == []
