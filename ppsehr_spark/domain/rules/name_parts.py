"""What a Chinese personal name is made of, read at one place of a normalised text.

Knows: surnames, given-name characters, masked and ethnic forms, which words end a name. Must not know: labels,
titles, kin terms or where in a note names stand (``person_names``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ppsehr_spark.domain.rules.grammars import GrammarContext

_HANZI = "\u4e00-\u9fff\u3400-\u4dbf"
#: Characters that do not stand inside a given name in running text.
NOT_GIVEN = frozenset(
    "的了在是有因患者诊就及与或并曾被把让给到去从向往住后们个这那哪某说诉述称痛疼症病炎癌瘤肿胀咳喘吐泻查治疗药术服用"
    "不无未否行为于以其他她它我你您需请予嘱示见呈伴经转拒签即且但如则又再也都很较均已将由对每各此该院科室床号次日年时分"
    "岁女士夫妻父母姐妹兄弟爷奶叔姨舅姑员师主任医护职务事电话址证件码男性别什么吗呢吧啊着过"
)
#: Characters that stand inside given names, and at the head of words that follow a name (长期, 月经, 若).
_DOUBLE_USE = frozenset("若月长")
#: Surnames that are function words as well: alone or masked they need a clear left edge.
FUNCTION_SURNAMES = frozenset("于和向由同与时应成全常都那管关但相因将从及且况后为无能解查计其可平门有原各该")
#: Those of them that are hardly ever meant as a surname.
_RARELY_SURNAMES = frozenset("和由同与应全都但相因将从及且况后为无能查计其可有原各该解")
_MASK = re.compile(
    r"(?:某[某甲乙丙丁戊]?[一二三四]?(?![些种个项类段处日月年次位名人院科])|[*×○〇□_]{1,3}(?![0-9])|"
    r"(?:XX?|xx)(?![A-Za-z0-9光线片射染\-]))"
)
_TAIL_MASK = re.compile(r"[*×○〇□]{1,3}")
_DOTTED = re.compile(rf"[{_HANZI}]{{1,7}}(?:·[{_HANZI}]{{1,8}}){{1,4}}")
_LATIN = re.compile(r"[A-Z][A-Za-z'\-]{1,20}(?:[ ,·.]{1,2}[A-Z][A-Za-z'\-]{0,20}\.?){0,3}(?![A-Za-z0-9])")
_DAYS = frozenset(["今日", "昨日", "当日", "次日", "每日", "近日", "翌日", "术日"])
_SPACED = re.compile(rf"[{_HANZI}][ ]{{1,4}}[{_HANZI}](?:[ ]{{1,4}}[{_HANZI}](?![{_HANZI}:]))?(?![{_HANZI}:])")
_RUN = re.compile(rf"[{_HANZI}]{{2,8}}(?![{_HANZI}·])")
#: Words after which a name has ended.
_FOLLOW = re.compile(
    r"(?:性别|男|女|年龄|职业|民族|婚姻|出生|籍贯|身份证|电话|手机|联系|地址|住址|主任|副主任|医师|医生|"
    r"大夫|护士|护师|主治|主管|教授|院长|老师|技师|药师|"
    r"先生|女士|同志|等|查房|签名|签字|签署|陪|护送|搀扶|代|诉|述|陈述|要求|表示|告知|说|称|认为|同意|"
    r"拒绝|知情|了解|于|因|以|为|系|在|与|和|及|是|已|将|到|体健|健在|健康|患|床旁|"
    r"之|的|病史|家属|送|提供|反映|知晓|理解|会诊|主刀|执行|记录|主持|补充|分析|指出|总结|汇报|入院|就诊|"
    r"曾|今|现|自|来|未|无|有|会|指|接|科|住院|门诊|主诉|也|都|前|"
    r"后|并|由|对|从|向|打|再|又|术|行|经|照|看|办|做|按|继续|完成|操作|负责|担任|解释|复核|讨论|审核|"
    r"检查|测|登记|安排|处理|评估|指导|协助|宣教|核对|交接|接诊|采集|"
    r"抽血|书写|参加|带领|护理|发现|给予|开具|下达|阅|转达|巡视|换药|拆线|穿刺|置管|发现|发生|致电|来电|"
    r"送餐|不|月经|长期|意见|跟进|离断|缝合|示|若有|若无|须|需|应|可|请|仍|自|共|约|到达|赶|"
    r"推|携|持|交|收|一行|夫妇|二人|两人|本人|随|亦|均|并|抱|背|驾|骑)"
)
#: Words before which no name is running, so a name may begin after them.
_LEFT_STOP = re.compile(
    r"(?:请|由|经|随|遵|与|和|及|同|跟|找|让|叫|示|报|报告|嘱|予|向|告知|通知|联系|汇报|电话|今日|今|今晨|"
    r"昨日|上午|下午|后|日|时|院|科|区|组|室|医师|医生|主任|主治|护士|"
    r"家属|患者|病人|患儿|产妇|者|员|为|是|在|到|因|经管|主管|管床|上级|值班|主持|教授|博士|的|邀|陪|其子|"
    r"其女|其父|其母|其夫|其妻|儿子|女儿|丈夫|妻子|配偶|爱人|父亲|母亲|兄|弟|姐|妹|"
    r"诉|有|被|把|对|给|于|从|按|据|陪同|称|说|当班|麻醉|会诊|外请|特请|师|士|专家|代|系|名叫|委托|授权|"
    r"至|经过|此|再次|再|拟|故|已|特|我|护工|保姆|邻居|朋友|同事|"
    r"接|送|听|听取|受|托|台上|术中)$"
)


@dataclass(frozen=True)
class NameReading:
    """A name ``[start, end)`` in normalised text.

    Attributes:
        score: 0-1, how much its own characters and its edges speak for it.
        is_bounded: a right reading ends at a sure edge; a left reading begins at one.
        form: ``han``, ``masked``, ``dotted``, ``spaced``, ``latin``, ``ethnic`` or ``unknown``.
    """

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
        self.single = frozenset(r[0] for r in rows if r[1] != "compound")
        self.compound = frozenset(r[0] for r in rows if r[1] == "compound")
        self.given = frozenset(r[0] for r in context.lexicon("lexicons/given_characters.tsv"))
        self.words = frozenset(r[0] for r in context.lexicon("lexicons/surname_words.tsv"))
        self.transliteration = frozenset("".join(r[0] for r in context.lexicon("lexicons/transliteration.tsv")))

    def surname_length(self, text: str, at: int) -> int:
        """2 for a compound surname at ``at``, 1 for a single one, 0 for none."""
        if text[at : at + 2] in self.compound:
            return 2
        return 1 if text[at : at + 1] in self.single else 0

    def is_word(self, text: str, start: int, end: int) -> bool:
        """True when an ordinary word that merely begins with a surname character stands at ``start``."""
        return text[start : min(start + 2, end)] in self.words or text[start : min(start + 3, end)] in self.words

    def read_right(self, text: str, at: int) -> NameReading | None:
        """The best name in running text that starts exactly at ``at``."""
        return self._read_masked(text, at) or self._read_dotted(text, at) or self._read_han(text, at, keeps_words=False)

    def read_field(self, text: str, at: int, *, is_strict: bool) -> NameReading | None:
        """The value of a form field at ``at``; ``is_strict`` when the label admits nothing but a name."""
        marked = self._read_masked(text, at) or self._read_dotted(text, at) or self._read_ethnic(text, at)
        han = marked or self._read_spaced(text, at) or self._read_han(text, at, keeps_words=is_strict)
        if han or not is_strict:
            return han
        latin = _LATIN.match(text, at)
        run = _RUN.match(text, at)
        if latin:
            return NameReading(at, latin.end(), 0.8, True, "latin")
        is_plain = run and run.end() - at <= 4 and text[run.end() : run.end() + 1] != ":"
        return NameReading(at, run.end(), 0.4, True, "unknown") if run and is_plain else None

    def read_left(self, text: str, end: int, *, is_surname_enough: bool) -> NameReading | None:
        """The best name that ends exactly at ``end``; with ``is_surname_enough`` a lone surname counts."""
        rated = (
            self._rate_left(text, end - n, end, is_surname_enough=is_surname_enough)
            for n in ((4, 3, 2, 1) if is_surname_enough else (4, 3, 2))
        )
        best = max((r for r in rated if r), key=lambda r: r[0], default=None)
        return best[1] if best else None

    def read_ethnic_left(self, text: str, end: int) -> NameReading | None:
        """``白玛央金`` before ``end``: at least four characters that transliterate, beginning at an open edge."""
        start = end
        while start > 0 and end - start < 8 and text[start - 1] in self.transliteration:
            start -= 1
        start += text[start - 1 : start + 1] in _DAYS
        is_name = end - start >= 4 and text[start - 1 : start] != "·" and self.is_open_left(text, start)
        return NameReading(start, end, 0.85, True, "ethnic") if is_name else None

    def is_open_left(self, text: str, start: int) -> bool:
        """True when no word is running into ``start``: punctuation, a blank, or a word a name may follow."""
        return not is_hanzi(text, start - 1) or _LEFT_STOP.search(text, max(0, start - 3), start) is not None

    def _rate_left(
        self, text: str, start: int, end: int, *, is_surname_enough: bool
    ) -> tuple[float, NameReading] | None:
        if start < 0 or text[start - 1 : start] == "·" or not all(is_hanzi(text, at) for at in range(start, end)):
            return None
        width = self.surname_length(text, start) if end - start > 1 else int(text[start] in self.single)
        given = text[start + width : end]
        if (
            not width
            or (width == end - start > 1 and not is_surname_enough)
            or len(given) > 2
            or any(c in NOT_GIVEN for c in given)
        ):
            return None
        if self.is_word(text, start, end):
            return None
        known = sum(c in self.given for c in given)
        is_open = self.is_open_left(text, start)
        is_common = (text[start] in self.common and text[start] not in FUNCTION_SURNAMES) or width == 2
        rank = 2.0 * is_common + known + 2.5 * is_open + (0.3 if given else 0.0)
        score = _rate(is_open, is_common, known, len(given))
        score = min(score, 0.3) if text[start] in _RARELY_SURNAMES else score
        return rank, NameReading(start, end, score, is_open, "han")

    def _read_masked(self, text: str, at: int) -> NameReading | None:
        width = self.surname_length(text, at)
        for length in sorted({width, min(width, 1)} - {0}, reverse=True):
            mask = _MASK.match(text, at + length)
            if mask:
                return NameReading(at, self._end_of_masked(text, mask.end()), 0.9, True, "masked")
            tail = _TAIL_MASK.match(text, at + length + 1)
            if tail and text[at + length] in self.given:
                return NameReading(at, tail.end(), 0.7, True, "masked")
        return None

    def _end_of_masked(self, text: str, end: int) -> int:
        """``张*明`` keeps its last character when a star stands in the middle."""
        keeps_tail = text[end - 1] in "*×○〇□" and text[end : end + 1] in self.given and not is_hanzi(text, end + 1)
        return end + 1 if keeps_tail and is_hanzi(text, end) else end

    def _read_dotted(self, text: str, at: int) -> NameReading | None:
        match = _DOTTED.match(text, at)
        if match is None:
            return None
        last = match.group().rindex("·") + at + 1
        return NameReading(at, self._end_of_dotted(text, last, match.end()), 0.95, True, "dotted")

    def _end_of_dotted(self, text: str, start: int, end: int) -> int:
        """The last part runs as long as its characters transliterate; a short closed part is taken whole."""
        stop = next((i for i in range(start + 1, end) if text[i] not in self.transliteration), end)
        follow = next(
            (i for i in range(start + 1, end) if _FOLLOW.match(text, i) and text[i] not in self.transliteration), end
        )
        return follow if follow < end or end - start <= 5 else stop

    def _read_ethnic(self, text: str, at: int) -> NameReading | None:
        """``旦增罗布``: a whole field of characters that transliterate, longer than a Han name."""
        run = _RUN.match(text, at)
        if run is None or run.end() - at < 3 or text[run.end() : run.end() + 1] == ":":
            return None
        share = sum(c in self.transliteration for c in run.group()) / (run.end() - at)
        is_long_enough = run.end() - at >= 4 or (share == 1.0 and text[at] not in self.common)
        return NameReading(at, run.end(), 0.7, True, "ethnic") if share >= 0.75 and is_long_enough else None

    def _read_spaced(self, text: str, at: int) -> NameReading | None:
        """``张 三``: a short name padded with blanks on a form."""
        match = _SPACED.match(text, at) if self.surname_length(text, at) == 1 else None
        if match is None or any(c in NOT_GIVEN for c in match.group()[1:]):
            return None
        return NameReading(at, match.end(), 0.6, True, "spaced")

    def _read_han(self, text: str, at: int, *, keeps_words: bool) -> NameReading | None:
        width = self.surname_length(text, at)
        if width == 0 or (not keeps_words and self.is_word(text, at, at + 3)):
            return None
        sizes = [(width, 2), (width, 1)] + ([(1, 2), (1, 1)] if width == 2 else [(1, 3)])
        readings = (self._measure(text, at, surname=surname, given=given) for surname, given in sizes)
        return max((r for r in readings if r), key=lambda r: r.score, default=None)

    def _measure(self, text: str, start: int, *, surname: int, given: int) -> NameReading | None:
        end = start + surname + given
        name = text[start + surname : end]
        if len(name) < given or any(c in NOT_GIVEN or not is_hanzi(c, 0) for c in name):
            return None
        known = sum(c in self.given for c in name) / given
        is_hard = not is_hanzi(text, end)
        is_bounded = is_hard or _FOLLOW.match(text, end) is not None
        score = 0.3 * known + (0.35 if is_hard else 0.25 if is_bounded else 0.0)
        score -= 0.2 * any(c in _DOUBLE_USE for c in name) * (not is_hard)
        score += 0.25 if surname == 2 or text[start] in self.common else 0.1
        score += {1: 0.03, 2: 0.1, 3: -0.25}[given]
        return NameReading(start, end, min(score, 1.0), is_bounded, "han")


def _rate(is_open: bool, is_common: bool, known: int, n_given: int) -> float:
    """Confidence of a name read to the left of a title or of another mark that follows names."""
    base = 0.95 if is_open and is_common else 0.8 if is_open else 0.55 if is_common and known == n_given else 0.4
    missing = n_given - known
    return base - (0.12 * missing if n_given == 2 else 0.25 * missing)


def is_hanzi(text: str, at: int) -> bool:
    """True when a Chinese character stands at ``at``."""
    return 0 <= at < len(text) and ("\u4e00" <= text[at] <= "\u9fff" or "\u3400" <= text[at] <= "\u4dbf")
