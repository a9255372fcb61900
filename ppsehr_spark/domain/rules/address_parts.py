"""Questions about a piece of text that address grammars share: a door in it, an organisation after it, a field's end.

Knows: element suffixes, doors, names of organisations, diseases and products. Must not know: the gazetteer.
Reference: annotation guideline v1, row ADDRESS ("do not annotate").
"""

from __future__ import annotations

import re

from ppsehr_spark.domain.rules.address_elements import NAME_CHARACTER, STRONG

_N = NAME_CHARACTER
#: A character of an organisation's name: verbs of going, staying and learning end the search for one.
_ORGANISATION_CHARACTER = (
    r"(?:[\u4e00-\u9fff](?<![在到因的了是被来去从往住某读念进做当打回返至由为各哪某些什多买卖招购租找帮跟让]))"
)
#: What makes the short name before it part of an element (``白云镇``, ``北京路``).
_ELEMENT_AHEAD = re.compile(rf"{STRONG}|湾(?![仔里沚])|湖(?![州北南口里滨])|[东西南北中][一二三]?路")
_STRONG_ANYWHERE = re.compile(STRONG)
_DOOR = re.compile(
    r"[0-9一二三四五六七八九十百]+(?:号|栋|幢|座|楼|层|单元|室|房|户|组|社|弄|门|排|#|队(?![列友伍员长])|"
    r"连(?![续接]))|[0-9]-[0-9]|[厦楼场寓心座园苑庭区][A-Z]?[0-9]{3,4}(?![0-9年月])"
)
_ORGANISATION = re.compile(
    rf"(?:{_ORGANISATION_CHARACTER}{{0,10}}?)(?:医院|卫生院|卫生所|保健院|卫生服务中心|诊所|门诊部|急救中心|疾控中心|"
    rf"血站|公司|集团|大学|学院|中学|小学|药业|制药|药厂|工厂|"
    rf"(?<![开办建进])厂|研究所|研究院|科学院|银行|法院|公安局|派出所|民政局|卫生局|卫健委|局(?!部)|委员会|政府|检察院|"
    rf"幼儿园|学校|合作社|事务所|商店|超市|服务部|经营部|企业|商行|工作室|车间|"
    rf"煤矿|电厂|保育院|福利院|养老院|托老所|敬老院|看守所|殡仪馆|指挥部|领导小组|管理处|出版社|协会|学会|商会|"
    rf"铁路局|机务段|总队|支队|军区|部队|"
    r"分行|支行|证券|保险|证监会|金管局|住房和城乡建设委|建委|发改委|卫计委|教委|纪委|人大|政协|出版公司|发行中心|"
    r"检测中心|"
    r"博物馆|美术馆|图书馆|体育馆|展览馆|日报|晚报|电视台|杂志|学报|通讯社|交易所)(?!大厦|大楼|路|街|巷|家属|宿舍|"
    r"小区|公寓|广场|社区|新村)"
    rf"|{_ORGANISATION_CHARACTER}{{2,8}}?办公室|住建[委局]|住房(?:保障|公积金|贷款|和城乡)"
    r"|某{2}[\u4e00-\u9fff]{0,10}?(?:公司|集团|厂|企业|学校|大学|学院)"
    r"|[:：][\u4e00-\u9fff]{2,14}出版社|预防医学|医学(?=[,，杂])|医药(?=[,，杂])|中医药?(?=[,，杂])"
    r"|(?:[\u4e00-\u9fff]{0,6}(?:疫苗|毒株|菌株|保险|马拉松)|(?:亚型|[甲乙丙丁]型|人寿|太保|人保|移动(?!到)|联通|"
    r"电信|石化|航空|0号|"
    r"卫视|[省市县区]?委(?:党校|书记|组织部|宣传部|办公室|常委)|港(?=工人|务)|联社|社科院|公证处|"
    r"[中高]院(?=[审判开宣一二认])|中级人民法院|商会|研究会|"
    r"(?:物价|国土|公安|卫生|教育|民政|税务|工商|住建|住保|环保|交通|城管|宣传|统计|监管|主管)部门|(?:住保|房改|金融|"
    r"综治|疫情防控)办(?:公室)?|"
    r"(?:福彩|体彩|拍卖|研究|管理|服务|检验|检测|救助|捐献)中心|第[一二三四五六七八九十0-9]{1,3}[届次]|信用社|农商行|"
    r"农合行|商业银行|起义|条约|公约|宣言|"
    r"事变|会战|保卫战|"
    r"(?:(?![参召开举出])[\u4e00-\u9fff]){0,4}(?:大会|峰会|论坛|博览会|展览会|交易会|世博会|奥运会|亚运会|全运会|"
    r"电影节|车展|航展|杯(?=[,，。赛决冠]))|"
    r"[\u4e00-\u9fff]?[剧戏](?![院场烈痛水])|现代(?=[车轿汽])|同仁堂|凤凰(?=[牌自])|俱乐部|球迷|德比|茅台(?!镇)|"
    r"(?:烤|板|酱|盐水)?鸭|烧鹅|米[线粉]|[拉刀凉热]\S?面|[麻辣串老]{0,2}火锅|泡菜|腊肉|腊肠|豆瓣|陈醋|料理|"
    r"小吃|特产|二锅头|香烟|卷烟|"
    r"[黄白米啤]酒(?!店)|[红绿黑普毛]茶)|"
    r"会议|降压|微创|行政长官|冰箱|汽车(?!站)|啤酒|牛奶|[\u4e00-\u9fff]{0,6}(?:胶囊|口服液|注射液|颗粒|滴丸|软膏|"
    r"(?<![拍摄照阅读过胸])片(?=[0-9口,，]))|[\u4e00-\u9fff]{0,6}(?:生产|出品|制造|产)的|产(?![业检后科妇房道前])|"
    r"居民(?=居住证|来往)|(?<=[香澳台][港门湾])居民|泰山(?![区市路脚风景])|"
    r"海港(?![区路])|申花|国安|鲁能|恒大|三镇|亚泰|蓉城|[男女][篮排足]|身份证|居民身份|户籍人口|时间|病毒|株|型|"
    r"病(?!人|区|房|"
    r"史)|肺炎|流感|脑炎|出血热|白药|牌|方言|话(?!说)|菜|式|血统|人民|时间|"
    r"黄芪|枸杞|阿胶|火腿|地黄|山药|红花|贝母|党参|黄连|版|标准|"
    r"方案|共识|评分|指南|量表|分类|证券|队)"
)
_ETHNIC_AHEAD = re.compile(r"(?:维吾尔|哈萨克|蒙古|朝鲜|土家|布依|[回藏壮汉满苗彝侗瑶白傣黎])族(?!自治|[乡镇])")
_UNNAMED_WORKPLACE = re.compile(
    r"(?:[煤金铁铜锡铅锌石]?矿|矿山|工厂|学校|部队|工地|油田)(?=[,，。;；、 ]|$)|"
    r"(?:一|某|当地)(?:家|所|个)?(?:[\u4e00-\u9fff]{0,4}?(?:厂|矿|学校|中学|小学|大学|公司|部队|企业|超市|工地|单位|"
    r"酒店|餐馆))|"
    r"(?:煤矿|金矿|矿山|工厂|厂|学校|公司|部队|企业|超市)里?(?:打工|务工|工作|上班|上学|读书|就读|当|做|干活|"
    r"采|挖|下井|井下|拉|开)|"
    r"(?:电子|鞋|皮鞋|服装|制衣|玩具|纺织|五金|塑料|印刷|家具|陶瓷|机械|皮革|箱包|灯具|模具|砖|水泥|食品|化工)厂|工地"
)
_FIELD_AHEAD = re.compile(
    r"[ ]+(?=[\u4e00-\u9fffA-Za-z]{2,8}[ ]?[:：])|[ ]{2,}|[ ]?[(（](?:邮编|电话|户籍|暂住|现住|与|同|具体|详细|"
    r"门牌|不详|自述|租)|邮\s?编|邮政编码|"
    r"(?:联系)?电话(?=[号:： 0-9])|手机(?=[号:： 0-9])|联系人|身份证"
)
_POSTCODE = re.compile(r"(?<=[\u4e00-\u9fff)）])[ ]?[0-9]{6}(?![0-9])")
_UNNAMED_PLACE = re.compile(
    r"[家屋村院店厂校县]里$|(?:新加坡|加拿大|澳大利亚|新西兰|马来西亚|印度尼西亚|菲律宾|印度|缅甸|泰国|越南|老挝|柬埔寨|日本|韩国|"
    r"美国|英国|法国|德国|"
    r"意大利|西班牙|葡萄牙|俄罗斯|乌克兰|非洲|欧洲|北美|南非|巴西|阿根廷|墨西哥|国外|海外)$|"
    r"(?:[同本该我邻全各某这那每](?:镇|村|乡|街道|社区|小区|路|街|里|园|城|院|县|市|区)|(?:工厂|厂矿|本厂|单位|"
    r"医学界|学术界|各界|农村|城市|城镇|乡下|乡村|"
    r"山区|市区|城区|郊区)"
    r"(?![\u4e00-\u9fff])|(?:楼房|平房|民房|自建房|出租[屋房]|板房|别墅|公寓|宿舍|"
    r"顶)?第?[0-9一二三四五六七八九十]{1,3}[楼层][东西左右]?$|(?:小区|公寓|宿舍|家属院|村|镇|社区|街道)$|(?:尿|通|旁|"
    r"线|气|电|回|管)路|(?:养老|老年|老人|集体|"
    r"单身|"
    r"职工|员工|学生|青年|学校|单位|工地|工厂)(?:公寓|宿舍楼?|院)$)"
)
#: What only tells where a place is or what it is like; it ends a form value (``北京路附近公交站``, ``建设街道出租屋``).
_LOCATOR = re.compile(
    r"[ ]?(?:某|附近|旁边?|对面|隔壁|周边|一带|门口|路边|路口|楼下|出租[屋房]|租[房屋]|自建房|民房|家[中里]|"
    r"小卖部|驿站|菜鸟|丰巢|处(?!$)|"
    r"的|内(?![蒙江黄]))"
)
_NO_VALUE = re.compile(
    r"(?:(?:同上|同前|不详|未知|无|未提供|本地|本市|本县|外地|当地|农村|城市|城镇|中国|如上|略|拒绝提供|"
    r"不明|保密|非?农业?|居民户口|同(?:现|户籍|户口|家庭|身份证|居住)?(?:地址|住址)|国外|外籍|汉族|待查|是|否|家中|"
    r"家里|自家|家|院内|"
    r"院外|本院|我院|途中|现场|路上|急诊|病房|同户籍|"
    r"同现住址|"
    r"同户口|暂缺|空)(?=[ ,，。;；(\n]|"
    r"$)|见(?:上|前|首|身份))"
)


def is_element_ahead(text: str, at: int) -> bool:
    """True when the word that ends at ``at`` is only the head of a street, town or village name."""
    return _ELEMENT_AHEAD.match(text, at) is not None


def has_strong_element(text: str, start: int, end: int) -> bool:
    """True when ``[start, end)`` holds a street, village, estate or the like, not only a word that may be one."""
    return _STRONG_ANYWHERE.search(text, start, end) is not None


def has_door(text: str, start: int, end: int) -> bool:
    """True when ``[start, end)`` names a house, building, room or group by number."""
    return _DOOR.search(text, start, end) is not None


def find_organisation_end(text: str, at: int) -> int:
    """End of the company, office, disease or product whose name the place before ``at`` begins; ``at`` for none."""
    match = _ORGANISATION.match(text, at)
    return match.end() if match else at


def is_people_ahead(text: str, at: int) -> bool:
    """True when the place before ``at`` only names a people (``新疆维吾尔族``)."""
    return _ETHNIC_AHEAD.match(text, at) is not None


def is_unnamed_workplace(text: str, at: int) -> bool:
    """True for a kind of workplace without a name (``山西临汾煤矿工作14年``): the place before it is a place."""
    return _UNNAMED_WORKPLACE.match(text, at) is not None


def trim_value(text: str, at: int, end: int) -> int:
    """End of a form value ``[at, end)``: before the next field, no trailing blanks; ``at`` when it says nothing."""
    if _NO_VALUE.match(text, at):
        return at
    for closing in (_FIELD_AHEAD, _POSTCODE):
        ahead = closing.search(text, at, end)
        end = ahead.start() if ahead else end
    end = _close_bracket(text, at, end)
    while end > at and text[end - 1] in " 、)）" and not (text[end - 1] in ")）" and "(" in text[at:end]):
        end -= 1
    return end


def is_locator_ahead(text: str, at: int) -> bool:
    """True when what follows only locates or describes the place that ends at ``at``."""
    return _LOCATOR.match(text, at) is not None


def is_unnamed_place(text: str, start: int, end: int) -> bool:
    """True for words of place without a name: ``农村``, ``本村3组``, ``同镇``."""
    return _UNNAMED_PLACE.match(text, start, end) is not None


def _close_bracket(text: str, at: int, end: int) -> int:
    """``end``, or where a bracket closes that was opened before ``at`` (``(地址:长江路4号)收悉``)."""
    depth = 0
    for position in range(at, end):
        depth += (text[position] == "(") - (text[position] == ")")
        if depth < 0:
            return position
    return end
