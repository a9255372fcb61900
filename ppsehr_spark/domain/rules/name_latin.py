"""Names in Latin letters: pinyin and foreign names that a title, a role or a Chinese name beside them betrays.

Knows: pinyin syllables and the words around Latin names. Must not know: Chinese names.
Reference: GB/T 28039-2011 (pinyin of personal names); annotation guideline v1, row NAME.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ppsehr_spark.domain.first_characters import GuardedPattern
from ppsehr_spark.domain.rules.name_found import FoundName, rate
from ppsehr_spark.domain.rules.name_parts import NameReader

_WORD = r"(?!(?:Pt|Mrs?|Ms|Miss|Dr|Prof)\b)[A-ZÀ-Þ][A-Za-zÀ-ÿ'\-]{1,20}"
_NAME = GuardedPattern(
    rf"(?<![A-Za-z0-9])(?:{_WORD}|[A-Z]\.)(?:(?:[ ·]|,[ ])(?:{_WORD}|[A-Z]\.)(?![A-Za-z0-9])){{0,3}}(?![A-Za-z0-9])"
)
_CUE_BEFORE = re.compile(
    r"(?:患者|病人|患儿|产妇|家属|护士|医师|医生|教授|翻译|同事|朋友|男友|女友|丈夫|妻子|配偶|联系人|导演|演员|记者|歌手|选手|教练|咨询师|经理|总监|顾问|让|叫|请|跟|"
    r"个女|个仔|搵|监[察查]员|英文名?|姓名|(?<![0-9])名|\b[Nn]ame|\bPt\.?|\b[Pp]atient|\bMrs?\.?|\bMs\.?|\bMiss|\bDr\.?|\bProf\.?|"
    r"\b(?:partner|wife|husband|mother|father|son|daughter|nurse))[ :]{0,3}$"
)
_CUE_AFTER = re.compile(
    r"[ ]?(?:医生|医师|教授|大夫|先生|女士|小姐|太太|老师|教练|同学|律师|经理|总监|姐|哥|"
    r"总(?![共计体是数])|阿姨|叔叔|导演|队长)|"
    r"[ ]?\([\u4e00-\u9fff]{2,6}[,)]|[ ]?[,(/][ ]?[男女MF][,、 )]|[ ][男女][ ,]|[ ]?,?[您你]好|"
    r"[ ]?(?:接任|出任|担任|表示|说|认为|介绍|回复|汇报|签字|确认|同意|拒绝|陪|协助)"
)
_CUE_LENGTH = 12
_CAPITALISED = re.compile(r"[A-Z][a-z]")
_INITIAL = r"(?:zh|ch|sh|[bpmfdtnlgkhjqxrzcsyw])"
_FINAL = r"(?:iang|iong|uang|ang|eng|ing|ong|ian|iao|uai|uan|ai|ei|ao|ou|an|en|in|un|ia|ie|iu|ua|ui|uo|ue|a|o|e|i|u|v)"
_SYLLABLE = rf"(?:{_INITIAL}{_FINAL}|er|an|ai|ao|ou|en)"
_PINYIN = re.compile(rf"(?i:{_SYLLABLE}(?:[\-' ]?{_SYLLABLE}){{1,2}})$")
_ONE_SYLLABLE = re.compile(rf"(?i:{_SYLLABLE})$")
#: Surnames as pinyin, Cantonese and Wade-Giles spell them, and words before one that make it another thing.
_SURNAME = re.compile(
    r"Wang|Li|Zhang|Liu|Chen|Yang|Zhao|Huang|Zhou|Wu|Xu|Sun|Hu|Zhu|Gao|Lin|He|Guo|Ma|Luo|Liang|Song|Zheng|Xie|"
    r"Han|Tang|Feng|Dong|Xiao|Cheng|Cao|Yuan|Deng|Fu|Shen|Zeng|Peng|Lu|Su|Jiang|Cai|Jia|Ding|Wei|Xue|Ye|Yan|"
    r"Pan|Du|Dai|Xia|Zhong|Tian|Ren|Fan|Fang|Shi|Yao|Tan|Liao|Zou|Xiong|Jin|Hao|Kong|Bai|Cui|Kang|Mao|Qiu|Qin|"
    r"Gu|Hou|Shao|Meng|Long|Wan|Duan|Qian|Yin|Chang|Qiao|Lai|Gong|Wen|Chan|Cheung|Wong|Lee|Lam|Ho|Mui|Kwok|Ng|"
    r"Leung|Chow|Chu|Tsang|Tse|Yip|Yeung|Lau|Lui|Lok|Fung|Hui|Kwan|Mak|Poon|Siu|So|Szeto|To|Tong|Tsui|Yau|Yuen|"
    r"Yu|Ip|Au|Auyeung|Chiu|Choi|Chung|Kwong|Lo|Mok|Pang|Sit|Yim|Hsu|Hsieh|Tsai|Chou|Hsiao|Kuo|Teng|Tseng|Hung|"
    r"Chiang"
)
_NO_FIRST = re.compile(
    r"Van|Von|De|La|Le|El|Al|San|Los|New|Old|Saint|The|And|Dr|Mr|Ms|Mrs|Prof|Sir|Lord|King|Type|Stage|Grade|"
    r"Class|Model|Test|Score|Scale|Lac|Omega|Alpha|Beta|Gamma|Delta|Sigma|Vitamin|Child|Apple|Google|Great|"
    r"South|North|East|West|Hong|Kong|Red|Blue|Big|Little"
)
_NO_NAME = re.compile(
    r"\b(?:CT|MRI|MR|DR|PET|RPR|TPPA|HIV|HPV|HBV|HCV|DNA|RNA|ECG|EEG|ICU|NICU|CCU|BMI|VAS|TRUST|USP|CO|OK|ID|No|NO|"
    r"QQ|WeChat|SOAP|RFC|HPI|PMH|Tel|"
    r"TEL|Email|Dear|From|To|Subject|Re|Date|Hi|Hello|The|In|On|At|For|And|Or|Not|Plan|PT|Hb|WBC|PLT|Grey|Turner)\b"
)


def find_latin(text: str, reader: NameReader) -> Iterator[FoundName]:
    """Latin names with a cue beside them; the words of a note in English are none."""
    if _CAPITALISED.search(text) is None:
        return
    for match in _NAME.find_all(text, 0, len(text)):
        start, end = match.span()
        words = re.split(r",?[ ·]", match.group())
        is_known = _is_romanised(words)
        is_name = not _NO_NAME.search(match.group()) and (len(words) > 1 or not match.group().isupper())
        if is_name and (is_known or _is_cued(text, start, end, reader)):
            is_clear = len(words) > 1 or _PINYIN.match(match.group()) is not None
            yield rate(start, end, 3.0 if is_clear else 1.0, "latin")


def _is_romanised(words: list[str]) -> bool:
    """``Olivia Chen``, ``Kevin Mui``, ``Tang Chi Man``: a Chinese surname as it is spelled here or abroad."""
    if len(words) == 2:
        return _SURNAME.fullmatch(words[1]) is not None and words[0][2:].isalpha() and not _NO_FIRST.fullmatch(words[0])
    return (
        len(words) == 3 and _SURNAME.fullmatch(words[0]) is not None and all(_ONE_SYLLABLE.match(w) for w in words[1:])
    )


def _is_cued(text: str, start: int, end: int, reader: NameReader) -> bool:
    """True when a role, a title, a sex, an age or a greeting stands beside ``text[start:end]``."""
    if _CUE_BEFORE.search(text, max(0, start - _CUE_LENGTH), start) or _CUE_AFTER.match(text, end):
        return True
    if text[start - 1 : start] == "(" and text[end : end + 1] == ")":
        words = text[start:end].split(" ")
        is_pinyin = len(words) > 1 and any(_ONE_SYLLABLE.match(word) for word in words)
        return is_pinyin or reader.is_person_before(text, start - 1)
    return reader.is_person_before(text, start) or text[start - 1 : start] == "叫"
