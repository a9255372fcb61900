"""Readings that are no persons after all: signs and diseases that bear a name, places and firms.

Knows: what follows an eponym, a place or a firm. Must not know: how names are found.
Reference: annotation guideline v1, row NAME, "do not annotate".
"""

from __future__ import annotations

import re

from ppsehr_spark.domain.first_characters import GuardedPattern
from ppsehr_spark.domain.offsets import NormalisedText
from ppsehr_spark.domain.rules.name_edges import weigh_mark
from ppsehr_spark.domain.rules.name_found import FoundName
from ppsehr_spark.domain.rules.name_model import is_hanzi

_EPONYM_AFTER = re.compile(
    r"[\u4e00-\u9fff]{0,2}氏(?:病|征|综合)|氏(?!说)|综合[征症]|病(?![房区史人床友情重])|征(?![求得询兵])|试验|分级|分型|分期|反射|"
    r"定律|细胞|淋巴瘤|小体|染色|体征|评分|评级|量表|指数|管(?![床理])"
)
_EPONYM_END = frozenset("征氏族")
#: Rules that no word for a person supports, and how sure a label must be to count as one.
_BARE, _FAINT_LABEL = frozenset(["clause", "inside", "agent", "unit", "verb", "repeat"]), 0.6
_PLACE_END = frozenset("路道园桥街镇村区县苑巷弄")
_PLACE_AFTER = GuardedPattern(
    r"[街镇村区路县市乡园桥庄湾里湖河](?![\u4e00-\u9fff]{0,2}[说])|大[厦道街]|花园|交叉|交汇|小区|社区|开发区|"
    r"[0-9]{1,4}[号幢栋弄座楼室]|国际|广场|自然保护|公园|博物馆|故居|温泉|山庄|"
    r"公司|集团|牌|银行|实业|财富|期货|农?商行|合行|证券|基金|保险|科技|购物|商场|超市|公证处|兄弟|世界杯|竞技|》"
)
_BARE_BRANDS = frozenset(["clause", "inside", "agent"])
#: A dose behind a word, and stems of drug names (WHO, "The use of stems in the selection of INN", in Chinese).
_DOSE = GuardedPattern(
    r"[)\"]{0,2}[ ]{0,2}[0-9]{1,4}(?:\.[0-9]{1,3})?[ ]?(?:[mMkKuμ]?[gG](?![a-z])|m[lL]|M[lL]|I?U(?![a-z])|"
    r"万?单位|[片粒支丸袋滴克]|毫[克升]|微克)"
)
_DRUG_STEM = re.compile(
    r"替尼|单抗|他汀|沙坦|普利|洛尔|地平|西林|沙星|霉素|列净|列汀|格雷|帕利|培南|司琼|双胍|嘧啶|昔布|拉唑|卡因|他赛|夫定|那韦|瑞韦"
)


#: A drug before a bracket that holds its brand: ``吡非尼酮(艾思瑞)``.
_BRAND_OF = re.compile(
    r"(?:替尼|坦|胺|酮|唑|定|平|林|韦|韦德|福韦|素|汀|芬|酯|[酸磷]钠|钙|[片丸]|胶囊|颗粒|单抗|双抗|拉姆|列净|肽|[0-9][kmuμ]?g|[bqt]i?[dn]|D3?|疫苗|补片|支架|"
    r"导管|敷料|贴|膏|凝胶|喷雾|吸入剂)$"
)


def is_drug(text: str, found: FoundName) -> bool:
    """``(泰索帝)120mg``, ``奥拉帕利``: no word announces a person, a dose follows or the stem of a drug closes it."""
    if found.rule not in _BARE:
        return False
    is_bracketed = text[found.start - 1 : found.start] == "(" and text[found.end : found.end + 1] == ")"
    if is_bracketed and _BRAND_OF.search(text, max(0, found.start - 6), found.start - 1):
        return True
    has_stem = _DRUG_STEM.search(text, found.start, min(found.end + 2, len(text))) is not None
    return has_stem or _DOSE.match(text, found.end) is not None


def is_brand(text: NormalisedText, found: FoundName) -> bool:
    """``周大福``, ``康师傅``: a house that bears a name, or a part of it; a mark of persons makes it one."""
    for hit in text.hits.get("NAME.brand", ()):
        if hit.start <= found.start and found.end <= hit.end:
            is_whole = hit.end == found.end
            return not is_whole or (found.rule in _BARE_BRANDS and weigh_mark(text.text, found.end) == 0)
    return False


def is_eponym(text: str, found: FoundName) -> bool:
    """``墨菲征``, ``布氏征``, ``佩吉特氏病``: a sign or disease that bears a name."""
    is_bare = found.rule in ("clause", "inside") and not weigh_mark(text, found.end)
    if text[found.end - 1] == "族" and found.rule in _BARE:  # 泰雅族
        return True
    is_followed = is_hanzi(text, found.end) and _EPONYM_AFTER.match(text, found.end) is not None
    return is_followed or (is_bare and text[found.end - 1] in _EPONYM_END)


def is_place(text: str, found: FoundName) -> bool:
    """``季华园``, ``柯桥镇``, ``瑞穗银行``: what nothing announces as a person and a word of places or firms closes."""
    if found.rule == "title" and text[found.end - 1] in "村镇屯" and text.startswith("老人", found.end):
        return True  # the old people of a village (``上田村老人``)
    is_faint = found.rule in _BARE or (found.rule == "label" and found.confidence < _FAINT_LABEL)
    if not is_faint or weigh_mark(text, found.end):
        return False
    return text[found.end - 1] in _PLACE_END or _PLACE_AFTER.match(text, found.end) is not None
