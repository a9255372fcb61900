"""What stands around a name and speaks for it: sex, age, telephone, identity number, speech, acts, kinship.

Knows: the marks to the right of a name and, at the start of a field, to its left, each with its weight in log-odds.
Must not know: what a name is made of. Reference: annotation guideline v1, row NAME; headers of real records.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from ppsehr_spark.domain.first_characters import GuardedPattern, read_pairs

_SEX = re.compile(
    r"[ ]{0,2}[,、(/|·;][ ]?(?:性别:?)?[男女](?=[,、;。)/|· \n0-9]|性|$|孩|婴)|"
    r"[ ]{1,4}[男女](?=性|[,、 /|]|[0-9]|$|\n)|"
    r"[ ]{0,2}性别|[ ]{0,2}\([男女][, /]"
)
_SEX_AGE = re.compile(
    r"[ ,/]{1,2}[MF][ ,/]{1,2}[0-9]{1,3}|"
    r"[ ]{0,2}[,、(/| ][ ]?[男女](?:性)?[ ]?[,、/| ][ ]?[0-9]{1,3}(?:岁|[个月天+]|[,/|)、 \n]|$)"
)
_AGE = re.compile(
    r"[ ]{0,2}[,、(/|][ ]?(?:年龄:?)?[0-9]{1,3}(?:岁|月龄|个月|天|[yY]\b)|[ ]{1,3}[0-9]{1,3}岁|现年[0-9]|,[0-9]{2}。"
)
#: The look ahead for a digit spares the walk through all that may stand before it.
_REACH = re.compile(
    r"(?=[^0-9Q]{0,23}[0-9Q])[ ]{0,3}[,、(:/|]?[ ]?(?:的|留下?|预留)?"
    r"(?:联系)?(?:电话|手机号?|微信|TEL|Tel|tel|QQ|手机)?(?:号码?)?[:为是]?[ ]{0,2}"
    r"(?:\+?86[ \-]?)?(?:1[3-9][0-9*][0-9* \-]{7,}|\(?0[0-9]{2,3}\)?[ \-]?[0-9]{7}|[0-9]{3}\*{4}|QQ|"
    r"(?:\+|00)[1-9][0-9]{0,2}[ \-]?[0-9(][0-9 ()\-]{5,})"
)
#: A department, a post or a kin term in brackets.
_BRACKETED = re.compile(
    r"[ ]?\([\u4e00-\u9fff]{0,8}(?:[科室部组]|中心|医院|主任|医师|医生|护士长?|教授|老师|同学|班长|组长|队长|经理|律师|"
    r"会计|记者|主编|学院|大学|专业|系|学部|[0-9一二三四五六]班|籍|[省市县]人|[党会]员|书记|委员|干事|社工|志愿者|"
    r"见习|实习|进修|规培|轮转|研究生|代)[,)]"
)
_BRACKETED_NEXT = re.compile(r"\([\u4e00-\u9fff]{2,8}\)[、,。;]")
_IDENTITY = re.compile(
    r"[ ]{0,2}[,、(|/ ]?[ ]?(?:身份证|证件|ID[ :号]|住院号|门诊号|病案号|台胞证|护照|医保号|[1-9][0-9]{16}[0-9Xx])"
)
_PAIR = re.compile(
    r"之(?:[大小长次独双]?[子女]|父|母|夫|妻|婴|孙|兄|弟|姐|妹)|(?:夫妇|夫妻|伉俪|父子|母子|母女|父女)|"
    r"(?:妈妈?|爸爸?|奶奶|爷爷|外婆|外公|家长)(?:[:,、 \n]|$)"
)
_SIGN = re.compile(
    r"[ ]{0,2}签(?:[字名发署章]|[ 。\n]|$)|[ ]{0,2}(?:敬上|谨上|启|手书|记录[。 \n])|"
    r"收(?:[ 。,\n]|$)"
)
_KIN_AFTER = re.compile(
    r"[ ]?\((?:系|为|是)?(?:患者|病人|其)?(?:之|的)?(?:父亲?|母亲?|子|女|夫|妻子?|儿子?|女儿|丈夫|爱人|配偶|家属|"
    r"本人|姐姐?|弟弟?|兄|妹妹?|哥哥?|孙子?|孙女|外孙|"
    r"儿媳|女婿|媳妇|弟媳|弟妹|嫂子?|父子|母子|父女|母女|夫妻|朋友|同事|同学|邻居|监护人|护工|外甥|侄子?|侄女|亲属|"
    r"祖父|祖母|"
    r"外婆|外公|奶奶|爷爷|长子|次子|长女|次女|[男女]友|老乡|工友)(?:关系)?[,)、]|[ ]?,系其"
)
_DID_CLEARLY = GuardedPattern(
    r"诉(?![讼求])|[代自主]诉|代[签办]|[代自]述|签[名字署]|在场|到场|[ ]?来电|[ ]?致电|主刀|[一二三]助|巡回|协助|"
    r"陪[同护诊伴检]|搀扶|查房|接诊|换药|代班|顶班|值[夜白]?班|"
    r"及其(?:丈夫|妻子|家属|父|母|儿|女|配偶)|的(?:家属|父亲|母亲|丈夫|妻子|儿子|女儿|爱人)|家属|同意|拒绝|否认|要求|表示"
)
_DID = GuardedPattern(
    r"已(?:向|核对|签|告|与|知|到|离|于|将)|看过|查看|复核|汇报|补充|指出|认为|器械|接听|送[餐饭药来]|巡视|到达|到床旁|"
    r"赶到|询问|告知|解释|交代|执行|核对|意见|"
    r"主任|副主任|医[师生]|护士|教授|大夫|等[三四五0-9]?人|先生|女士|与患者|向患者|向家属|为患者|陈述|"
    r"推送|报告|接班|交班|术后查看|(?:的)?(?:微信|电话|手机|联系方式)"
)
_SPOKE = GuardedPattern(
    r"(?:[ ]?(?:也|还|则|均|都|曾|却|日前|近日|昨天|昨日|今天|笑着|[0-9]{1,2}日))?"
    r"(?:向(?:《?[\u4e00-\u9fff]{2,6}》?)?(?:记者)?)?"
    r"(?:表示|认为|说|称|介绍|指出|透露|告诉|强调|坦言|直言|宣布|证实|承认|感慨|笑言|谈到|写道|回忆|呼吁|提醒|宣称|"
    r"坚称|接受)"
)
_HEAD_SEX_AGE = re.compile(
    r"(?:[男女],[0-9]{1,3}(?:岁|月|天|个月)?(?:,(?:[未已]婚|离异|丧偶|汉族|学生|农民|职工|职员|工人))?,)$"
)
_NATION = re.compile(
    r"[ ,、(]{1,2}(?:汉|回|满|壮|藏|维吾尔|蒙古?|哈萨克|苗|彝|土家|朝鲜|侗|瑶|"
    r"白|傣|黎|畲|布依|柯尔克孜|锡伯|达斡尔|鄂温克|羌|纳西|佤|水|仫佬|土|撒拉)族"
)
_CALLED = re.compile(r"[ ]?\((?:化名|音译|艺名|笔名|网名|曾用名|原名|本名|英文名)[,:;) ]")
_NUMBERED = re.compile(r"(?:^|\n)[ ]{0,4}\(?[0-9]{1,3}(?:[.、)][ ]{0,2}|[ ]{1,3})$")
_TIME_STAMP, _BEHIND_TIME = re.compile(r"[0-9]{1,2}[:时][0-9]{2}分?[ ,]{0,2}$"), frozenset(" ,分0123456789")
#: When what ails the person began, where the person lives, the next of kin in the same list.
_SINCE = re.compile(
    r"[ ,]?(?:于)?(?:[0-9]{1,3}|[半数一二三四五六七八九十]{1,2})余?(?:小时|分钟|天|日|周|年|个?月)(?:余|多)?[前来]"
)
_LIVES = re.compile(r",(?:现住|家住|住|来自|籍贯|原籍|系|[\u4e00-\u9fff]{2,6}[省市县州]|[\u4e00-\u9fff]{2,4}人[,。])")
_NEXT_KIN = re.compile(
    r"[、,](?:其)?(?:父亲?|母亲?|夫|妻子?|丈夫|子|女|儿子|女儿|兄|弟|姐|妹|外婆|奶奶|爷爷|女友|男友)"
    r"[\u4e00-\u9fff]{2,3}(?:[、,。;) \n]|均|都)"
)
#: A number in the next column: an age.
_COLUMN = re.compile(r"[ ]{1,4}[0-9]{1,3}(?:[ ]{1,4}[\u4e00-\u9fff]|岁|[ ]*\n)")
_COURSE = re.compile(r"[ ,](?:孕[0-9]|G[0-9]P|停经|剖宫产|顺产|[0-9]{1,2}床)")
_GREETED = re.compile(r"[ ]?,?[您你]好")
_DIGITS, _NUMERALS = "0123456789", "半数一二三四五六七八九十"
#: Marks to the right of a name, with the characters that each may begin with, the surest first.
_RIGHT = (
    (_SEX_AGE, 11.0, " ,/、(|"),
    (_SEX, 8.0, " ,、(/|·;"),
    (_KIN_AFTER, 6.0, " (,"),
    (_AGE, 6.0, " ,、(/|"),
    (_PAIR, 5.0, "之夫父母伉妈爸奶爷外家"),
    (_REACH, 6.0, " ,、(:/|留预电手微TtQ1+0*"),
    (_IDENTITY, 5.0, " ,、(|/身I住" + _DIGITS),
    (_SIGN, 5.0, " 签敬谨启手收"),
    (_NATION, 6.0, " ,、("),
    (_CALLED, 6.0, " ("),
    (_COURSE, 4.0, " ,"),
    (_BRACKETED, 5.0, " ("),
    (_SINCE, 3.5, " ,于" + _DIGITS + _NUMERALS),
    (_LIVES, 3.0, ","),
    (_NEXT_KIN, 3.0, "、,"),
    (_BRACKETED_NEXT, 2.0, "("),
    (_GREETED, 3.5, " ,您你"),
    (_COLUMN, 2.5, " "),
)
#: From here on what stands to the right speaks clearly for a name.
CLEAR: Final = 4.5
#: Quick to rule out: most places have none of these characters next.
FIRST_OF_MARKS: Final = frozenset(c for _, _, first in _RIGHT for c in first)
_PAIRS_OF_MARKS = tuple(read_pairs([pattern.pattern]) for pattern, _, _ in _RIGHT)
#: What some mark asks for as its second character; all others are alike.
_SECOND_OF_MARKS = frozenset(
    c for pairs in _PAIRS_OF_MARKS if pairs for seconds in pairs.values() for c in seconds or ()
)
#: First two characters (or one, where the second is none of those) -> the marks that may begin so, as they are met.
_MARKS_BY_PAIR: dict[str, tuple[tuple[re.Pattern[str], float], ...]] = {}
#: Acts and speech to the right of a name, as quick to rule out.
FIRST_OF_ACTS: Final = frozenset(
    "诉代自主签在到来致一二三巡协陪搀查接换顶值及的家同拒否要表已看复汇补指认器送赶询告解交执核意副医护教大等先女与向为陈推报术微电手联"
    "也还则均都曾却日近昨今笑0123456789说称介透强坦直宣证承感谈写回呼提坚 "
)
#: What stands behind the punctuation of every mark: one look rules out nearly all commas and blanks.
_MAY_MARK = re.compile(
    r"[^ ,、(:/|·;]|,[\u4e00-\u9fff]{2,6}[人省市县州]|[ ]?\([\u4e00-\u9fff]|[ ]{0,3}[ ,、(:/|·;]{1,2}"
    r"[男女性MF0-9+年联电手微TtQ身证I住门病台护医签敬谨启记系为是患其之的父母子夫妻儿女爱配家本姐弟兄妹哥孙外媳婿嫂朋同邻监侄亲祖奶爷长次老工"
    r"现住来籍原半数一二三四五六七八九十于孕G停剖顺您你汉回满壮藏维蒙哈苗彝土朝侗瑶白傣黎畲布柯锡达鄂羌纳佤水仫撒收(]"
)


def weigh_mark(text: str, end: int) -> float:
    """Log-odds that a mark of persons at ``end`` (sex, age, number, kin, signature) adds to a name; 0 without one."""
    first = text[end : end + 1]
    if first not in FIRST_OF_MARKS or not _MAY_MARK.match(text, end):
        return 0.0
    second = text[end + 1 : end + 2]
    pair = first + second if second in _SECOND_OF_MARKS else first
    marks = _MARKS_BY_PAIR.get(pair)
    if marks is None:
        marks = _MARKS_BY_PAIR[pair] = tuple(_find_marks(first, second))
    for pattern, weight in marks:
        if pattern.match(text, end):
            return weight
    return 0.0


def _find_marks(first: str, second: str) -> Iterator[tuple[re.Pattern[str], float]]:
    """The marks that may begin with these two characters, the surest first."""
    for (pattern, weight, firsts), pairs in zip(_RIGHT, _PAIRS_OF_MARKS, strict=True):
        seconds = pairs.get(first, frozenset()) if pairs else None
        if first in firsts and (seconds is None or second in seconds):
            yield pattern, weight


def weigh_right(text: str, end: int) -> float:
    """Log-odds that what follows ``end`` adds to a name: 0 where nothing speaks for it."""
    mark = weigh_mark(text, end)
    if mark:
        return mark
    if text[end : end + 1] not in FIRST_OF_ACTS:
        return 0.0
    if _DID_CLEARLY.match(text, end):
        return CLEAR
    if _SPOKE.match(text, end):
        return 4.0
    return 3.0 if _DID.match(text, end) else 0.0


def is_clear_right(text: str, end: int) -> bool:
    """True when ``weigh_right`` would say ``CLEAR`` or more."""
    mark = weigh_mark(text, end)
    if mark:
        return mark >= CLEAR
    return text[end : end + 1] in FIRST_OF_ACTS and _DID_CLEARLY.match(text, end) is not None


def weigh_left(text: str, start: int) -> float:
    """Log-odds that the start of the field adds to a name at ``start``."""
    if start == 0 or text[start - 1] in "\n|":
        return 1.5
    if text[start - 1] == "@":
        return 4.0
    if text[start - 1] in _BEHIND_TIME and _TIME_STAMP.search(text, max(0, start - 8), start):
        return 2.0
    if text[start - 1] == "," and _HEAD_SEX_AGE.search(text, max(0, start - 16), start):
        return 6.0
    return 2.5 if text[start - 1] in " .、)" and _NUMBERED.search(text, max(0, start - 9), start) else 0.0
