"""What a personal name is made of, read at one place of a normalised text, with its odds against ordinary words.

Knows: the forms of names (Han, masked, dotted, spaced, Latin, transliterated) and which words begin after or end
before a name. Must not know: labels, titles, kin terms or where in a note names stand (``person_names``).
Reference: annotation guideline v1, row NAME.
"""

from __future__ import annotations

import math
import re
from typing import Final

from ppsehr_spark.domain.first_characters import GuardedPattern
from ppsehr_spark.domain.rules.grammars import GrammarContext
from ppsehr_spark.domain.rules.name_followers import ACT_AFTER_DOTTED, FOLLOW, VERB_OF_TWO
from ppsehr_spark.domain.rules.name_foreign import ForeignNames
from ppsehr_spark.domain.rules.name_found import NameReading
from ppsehr_spark.domain.rules.name_model import HOPELESS, WINDOW, NameModel, hanzi_end, hanzi_start
from ppsehr_spark.domain.rules.name_model import is_hanzi as is_hanzi

_HANZI = "\u4e00-\u9fff\u3400-\u4dbf"
#: Characters that do not stand inside a given name in running text.
NOT_GIVEN: Final = frozenset(
    "哥嫂婶总便回却只还仍听问走跑坐站拿叫师的了在是因患者诊就及与或并曾被把让给到去从向往住后们个这那哪某说诉述称痛疼症病炎癌瘤肿胀咳喘吐泻查治疗药术服用"
    "部署局不无未否为他她它我你您需请予嘱示见呈伴经转拒签即且但则又再也都很较已将由对每此该院科室床号次日分"
    "岁副看妈爸女士妻父母姐爷奶叔姨舅姑员医护职务事电话址证件码男性别什么吗呢吧啊着过陪送接代氏"
)
#: Those of them that given names hold as well: 谢有福, 李向东, 王为民.
_ALSO_GIVEN: Final = frozenset("有向为")
#: Surnames that are function words as well: alone or masked they need a clear left edge.
FUNCTION_SURNAMES: Final = frozenset(
    "代要他于和向由同与时应成全常都那管关但相因将从及且况后为无能解查计其可平门有原各该"
)
#: Those of them that are hardly ever meant as a surname.
HARDLY_SURNAMES: Final = frozenset("代要他和由同与应全都但相因将从及且况后为无能其可有原各该")
_MASK = GuardedPattern(
    r"(?:某[某甲乙丙丁戊]?[一二三四]?(?![些种个项类段处日月年次位名人院科])|[*×○〇□_]{1,3}(?![0-9])|"
    r"(?:XX?|xx)(?![A-Za-z0-9光线片射染\-]))"
)
#: What a mask begins with, and the dot.
_MARKS: Final = frozenset("某*×○〇□_Xx·")
_TAIL_MASK = re.compile(r"[*×○〇□]{1,3}")
_LATIN_FIELD = re.compile(r"[A-Z][A-Za-z'\-]{1,20}(?:[ ,·.]{1,2}[A-Z][A-Za-z'\-]{0,20}\.?){0,3}(?![A-Za-z0-9])")
_SPACED = re.compile(rf"[{_HANZI}][ ]{{1,4}}[{_HANZI}](?:[ ]{{1,4}}[{_HANZI}](?![{_HANZI}:]))?(?![{_HANZI}:])")
_SPACED_TWO = re.compile(rf"[{_HANZI}][ ]{{1,4}}[{_HANZI}](?=[ ]{{2}}|[ ]*\n)")
_RUN = re.compile(rf"[{_HANZI}]{{2,8}}(?![{_HANZI}·])")
_BEFORE_DOTTED: Final = frozenset("的和与对由请在是向")
_PEOPLE_KINDS = ("kin", "kin1", "role", "title", "label", "named")
_STOP_KINDS = ("before", "kin", "kin1", "role", "title", "label", "agent", "vague_kin")
_NO_LEFT_EDGE: Final = -2.0
_PREPOSITION: Final = 5.0
_HARD_EDGE: Final = 1.2
_SOFT_EDGE: Final = 0.6
_WORD_EDGE: Final = -0.2
_NO_EDGE: Final = -1.2
#: These follow a name only when more follows them.
_JOINS: Final = frozenset("和与及向由对从于在因以为将")
_EDGE_WORD: Final = 12.0
#: Verbs that also end given names: in running text the shorter name is the likelier.
VERB_TAILS: Final = frozenset(
    "行示予加讲交收开打报听写带来测量抽换骑留作死抱辞答驾背扶牵推拿取递借还买卖去到回出起找约请喊劝喂端倒洗擦穿脱戴吃喝跌摔撞"
    "碰砸踢追赶逃躲醒睡猜怕恨携搬抬挂拔剪缝刷扫烧煮切炒坐跪躺趴爬搂哄骂吵闹离退调降选聘免接替顶补帮助教管问求讨谢骗偷抢租售"
    "订签批准查审评判罚捐赠持获赢输负败演唱率夺赴晒均以皆乃亦凭乘怀"
)
_VERB_TAIL: Final = 5.0
_CUTS_A_VERB: Final = 3.0
_LONGEST_DOTTED: Final = 30
_NEXT_NAME: Final = 2.0
#: These end a date or a time after a digit and begin no word there.
_CLOCK = ("日", "时", "分")
_COMMON_CHARACTER: Final = 7.0
#: What lies across the end of a reading whose last character is no part of the name: ``向东于2019年``, ``范蕴六段``.
_ACROSS_END = re.compile(r"[于在自][0-9]|[初二三四五六七八九][段连次人名岁十]|第[0-9一二三四五]")
_FIRST_ACROSS: Final = frozenset("于在自初二三四五六七八九第")
#: Particles that follow a verb, never a name.
_PARTICLES: Final = frozenset("了着得过")
_AFTER_VERB: Final = 5.0
_OPEN_FIELD: Final = 4.0
_TAIL_OF_WORD: Final = 4.0
_NOT_THE_END: Final = 9.0
#: ``小王``, ``老李``: the whole is how the person is called.
_NICK: Final = frozenset("小老阿")
_NICK_COST: Final = 1.0
#: What a given name without its surname costs beside kin.
_GIVEN_COST: Final = 5.0
_PAIR_AT_END = re.compile(r"之(?:[大小长次]?[子女父母夫妻婴孙侄甥媳婿]|家属)")
_FORM_ODDS = {"masked": 6.0, "dotted": 8.0, "spaced": 3.5, "latin": 4.0, "unknown": -4.6}


class NameReader:
    """Reads names to the right or to the left of a position; every read looks at a bounded number of characters."""

    def __init__(self, context: GrammarContext) -> None:
        self.model = NameModel(context, never_given=NOT_GIVEN - _ALSO_GIVEN)
        rows = context.lexicon("lexicons/name_labels.tsv")
        self.model.learn_words(r[0] for r in rows if r[1] not in ("not_name", "before"))
        stops = {r[0] for r in rows if r[1] in _STOP_KINDS}
        sizes = [(size, frozenset(s for s in stops if len(s) == size)) for size in range(1, 5)]
        self._stops = {least: tuple(sizes[least - 1 :]) for least in range(1, 5)}
        people = {r[0] for r in rows if r[1] in _PEOPLE_KINDS}
        self._people = {size: frozenset(s for s in people if len(s) == size) for size in range(2, 6)}
        self._acts = frozenset(r[0][:2] for r in rows if r[1] in ("verb", "speech") and len(r[0]) > 1)
        self._titles = frozenset(r[0] for r in rows if r[1] == "title")
        self._title_ends = frozenset(title[-1] for title in self._titles)
        self.foreign = ForeignNames(context)
        self._sounds = self.foreign.characters | {c[0] for c in self.foreign.components}
        self.firsts = self.model.heads | self._sounds | _NICK

    def surname_length(self, text: str, at: int) -> int:
        """2 for a compound surname at ``at``, 1 for a single one, 0 for none."""
        if text[at : at + 2] in self.model.compound:
            return 2
        return 1 if text[at : at + 1] in self.model.single else 0

    def read_right(self, text: str, at: int, *, allows_lone: bool = False) -> NameReading | None:
        """The best name that starts exactly at ``at``; ``allows_lone`` lets a closed surname stand alone."""
        return self._read_masked(text, at) or self._read_dotted(text, at) or self._read_run(text, at, allows_lone)

    def read_marked(self, text: str, at: int) -> NameReading | None:
        """A masked or dotted name at ``at``."""
        if _MARKS.isdisjoint(text[at + 1 : at + WINDOW]):
            return None
        return self._read_masked(text, at) or self._read_dotted(text, at)

    def read_field(self, text: str, at: int, *, is_strict: bool) -> NameReading | None:
        """The value of a form field at ``at``; ``is_strict`` when the label admits nothing but a name."""
        read = self._read_masked(text, at) or self._read_dotted(text, at) or self.read_spaced(text, at)
        read = read or self._read_run(text, at, True)
        if not is_strict or (read and read.odds > _FORM_ODDS["unknown"]):
            return read
        return self.read_latin(text, at) or self._read_unknown(text, at) or read

    def _read_unknown(self, text: str, at: int) -> NameReading | None:
        """Two to four characters that a label alone makes a name; an ordinary word counts less."""
        run = _RUN.match(text, at)
        if run is None or run.end() - at > 4 or text[run.end() : run.end() + 1] == ":":
            return None
        is_word = self.model.word_cost(run.group()) is not None and not self.surname_length(text, at)
        is_word = (
            is_word
            or any(c in NOT_GIVEN for c in run.group()[self.surname_length(text, at) :])
            or _PAIR_AT_END.search(run.group()) is not None
        )
        return NameReading(at, run.end(), _FORM_ODDS["unknown"] - 4.0 * is_word, True, "unknown")

    def after_titled(self, text: str, at: int) -> int | None:
        """The place after ``王主任`` at ``at``: a surname with its title; None where none stands."""
        start = at + self.surname_length(text, at)
        sizes = (4, 3, 2) if start > at else ()
        return next((start + size for size in sizes if text[start : start + size] in self._titles), None)

    def read_latin(self, text: str, at: int) -> NameReading | None:
        """``Elena Petrova``, ``CHAN Tai Man``: capitalised words at ``at``."""
        latin = _LATIN_FIELD.match(text, at)
        return NameReading(at, latin.end(), _FORM_ODDS["latin"], True, "latin") if latin else None

    def read_left(self, text: str, end: int, *, allows_lone: bool = False) -> NameReading | None:
        """The best name that ends exactly at ``end``; with ``allows_lone`` a lone surname counts."""
        low = hanzi_start(text, end, WINDOW)
        low += text[low : low + 1] in _CLOCK and text[low - 1 : low].isdigit()
        if low >= end:
            return None
        if text[low - 1 : low] == "·":
            return self.read_dotted_left(text, end)
        before = self.model.ordinary_to(text, low, end)
        found = []
        for start in range(max(low, end - 5), end):
            cost = self.model.name_cost(text, start, end, allows_lone=allows_lone)
            if cost < HOPELESS:
                form = "lone" if text[start:end] in self.model.surnames else "han"
                odds = before[-1] - cost - before[start - low]
                is_tail = form == "lone" and odds + cost < self.model.single_cost(text[start:end]) - 0.1
                found.append(self._rate_left(text, start, end, odds - _TAIL_OF_WORD * is_tail, form, is_tail=is_tail))
        run = self.foreign.run_start(text, end)
        for start in range(max(low, run), end - 1):
            costs = dict(self.foreign.costs(text, start))
            if end in costs and (end - start > 2 or text[start:end] in self.foreign.components):
                odds = before[-1] - costs[end] - before[start - low]
                found.append(self._rate_left(text, start, end, odds, "foreign"))
        return max(found, key=lambda r: r.odds, default=None)

    def dotted_start(self, text: str, dot: int) -> int:
        """Where the name with its first dot at ``dot`` begins: the cheapest cut between words and sounds."""
        low = hanzi_start(text, dot, WINDOW)
        words, sounds = self.model.ordinary_to(text, low, dot), self.foreign.spelled_to(text, low, dot)
        costs = (
            (words[at - low] + sounds[at - low] - self._edge_before_dotted(text, at), at) for at in range(low, dot)
        )
        return min(costs, default=(0.0, dot))[1]

    def _edge_before_dotted(self, text: str, at: int) -> float:
        if not is_hanzi(text, at - 1):
            return _OPEN_FIELD
        return _HARD_EDGE * (text[at - 1] in _BEFORE_DOTTED or self.is_stop_before(text, at, least=2))

    def read_dotted_left(self, text: str, end: int) -> NameReading | None:
        """The dotted name whose last part ends at ``end``; None without a dot before it."""
        dot = hanzi_start(text, end, WINDOW) - 1
        if dot < 1 or text[dot] != "·" or dot == end - 1:
            return None
        while (low := hanzi_start(text, dot, WINDOW)) > 0 and text[low - 1] == "·" and end - low < _LONGEST_DOTTED:
            dot = low - 1
        start = self.dotted_start(text, dot)
        is_whole = (
            start < dot
            and self.foreign.dotted_end(text[:end], start, self.ends_dotted, self.model.ordinary_from) == end
        )
        return NameReading(start, end, _FORM_ODDS["dotted"], True, "dotted") if is_whole else None

    def ends_dotted(self, text: str, at: int) -> bool:
        """True when an ordinary word begins at ``at``, so that a transliterated part has ended."""
        if ACT_AFTER_DOTTED.match(text, at):
            return True
        pair = text[at : at + 2]
        word = self.model.word_cost(pair) if len(pair) == 2 and is_hanzi(text, at + 1) else None
        if pair[:1] in self.foreign.characters:
            return word is not None and word <= _EDGE_WORD and pair[1] not in self.foreign.characters
        return word is not None or FOLLOW.match(text, at) is not None

    def is_open_left(self, text: str, start: int) -> bool:
        """True when no word is running into ``start``: punctuation, a blank, or a word a name may follow."""
        return not is_hanzi(text, start - 1) or self.is_stop_before(text, start)

    def is_closed(self, text: str, end: int) -> bool:
        """True when no word runs on at ``end``."""
        return not is_hanzi(text, end) or self.is_followed(text, end) or self._begins_word(text, end)

    def is_title(self, word: str) -> bool:
        """True for a listed title."""
        return word in self._titles

    def is_person_before(self, text: str, start: int) -> bool:
        """True when a word for a person (kin, role, title) ends at ``start``."""
        return any(text[start - n : start] in words for n, words in self._people.items() if start >= n)

    def is_act(self, text: str, at: int) -> bool:
        """True when a verb of two characters that persons do, or a speaker's of one, begins at ``at``."""
        return text[at : at + 2] in self._acts or text[at] in "说称问让" or VERB_OF_TWO.match(text, at) is not None

    def is_followed(self, text: str, end: int) -> bool:
        """True when a word that follows names begins at ``end``."""
        if text[end : end + 2] in self._acts:
            return True
        return FOLLOW.match(text, end) is not None and (text[end] not in _JOINS or is_hanzi(text, end + 1))

    def _begins_word(self, text: str, end: int) -> bool:
        """True when an ordinary word of two characters, or a very common one of one, begins at ``end``."""
        if text[end] in _PARTICLES:
            return False
        words = self.model.words
        return words.get(text[end : end + 2], 99.0) <= _EDGE_WORD or words.get(text[end], 99.0) <= _COMMON_CHARACTER

    def is_stop_before(self, text: str, start: int, *, least: int = 1) -> bool:
        """True when a word (of ``least`` characters or more) after which a name may begin ends at ``start``."""
        is_stop = False
        for size, words in self._stops[least]:  # a generator would cost as much as all four look-ups
            is_stop = is_stop or (size <= start and text[start - size : start] in words)
        return is_stop

    def _rate_left(
        self, text: str, start: int, end: int, odds: float, form: str, *, is_tail: bool = False
    ) -> NameReading:
        is_hard = not is_hanzi(text, start - 1) and text[start - 1 : start] != "·"
        is_open = is_hard or (self.is_open_left(text, start) and not is_tail)
        is_preposition = text[start] in HARDLY_SURNAMES and form != "lone" and text[start + 1] in self.model.heads
        odds -= _PREPOSITION * is_preposition
        odds += _HARD_EDGE if is_hard else _SOFT_EDGE if is_open else self._weigh_shut(text, start, form)
        return NameReading(start, end, odds, is_open, form)

    def _weigh_shut(self, text: str, start: int, form: str) -> float:
        """What a left edge costs after no word that a name may follow: less after any word at all."""
        if form == "lone" and (
            text[start - 2 : start] in self.model.words or text[start - 3 : start] in self.model.words
        ):
            return _WORD_EDGE
        return _NO_LEFT_EDGE - 1.2 * (form == "foreign")

    def _read_run(self, text: str, at: int, allows_lone: bool) -> NameReading | None:
        return max(self.read_ends(text, at, allows_lone=allows_lone), key=lambda r: r.odds, default=None)

    def read_given(self, text: str, at: int, *, least: float = -math.inf) -> NameReading | None:
        """A given name of two characters alone at ``at``, where a word for kin admits one (``儿子叫国栋``)."""
        end, given = at + 2, text[at : at + 2]
        if given in self.model.words or self.model.given.isdisjoint(given) or not NOT_GIVEN.isdisjoint(given):
            return None
        cost = self.model.given_cost(given) + _GIVEN_COST
        if hanzi_end(text, at, 2) < end or not self.model.may_reach(text, at, [(end, cost)], least - _HARD_EDGE):
            return None
        stop = hanzi_end(text, at, WINDOW)
        rest = self.model.ordinary_from(text, at, stop)
        odds = rest[0] - self.model.given_cost(given) - _GIVEN_COST - rest[2]
        return self._rate_right(text, at, end, odds, "given")

    def read_ends(
        self, text: str, at: int, *, allows_lone: bool = False, is_foreign_too: bool = True, least: float = -math.inf
    ) -> list[NameReading]:
        """Every Han or transliterated name at ``at``, one per end: its odds against the words of the same window.

        Readings whose odds cannot reach ``least`` may be left out.
        """
        first = text[at : at + 1]
        if first not in self.firsts:
            return []
        stop = hanzi_end(text, at, WINDOW)
        if stop - at < (1 if allows_lone else 2):
            return []
        costs = self.model.name_costs(text, at, stop, allows_lone=allows_lone)
        is_nick = first in _NICK and text[at + 1 : at + 2] in self.model.single
        sounds = self._sound_costs(text, at, stop) if is_foreign_too and first in self._sounds else []
        tails = [n for n in (2, 3) if stop - n >= at + 2 and text[stop - n] in self.model.common]
        if not (is_nick or sounds or tails or self.model.may_reach(text, at, costs, least - _HARD_EDGE)):
            return []
        rest = self.model.ordinary_from(text, at, stop)
        for tail in tails:  # two names in a row, as bylines have them
            cost = self.model.name_cost(text, stop - tail, stop) + _NEXT_NAME
            rest[stop - tail - at] = min(rest[stop - tail - at], cost)
        found = []
        for end, cost in costs:
            if rest[0] - cost - rest[end - at] + _HARD_EDGE >= least:
                form = "lone" if end - at <= 2 and text[at:end] in self.model.surnames else "han"
                found.append(self._rate_right(text, at, end, rest[0] - cost - rest[end - at], form))
        if is_nick:
            cost = _NICK_COST + self.model.name_cost(text, at + 1, at + 2, allows_lone=True)
            found.append(self._rate_right(text, at, at + 2, rest[0] - cost - rest[2], "nick"))
        found += [self._rate_right(text, at, end, rest[0] - c - rest[end - at], "foreign") for end, c in sounds]
        return found

    def _sound_costs(self, text: str, at: int, stop: int) -> list[tuple[int, float]]:
        """(end, cost) of every transliterated name at ``at``; one of two characters must be a known component."""
        costs = [(end, cost) for end, cost in self.foreign.costs(text, at) if end <= stop]
        return [
            (e, c)
            for e, c in costs
            if e - at >= 3 or ((e == stop or self.is_followed(text, e)) and text[at:e] in self.foreign.components)
        ]

    def _rate_right(self, text: str, at: int, end: int, odds: float, form: str) -> NameReading:
        is_hard = not is_hanzi(text, end)
        is_followed = not is_hard and self.is_followed(text, end)
        is_bounded = is_hard or is_followed or self._begins_word(text, end)
        odds += _HARD_EDGE if is_hard else _SOFT_EDGE if is_followed else _WORD_EDGE if is_bounded else _NO_EDGE
        last = text[end - 1]
        is_title = last in self._title_ends and self._ends_in_title(text, at, end)
        is_pair = last == "之" and _PAIR_AT_END.match(text, end - 1) is not None
        is_across = last in _FIRST_ACROSS and _ACROSS_END.match(text, end - 1) is not None
        odds -= _NOT_THE_END * (is_title or is_pair or is_across)
        odds -= _AFTER_VERB * (text[end : end + 1] in _PARTICLES and text[end : end + 2] not in self.model.words)
        odds -= _VERB_TAIL * (end - at > 2 and not is_hard and last in VERB_TAILS)
        odds -= 2 * _NOT_THE_END * (text[end : end + 1] == "·")
        odds -= _CUTS_A_VERB * (end - at > 2 and not is_hard and VERB_OF_TWO.match(text, end - 1) is not None)
        return NameReading(at, end, odds, is_bounded, form)

    def _ends_in_title(self, text: str, at: int, end: int) -> bool:
        """True when all of ``text[at:end]``, or all but its first one or two characters, is a title."""
        endings = (text[at:end], text[at + 1 : end], text[at + 2 : end])
        return any(ending in self._titles and ending != "太" for ending in endings)

    def _read_masked(self, text: str, at: int) -> NameReading | None:
        width = self.surname_length(text, at)
        for length in sorted({width, min(width, 1)} - {0}, reverse=True):
            mask = _MASK.match(text, at + length)
            if mask:
                end = self._end_of_masked(text, mask.end())
                return NameReading(at, end, _FORM_ODDS["masked"], True, "masked")
            tail = _TAIL_MASK.match(text, at + length + 1)
            if tail and text[at + length] in self.model.given:
                return NameReading(at, tail.end(), _FORM_ODDS["masked"] - 3, True, "masked")
        return None

    def _end_of_masked(self, text: str, end: int) -> int:
        """``张*明``, ``骆某明`` keep their last character where nothing runs on behind it."""
        if text[end : end + 1] not in self.model.given or text[end] in NOT_GIVEN:
            return end
        if text[end - 1] != "某":
            return end + (text[end - 1] in "*×○〇□" and not is_hanzi(text, end + 1))
        is_verb = text[end] in VERB_TAILS or self.is_followed(text, end) or text[end : end + 2] in self.model.words
        return end + (not is_verb and (not is_hanzi(text, end + 1) or self.is_followed(text, end + 1)))

    def _read_dotted(self, text: str, at: int) -> NameReading | None:
        if text.find("·", at, at + WINDOW) < 0:
            return None
        end = self.foreign.dotted_end(text, at, self.ends_dotted, self.model.ordinary_from)
        return NameReading(at, end, _FORM_ODDS["dotted"], True, "dotted") if end else None

    def read_spaced(self, text: str, at: int) -> NameReading | None:
        """``张 三``: a short name padded with blanks on a form."""
        match = _SPACED.match(text, at) if self.surname_length(text, at) == 1 else None
        if match and match.group()[-1] in NOT_GIVEN:  # the label of the next field
            match = _SPACED_TWO.match(text, at)
        if match is None or any(c in NOT_GIVEN for c in match.group()[1:]):
            return None
        return NameReading(at, match.end(), _FORM_ODDS["spaced"], True, "spaced")
