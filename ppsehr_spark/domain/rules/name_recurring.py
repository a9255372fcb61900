"""Names of two characters that the note itself proves: beside a word for persons once, and met again elsewhere.

Knows: the places beside words for kin and roles, and before what persons say or who is theirs (``钉子媳妇``).
Must not know: what surnames or words cost. Reference: annotation guideline v1, row NAME (given names, by-names).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from ppsehr_spark.domain.offsets import Hit
from ppsehr_spark.domain.rules.name_found import FoundName
from ppsehr_spark.domain.rules.name_model import is_hanzi
from ppsehr_spark.domain.rules.name_parts import NOT_GIVEN, NameReader

#: After these the grammar of notes puts signs and acts, not names.
_NO_CUES: Final = frozenset(
    ["患者", "病人", "患儿", "产妇", "孕妇", "家属", "家长", "新生儿", "婴儿", "女婴", "男婴", "胎儿", "受术者", "供者"]
)
#: What a person of a clause says or does, and who is theirs, with the start of the clause two characters before.
_AFTER = re.compile(
    r"[说问诉答笑哭喊签陪告他她妈爸奶爷姐哥叔姨的之主医护老教姑大媳](?<=[\n。,;:!?\"“、( ][\u4e00-\u9fff]{2}.)"
    r"(?:(?<=[说问诉答笑哭喊姐哥叔姨])|(?<=签)[字名]|(?<=陪)[同护]|(?<=告)诉|(?<=[他她])妈|(?<=妈)妈?|(?<=爸)爸?|"
    r"(?<=奶)奶|(?<=爷)爷|(?<=之)[子女父母夫妻]|(?<=媳)妇|(?<=主)任|(?<=医)[生师]|(?<=护)士|(?<=老)[师婆公]|(?<=教)授|"
    r"(?<=姑)娘|(?<=大)[哥爷]|"
    r"(?<=的)(?:丈夫|妻子|儿子|女儿|母亲|父亲|爱人|姐姐|哥哥|妈妈|爸爸|媳妇|老婆|老公|手|家属))"
)
#: ``阿桃``, ``老常``, ``小七`` at the start of a clause, and a character said twice (``浩浩``).
_STARTS = '[\n。,;:!?"“、( @]'
_SIZE: Final = 2
#: Characters that are words so often, and names so dear, that the two are hardly a person.
_COMMON: Final = 6.0
_DEAR: Final = 15.5
_COMMON_WORD: Final = 12.0
_FROM: Final = frozenset("从在到往住于")
_MOST: Final = 40
_PROVEN: Final = 0.86
_ELSEWHERE: Final = 0.8
#: Objects of these and members of a list are persons where the note proves the name.
_BEFORE: Final = frozenset("把被由和与给找让叫请带对向为跟同及但而后嘱")


class RecurringNames:
    """Candidates beside persons; what is met again in the note counts at every place of its own."""

    def __init__(self, reader: NameReader, never: Iterable[str]) -> None:
        self.reader = reader
        model = reader.model
        self._never = frozenset(word for word in never if len(word) == _SIZE)
        self._first = model.given | model.single
        self._last = (model.given | model.single) - NOT_GIVEN
        given = "".join(sorted(model.given - NOT_GIVEN))
        self._called = re.compile(rf"{_STARTS}(?:([阿老小])[\u4e00-\u9fff]|([{given}])\2)")

    def find(self, text: str, cues: Iterable[Hit]) -> Iterator[FoundName]:
        """Every place of each proven name."""
        proven = self._find_proven(text, cues)
        if len(proven) > _MOST:
            return
        for name, places in sorted(proven.items()):
            at = text.find(name)
            while at >= 0:
                if at in places or self._stands_alone(text, at):
                    yield FoundName(at, at + _SIZE, _PROVEN if at in places else _ELSEWHERE, "recurring")
                at = text.find(name, at + _SIZE)

    def _find_proven(self, text: str, cues: Iterable[Hit]) -> dict[str, set[int]]:
        proven: dict[str, set[int]] = {}
        after = (match.start() - _SIZE for match in _AFTER.finditer(text))
        beside = (hit.end for hit in cues if len(hit.value) > 1 and hit.value not in _NO_CUES)
        for at in beside:
            if self._may_be_name(text, at) and self.reader.is_closed(text, at + _SIZE):
                proven.setdefault(text[at : at + _SIZE], set()).add(at)
        for at in after:
            if self._may_be_name(text, at):
                proven.setdefault(text[at : at + _SIZE], set()).add(at)
        for at in self._find_called(text):
            proven.setdefault(text[at : at + _SIZE], set()).add(at)
        return {name: places for name, places in proven.items() if text.count(name) > 1}

    def _may_be_name(self, text: str, at: int) -> bool:
        name = text[at : at + _SIZE]
        is_given = name[:1] in self._first and name[1:] in self._last
        if not is_given or name in self._never or self._is_crossed(text, at):
            return False
        model = self.reader.model
        if name not in model.words:
            return min(map(model.single_cost, name)) > _COMMON
        return min(model.given_cost(name), model.name_cost(text, at, at + _SIZE)) <= _DEAR

    def _find_called(self, text: str) -> Iterator[int]:
        """Places of nicknames and doubled names at the start of a clause."""
        words = self.reader.model.words
        for match in self._called.finditer(text):
            at = match.start() + 1
            if match.group(1):
                is_called = text[at + 1] in (self.reader.model.given if text[at] == "阿" else self.reader.model.common)
                is_called = is_called and text[at : at + _SIZE] not in words
            else:
                is_called = words.get(text[at : at + _SIZE], 99.0) > _COMMON_WORD
            if is_called and not self._is_crossed(text, at):
                yield at

    def _is_crossed(self, text: str, at: int) -> bool:
        """True where a longer word holds the name, or its end and what follows."""
        words = self.reader.model.words
        end = at + _SIZE
        if text[at : end + 1] in words or (text[at:end] not in words and text[end - 1 : end + 1] in words):
            return True
        sounds = self.reader.foreign.characters
        is_sound = text[end : end + 1] in sounds and sounds.issuperset(text[at:end])
        return is_sound and not self.reader.is_followed(text, end)

    def _stands_alone(self, text: str, at: int) -> bool:
        """True at a clause start, after a person or a preposition, where no longer word begins."""
        if self._is_crossed(text, at):
            return False
        before = text[at - 1 : at]
        is_open = not is_hanzi(text, at - 1) or before in _BEFORE or self.reader.is_person_before(text, at)
        return is_open or (before not in _FROM and self.reader.is_followed(text, at + _SIZE))
