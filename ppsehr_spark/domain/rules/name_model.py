"""How likely a run of Chinese characters is a personal name rather than ordinary words: costs, compared at one place.

Knows: surname order, given-name characters by position, ordinary words with their use, transliteration characters.
All costs are negative natural logarithms; ``odds`` of a reading is the cost of the cheapest ordinary segmentation of a
window minus the cost of the same window with the name in it. Must not know: labels, titles or where names stand.
Reference: Sun et al. 1995 (Chinese name models); words and use from jieba's dictionary (MIT), see the lexicons' heads.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from ppsehr_spark.domain.rules.grammars import GrammarContext

#: Characters of a window to the right or to the left of a place; no name and no decision needs more.
WINDOW: Final = 9
_UNKNOWN: Final = 13.5
#: A name that costs more is none.
HOPELESS: Final = 40.0
_ROUNDING: Final = 1e-6
_LONGEST_WORD: Final = 4
#: Characters of a name of one surname at the most.
_USUAL: Final = 3
_TERM_COST: Final = 11.0
_HEAD_WORD_COST = {2: 10.0, 3: 11.0, 4: 12.0}
_LENGTH_COST = {1: 1.8, 2: 0.2}
#: A word that is often a name costs as much more when it is one.
_WORD_AS_NAME: Final = -0.5
_LONE_COST: Final = 2.6
_DOUBLE_COST: Final = 0.7
_MARRIED_COST: Final = 6.0
_TRIPLE_COST: Final = 18.0
_DOUBTFUL: Final = 4.0
#: Surnames of Viet Nam, whose women bear 氏 between surname and given name (``阮氏梅``).
_WITH_MIDDLE: Final = frozenset("阮黎陈范吴武裴邓胡杜黄潘丁梁刘林段高朱张郑陶何尹谢")
_MIDDLE_COST: Final = 8.0
_CLAN_COST: Final = 2.0
#: Every listed character has a floor of three: a name uses it, but hardly so often.
_FLOOR: Final = 2.5
_RARE_GIVEN: Final = 0.15
_NEVER_GIVEN: Final = 17.0
#: Function characters that begin a given name of two (``向东``, ``为民``, ``无双``), though they never end one.
_MAY_LEAD: Final = frozenset("为向从士治炎无则经日将见师护用不示科过都总")


class NameModel:
    """Costs of names and of ordinary text; every question looks at ``WINDOW`` characters at most."""

    def __init__(self, context: GrammarContext, *, never_given: frozenset[str]) -> None:
        rows = context.lexicon("lexicons/surnames.tsv")
        self.common = frozenset(r[0] for r in rows if r[1] == "common")
        self.compound = frozenset(r[0] for r in rows if r[1] in ("compound", "japanese"))
        self._japanese = frozenset(r[0] for r in rows if r[1] == "japanese")
        self._surname = {r[0]: _surname_cost(at, r[1]) for at, r in enumerate(rows, start=1)}
        self.single = frozenset(s for s in self._surname if len(s) == 1)
        self.surnames = self.single | self.compound
        self.heads = frozenset(s[0] for s in self.surnames)
        self._given = {r[0]: tuple(_given_cost(float(n)) for n in r[1:4]) for r in _given_rows(context)}
        self._rare = (_given_cost(0.0),) * 3
        self.given = frozenset(r[0] for r in _given_rows(context) if float(r[1]) + float(r[2]) + float(r[3]) >= 12)
        self._never = never_given
        self._japanese = frozenset(r[0] for r in rows if r[1] == "japanese")
        compound = {r[0] for r in rows if r[1] == "compound"}
        self.words = {w: float(r[0]) for r in context.lexicon("lexicons/ordinary_words.tsv") for w in r[1].split(" ")}
        self.words = {w: c for w, c in self.words.items() if w[:2] not in compound}
        self.name_words = frozenset(w for row in context.lexicon("lexicons/name_words.tsv") for w in row[0].split(" "))
        for row in context.lexicon("lexicons/surname_words.tsv"):
            head = row[0]
            self.words[head] = min(self.words.get(head, 20.0), _HEAD_WORD_COST.get(len(head), 12.0))
        self._stems = self._find_stems()

    def learn_words(self, words: Iterable[str]) -> None:
        """Take terms of two to four characters that other lists hold as ordinary words, where they are not known."""
        for word in words:
            if 1 < len(word) <= _LONGEST_WORD and " " not in word:
                self.words.setdefault(word, _TERM_COST)
        self._stems = self._find_stems()

    def _find_stems(self) -> frozenset[str]:
        """What words of three or four characters begin with: elsewhere none need be looked up."""
        return frozenset(word[:2] for word in self.words if len(word) > 2)

    def word_cost(self, word: str) -> float | None:
        """Cost of ``word`` as an ordinary word; None when it is none."""
        return self.words.get(word)

    def single_cost(self, word: str) -> float:
        """What ``word`` costs as a word of its own, known or not."""
        return self.words.get(word, _UNKNOWN * len(word))

    def is_word(self, text: str, at: int) -> bool:
        """True when an ordinary word of two or three characters stands at ``at``."""
        return text[at : at + 2] in self.words or text[at : at + 3] in self.words

    def ordinary_from(self, text: str, at: int, stop: int) -> list[float]:
        """Cheapest segmentation of ``text[i:stop]`` for every ``i`` in ``at..stop``; index 0 is ``at``."""
        words, stems, size = self.words, self._stems, stop - at
        window, best = text[at:stop], [0.0] * (size + 1)
        after, after_2, after_3, after_4 = 0.0, math.inf, math.inf, math.inf
        for i in range(size - 1, -1, -1):
            pair = window[i : i + 2]
            cost, word = words.get(window[i], _UNKNOWN) + after, words.get(pair)
            if word is not None and word + after_2 < cost:
                cost = word + after_2
            if pair in stems:
                triple, four = words.get(window[i : i + 3]), words.get(window[i : i + _LONGEST_WORD])
                if triple is not None and triple + after_3 < cost:
                    cost = triple + after_3
                if four is not None and four + after_4 < cost:
                    cost = four + after_4
            best[i] = cost
            after, after_2, after_3, after_4 = cost, after, after_2, after_3
        return best

    def ordinary_to(self, text: str, start: int, end: int) -> list[float]:
        """Cheapest segmentation of ``text[start:i]`` for every ``i`` in ``start..end``; index 0 is ``start``."""
        words, size = self.words, end - start
        window, best = text[start:end], [0.0] * (size + 1)
        for i in range(1, size + 1):
            cost = words.get(window[i - 1], _UNKNOWN) + best[i - 1]
            for j in range(max(0, i - _LONGEST_WORD), i - 1):
                word = words.get(window[j:i])
                if word is not None and word + best[j] < cost:
                    cost = word + best[j]
            best[i] = cost
        return best

    def name_cost(self, text: str, start: int, end: int, *, allows_lone: bool = False) -> float:
        """Cost of ``text[start:end]`` as surname and given name; infinite when it cannot be one."""
        size = end - start
        if size == 1 and not allows_lone:
            return math.inf
        cost = math.inf
        for width in (1, 2) if size > 1 else (1,):
            surname = self._surname.get(text[start : start + width])
            if surname is None:
                continue
            given = size - width
            if given == 0:
                cost = min(cost, surname + _LONE_COST) if allows_lone else cost
            elif given <= 2:
                cost = min(cost, surname + _LENGTH_COST[given] + self.given_cost(text[start + width : end]))
        if size == 2 and text[start:end] in self.name_words:
            cost = min(cost, self.single_cost(text[start:end]) + _WORD_AS_NAME)
        is_long = size in (4, 5) or (size == 3 and "氏" in text[start:end])
        return min(cost, self._long_cost(text, start, end)) if is_long else cost

    def name_costs(self, text: str, at: int, stop: int, *, allows_lone: bool) -> list[tuple[int, float]]:
        """(end, cost) of every Han name at ``at``."""
        longest = self._longest_at(text, at)
        if longest == _USUAL:
            return self._usual_costs(text, at, stop, is_lone=allows_lone and not is_hanzi(text, at + 1))
        ends = range(at + 1 if allows_lone else at + 2, min(at + longest, stop) + 1)
        lone = allows_lone and not is_hanzi(text, at + 1), allows_lone and not is_hanzi(text, at + 2)
        costs = [(end, self.name_cost(text, at, end, allows_lone=end - at < 3 and lone[end - at - 1])) for end in ends]
        return [(end, cost) for end, cost in costs if cost < HOPELESS]

    def _usual_costs(self, text: str, at: int, stop: int, *, is_lone: bool) -> list[tuple[int, float]]:
        """``name_costs`` where a single surname and one or two characters is all there can be: most places."""
        surname, pair = self._surname.get(text[at], math.inf), text[at : at + 2]
        costs = [(at + 1, surname + _LONE_COST)] if is_lone and at + 1 <= stop else []
        if at + 2 <= stop:
            cost = surname + _LENGTH_COST[1] + self.given_cost(pair[1])
            if pair in self.name_words:
                cost = min(cost, self.single_cost(pair) + _WORD_AS_NAME)
            costs.append((at + 2, cost))
        if at + 3 <= stop:
            costs.append((at + 3, surname + _LENGTH_COST[2] + self.given_cost(text[at + 1 : at + 3])))
        return [(end, cost) for end, cost in costs if cost < HOPELESS]

    def may_reach(self, text: str, at: int, costs: list[tuple[int, float]], least: float) -> bool:
        """False where even words of one or two characters, dearer than the best, leave all odds below ``least``."""
        words, before, dear, reached = self.words, math.inf, 0.0, at
        for end, cost in costs:
            while reached < end:
                pair = before + words.get(text[reached - 1 : reached + 1], math.inf)
                before, dear = dear, min(dear + words.get(text[reached], _UNKNOWN), pair)
                reached += 1
            if dear - cost + _ROUNDING >= least:
                return True
        return False

    def _longest_at(self, text: str, at: int) -> int:
        """Characters of the longest Han name that can begin at ``at``: few surnames make more than three."""
        second = text[at + 1 : at + 2]
        is_long = second == "氏" or second in self.single or text[at : at + 2] in self.compound
        return 5 if is_long else _USUAL

    def _long_cost(self, text: str, start: int, end: int) -> float:
        """``郗王氏``, ``麦高诗雅`` (two surnames) and ``山口由美子`` (a given name of three)."""
        size, surname = end - start, self._surname
        cost = math.inf
        if text[start + 1] == "氏":
            is_whole = size < 5 and text[start] in _WITH_MIDDLE and "氏" not in text[start + 2 : end]
            given = text[start + 2 : end]
            return _MIDDLE_COST + self.given_cost(given) + _DOUBTFUL * (given in self.words) if is_whole else cost
        if size == 5 and text[start : start + 2] in self._japanese:
            is_given = not any(c in self._never for c in text[start + 2 : end])
            cost = surname[text[start : start + 2]] + _TRIPLE_COST if is_given else cost
        elif text[start] in self.single and text[start + 1] in self.single and text[start] != text[start + 1]:
            pair = surname[text[start]] + surname[text[start + 1]]
            if size == 3 and text[end - 1] == "氏":
                cost = pair + _CLAN_COST
            elif size == 4:
                given = text[start + 2 : end]
                cost = pair + _MARRIED_COST + self.given_cost(given) + _DOUBTFUL * (given in self.words)
        return cost

    def given_cost(self, given: str) -> float:
        """Cost of ``given`` as the given name of one or two characters."""
        if len(given) == 1:
            return _NEVER_GIVEN if given in self._never else self._given.get(given, self._rare)[2]
        head, tail = given[0], given[1]
        if tail in self._never or (head in self._never and head not in _MAY_LEAD):
            return _NEVER_GIVEN * 2
        first, last = self._given.get(head, self._rare)[0], self._given.get(tail, self._rare)[1]
        return first + (min(last, _DOUBLE_COST + 3.0) if head == tail else last)


def hanzi_end(text: str, at: int, limit: int) -> int:
    """The end of the run of Chinese characters at ``at``, at most ``limit`` further on."""
    end, last = at, min(at + limit, len(text))
    while end < last and is_hanzi(text, end):
        end += 1
    return end


def hanzi_start(text: str, end: int, limit: int) -> int:
    """The start of the run of Chinese characters that ends at ``end``, at most ``limit`` before."""
    start, first = end, max(0, end - limit)
    while start > first and is_hanzi(text, start - 1):
        start -= 1
    return start


def is_hanzi(text: str, at: int) -> bool:
    """True when a Chinese character stands at ``at``."""
    if not 0 <= at < len(text):
        return False
    code = ord(text[at])
    return 0x4E00 <= code <= 0x9FFF or 0x3400 <= code <= 0x4DBF


def _surname_cost(rank: int, kind: str) -> float:
    """The file is sorted by use; rare surnames are raised, for a note names every one of them with care."""
    if kind in ("compound", "japanese"):
        return 7.0
    return min(3.1 + math.log((rank + 8) / 9), 7.6)


def _given_rows(context: GrammarContext) -> Iterable[tuple[str, ...]]:
    return context.lexicon("lexicons/given_characters.tsv")


def _given_cost(per_ten_thousand: float) -> float:
    return -math.log((max(per_ten_thousand - _FLOOR, 0.0) + _RARE_GIVEN) / 10_000)
