"""ADDRESS in prose: short names, journeys, lone estates and roads; and what only looks like one."""

from __future__ import annotations

import pytest

from ppsehr_spark.config import read_conf_files
from ppsehr_spark.domain.notes import Note
from ppsehr_spark.domain.rules import compile_rules


def find(text: str, category: str) -> list[str]:
    engine = compile_rules(read_conf_files())
    accept_at = engine.categories[category].accept_at
    spans = engine.propose(Note("k", text))
    return [text[s.start : s.end] for s in spans if s.category == category and s.confidence >= accept_at]


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("我想去北京看病，不知道挂哪个科", ["北京"]),
        ("上海那边的专家说要手术", ["上海"]),
        ("过年回了四川老家", ["四川"]),
        ("广州的医院床位太紧张", ["广州"]),
        ("本人长沙宝妈", ["长沙"]),
        ("请问南宁哪里可以做", ["南宁"]),
        ("济南哪家医院看风湿好", ["济南"]),
        ("说要去郑州，郑州有人等他", ["郑州", "郑州"]),
        ("老公沈阳的，我是长春的", ["沈阳", "长春"]),
        ("今天哈尔滨下雪了", ["哈尔滨"]),
        ("飞机落地长沙，报告寄南昌", ["长沙", "南昌"]),
        ("距成都200公里", ["成都"]),
        ("既往无广西恙虫病流行区居住史", ["广西"]),
        ("老人如皋人，听力差", ["如皋"]),
        ("由大方返回杭州后发热", ["大方", "杭州"]),
        ("女儿嫁到威远，可陪护", ["威远"]),
        ("从襄垣转来，在云梦坐大巴", ["襄垣", "云梦"]),
        ("老家平定，务农", ["平定"]),
        ("他在安多时症状最重", ["安多"]),
        ("其子在福建泉州鞋厂，已通知", ["福建泉州"]),
        ("1978年返沪，分配在纺织厂", ["沪"]),
        ("同事由乌鲁木齐返京", ["乌鲁木齐", "京"]),
        ("1938年生于北平", ["北平"]),
        ("上周去鼓浪屿步行3小时", ["鼓浪屿"]),
    ],
)
def test_short_names_in_prose(text: str, places: list[str]) -> None:
    assert find(text, "ADDRESS") == places


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("行程：西安-成都-丽江", ["西安", "成都", "丽江"]),
        ("到过临夏和甘南", ["临夏", "甘南"]),
        ("往返于北京和石家庄之间", ["北京", "石家庄"]),
        ("发病前去过武汉、黄石、大冶等地", ["武汉", "黄石", "大冶"]),
    ],
)
def test_a_sure_place_raises_its_neighbours(text: str, places: list[str]) -> None:
    assert find(text, "ADDRESS") == places


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("路过南京路时被撞", ["南京路"]),
        ("于京藏高速发生车祸", ["京藏高速"]),
        ("在国道213线上被追尾", ["国道213线"]),
        ("在G318国道骑行时跌倒", ["G318国道"]),
        ("病人今早於觀塘道與鴻圖道交界被撞倒", ["觀塘道與鴻圖道交界"]),
        ("送到锦绣花园东门", ["锦绣花园"]),
        ("聚湖家园、横塘花园居民请带医保卡", ["聚湖家园", "横塘花园"]),
        ("苏姐：和平路那个项目呢", ["和平路"]),
        ("乡镇（街道）名称：大槐树镇", ["大槐树镇"]),
        ("在人民公园晨练时突然倒地", ["人民公园"]),
        ("送到天目山路366号门诊楼1楼了", ["天目山路366号门诊楼1楼"]),
        ("退烧药放在二仙桥东三路1号松林公寓8栋门卫室", ["二仙桥东三路1号松林公寓8栋门卫室"]),
        ("从西宾路81号商场三楼下来", ["西宾路81号商场三楼"]),
        ("出险地点：山东省泰安市岱岳区满庄镇京台高速", ["山东省泰安市岱岳区满庄镇京台高速"]),
        ("身份证地址重庆市永川区仙龙镇牛门口村7组63号", ["重庆市永川区仙龙镇牛门口村7组63号"]),
        ("广东连南三排镇人", ["广东连南三排镇"]),
    ],
)
def test_streets_estates_and_doors_in_prose(text: str, places: list[str]) -> None:
    assert find(text, "ADDRESS") == places


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("她在无锡开店", ["无锡"]),
        ("女儿在高雄開早餐店", ["高雄"]),
        ("接触过长沙返乡人员", ["长沙"]),
        ("搬回控拜村六组老屋", ["控拜村六组"]),
        ("在西安市沣东新城征和四路工地3层坠下", ["西安市沣东新城征和四路"]),
        ("本人河北农村的", ["河北"]),
        ("地址改成浦东新区张杨路2000弄7号", ["浦东新区张杨路2000弄7号"]),
        ("昨日自东京返台", ["东京"]),
    ],
)
def test_the_next_word_is_no_part_of_the_place(text: str, places: list[str]) -> None:
    assert find(text, "ADDRESS") == places


@pytest.mark.parametrize(
    "text",
    [
        "北京亚型流感疫苗接种1剂",
        "接种北京科兴疫苗两针",
        "北京0号每日1片，骑上海凤凰自行车",
        "喝贵州茅台半斤，对青岛大虾过敏，大连海鲜过敏",
        "养了一只广东龟，穿西藏靴",
        "昆明种小鼠，北京黑猪，济南型",
        "在武汉大学读书，毕业于北京师范大学",
        "浙江卫视记者，江苏省委党校学员",
        "上海世博会，珠海航展，南京条约",
        "大理石地面，三亚硝酸，本溪流",
        "由公安、消防处置，长子在外地，由长子陪同",
        "病情平定，情绪平和，石棉接触史，术后安宁",
        "来京剧团演出，返港币200元",
        "住集体宿舍，住平房，住在三楼，家住6楼",
        "封闭小区，在花园散步，在高速上，在马路上，回家路上",
        "现住址：同户籍地址",
    ],
)
def test_products_organisations_and_words_are_not_places(text: str) -> None:
    assert find(text, "ADDRESS") == []


@pytest.mark.parametrize(
    "text",
    [
        "安庆，男，55岁",
        "黄山 男 45岁",
        "姓名：石河",
        "患者成都生，男，70岁",
        "患者苑长春，男，36岁",
        "记录者 余杭",
        "床位医生宁海",
        "吕梁：谢谢！我高热39.2",
        "高平（女，30岁）",
        "张海南，男，20岁；王长安",
    ],
)
def test_a_place_where_a_person_stands_is_no_place(text: str) -> None:
    assert find(text, "ADDRESS") == []


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("在姜山镇走亲戚，住姜山镇街上，", ["姜山镇"]),
        ("安徽省阜南县黄岗镇农民，", ["安徽省阜南县黄岗镇"]),
        ("四川省美姑县巴普镇租房，", ["四川省美姑县巴普镇"]),
        ("河南省汝州市临汝镇李建国，", ["河南省汝州市临汝镇"]),
        ("浙江省宁波市鄞州区姜山镇3号底商", ["浙江省宁波市鄞州区姜山镇3号底商"]),
    ],
)
def test_what_follows_a_town_is_no_part_of_it(text: str, places: list[str]) -> None:
    assert find(text, "ADDRESS")[:1] == places
