"""Address elements below the county, read at one place of a normalised text.

Knows: element suffixes, numbers of doors and rooms, and words that only look like them. Must not know: the gazetteer.
Every read is bounded: at most ``_MAX_ELEMENTS`` elements of at most a dozen characters.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from ppsehr_spark.domain.offsets import Hit

_MAX_ELEMENTS = 12
#: A character of a place name: Hanzi that are no function words, and no verb of residence or treatment begins here.
_N = (
    r"(?:[后来](?=[山海街湾沟岭村庄洲河塘坡寨坪坝广宾安])|(?!打工|务工|工作|居住|旅游|出差|旅行|上学|读书|"
    r"求学|生活|经商|探亲|就诊|住院|治疗|手术|复查|医院|返回|出生|"
    r"长大|暂住|定居|附近|某|老家|当地|等地|务农|种植|养殖|上班|下班|途中|骑|驾|开车|行走|步行|被|散步|"
    r"回家|回到|不慎|摔|跌|车祸|做|发生|吃|饮)"
    r"[\u4e00-\u9fff](?<![的了在是有因患者诊就与及并或曾给让把到去来从向往至于住后我你他她它这那哪每吗呢啊吧着过则但且如为以自由将已未无不病治疗痛症检查服药术说称]))"
)
_STRONG = (
    r"(?:大道|大街|胡同|公路|高速公路|国道|省道|县道|街道办事处|街道|办事处|镇(?![痛静咳吐定惊])|"
    r"乡(?![下村亲])|苏木|嘎查|社区|居委会|村委会|行政村|自然村|新村|"
    r"村民委员会|村(?!民|里|干部|医|卫)|庄(?![严家])|屯|寨|路(?![上过途程边人径])|街(?![上边])|巷|弄|小区|"
    r"花园|花苑|公寓|家园|新城|名城|名苑|雅苑|佳苑|嘉苑|苑|"
    r"豪庭|雅居|公馆|别墅|山庄|大厦|家属院|家属楼|家属区|宿舍|大院|开发区|高新区|工业园区|工业园|工业区|"
    r"工业城|产业园|科技园|软件园|物流园|创业园|创意园|电商园|商务区|集中区|"
    r"管理区|示范区|度假区|风景区|园区|新区|酒店|宾馆|饭店|写字楼|商贸城|火车站|汽车站|农场|林场|牧场|团场|生产队|大队)"
)
_WEAK = (
    r"(?:里|城|园|府|居|湾|坊|轩|邸|郡|墅|阁|庭|国际|广场|市场|大楼|厂区|码头|车站|桥|岗|坪|坝|沟|塘|岭|"
    r"坡|圩|洲|岛|路口)"
)
_NUMBER = r"附?[A-Za-z]?[0-9一二三四五六七八九十百零]{1,5}(?:[\-、/#][0-9A-Za-z]{1,5}){0,3}[甲乙丙丁A-Za-z]?"
_UNIT = (
    r"(?:号院|号楼|号门|号(?![床])|栋|幢|座|楼(?![梯上下])|层|单元|室|房(?!间|颤|性)|户|村民小组|村(?!民)|小组|组|"
    r"队|社|弄|巷|门|排|支弄|#楼|#|期|区|院|街坊|团|连)"
)
_DOOR_TAIL = (
    r"(?:[\-]?[A-Z]?[0-9]{1,4}[A-Z]?[0-9]{0,4}(?:[\-][0-9A-Z]{1,4}){0,2}(?:室|房|号|户)?(?![0-9.a-zA-Z%年月日/:]|"
    r"[ ]?(?:mg|ml|cm|mm|岁|天|次|周|小时)))"
)
_ELEMENT = re.compile(
    rf"[ ]?(?:[A-Za-z]{{1,2}}(?:座|栋|幢|区|楼|单元)|(?<=[号园厦苑院])[东西南北主附][楼区座栋]|"
    rf"第?{_NUMBER}{_UNIT}(?:[东西南北中][段侧头边])?(?:[上下之][0-9一二三四五六七八九])?|"
    rf"{_N}{{1,9}}?{_STRONG}(?:{_STRONG}){{0,2}}(?:[东西南北中一二三四五六七八九十]{{1,2}}(?:段|路|街|区|"
    rf"里|巷|村|期|苑)|"
    rf"[东西南北中](?=[0-9])|[东西南北中]?[0-9一二三四五六]段)?"
    rf"|{_N}{{1,8}}?{_WEAK}(?=[0-9一二三四五六七八九十A-Za-z第]|[东西南北]?门|[,，。;；、)） \n]|$))"
)
#: A building known by a name of any form, shown by the floor or room that follows.
_NAMED_BUILDING = re.compile(
    rf"{_N}{{2,8}}?(?=[A-Z0-9一二三四五六七八九十]{{1,4}}(?:号楼|栋|幢|楼|层|单元|室|座|号院))"
)
_TAIL = re.compile(_DOOR_TAIL)
#: A door written without units straight after an estate: ``12-3-502``.
_ESTATE_TAIL = re.compile(r"[0-9]{1,4}[\-#][0-9]{1,4}(?:[\-][0-9]{1,4})?(?:室|房|号|户)?(?![0-9.a-zA-Z%年月日/:\-])")
#: A house number without 号 that ends the expression: ``飞轮路6``.
_BARE_TAIL = re.compile(r"(?<=[路街巷弄道村])[0-9]{1,4}(?=[,，。;；、\n]|$)")
#: What makes the short name before it part of an element (``白云镇``, ``北京路``).
_ELEMENT_AHEAD = re.compile(rf"{_STRONG}|[东西南北中][一二三]?路")
_STRONG_ANYWHERE = re.compile(_STRONG)
_DOOR = re.compile(r"[0-9一二三四五六七八九十百]+(?:号|栋|幢|座|楼|层|单元|室|房|户|组|社|弄|门|排|#)|[0-9]-[0-9]")
_ORGANISATION = re.compile(
    rf"(?:(?:{_N}|有限){{0,10}}?)(?:医院|卫生院|卫生所|保健院|卫生服务中心|诊所|门诊部|急救中心|疾控中心|"
    rf"血站|公司|集团|大学|学院|中学|小学|药业|制药|药厂|工厂|"
    rf"厂|研究所|研究院|科学院|银行|法院|公安局|派出所|民政局|卫生局|卫健委|局(?!部)|委员会|政府|检察院|"
    rf"幼儿园|学校|合作社|事务所|商店|超市|服务部|经营部|企业|商行|工作室|车间|"
    rf"煤矿|电厂|出版社|协会|学会|商会|铁路局|机务段|总队|支队|军区|部队)"
    r"|(?:病毒|株|型|病(?!人|区|房|史)|肺炎|流感|脑炎|出血热|白药|牌|方言|话(?!说)|菜|式|血统|人民|时间|"
    r"黄芪|枸杞|阿胶|火腿|地黄|山药|红花|贝母|党参|黄连|版|标准|"
    r"方案|共识|评分|指南|量表|分类|证券|队)"
)
_FIELD_AHEAD = re.compile(
    r"[ ]+(?=[\u4e00-\u9fffA-Za-z]{2,8}[ ]?[:：])|[ ]{2,}|[ ]?[(（](?:邮编|电话|户籍|暂住|现住|与|同)|邮\s?编|邮政编码|"
    r"(?:联系)?电话(?=[号:： 0-9])|手机(?=[号:： 0-9])|联系人|身份证"
)
_NO_VALUE = re.compile(
    r"(?:(?:同上|同前|不详|未知|无|未提供|本地|本市|本县|外地|当地|农村|城市|城镇|中国|如上|略|拒绝提供|"
    r"不明|保密|国外|外籍|汉族|待查|是|否)(?=[ ,，。;；(\n]|"
    r"$)|见(?:上|前|首|身份))"
)
_LEFT_WORDS = re.compile(
    r".*(?:家住|住在|住址|地址|居住|现住|暂住|在|于|到|至|往|赴|去|从|由|自|来|回|返|经|住|为|是|的|了|因|"
    r"被|后|与|和|及|位|系)",
    re.DOTALL,
)
_DOOR_AHEAD = re.compile(
    r"第?[0-9一二三四五六七八九十]{1,4}(?:[\-][0-9]{1,4})?(?:号(?!线)|组|社(?!区)|队|弄|栋|幢|单元|座|"
    r"-[0-9]{1,3}-[0-9])"
)
_ELEMENT_BEFORE = re.compile(rf"{_STRONG}$")
_OPEN_NAME = re.compile(rf"{_N}+$")


def read_details(text: str, at: int, *, is_labelled: bool) -> int:
    """The end of the address elements that start at ``at``; ``at`` itself when there are none."""
    end = at
    for _ in range(_MAX_ELEMENTS):
        element = _ELEMENT.match(text, end) or (_NAMED_BUILDING.match(text, end) if end > at else None)
        if element is None or (element.group()[0] == " " and not is_labelled) or (_is_foreign(text, element.end())):
            break
        end = element.end()
    if end > at:
        tail = (_TAIL if text[end - 1] in "栋幢座楼元层号院室" else _ESTATE_TAIL).match(text, end) or _BARE_TAIL.match(
            text, end
        )
        end = tail.end() if tail else end
    return end


def _is_foreign(text: str, end: int) -> bool:
    """An element that runs into an institution's name belongs to that name."""
    return re.match(r"医院|卫生院|卫生室|卫生所|卫生服务|诊所|派出所|小学|中学|公司", text[end : end + 4]) is not None


def is_element_ahead(text: str, at: int) -> bool:
    """True when the word that ends at ``at`` is only the head of a street, town or village name."""
    return _ELEMENT_AHEAD.match(text, at) is not None


def has_strong_element(text: str, start: int, end: int) -> bool:
    """True when ``[start, end)`` holds a street, village, estate or the like, not only a word that may be one."""
    return _STRONG_ANYWHERE.search(text, start, end) is not None


def has_door(text: str, start: int, end: int) -> bool:
    """True when ``[start, end)`` names a house, building, room or group by number."""
    return _DOOR.search(text, start, end) is not None


def is_organisation_ahead(text: str, at: int) -> bool:
    """True when the place name just read is the head of a company, office, disease or product name."""
    return _ORGANISATION.match(text, at) is not None


def trim_value(text: str, at: int, end: int) -> int:
    """End of a form value ``[at, end)``: before the next field, no trailing blanks; ``at`` when it says nothing."""
    if _NO_VALUE.match(text, at):
        return at
    ahead = _FIELD_AHEAD.search(text, at, end)
    end = ahead.start() if ahead else end
    while end > at and text[end - 1] in " 、)）" and not (text[end - 1] in ")）" and "(" in text[at:end]):
        end -= 1
    return end


def read_open_start(text: str, hit: Hit, division_starts: Sequence[int]) -> tuple[int, int, float] | None:
    """An address betrayed by the element ending at ``hit``, walking left to where its name may begin.

    A listed division on the way is where it begins, unless an element ends just before that division.
    """
    if hit.end >= len(text):
        return None
    if not _DOOR_AHEAD.match(text, hit.end):
        return None
    low = max(0, hit.start - 20)
    name = _OPEN_NAME.search(text, low, hit.start)
    if name is None:
        return None
    left = _LEFT_WORDS.match(text[name.start() : hit.start])
    start = name.start() + (left.end() if left else 0)
    inside = division_starts[bisect_right(division_starts, start) : bisect_left(division_starts, hit.start)]
    if inside and not _ELEMENT_BEFORE.search(text, max(0, inside[0] - 4), inside[0]):
        start = inside[0]
        end = read_details(text, hit.end, is_labelled=False)
    else:
        end = read_details(text, start, is_labelled=False)
    return (start, end, 0.85) if end > hit.end and has_door(text, hit.end, end) else None
