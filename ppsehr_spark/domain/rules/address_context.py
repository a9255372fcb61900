"""How sure a chain of divisions is a place, from what stands beside it.

Knows: words before and after a place in Chinese prose, and kinds of names. Must not know: how the chain was found.
Reference: annotation guideline v1, row ADDRESS ("do not annotate").
"""

from __future__ import annotations

import re

from ppsehr_spark.domain.notes import Span
from ppsehr_spark.domain.rules.address_chains import Chain
from ppsehr_spark.domain.rules.address_parts import (
    find_organisation_end,
    has_door,
    has_strong_element,
    is_people_ahead,
    is_unnamed_workplace,
)

_PROSE_LEFT = re.compile(
    r"(?:在|于|到|至|往|赴|去|从|由|自|来|回|返|经|住|居|抵|离|生|驻|游|迁|飞|系|是|区|有|其中|的|社|网|本报|转|喺|差|过|"
    r"国|站|日本|越南|印度|缅甸|柬埔寨|老挝|律宾|西亚|加坡|加拿大|非洲|欧洲|瑞士|瑞典|罗斯|大利|利亚|埃及|墨西哥|巴西|"
    r"印尼|西兰|班牙|荷兰|色列|耳其|斯坦|[娘婆]家|老[公婆]|爱人|父亲|母亲|丈夫|妻子|配偶|[爸妈我]|本人|楼主|患者|家属|"
    r"[天年月日们咱距]|[求问假节]|国庆|以前|平时|后来|当时|[公婆]婆|岳[父母]|"
    r"[,，.。;；、:：(（\[\"“‘'|/~→>+\- \n]|^)$"
)
#: A preposition of place or a verb of moving straight before a short name.
_MOVED = re.compile(
    r"(?:在|赴|至|往|到|由|从|自|来自|去|返|抵|回|经|位于|迁|飞|住|居|转|出差|路过|途经|抵达|到达|[去到来回]了|"
    r"[去到来回]过|常跑|[爬登游逛]|滞留|困在|留在|了?[一两几]?趟|落地|"
    r"离开|寄|邮|送|嫁|搬|调|徙|宿|移师|直?奔|改道|籍|久客|客居|试过|困守|死守|"
    r"喺)$"
)
#: A verb of going alone: what follows it is no ordinary word.
_GOING = re.compile(r"(?:赴|返|抵|前往|抵达|回|来自)$")
_WORD_RIGHT = (
    r"人(?![民口工体])|籍|打工|务工|工作|居住|生活|旅游|出差|旅行|读书|上学|求学|经商|探亲|返回|"
    r"回来|方向(?!盘|不)|[0-9]+例|[两三四五][市县区](?![医院])|电:|装机|采集|盖房|伐木|帮工|砍|行医|教书|采|嫁|山林|那[边位个]|过来|当地|等地|一带|附近|地区|农村|老家|出生|长大|暂住|定居|务农|旅居|接触史|居住史|旅行史|户口|口音|病友|"
    r"女孩|男孩|姑娘|小伙|大哥|大姐|大叔|阿姨|网友|市民|警[方官察]|记者|女子|男子|男性|女性|患[者儿]|病[人友]|家长|"
    r"妈妈|宝妈|老板|姐妹|亲[属戚友]|"
    r"朋友|客户|讯|参加|探望|出[差发]|返[乡京校工]|当兵|服役|插队|下乡|支[教医边]|开[店车会餐厂小滴货出吊挖庭]|"
    r"摆摊|做[鞋衣服装生工饭饼菜灯箱伞线买保民]|"
    r"跑[车运货长]|拉[货煤砖菜]|送[货外餐菜煤]|种[地田菜瓜棉茶粮大果]|养[殖猪牛羊鸡鸭鱼虾蜂]|卖|采[煤矿茶]|"
    r"挖[煤矿]|放[牧羊牛]|打鱼|捕鱼|进货|装修|施工|修[路桥铁]|"
    r"承包|收[购废粮]|拜年|奔丧|扫墓|走亲|赶集|赶考|过[春冬夏节]|避暑|带[孩小外孙]|帮[忙女儿子]|照[顾看]|陪|"
    r"接[人单孩客]|相亲|结婚|办[事喜]|面试|演出|支援|"
    r"挂职|驻[训守]|服刑|骑行|徒步|[登爬]山|滑雪|潜水|吃|喝|"
    r"创业|实习|进修|培训|学习|"
    r"下车|上车|转[车诊院]|复[查诊]|就[诊医]|看[病诊]|求[医诊]|住院|手术|[\u4e00-\u9fff]{0,6}(?:居住史|旅居史|旅行史|"
    r"接触史|疫区|流行区|疫水)|[0-9]{1,4}[多余]?公里|坐[车船大火高飞]|乘[车船坐火高飞]|转[来入]|[送赶]来|出发|启程|"
    r"转业|退伍|入伍|参军|复员|医生说|专家|大夫|过年|度假|报道|消息|"
    r"分娩|待产|生[孩娃产]|坐月子|养[病老胎伤]|休[养息假]|疗养|治病|换药|康复|建卡|产检|"
    r"[\u4e00-\u9fff]{0,3}地里|[山海江湖河]边|[山海]上|海域|草原|牧区|林区|矿上|厂里|批发|口岸|(?!手术|"
    r"外伤)[\u4e00-\u9fff]{2,4}史(?=[,，。;；、)]|$)|"
    r"[\u4e00-\u9fff]{0,3}(?:[船快球店业营保递]员|师傅|厨师|保安)(?=[,，。;；])|"
    r"雨大|下船|上船|三天|两天|[0-9]{1,2}\.[0-9]{1,2}[、。]|\([0-9]{1,2}日|球迷|租房|境内|市内|市区|媒体|来电|入境|出境|口岸|妹[子妹]|小妹|兄弟|玩|逛|购物|行街|游玩|矿工|居民|汉子|女人|男人|"
    r"工程师|教师|农民|工人|退休|司机|厨师|商人|学生|大学生|干部|海员|渔民|牧民|村民|留学|签证|航班|华[人侨]|居民|"
    r"度蜜月|自驾|有没有|哪[里家个]|怎么|能不能|离|距|天气|气候|"
    r"方面|这边|那边|同胞|"
    r"乡下|乡间|城里|县城|街头|郊区|的(?:老乡|病友|朋友|亲戚|同学|家|老家|路上|高铁|火车|车|医院|病人|患者)|"
    r"老乡|转机|机场|高铁|火车|方言区|疫区|多年|[0-9一二三四五六七八九十]+余?年|[0-9]{1,2}月[0-9]{1,2}日"
)
_STRONG_RIGHT = re.compile(_WORD_RIGHT)
_PROSE_RIGHT = re.compile(
    rf"(?:{_WORD_RIGHT}|市|省|"
    r"[,，.。;；、:：)）\]\"”’'|/~→>+ \n]|$|至|到|某|的|来|回|返|乘|飞|自驾|就|和|与|及|时(?![代尚常])|后(?![勤面])|"
    r"期间|上班)"
)
_EMPLOYER = re.compile(
    r"(?:工作单位|单位名称|学校名称|公司名称|就读学校|单位|学校|公司|就职于?|任职于?|供职于?|就读于|"
    r"毕业于)[ ]{0,2}:?[ ]{0,4}$"
)
#: A person's name at the head of a line (``安庆，男，55岁``).
_PERSON_RIGHT = re.compile(
    r"(?:(?![人籍])[\u4e00-\u9fff](?=[,，( ]))?[,，( ]{0,2}(?:[男女](?=[,，、;；。) 0-9]|$)|先生|女士|同志|医生|医师|"
    r"主任|教授)"
)
#: Age alone tells a person only where the place is no city (``石河，55岁``; ``杭州，32岁，备孕`` is a place).
_AGED = re.compile(r"[,，( ]{0,2}[0-9]{1,3}(?:岁|周岁|Y\b|y\b)")
#: Who speaks in a chat: a lone name at the head of a line before a colon.
_LINE_HEAD = re.compile(r"(?:^|\n)[ ]{0,2}$")
#: The commonest surnames: a province straight after one is a given name (``李海南``).
_SURNAMES = frozenset(
    "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎余潘杜戴夏钟汪田任姜"
    "范方石姚谭廖邹熊金陆郝孔白崔康毛邱秦江史顾侯邵孟龙万段雷钱汤尹黎易常武乔贺赖龚文桓仝佟裴阮房庞翁荆柯焦巫盛匡祁温梅骆章鲁葛伍韦申尤毕聂焦颜柳安左牛齐"
    "戚苑苗卞霍臧隋庄冉景鲍池娄符凌岳费翟倪樊靳甄岑蓝桑宫穆耿滕晏楚辛屈欧桂窦鄢谌佘蒲喻邢狄祝舒车鞠"
)
_NAME_FIELD = re.compile(
    r"(?:姓名|[父母夫妻兄弟姐妹子女儿媳婿]亲?|丈夫|妻子|配偶|家属|签名|签字|经办|审核|患者|[^\W\d]员|"
    r"[^\W\d来]人|[^\W\d]者|"
    r"医师|医生|护士长?|护师|药师|技师|主任|组长|站长|所长|院长|校长)[ ]{0,2}:[ ]{0,4}$|"
    r"(?:签名|签字)[ ]{0,2}:[^\n:,，。]{0,12}[ ]{1,4}$|"
    r"(?:签名|签字|记录者|报告者|检查者|审核者|审核医师|报告医师|记录人|值班医师|主管医师|姓名)[ ]{1,4}$"
)
#: What goes on after a place that is the subject of its clause (``郑州有人等我``).
_SUBJECT_RIGHT = re.compile(
    r"有(?!限)|没|今|昨|现在|目前|既往|是|也|都|不|太|已|近[日来期年几]|疫情|发生|出现|本地|市区|那|这|最|下[雨雪]|"
    r"一(?:[家位名个处间所带线]|[A-Z])|正[是在]|仍|还[是有在]|之[行后前旅]|解放[前后]|待[他她我人]|老[宅屋房]|"
    r"境内|[东西南北中]{1,2}部|[多几]条|能见度|"
    r"全[市省]|各[地大区]|市民|(?:先生|女士)|[—-]{1,2}"
)
_ROLE = re.compile(r"(?:医[生师]|护士|护师|主任|教授|同学|老师|民警|司机)$")
_PATIENT_BEFORE = re.compile(r"(?:患[者儿]|产妇|病人)$")
_COMPOUND_SURNAMES = frozenset(["濮阳", "南宫", "东方", "钟离", "长孙"])
_GIVEN_RIGHT = re.compile(
    r"(?![市县区州人])[\u4e00-\u9fff]{1,2}?(?=[,，、;；。() \n]|$|[男女](?=[,，])|死|说|诉|签|同意|代诉)"
)
#: A foreign city straight after its country is meant (``韩国首尔整容``).
_COUNTRY_BEFORE = re.compile(
    r"(?:[美英法德泰韩]国|日本|越南|印度|缅甸|柬埔寨|老挝|菲律宾|马来西亚|新加坡|加拿大|瑞士|瑞典|俄罗斯|"
    r"意大利|澳大利亚|澳洲|埃及|"
    r"墨西哥|巴西|印尼|新西兰|西班牙|荷兰|以色列|土耳其|斯坦)$"
)
_DELIMITED = re.compile(r"[,，。;；、.)\n]|$")
#: What alone shows that the county before it is meant (``老人如皋人，``).
_NATIVE = re.compile(r"(?:人|籍|老家)(?=[,，。;；、.()\n ]|$)")
_AFTER_SHORT = re.compile(
    r"[,，。;；、.:)(\n ]|$|后|前|时|期间|打工|务工|工作|居住|定居|就[诊医业读]|求[诊医学]|看病|治疗|住院|手术|复查|"
    r"读书|上学|求学|探亲|"
    r"人员|旅[游居行]|出差|途中|航班|经商|[至到][\u4e00-\u9fff]|[0-9一二三四五六七八九十多数半两]+余?[天日周月年]|已|"
    r"不足|第[一二三]|过[冬年节]|避寒|"
    r"做生意|参加|途经|隔离"
)
#: What follows a county's name when a person or another word is meant.
_CUT = re.compile(
    r"(?:主任|医生|医师|大夫|护士|教授|老师|先生|女士|师傅|同学|同志|阿姨|叔|姨|哥|姐|爷|奶|总|队|药|汤|散|丸|片|星|堂|"
    r"山(?![林区里上])|[湖江溪峡岛]|隧|水库|湿地|万达|[a-zA-Z0-9]|间|度|性|的?病|氏)"
)
#: What parts the items of an enumeration or the stops of a journey.
_SEPARATORS = frozenset("、和与及至到-~→>/或")
#: The same with what was counted at each stop, or its date (``右玉5例、山阴4例``).
_LIST_GAP = re.compile(r", |—|--|->|→|以及|再到|前往|[0-9]{1,4}(?:例|人|名|次|天|家|\.[0-9]{1,2})[、,，]")
_PERSON_LEFT = re.compile(r"(?:^|\n|患者|姓名:?|[0-9.、 床])[ ]{0,2}$")


def rate_chain(text: str, chain: Chain, end: int, *, has_cue: bool) -> float:
    """Confidence that ``[chain.start, end)`` is a place; 0 drops it.

    Args:
        text: normalised text.
        chain: the divisions.
        end: where the elements after them end (``chain.end`` when there are none).
        has_cue: a cue of residence or origin stands straight before.
    """
    is_door = has_door(text, chain.end, end)
    if not is_door and _heads_organisation(text, chain, end):
        return 0.7 if len(chain.kinds) > 2 else 0.0
    is_some = text.startswith("某", chain.end) and not text.startswith("某某", chain.end)
    if not is_door and not is_some and _EMPLOYER.search(text, max(0, chain.start - 14), chain.start):
        return 0.4
    left = _PROSE_LEFT.search(text, max(0, chain.start - 3), chain.start) is not None
    is_lone_short = len(chain.kinds) == 1 and chain.kinds in "dawh"
    if is_door and (has_cue or left or not is_lone_short):
        return 0.97
    if any(k in "PCD" for k in chain.kinds):
        is_short_name = chain.end - chain.start <= 2 and len(chain.kinds) == 1
        return 0.95 if has_cue or len(chain.kinds) > 1 or end > chain.end else 0.5 if is_short_name else 0.93
    if chain.kinds == "w":
        return 0.8 if end > chain.end and has_cue else 0.0
    if _is_person(text, chain, end):
        return 0.2
    return _rate_short(text, chain, end, has_cue=has_cue, left=left)


def _heads_organisation(text: str, chain: Chain, end: int) -> bool:
    """The divisions begin the name of an organisation or a product, and no street or estate stands between."""
    reach = find_organisation_end(text, chain.end)
    if len(chain.kinds) == 1 and is_people_ahead(text, chain.end):
        return True
    if reach == chain.end or has_strong_element(text, chain.end, end):
        return False
    is_moved = _MOVED.search(text, max(0, chain.start - 2), chain.start) is not None
    return not ((len(chain.kinds) > 1 or is_moved) and is_unnamed_workplace(text, chain.end))


def _is_person(text: str, chain: Chain, end: int) -> bool:
    if chain.kinds != "p" and _NAME_FIELD.search(text, max(0, chain.start - 12), chain.start):
        return True
    if (
        chain.kinds != "p"
        and text[end : end + 1] == ":"
        and _LINE_HEAD.search(text, max(0, chain.start - 3), chain.start)
    ):
        return True
    if end == chain.end and _is_name_like(text, chain):
        return True
    if chain.kinds != "p" and end == chain.end and _ROLE.search(text, max(0, chain.start - 2), chain.start):
        return _DELIMITED.match(text, end) is not None
    is_told = _PERSON_RIGHT.match(text, end) or (chain.kinds not in "pc" and _AGED.match(text, end))
    return bool(is_told) and _PERSON_LEFT.search(text, max(0, chain.start - 5), chain.start) is not None


def _is_name_like(text: str, chain: Chain) -> bool:
    """A patient called like a place (``患者洛桑，``), or a compound surname that is one (``父亲濮阳文泰死于``)."""
    if chain.kinds != "p" and _PATIENT_BEFORE.search(text, max(0, chain.start - 3), chain.start):
        return text[chain.end : chain.end + 1] in (",", "，", "")
    is_surname = text[chain.start : chain.end] in _COMPOUND_SURNAMES
    return is_surname and _GIVEN_RIGHT.match(text, chain.end) is not None and not _STRONG_RIGHT.match(text, chain.end)


def _rate_short(text: str, chain: Chain, end: int, *, has_cue: bool, left: bool) -> float:
    """Short names: how much stands beside them decides; county names and ordinary words need the most."""
    if has_cue:
        return 0.93 if chain.kinds != "x" else 0.6
    if len(chain.kinds) > 1:
        return 0.9
    right = _PROSE_RIGHT.match(text, end) is not None
    is_moved = _MOVED.search(text, max(0, chain.start - 2), chain.start) is not None
    is_told = _STRONG_RIGHT.match(text, end) is not None
    is_detailed = end > chain.end
    if chain.kinds in "pch":
        if is_detailed or (left and right):
            return 0.85
        return _rate_province_or_city(
            text,
            chain,
            left=left,
            right=is_told or text.startswith("的", end) or (right and chain.kinds == "p"),
            is_moved=is_moved,
        )
    if chain.kinds == "f":
        if left and _COUNTRY_BEFORE.search(text, max(0, chain.start - 4), chain.start):
            return 0.7
        is_subject = left and _SUBJECT_RIGHT.match(text, end) is not None
        return 0.7 if (is_moved or left) and right else 0.55 if is_moved or is_subject else 0.4
    if chain.kinds == "a":
        is_going = _GOING.search(text, max(0, chain.start - 2), chain.start) is not None
        if is_moved and (is_told or (right and is_going)):
            return 0.6
        return 0.7 if is_detailed and left else 0.5 if left and right else 0.3
    if chain.kinds == "x":
        return 0.55 if is_moved and is_told else 0.4 if is_moved and right else 0.3
    return _rate_county(text, chain, end, left=left, is_moved=is_moved)


def _rate_county(text: str, chain: Chain, end: int, *, left: bool, is_moved: bool) -> float:
    """A county without suffix may be another word or a name: it needs both sides, or one that says it alone."""
    is_told = _STRONG_RIGHT.match(text, end) is not None or is_unnamed_workplace(text, end)
    if (is_moved or left) and is_told:
        return 0.6
    if end > chain.end:
        return 0.6 if left else 0.3
    if is_moved and (_PROSE_RIGHT.match(text, end) or not _is_cut(text, end)):
        return 0.55
    return 0.5 if _NATIVE.match(text, end) and not _is_given_name(text, chain) else 0.3


def _is_cut(text: str, end: int) -> bool:
    """A title follows, or a character that makes another word of the county's last one (``到大通过``)."""
    return _CUT.match(text, end) is not None


def _is_given_name(text: str, chain: Chain) -> bool:
    """A surname stands straight before a name of two characters (``王大庆``)."""
    return chain.end - chain.start == 2 and text[chain.start - 1 : chain.start] in _SURNAMES


def _rate_province_or_city(text: str, chain: Chain, *, left: bool, right: bool, is_moved: bool) -> float:
    """One side only: a person's name may hold a city's (``桓大庆``, ``姓名:揭阳生``), hardly a province's."""
    if is_moved:
        return 0.66
    if left:
        is_word = "\u4e00" <= text[chain.start - 1 : chain.start] <= "\u9fff"
        if is_word and chain.kinds != "h":
            return 0.55
    elif _is_given_name(text, chain):
        return 0.4
    return 0.55 if right or _SUBJECT_RIGHT.match(text, chain.end) else 0.45 if left else 0.4


def is_beside(text: str, before: Span, span: Span) -> bool:
    """True when only a mark or word of enumeration or of travel stands between two places of one list."""
    gap = text[before.end : span.start]
    return gap in _SEPARATORS or _LIST_GAP.fullmatch(gap) is not None


def is_short_place(text: str, at: int) -> bool:
    """A province or city of one character after a verb of moving (``返沪``) when no longer word goes on at ``at``."""
    return _AFTER_SHORT.match(text, at) is not None or _STRONG_RIGHT.match(text, at) is not None
