"""How sure a short form or an unnamed institution is, from what stands beside it.

Knows: words of going and of treatment, numbers that only look like a brand. Must not know: lists or how a name is read.
Reference: annotation guideline v1, row HOSPITAL ("do not annotate").
"""

from __future__ import annotations

import re

from ppsehr_spark.domain.offsets import Hit
from ppsehr_spark.domain.rules.hospital_words import GENERIC, LEFT_CUE, ORDINAL, RIGHT_CUE

_DIGIT_BEFORE = re.compile(r"[0-9a-zA-Z.:/\-]$")
_DIGIT_AFTER = re.compile(r"[ ]?[0-9a-zA-Z%床室号.:/\-]|[ ]?(?:元|次|人|例|个|分|米|天|路|房|单元)")
_ORDINAL_KIND = re.compile(r"[一二三四五六七八九十]附?院$")
_MANY = re.compile(
    r"(?:哪[家个些里]|什么|有没有|最?好的|靠谱的|各|多家|几家|两家|三甲|三级|二甲|大|一家|所有|其他|其它|当地|本地|"
    r"市级|省级|区级|县级|上级|的|甲等|级|知名|"
    r"公立|私立|民营)+"
)
_COUNTRIES = frozenset(["中国", "中华", "国家", "首都", "北方", "南方"])
_REGION = re.compile(r"(?:省|市|自治区|州|地区)$|^(?:省|市|自治区|州|地区)")
#: What shows that a field after a place is another word (``北京口腔医学会``, ``上海儿童节``).
FIELD_OF_OTHER = re.compile(
    r"医|节|乐园|公园|剧|频道|日(?!在)|群众|政府|法院|银行|币|路|街|公司|学|协会|大会|广场|代表|检察|警察|英雄|出版|"
    r"健康"
)


def has_verb(text: str, start: int, end: int, *, needs_right: bool) -> bool:
    """A word, not a mark, shows that somebody was treated there; many brands are names of quarters too (望京, 鼓楼)."""
    left = LEFT_CUE.search(text, max(0, start - 2), start)
    right = RIGHT_CUE.match(text, end)
    is_treated = right is not None and "\u4e00" <= right.group().strip()[:1] <= "\u9fff"
    if needs_right or is_treated:
        return is_treated
    return left is not None and "\u4e00" <= left.group()[-1:] <= "\u9fff" and left.group() not in "住居"


def is_vague(text: str, start: int, anchor_end: int, end: int) -> bool:
    """A place or country before words that name no institution: ``北京某医院``, ``上海各大医院``, ``中国三甲医院``."""
    rest = text[anchor_end:end]
    if "某" in text[start:end] or _MANY.fullmatch(rest):
        return True
    return text[start:anchor_end] in _COUNTRIES and not GENERIC.sub("", rest)


def is_other_number(text: str, hit: Hit) -> bool:
    """A number brand (301) inside a longer number or before a unit."""
    has_more = _DIGIT_BEFORE.search(text, max(0, hit.start - 1), hit.start) is not None
    return has_more or _DIGIT_AFTER.match(text, hit.end) is not None


def count_cues(text: str, start: int, end: int) -> int:
    """How many sides (0 to 2) show that ``[start, end)`` is where somebody was treated."""
    has_left = LEFT_CUE.search(text, max(0, start - 2), start) is not None
    right = RIGHT_CUE.match(text, end)
    is_after_word = text[start - 1 : start] not in ("", ",", "。", ";", "、", ":", "(", " ", "\n")
    is_weak = right is not None and right.group().strip() in ("、", ",", "。", ";", ")", "")
    return has_left + (right is not None and (not is_weak or (has_left and is_after_word)))


def rate_unnamed(name: str, kind: str) -> float:
    """Names of generic words only: an ordinal or a province tells one institution from the next, 县医院 does not."""
    is_ordinal = ORDINAL.search(name) is not None or _ORDINAL_KIND.search(kind) is not None
    if "血" in kind[-4:]:  # 市中心血站, 省血液中心
        return 0.0
    if re.search(r"第[0-9]{3}$", name):
        return 0.8
    if is_ordinal:
        return 0.6 if _REGION.search(name) else 0.45 if name else 0.36
    return 0.55 if (name + kind).startswith("省") and name[1:2] not in ("级", "内") and len(name + kind) > 3 else 0.0
