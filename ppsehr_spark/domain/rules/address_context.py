"""How sure a chain of divisions is a place, from what stands beside it.

Knows: words before and after a place in Chinese prose, and kinds of names. Must not know: how the chain was found.
Reference: annotation guideline v1, row ADDRESS ("do not annotate").
"""

from __future__ import annotations

import re

from ppsehr_spark.domain.rules.address_chains import Chain
from ppsehr_spark.domain.rules.address_parts import (
    find_organisation_end,
    has_door,
    has_strong_element,
    is_unnamed_workplace,
)

_PROSE_LEFT = re.compile(
    r"(?:在|于|到|至|往|赴|去|从|由|自|来|回|返|经|住|居|抵|离|生|驻|游|迁|飞|系|是|区|有|的|社|网|本报|转|喺|差|过|"
    r"国|日本|越南|印度|缅甸|柬埔寨|老挝|律宾|西亚|加坡|加拿大|非洲|欧洲|瑞士|瑞典|罗斯|大利|利亚|埃及|墨西哥|巴西|"
    r"[,，.。;；、:：(（\[\"“‘'|/~→>+\- \n]|^)$"
)
#: A preposition of place or a verb of moving straight before a short name.
_MOVED = re.compile(r"(?:在|赴|至|往|到|由|从|自|来自|去|返|抵|回|经|位于|迁|飞|住|居|转|出差|路过|途经|抵达|到达|喺)$")
_WORD_RIGHT = (
    r"人(?![民口工体])|籍|打工|务工|工作|居住|生活|旅游|出差|旅行|读书|上学|求学|经商|探亲|返回|"
    r"回来|过来|当地|等地|一带|附近|地区|农村|老家|出生|长大|暂住|定居|务农|旅居|接触史|居住史|旅行史|户口|口音|病友|"
    r"女孩|男孩|姑娘|小伙|网友|市民|警方|女子|男子|家长|妈妈|宝妈|老板|姐妹|讯|"
    r"方面|这边|那边|同胞|"
    r"乡下|乡间|城里|县城|街头|郊区|的(?:老乡|病友|朋友|亲戚|同学|家|老家|路上|高铁|火车|车|医院|病人|患者)|"
    r"老乡|转机|机场|高铁|火车|方言区|疫区|多年|[0-9一二三四五六七八九十]+余?年|[0-9]{1,2}月[0-9]{1,2}日"
)
_STRONG_RIGHT = re.compile(_WORD_RIGHT)
_PROSE_RIGHT = re.compile(
    rf"(?:{_WORD_RIGHT}|市|省|"
    r"[,，.。;；、:：)）\]\"”’'|/~→>+ \n]|$|至|到|某|的|来|回|返|乘|飞|自驾|就|和|与|及)"
)
_EMPLOYER = re.compile(r"(?:工作单位|单位|就职于|任职于|供职于|就读于|毕业于)[ ]{0,2}:?[ ]{0,4}$")
#: A person's name at the head of a line (``安庆，男，55岁``).
_PERSON_RIGHT = re.compile(r"[,， ]{0,2}(?:[男女](?=[,，、;；。 0-9]|$)|先生|女士|同志|医生|医师|主任|教授)")
#: The commonest surnames: a province straight after one is a given name (``李海南``).
_SURNAMES = frozenset(
    "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎余潘杜戴夏钟汪田任姜"
    "范方石姚谭廖邹熊金陆郝孔白崔康毛邱秦江史顾侯邵孟龙万段雷钱汤尹黎易常武乔贺赖龚文"
)
_NAME_FIELD = re.compile(
    r"(?:姓名|父亲|母亲|父|母|丈夫|妻子|配偶|联系人|家属|医师|医生|护士|签名|签字|监护人|经办人?|审核者?|记录者?|"
    r"报告者?|检查者?|"
    r"申请人|委托人|患者)[ ]{0,2}:[ ]{0,4}$"
)
_PERSON_LEFT = re.compile(r"(?:^|\n|患者|姓名:?|[0-9.、 ])[ ]{0,2}$")


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
    if not is_door and _EMPLOYER.search(text, max(0, chain.start - 14), chain.start):
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
    if reach == chain.end or has_strong_element(text, chain.end, end):
        return False
    is_moved = _MOVED.search(text, max(0, chain.start - 2), chain.start) is not None
    return not ((len(chain.kinds) > 1 or is_moved) and is_unnamed_workplace(text, chain.end))


def _is_person(text: str, chain: Chain, end: int) -> bool:
    if chain.kinds != "p" and _NAME_FIELD.search(text, max(0, chain.start - 12), chain.start):
        return True
    right = _PERSON_RIGHT.match(text, end)
    return right is not None and _PERSON_LEFT.search(text, max(0, chain.start - 5), chain.start) is not None


def _rate_short(text: str, chain: Chain, end: int, *, has_cue: bool, left: bool) -> float:
    """Short names: how much stands beside them decides; county names and ordinary words need the most."""
    right = _PROSE_RIGHT.match(text, end) is not None
    is_moved = _MOVED.search(text, max(0, chain.start - 2), chain.start) is not None
    is_detailed = end > chain.end
    if has_cue:
        return 0.93
    if len(chain.kinds) > 1:
        return 0.9
    if chain.kinds in "pch":
        if is_detailed or (left and right):
            return 0.85
        return _rate_province_or_city(text, chain, left=left, right=right, is_moved=is_moved)
    if chain.kinds == "f":
        return 0.7 if (is_moved or left) and right else 0.55 if is_moved else 0.4
    if chain.kinds == "a":
        return 0.7 if is_detailed and left else 0.5 if left and right else 0.3
    is_said = (is_moved or left) and _STRONG_RIGHT.match(text, end) is not None
    return 0.6 if is_said or (is_detailed and left) else 0.45 if is_moved and right else 0.0


def _rate_province_or_city(text: str, chain: Chain, *, left: bool, right: bool, is_moved: bool) -> float:
    """One side only: a person's name may hold a city's (``桓大庆``, ``姓名:揭阳生``), hardly a province's."""
    if is_moved:
        return 0.66
    if left:
        return 0.45 if chain.kinds == "h" or text[chain.start - 1 : chain.start] in (":", "/") else 0.55
    is_given_name = text[chain.start - 1 : chain.start] in _SURNAMES
    return 0.55 if chain.kinds == "p" and right and not is_given_name else 0.4
