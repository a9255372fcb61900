"""Names in Latin letters: pinyin and foreign names that a title, a role or a Chinese name beside them betrays.

Knows: pinyin syllables and the words around Latin names. Must not know: Chinese names.
Reference: GB/T 28039-2011 (pinyin of personal names); annotation guideline v1, row NAME.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ppsehr_spark.domain.rules.name_found import FoundName, rate

_WORD = r"[A-Z][A-Za-z'\-]{1,20}"
_NAME = rf"(?:{_WORD}|[A-Z]\.)(?:[ ·,](?:{_WORD}|[A-Z]\.?)(?![A-Za-z0-9])){{0,3}}"
_CUED = re.compile(
    r"(?:患者|病人|患儿|产妇|家属|护士|医师|医生|教授|翻译|同事|朋友|男友|女友|丈夫|妻子|配偶|联系人|导演|演员|记者|歌手|选手|教练|"
    r"\bPt\.?|\b[Pp]atient|\bMrs?\.?|\bMs\.?|\bMiss|\bDr\.?|\bProf\.?|\b(?:partner|wife|husband|mother|father|son|daughter|nurse))"
    rf"[ :]{{0,2}}(?P<name>{_NAME})(?![A-Za-z0-9])"
)
_BEFORE = re.compile(
    rf"(?<![A-Za-z0-9])(?P<name>{_NAME})(?=[ ]?(?:医生|医师|教授|大夫|先生|女士|小姐|太太)|"
    r"[ ]?\([\u4e00-\u9fff]{2,4}\)|[ ]?[,(/][ ]?[男女MF][,、 )]|[ ][男女][ ,])"
)
_INITIAL = r"(?:zh|ch|sh|[bpmfdtnlgkhjqxrzcsyw])"
_FINAL = r"(?:iang|iong|uang|ang|eng|ing|ong|ian|iao|uai|uan|ai|ei|ao|ou|an|en|in|un|ia|ie|iu|ua|ui|uo|ue|a|o|e|i|u|v)"
_SYLLABLE = rf"(?:{_INITIAL}{_FINAL}|er|an|ai|ao|ou|en)"
_PINYIN = re.compile(rf"(?i:{_SYLLABLE}(?:[\-' ]?{_SYLLABLE}){{1,2}})$")
_NO_NAME = frozenset(
    "CT MRI MR DR PET RPR TPPA HIV HPV HBV HCV DNA RNA ECG EEG ICU NICU CCU BMI VAS TRUST USP CO OK ID No NO QQ WeChat "
    "SOAP RFC HPI PMH Tel TEL Email Dear From To Subject Re Date Hi Hello The In On At For And Or Not Plan".split()
)


def find_latin(text: str) -> Iterator[FoundName]:
    """Latin names with a cue beside them; the words of a note in English are none."""
    if not any("A" <= c <= "Z" for c in text):
        return
    for pattern, odds in ((_CUED, 3.0), (_BEFORE, 3.0)):
        for match in pattern.finditer(text):
            name = match.group("name")
            if not _NO_NAME & set(re.split(r"[ ·,]", name)) and (any(c.islower() for c in name) or " " in name):
                yield rate(*match.span("name"), odds if " " in name or _PINYIN.match(name) else odds - 2.0, "latin")
