"""What a Chinese personal name is made of, read at one place of a normalised text.

Knows: surnames, given-name characters, masked and ethnic forms, which words end a name. Must not know: labels,
titles, kin terms or confidence thresholds (``person_names``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ppsehr_spark.domain.rules.grammars import GrammarContext

_HANZI = "\u4e00-\u9fff\u3400-\u4dbf"
#: Characters that do not stand inside a given name in running text.
_NOT_GIVEN = frozenset(
    "的了在是有因患者诊就及与或并曾被把让给到去从向往住后们个这那哪某说诉述称痛疼症病炎癌瘤肿胀咳喘吐泻查治疗药术服用"
    "不无未否行为于以其他她它我你您需请予嘱示见呈伴经转拒签即且但若如则又再也都很较均已将由对每各此该院科室床号次日月年时分"
    "岁女士夫妻父母姐妹兄弟爷奶叔姨舅姑员师生长主任医护职工务事电话址证件码男性别"
)
_MASK = re.compile(r"(?:某[某甲乙丙丁戊]?[一二三四]?|[*×○〇□_]{1,3}|(?:XX?|xx)(?![A-Za-z0-9光线片射射染\-]))")
_TAIL_MASK = re.compile(r"[*×○〇□]{1,3}")
_DOTTED = re.compile(rf"[{_HANZI}]{{1,7}}(?:[·.][{_HANZI}]{{1,8}}){{1,4}}")
_LATIN = re.compile(r"[A-Z][A-Za-z'\-]{1,20}(?:[ ,·.]{1,2}[A-Z][A-Za-z'\-]{0,20}\.?){0,3}")
#: Words after which a name has ended for sure.
_FOLLOW = re.compile(
    r"(?:性别|男|女|年龄|职业|民族|婚姻|出生|籍贯|身份证|电话|手机|联系|地址|住址|主任|副主任|医师|医生|大夫|护士|护师|主治|主管|教授|院长|老师|技师|药师|"
    r"先生|女士|同志|等|查房|签名|签字|签署|陪同|陪护|陪伴|护送|搀扶|代诉|代述|诉|述|陈述|要求|表示|告知|说|称|认为|同意|拒绝|知情|了解|于|因|以|为|系|在|与|和|及|是|已|将|到场|到院|"
    r"[0-9]|，|之|的|，|病史|家属|送|提供|反映|知晓|理解|会诊|主刀|执行|记录|主持|补充|分析|指出|总结|汇报|患|入院|就诊|曾|今|现|自|年|来|未|无|有|会|指|代|接|科|床|住院|门诊|主诉|也|都|到|前|后|并|由|对|从|向|打|再|又|术|行|经)"
)


@dataclass(frozen=True)
class NameReading:
    """A name ``[start, end)`` in normalised text and how much its own characters speak for it (0-1)."""

    start: int
    end: int
    score: float
    is_bounded: bool
    form: str


class NameReader:
    """Reads names to the right or to the left of a position; every read looks at a bounded number of characters."""

    def __init__(self, context: GrammarContext) -> None:
        rows = context.lexicon("lexicons/surnames.tsv")
        self.common = frozenset(r[0] for r in rows if r[1] == "common")
        self.rare = frozenset(r[0] for r in rows if r[1] == "rare")
        self.compound = frozenset(r[0] for r in rows if r[1] == "compound")
        self.given = frozenset(r[0] for r in context.lexicon("lexicons/given_characters.tsv"))
        self.words = frozenset(r[0] for r in context.lexicon("lexicons/surname_words.tsv"))
        self.transliteration = frozenset("".join(r[0] for r in context.lexicon("lexicons/transliteration.tsv")))

    def surname_length(self, text: str, at: int) -> int:
        """2 for a compound surname at ``at``, 1 for a single one, 0 for none."""
        if text[at : at + 2] in self.compound:
            return 2
        return 1 if at < len(text) and (text[at] in self.common or text[at] in self.rare) else 0

    def is_word(self, text: str, at: int) -> bool:
        """True when an ordinary word that merely begins with a surname character stands at ``at``."""
        return text[at : at + 2] in self.words or text[at : at + 3] in self.words

    def read_right(self, text: str, at: int, *, is_labelled: bool = False) -> NameReading | None:
        """The best name that starts exactly at ``at``."""
        return (
            self._read_masked(text, at)
            or self._read_dotted(text, at)
            or self._read_han(text, at, is_labelled=is_labelled)
            or (self._read_latin(text, at) if is_labelled else None)
        )

    def _read_masked(self, text: str, at: int) -> NameReading | None:
        width = self.surname_length(text, at)
        for length in {width, min(width, 1)} - {0}:
            mask = _MASK.match(text, at + length)
            if mask:
                return NameReading(at, self._end_of_masked(text, mask.end()), 0.9, True, "masked")
            tail = _TAIL_MASK.match(text, at + length + 1)
            if tail and text[at + length] not in _NOT_GIVEN and is_hanzi(text, at + length):
                return NameReading(at, tail.end(), 0.9, True, "masked")
        return None

    def _end_of_masked(self, text: str, end: int) -> int:
        """``张*明`` keeps its last character when a star stands in the middle."""
        is_starred = text[end - 1] in "*×○〇□"
        keeps_tail = is_starred and is_hanzi(text, end) and text[end] in self.given and not is_hanzi(text, end + 1)
        return end + 1 if keeps_tail else end

    def _read_dotted(self, text: str, at: int) -> NameReading | None:
        match = _DOTTED.match(text, at)
        if match is None or "." in match.group():
            return None
        end = self._trim_dotted(text, match.group().rindex("·") + at + 1, match.end())
        return NameReading(at, end, 0.95, True, "dotted")

    def _trim_dotted(self, text: str, start: int, end: int) -> int:
        """The last part of a dotted name ends before the first word that cannot belong to it."""
        for at in range(start + 1, end):
            if _FOLLOW.match(text, at) and text[at] not in self.transliteration:
                return at
        return end

    def _read_latin(self, text: str, at: int) -> NameReading | None:
        match = _LATIN.match(text, at)
        return NameReading(at, match.end(), 0.8, True, "latin") if match else None

    def _read_han(self, text: str, at: int, *, is_labelled: bool) -> NameReading | None:
        width = self.surname_length(text, at)
        if width == 0 or (not is_labelled and self.is_word(text, at)):
            return None
        readings = [self._measure(text, at, at + width + n, width) for n in (2, 1)]
        if width == 2:
            readings += [self._measure(text, at, at + 1 + n, 1) for n in (2, 1)]
        if width == 1:
            readings.append(self._measure(text, at, at + 4, 1))
        best = max((r for r in readings if r), key=lambda r: r.score, default=None)
        return best

    def _measure(self, text: str, start: int, end: int, width: int) -> NameReading | None:
        given = text[start + width : end]
        if end > len(text) or any(c in _NOT_GIVEN or not is_hanzi(c, 0) for c in given):
            return None
        known = sum(c in self.given for c in given) / len(given)
        is_hard = not is_hanzi(text, end)
        is_bounded = is_hard or _FOLLOW.match(text, end) is not None
        score = 0.3 * known + (0.35 if is_hard else 0.25 if is_bounded else 0.0)
        score += 0.25 if text[start] in self.common or width == 2 else 0.1
        score += {1: 0.03, 2: 0.1, 3: -0.25}[len(given)]
        return NameReading(start, end, min(score, 1.0), is_bounded, "han")


def is_hanzi(text: str, at: int) -> bool:
    """True when a Chinese character stands at ``at``."""
    return at < len(text) and ("\u4e00" <= text[at] <= "\u9fff" or "\u3400" <= text[at] <= "\u4dbf")
