"""Names that no word announces and no line sets apart: at the start of a clause, or between the words of one.

Knows: where bare names may stand in running text, found in one pass. Must not know: labels, titles, tables.
Reference: annotation guideline v1, row NAME; decision 0010.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Final

from ppsehr_spark.domain.rules.name_edges import FIRST_OF_ACTS, FIRST_OF_MARKS, weigh_left, weigh_mark, weigh_right
from ppsehr_spark.domain.rules.name_found import FoundName, NameReading, rate
from ppsehr_spark.domain.rules.name_model import WINDOW, hanzi_end, hanzi_start, is_hanzi
from ppsehr_spark.domain.rules.name_parts import FUNCTION_SURNAMES, NOT_GIVEN, NameReader

#: Log-odds that a clause begins with a name; a name inside a clause is rarer still.
_CLAUSE: Final = -5.0
_INSIDE: Final = -7.5
_INSIDE_CAP: Final = 0.8
#: What the characters of an unmarked name must be worth against words of one character, all edges being best.
_LEAST_AT_CLAUSE: Final = 4.0
_LEAST_INSIDE: Final = 2.0
_MOST_ACTS: Final = 4.5
_NEVER: Final = -99.0
_SURELY: Final = 99.0
_ROUNDING: Final = 1e-6
#: Below this a bare reading is not even a doubt.
_LEAST_ODDS: Final = -1.6
_SPEAKER: Final = 4.0
_RARE_SPEAKER: Final = 2.5
_MID_SPEAKER: Final = 2.0
_CLEARLY_HAN: Final = 6.0
_WORD: Final = 12.0
_RARE: Final = 99.0
#: A speaker who speaks again within so many characters.
_SPEAKS_AGAIN: Final = 3.0
_TALK: Final = 1000
_SENTENCE_END: Final = frozenset("。!?\n")
_UNMARKED: Final = 1.5
_CLEAR_MARK: Final = 4.0
_SURE_MARK: Final = 5.0
_PLACE: Final = 4.0
#: Ends of places, bodies and houses, which no unmarked name is taken to have.
_PLACE_END: Final = frozenset("会苑岛居宫办庄村区县镇街寺庙站馆店厂队社局帝堂阁殿港湾洲州征氏堡营屯沟湖谷乡局")
#: After these a bare word is a brand or a term, hardly a person.
_BRAND_EDGE: Final = frozenset("'()+-=~[0123456789《")
_NICK_HEADS: Final = frozenset("小老阿")
#: Before a bare name stand neither the dot of a longer name nor the mark of a title.
_NOT_BEFORE: Final = frozenset("·《")
_MAY_CLOSE: Final = FIRST_OF_MARKS | FIRST_OF_ACTS | {":"}
#: Surname characters with which a clause far more often begins a word or a sentence.
_NO_HEADS: Final = frozenset("和由同与向应全常都但相因将从及且况后为无能查计其可有各该在不当经如若时行")
#: Words of one character after which a person stands more often than elsewhere.
_TOWARDS: Final = frozenset("让找请叫喊跟和与给被由向对把替帮等问谢是")
_TOWARDS_ODDS: Final = 2.5
_AFTER_WORD: Final = 1.0
_NO_WORD: Final = -1.0
#: How far to the left words may reach across the start of a name.
_REACH_LEFT: Final = 4
#: A common surname and two characters of given names that no word covers or crosses count by themselves from here on:
#: at a clause start, and between words; twice as rare where no word begins after them.
_WHOLE_AT_CLAUSE: Final = 3.0
_WHOLE_INSIDE: Final = 5.0
_WHOLE_UNBOUNDED: Final = 8.0
#: What such a name is rated at the least.
_WHOLE: Final = 1.6
#: More than any mark to the right of a name adds.
_MOST_RIGHT: Final = 12.0


class BareNames:
    """Bare names; one pass over the text finds the places, a full reading follows where no ordinary word stands."""

    def __init__(self, reader: NameReader) -> None:
        self.reader = reader
        model = reader.model
        marked = frozenset(s[0] for s in model.surnames)
        heads, common = "".join(sorted(marked | _NICK_HEADS)), "".join(sorted(model.common - FUNCTION_SURNAMES))
        rare = "".join(sorted(model.single - model.common - _NO_HEADS - FUNCTION_SURNAMES))
        given = "".join(sorted(model.given))
        self._site = re.compile(
            rf"[{heads}](?:(?<![\u4e00-\u9fff·](?s:.))(?=[\u4e00-\u9fff])|"
            rf"(?<=[{rare}])(?=[{given}][{given}])|"
            rf"(?<=[{common}])(?=[{given}])|(?<=[{''.join(sorted(_NICK_HEADS))}])(?=[{common}]))"
        )
        self._heads = marked
        self._likely = marked - _NO_HEADS | _NICK_HEADS
        self._whole = model.common - FUNCTION_SURNAMES - _NO_HEADS
        self._alone = model.single | _NICK_HEADS
        in_names = frozenset(model.given) | frozenset(model.surnames)
        self._never = frozenset(word for word in model.words if len(word) == 2 and word[1] not in in_names)
        self._beginnings = model.compound | {c[:2] for c in reader.foreign.components}

    def find(self, text: str) -> Iterator[FoundName]:
        """Clause starts and places inside a clause."""
        words, never = self.reader.model.words, self._never
        for match in self._site.finditer(text):
            at = match.start()
            pair = text[at : at + 2]
            if pair in never or (text[at] not in self._alone and pair not in self._beginnings):
                continue
            before = text[at - 1 : at]
            if "\u4e00" <= before <= "\u9fff":
                is_inside = text[at - 1 : at + 1] in words or text[at - 1 : at + 2] in words or text[at] == before
                if not is_inside and (words.get(pair, _RARE) > _WORD or self._may_be_whole(text, at)):
                    yield from self._read_inside(text, at)
            elif before not in _NOT_BEFORE and (self._may_begin(text, at) or self._is_marked(text, at)):
                yield from self._read_clause(text, at)

    def _may_begin(self, text: str, at: int) -> bool:
        """False where an ordinary word begins a clause."""
        if self._may_be_whole(text, at):
            return True
        model, first, second = self.reader.model, text[at], text[at + 1]
        pair = text[at : at + 2]
        words = model.words
        is_word = words.get(pair, _RARE) <= _WORD or words.get(text[at : at + 3], _RARE) <= _WORD
        if first not in self._likely or is_word:
            return False
        if pair in self._beginnings or (first in _NICK_HEADS and second in model.single):
            return True
        is_given = second in model.given or (first in model.common and text[at + 2 : at + 3] in model.given)
        is_given = is_given and first in self._heads
        return is_given and (weigh_left(text, at) > 0 or self._may_be_name(text, at, _LEAST_AT_CLAUSE))

    def _may_be_whole(self, text: str, at: int) -> bool:
        """True for a common surname before two characters of given names that no word covers, nor crosses their end."""
        model = self.reader.model
        if text[at] not in self._whole or text[at + 2 : at + 3] not in model.given or text[at + 1] not in model.given:
            return False
        words = model.words
        return not (text[at : at + 3] in words or text[at + 2 : at + 4] in words or text[at + 2] in _PLACE_END)

    def _is_whole(self, text: str, reading: NameReading, least: float) -> bool:
        """True when such a name is likely enough by its own form."""
        if reading.form != "han" or reading.end - reading.start != 3 or not self._may_be_whole(text, reading.start):
            return False
        return reading.odds >= (least if reading.is_bounded else max(least, _WHOLE_UNBOUNDED))

    def _may_be_name(self, text: str, at: int, least: float) -> bool:
        """False where words of one character each beat a name of two or three by ``least``, less what may follow."""
        if text[at + 2 : at + 3] in _MAY_CLOSE or text[at + 3 : at + 4] in _MAY_CLOSE:
            least -= _MOST_ACTS
        model = self.reader.model
        words = model.single_cost(text[at]) + model.single_cost(text[at + 1]) - least
        if words > model.name_cost(text, at, at + 2):
            return True
        third = text[at + 2 : at + 3]
        return third != "" and words + model.single_cost(third) > model.name_cost(text, at, at + 3)

    def _is_marked(self, text: str, at: int) -> bool:
        """True when a sex, an age, a number, an act or a speaker's colon closes two or three characters at ``at``."""
        second, third = text[at + 2 : at + 3], text[at + 3 : at + 4]
        if text[at - 1 : at] == "@":
            return True
        if second not in _MAY_CLOSE and third not in _MAY_CLOSE:
            return False
        for end, after in ((at + 2, second), (at + 3, third)):
            if after == ":" and text[end - 1] not in NOT_GIVEN:
                return weigh_left(text, at) > 0 or _speaks_again(text, at, end) > 0
            if after in FIRST_OF_MARKS and weigh_mark(text, end) >= _SURE_MARK:
                return True
        is_common = text[at] in self.reader.model.common and text[at] in self._likely
        return is_common and third in FIRST_OF_ACTS and weigh_right(text, at + 3) >= _CLEAR_MARK

    def _read_clause(self, text: str, at: int) -> Iterator[FoundName]:
        may_close = not _MAY_CLOSE.isdisjoint(text[at + 1 : at + 1 + WINDOW])
        least = min(_LEAST_ODDS - _CLAUSE - weigh_left(text, at), _WHOLE_AT_CLAUSE) - _ROUNDING
        readings = self.reader.read_ends(text, at, least=-math.inf if may_close else least)
        sound = max((r.odds for r in readings if r.form == "foreign"), default=-9.0)
        rated = ((self._rate_clause(text, reading, sound), reading.end) for reading in readings)
        odds, end = max(rated, default=(_NEVER, at))
        if odds > _LEAST_ODDS:
            yield rate(at, end, odds, "clause", cap=0.95)

    def _rate_clause(self, text: str, reading: NameReading, sound: float) -> float:
        """Log-odds of a bare reading at the start of a clause; what only sounds like a name needs a mark."""
        at, end = reading.start, reading.end
        right, left = weigh_right(text, end), weigh_left(text, at)
        if text[end : end + 1] == ":":
            again = _speaks_again(text, at, end)
            speaker = _SPEAKER if text[at] in self.reader.model.common else _RARE_SPEAKER
            is_mid = text[at] in self.reader.model.common and text[at - 1] in _SENTENCE_END
            speaker = speaker if left > 0 or again else _MID_SPEAKER * is_mid
            right = max(right, speaker + again)
        is_foreign = reading.form == "foreign"
        is_sound = is_foreign or reading.odds < sound or self._sounds_foreign(text, reading, sound)
        is_composed = is_foreign and self.reader.foreign.is_composed(text, at, end)
        if is_sound and not is_composed and right < (_SURE_MARK if is_foreign else _CLEAR_MARK):
            return _NEVER
        if reading.form == "nick" and is_hanzi(text, end) and right == 0:
            return _NEVER
        odds = reading.odds + _CLAUSE + left + right - _PLACE * (right == 0 and text[end - 1] in _PLACE_END)
        if right + left == 0:
            odds -= self._doubt_unmarked(text, reading)
        return max(odds, _WHOLE) if self._is_whole(text, reading, _WHOLE_AT_CLAUSE) else odds

    def _sounds_foreign(self, text: str, reading: NameReading, sound: float) -> bool:
        """True for more than two characters that all transliterate, unless the Chinese reading is far the likelier."""
        is_han = reading.form == "han" and text[reading.start] in self.reader.model.common
        is_clear = is_han and reading.odds > max(sound, 0.0) + _CLEARLY_HAN
        return (
            not is_clear
            and reading.end - reading.start > 2
            and all(c in self.reader.foreign.characters for c in text[reading.start : reading.end])
        )

    def _doubt_unmarked(self, text: str, reading: NameReading) -> float:
        """What a clause start without any mark costs: brands stand beside digits and brackets, with rare surnames."""
        is_common = text[reading.start] in self.reader.model.common or reading.form in ("nick", "foreign")
        is_brand = text[reading.start - 1] in _BRAND_EDGE or text[reading.end : reading.end + 1].isdigit()
        return _UNMARKED * (1 + (not is_common) + 2 * is_brand)

    def _read_inside(self, text: str, at: int) -> Iterator[FoundName]:
        """A name between words: what the words on both sides make of the same characters counts against it."""
        if text[at] not in _NICK_HEADS and not self._may_be_name(text, at, _LEAST_INSIDE):
            return
        least = _LEAST_ODDS - _INSIDE - _TOWARDS_ODDS - _MOST_RIGHT * (not _MAY_CLOSE.isdisjoint(text[at + 1 : at + 7]))
        found = self.reader.read_ends(text, at, is_foreign_too=False, least=least)
        found = [r for r in found if r.form in ("han", "nick") and text[r.end - 1] not in _PLACE_END]
        if not found:
            return
        sound = self._weigh_sound(text, at)
        readings = [(r, weigh_right(text, r.end)) for r in found if not self._sounds_foreign(text, r, sound)]
        if not any(
            r.odds + _INSIDE + right + _TOWARDS_ODDS > _LEAST_ODDS or self._is_whole(text, r, _WHOLE_INSIDE)
            for r, right in readings
        ):
            return
        left = self._weigh_before(text, at)
        for r, right in readings:
            if r.form == "nick" and left < _AFTER_WORD:
                continue
            if not (r.is_bounded or right or (left > _AFTER_WORD and r.end - at == 3) or r.end - at == 3):
                continue
            odds = r.odds + _INSIDE + left + right
            odds = max(odds, _WHOLE) if self._is_whole(text, r, _WHOLE_INSIDE) else odds
            if odds > _LEAST_ODDS:
                yield rate(at, r.end, odds, "inside", cap=_INSIDE_CAP)

    def _weigh_sound(self, text: str, at: int) -> float:
        """The best odds of a name by sound at ``at``."""
        if not self.reader.foreign.characters.issuperset(text[at : at + 3]):
            return _SURELY
        odds = [r.odds for r in self.reader.read_ends(text, at, least=_SURELY) if r.form == "foreign"]
        return max(odds, default=_SURELY)

    def _weigh_before(self, text: str, at: int) -> float:
        """Log-odds of what ends at ``at``, less what words that lie across ``at`` save."""
        low = hanzi_start(text, at, _REACH_LEFT)
        model = self.reader.model
        across = model.ordinary_from(text, low, hanzi_end(text, at, WINDOW))
        apart = model.ordinary_to(text, low, at)[-1] + across[at - low]
        return across[0] - apart + self._weigh_cue(text, at)

    def _weigh_cue(self, text: str, at: int) -> float:
        words = self.reader.model.words
        if text[at - 2 : at] in words or text[at - 3 : at] in words:
            return _AFTER_WORD * self.reader.is_stop_before(text, at)
        if text[at - 1] in _TOWARDS:
            return _TOWARDS_ODDS
        if text[at - 1] == "床" and text[at - 2 : at - 1].isdigit():
            return _TOWARDS_ODDS
        return _AFTER_WORD if self.reader.is_open_left(text, at) else _NO_WORD


def _speaks_again(text: str, at: int, end: int) -> float:
    """Log-odds that the same word before a colon nearby adds to a speaker at the start of a sentence."""
    if at and text[at - 1] not in _SENTENCE_END:
        return 0.0
    return _SPEAKS_AGAIN * (text.count(text[at : end + 1], max(0, at - _TALK), end + _TALK) > 1)
