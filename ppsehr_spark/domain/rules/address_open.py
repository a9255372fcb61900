"""Addresses without a listed division: found by a door, a building with its room, or two elements in a row.

Knows: how far left a name may reach from the element that betrays it. Must not know: the gazetteer or labels.
Reference: annotation guideline v1, row ADDRESS.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from ppsehr_spark.domain.offsets import Hit
from ppsehr_spark.domain.rules.address_elements import (
    CROSSING,
    NAME_CHARACTER,
    NO_NAME_WORD,
    STRONG,
    Surroundings,
    read_elements,
)
from ppsehr_spark.domain.rules.address_parts import has_door, has_strong_element, is_unnamed_place

_REACH = 24
_ANCHORED = Surroundings(is_anchored=True)
_LEFT_WORDS = re.compile(
    r".*(?:户籍所在地|户籍地|户口所在地|户籍|户口|籍贯|出生地|现居地|居住地|常住地|住所|请寄|寄|送|收货|快递|家住|"
    r"喺|我?哋|遇见|看中|家里|现寓|今寓|寓|新屋|新房|您|注册地|住所地|那边|沿着?(?![河江海湖山滨])|写|所地|(?<![邻民定故新旧])居(?=[\u4e00-\u9fff]{2,5}[路街巷道])|(?<!抵)达(?=[\u4e00-\u9fff]{2,6}路)|"
    r"住在|住址|地址|居住|下榻|群主|团长|业主|现住|现居|离(?![石岛])|请|事发|途经|行至|旅居|寄居|定居|暂住|"
    r"(?<![解开])放(?![马鹤牛生])|改[成为]|在|"
    r"于(?![洪都家庄田])|到|"
    r"至(?![善德诚仁])|往|赴|去|从(?![化江善])|由|"
    r"(?<!自)由|自(?![由贡强治立])|来(?![安宾凤福龙广])|回(?![民龙])|返|经(?![开济纬一二三四五六七八九十])|住(?!宅)|"
    r"为(?!民)|是|的|了|因|"
    r"被|后(?![山海街湾沟岭村庄洲河塘坡寨坪坝巷宅田浦营溪潭门上头桥屯峪沙官地城咀店楼墙岗坞堡仓])|与|及|位|系|如今|"
    r"现在|目前|今年|去年|"
    r"同(?=[镇村乡])[镇村乡]|[该本我邻全各](?:镇|村|乡|市|县|区|街道))",
    re.DOTALL,
)
_DOOR_AHEAD = re.compile(
    r"(?:[附甲乙丙丁特东西南北])?第?[0-9一二三四五六七八九十]{1,5}(?:[\-][0-9]{1,4})?[ ]?(?:号(?![线床])|段[0-9]|"
    r"组(?!织)|"
    r"社(?!区)|队|弄|栋|幢|单元|座|巷|"
    r"-[0-9]{1,3}-[0-9])"
)
_SECOND_ELEMENT = re.compile(rf"(?:{NAME_CHARACTER}){{1,8}}?{STRONG}|[A-Za-z0-9]")
_ELEMENT_BEFORE = re.compile(rf"{STRONG}$")
_NAME_CHARACTER = re.compile(NAME_CHARACTER)
_LONE_SUFFIXES = tuple(
    [
        "小区",
        "花园",
        "花苑",
        "家园",
        "新村",
        "嘉园",
        "佳苑",
        "山庄",
        "别墅",
        "家属院",
        "胡同",
        "大道",
        "街道",
        "开发区",
        "工业区",
        "新城",
        "市场",
        "村",
        "屯",
        "镇",
        "乡",
        "路",
        "高速",
        "机场",
        "火车站",
        "高铁站",
        "汽车站",
        "客运站",
        "国道",
        "省道",
        "公园",
        "广场",
        "大厦",
        "大街",
        "公寓",
        "苑",
        "巷",
        "街",
        "社区",
        "寨",
        "农场",
        "林场",
        "牧场",
        "茶场",
        "大学城",
        "工业园",
        "科技园",
        "产业园",
        "软件园",
        "物流园",
        "保税区",
        "服务区",
        "收费站",
        "古镇",
        "码头",
        "隧道",
        "水库",
        "湿地",
        "夜市",
        "景区",
        "草原",
        "峡谷",
        "口岸",
        "地铁站",
        "大桥",
        "立交",
        "车站",
        "庄",
        "邨",
    ]
)
_BUILDING_NUMBER = re.compile(r"(?<![0-9A-Za-z])(?:[A-Za-z]?[0-9]{1,3}|[A-Za-z]|[一二三四五六七八九十]{1,3})$")
_ROOM_AHEAD = re.compile(
    r"[ \-]?(?:[东西中南北]?[0-9一二三四五六七八九十]{1,2}(?:单元|门(?!诊)|栋)|[A-Z]座|"
    r"[A-Z]?[0-9]{3,4}(?![0-9.%:/年月日\-]|"
    r"[ ]?(?:mg|ml|元|人|例|次|天))|"
    r"[0-9一二三四五六七八九十]{1,2}[楼层][ ]?[0-9]{3,4}|[0-9]-[0-9]{3,4})"
)
_TITLES = re.compile(
    r"^(?:病区|住院部|门诊|外科|内科|急诊|检查|手术)|(?:门诊|病房|住院|外科|内科|医技|急诊|综合|康复|行政|教学)$"
)


#: An estate, street, town or village whose name alone is spoken of, with what may follow it.
_AFTER_LONE = (
    r"(?=[,，。;；、.)）(（!！?？\n ]|$|居民|村民|业主|住户|附近|的|[里内时]|购物|晨练|锻炼|突|玩|跳|坐|站|看病|务农|"
    r"由[东西南北]|外(?![环滩])|看电影|就餐|爬山|游玩|扎营|采茶|吐|打盹|种|养|生活|长大|住|打工|工作|上班|"
    r"卖|吃|做|参|等|上(?![学班网])|一带|旁|"
    r"边|与|和|及|到|至|路口|口|被|发生|摔|跌|"
    r"[这那]|门口|[东西南北][侧门边区头]|租|走|下车|上车|候车|晕|散步|遛|跑步|骑|开|买|[0-9]{1,2}[:点时月日])"
)
_LONE = re.compile(
    r"[\u4e00-\u9fff]{2,6}?(?:小区|花园|花苑|佳园|家园|新村|嘉园|佳苑|雅苑|名苑|苑|"
    r"[东西南北一二三四五六七八九][区里园]|"
    r"山庄|别墅|家属院|公寓|公馆|豪庭|胡同|大道|街道|开发区|大厦|广场|公园|社区|大街|步行街|屋邨|邨|"
    r"高速公路|公路|高速|国道|省道|机场|火车站|高铁站|汽车站|客运站|(?<!家庭)(?:农场|林场|牧场|茶场)|工业园|"
    r"科技园|产业园|软件园|物流园|保税区|服务区|收费站|码头|隧道|水库|湿地|古镇|夜市|景区|草原|大?峡谷|口岸|地铁站|大桥|立交桥?|(?<!汽)(?<!火)车站|[庄巷]|街(?!头|上)|"
    r"(?<![尿通旁线气电回管环网思套窦出马公铁门活退弯半走让问带修水陆末道])路(?![段过途径程线]|由(?![东西南北])))"
    rf"(?:站(?![立起位在着岗点]))?{_AFTER_LONE}|[\u4e00-\u9fff]{{2,6}}?(?:[村屯镇寨]|"
    rf"(?<!城)乡)(?![民干医委里长志办卫政镇痛静小中级企风规外])|"
    r"[\u4e00-\u9fff]{2,6}?(?:小区|花园|家园|新村|花苑|大道|大街|胡同|高速(?![度增发])|火车站|高铁站|汽车站|"
    r"客运站|机场|公寓|社区(?![卫医])|开发区|"
    r"街道(?![办卫])|广场(?!舞)|公园|大厦|大学城|工业[区园]|产业园|科技园|大市场|批发市场|农贸市场|步行街|新城(?!区)|"
    r"(?<![尿通旁线气电回管环网思套窦出马公铁门活退弯半走让问带修水陆末道])路(?![段过途径程线人]|由(?![东西南北])))(?:站(?![立起位在着岗点]))?"
)
#: Words that describe a road or a village instead of naming it.
_DESCRIBED = re.compile(
    r"(?:水泥|柏油|沥青|石板|泥巴?|土|高速|人行|盘山|山间|林荫|十字|三岔|丁字|商业|美食|乡间|田间|环城|绕城|"
    r"城[中市郊]|机动车|自行车|"
    r"专用|城中|沿|附近|周边|隔壁|对面|几个|多个|各个|整[个条]|"
    r"[这那某一两数几多各每该本同邻全别外新老古旧主辅便小大好][个条座]?|"
    r"自然|行政|贫困|示范|文明|移民|普通|高档|老旧|封闭|安置|偏远|边远|下辖|我们?|他们?|你们?|当地|所[在住辖]|居住|"
    r"农[村民]?|"
    r"省界|边境|陆路|过江|海底|[山大小]|渔|水上|施工|红绿灯|长途|公交|主题|森林|湿地|儿童|城市|中心|住宅|商务|居民|公共|回家|上班|放学)"
    r"(?:小区|花园|家园|新村|山庄|别墅|家属院|公寓|大道|街道|开发区|大厦|广场|公园|社区|大街|街|路|镇|村|乡|屯|寨|庄|"
    r"巷|胡同|高速|国道|省道|机场|火车站|高铁站|汽车站|客运站|隧道|水库|湿地|夜市|景区|草原|峡谷|口岸|地铁站|大桥|立交|车站)"
)
#: A stretch of a road (``沈海高速漳浦段``) or where one leaves it.
_STRETCH = re.compile(r"[\u4e00-\u9fff]{2,4}?(?:段(?!落)|[东西南北]?(?:出口|入口|互通))")
_NUMBER_BEFORE = re.compile(r"[GSXgsx]?[0-9]{2,4}$")
#: A village that is spoken of at the head of a clause (``如今李家坳村已有``).
_VILLAGE = re.compile(
    r"(?!.?[农乡山渔本该同邻全各某])[\u4e00-\u9fff]{2,4}[村屯寨](?=[已的有人是位在现今今共全多也就最原曾])"
)
#: An estate at the head of a clause with those who live there or what happens there (``聚湖家园居民请带``).
_ESTATE = re.compile(
    r"[\u4e00-\u9fff]{2,6}?(?:小区|花园|家园|花苑|新村|嘉园|佳苑|雅苑|名苑|苑|公寓|胡同|大道|大街|社区|农场|"
    r"林场|牧场|[村镇街]|(?<![尿气胆食])路)"
    r"(?=的?(?:居民|村民|职工|业主|住户|街坊|邻居|老人|阿姨|大爷|大叔|大妈|奶奶|爷爷|[\u4e00-\u9fff](?:阿姨|大爷|先生|"
    r"女士|师傅|某))|[那这][个家条边里]|附近|门口|路口|、)"
)
_BOUNDARY = re.compile(r"(?:[,，.。;；:：、\n \"“”]|如今|现在|目前|今年|去年|当时|^)$")
_AT = re.compile(
    r"(?:在|于|到|至|从|由|去|往|回|自|来自|住|返|送|租住|位于|途经|经过|路过|沿|靠近|紧邻|毗邻|就是|"
    r"(?<![也就不只都还])是|[远边]的|请|走访了?|来到|"
    r"沿着?|前往|逛|遇见|翻过|穿过|过|在|登|爬|卡在|[到过去]了|[到去住]过|居|[患病]者?[系为是]|系|家[中里]?\(|"
    r"[村镇乡屯寨][、和]|名称[ ]?:[ ]?)$"
)


def read_open_start(text: str, hit: Hit, division_starts: Sequence[int]) -> tuple[int, int, float] | None:
    """An address betrayed by the element ending at ``hit``, walking left to where its name may begin.

    A listed division on the way is where it begins, unless an element ends just before that division.

    Returns:
        ``(start, end, confidence)`` or ``None`` when neither a door nor a second element follows.
    """
    if text.startswith(("国道", "省道"), hit.start):
        return _read_numbered_road(text, hit)
    has_number = _DOOR_AHEAD.match(text, hit.end) is not None
    is_stretch = text[hit.end - 1] in "路速道" and _STRETCH.match(text, hit.end) is not None
    has_more = has_number or is_stretch or _SECOND_ELEMENT.match(text, hit.end) or CROSSING.match(text, hit.end)
    if not has_more and not text.startswith(_LONE_SUFFIXES, hit.start):
        return None
    start = _find_start(text, hit.start, has_codes=False)
    if start is None or is_unnamed_place(text, start, hit.end):
        return None
    if not has_more:
        if _VILLAGE.match(text, start, hit.end + 2) and _BOUNDARY.search(text, max(0, start - 2), start):
            return start, hit.end, 0.5
        return _read_lone(text, start, hit.end)
    inside = division_starts[bisect_right(division_starts, start) : bisect_left(division_starts, hit.start)]
    if inside and not _ELEMENT_BEFORE.search(text, max(0, inside[0] - 4), inside[0]):
        start = inside[0]
        end = read_elements(text, hit.end, _ANCHORED)
    else:
        end = read_elements(text, start, _ANCHORED)
    if end <= hit.end:
        return None
    if has_door(text, hit.end, end):
        return start, end, 0.85
    is_place = is_stretch or CROSSING.match(text, hit.end) or _is_pair(text, start, hit, end)
    return (start, end, 0.6) if is_place else None


def _read_numbered_road(text: str, hit: Hit) -> tuple[int, int, float] | None:
    """A highway by its number, before or after the word (``国道213线``, ``G318国道``)."""
    before = _NUMBER_BEFORE.search(text, max(0, hit.start - 5), hit.start)
    start = before.start() if before else hit.start
    end = read_elements(text, start, _ANCHORED)
    return (start, end, 0.6) if end >= hit.end and (before or end > hit.end) else None


def _read_lone(text: str, start: int, end: int) -> tuple[int, int, float] | None:
    """One element on its own, told by a word of place before it or by those who live there after it."""
    if _DESCRIBED.fullmatch(text, start, end):
        return None
    is_bracketed = text[start - 1 : start] == "(" and text[end : end + 1] == ")"
    is_placed = is_bracketed or _AT.search(text, max(0, start - 4), start) is not None
    lone = _LONE.match(text, start, end + 3) if is_placed else None
    if lone and lone.end() >= end:
        return start, lone.end(), 0.6
    is_head = _BOUNDARY.search(text, max(0, start - 2), start) is not None
    estate = _ESTATE.match(text, start, end + 8) if is_head else None
    return (start, end, 0.55) if estate and estate.end() == end else None


def read_building(text: str, hit: Hit, division_starts: Sequence[int]) -> tuple[int, int, float] | None:
    """An estate of any name shown by building and room (``西湖人家2栋3单元702``, ``3幢201``); wards are no estates."""
    if not _ROOM_AHEAD.match(text, hit.end):
        return None
    number = _BUILDING_NUMBER.search(text, max(0, hit.start - 5), hit.start)
    if number is None:
        return None
    start = _find_start(text, number.start(), has_codes=True)
    start = number.start() if start is None else start
    inside = division_starts[bisect_right(division_starts, start) : bisect_left(division_starts, number.start())]
    start = inside[0] if inside else start
    if _TITLES.search(text[start : number.start()]):
        return None
    end = max(read_elements(text, number.start(), _ANCHORED), read_elements(text, start, _ANCHORED))
    return (start, end, 0.8) if end > hit.end else None


def _find_start(text: str, at: int, *, has_codes: bool) -> int | None:
    """Where the name that ends at ``at`` begins: after the last word of going, all its characters fit names."""
    low = at
    while low > max(0, at - _REACH) and _is_name_like(text[low - 1], has_codes=has_codes):
        low -= 1
    left = _LEFT_WORDS.match(text, low, at)
    start = left.end() if left else low
    read = start
    for position in range(start, at):
        if position < read or text[position].isascii():
            continue
        named = _NAME_CHARACTER.match(text, position)
        if named:
            read = named.end()
        else:
            word = NO_NAME_WORD.match(text, position)
            start = max(start, min(word.end(), at) if word else position + 1)
    return start if start < at else None


def _is_name_like(character: str, *, has_codes: bool) -> bool:
    is_code = has_codes and character.isascii() and (character.isalnum() or character == "-")
    return "\u4e00" <= character <= "\u9fff" or is_code


_PLACES = ("镇", "乡", "街道", "开发区", "新区", "高新区", "村", "社区")


def _is_pair(text: str, start: int, hit: Hit, end: int) -> bool:
    """Two elements in a row without a door (``泗泾镇赵非泾路``): both must be streets, towns, villages or estates."""
    is_first = text[start : hit.end].endswith(_PLACES) and 2 <= hit.end - start <= 10
    return is_first and end - hit.end >= 3 and has_strong_element(text, hit.end + 1, end)
