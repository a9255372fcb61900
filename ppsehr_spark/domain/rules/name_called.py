"""How people are called in talk: who speaks in a chat, and surnames with a rank (``沈小妹``, ``陈家老幺``).

Knows: the lines of a conversation and words of rank among siblings. Must not know: labels, titles, running text.
Reference: annotation guideline v1, row NAME; transcripts, chats and messages to the ward.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache

from ppsehr_spark.domain.offsets import NormalisedText
from ppsehr_spark.domain.rules.name_found import FoundName
from ppsehr_spark.domain.rules.name_parts import FUNCTION_SURNAMES, NOT_GIVEN, NameReader

#: A line of a conversation: who speaks, and a colon.
_LINE = re.compile(r"(?m)^[ \"“]{0,3}(?P<who>[\u4e00-\u9fff]{1,6}|[A-Z][a-z]{1,15}(?: [A-Z][a-z]{1,15}){0,2})[ ]?:")
#: Lines and speakers who come back, at the least, that make a conversation.
_LEAST_LINES, _MOST_SPEAKERS = 3, 30
#: Speakers that are no persons by name: sides, forms of a question and its answer, those on the telephone.
_SIDES = frozenset("问答甲乙丙丁男女医患客主记我你他她")
_NO_SPEAKERS = re.compile(
    r"Admin|Nurse|Doctor|Patient|Host|Guest|Speaker|Note|Plan|Date|Time|Dose|[患病客机楼版吧群店]|[员者方台处科室区部院组人]$"
)
_NICK_HEADS = frozenset("小老阿")
#: Labels of fields that come back, too; what a speaker says is longer than a name or closed like a sentence.
_FIELD = re.compile(r"[签名记录章]|[人者]$")
_SAYS = re.compile(r"[ ]?(?:[^\n,。!?;、()/|]{2,8}[,。!?][^\n]|[^\n,。!?;、()/|0-9 ]{7}|[^\n,。!?]{2,6}[。!?](?:\n|$))")
_SPEAKS, _KNOWN_WORD = 0.86, 11.0
_CLAN = "氏"
#: Before ``丁氏``: whose mother, wife or daughter-in-law she is.
_BEFORE_CLAN = frozenset("母妻媳妇妣娶配室")
_NO_CLAN = re.compile(r"[病征综族家定法管骨诊医说曰集公正国]")
RANKS = tuple(
    [_CLAN]
    + [f"{c}{k}" for c in "小阿幺满细" for k in "妹弟"]
    + [f"{c}妹" for c in "大二三四五六七八"]
    + [f"老{c}" for c in "大二三四五六七八九十幺满"]
)
_RANKED, _RANKED_INSIDE = 0.97, 0.72
#: A rank that goes on is another word (``王老师``, ``老大爷``, ``老二胎``, ``小妹妹``).
_GOES_ON = re.compile(r"[爷妈娘伯叔姐哥嫂妹弟胎套家]")


#: Words that tell a by-name, and the by-name itself, of any characters.
BYNAMES = (
    "小名",
    "乳名",
    "奶名",
    "昵称",
    "取名",
    "起名",
    "化名",
    "族名",
    "法名",
    "苗名",
    "彝名",
    "藏名",
    "汉名",
    "经名",
    "教名",
)
_TOLD = re.compile(r"[ ]?(?:叫做?|为|是|:)?[ ]?[\"'“‘「『]?(?P<name>[\u4e00-\u9fff]{2,3})(?=[\"'”’」』,。;、)\n ]|$)")
_UNTOLD = re.compile(r"[无未不待暂]|[姓名字]|随[父母]")
_TOLD_ODDS = 0.9
_DOCTOR = re.compile(r"\bDrs?\.?[ ]?(?P<who>[\u4e00-\u9fff])(?![\u4e00-\u9fff])")


class CalledNames:
    """Speakers and ranked names; one pass over lines, one look at each rank."""

    def __init__(self, reader: NameReader) -> None:
        self.reader = reader

    def find(self, text: NormalisedText) -> Iterator[FoundName]:
        """Names of speakers where they speak, surnames with their rank, by-names that are told."""
        for hit in text.hits.get("NAME.byname", ()):
            told = _TOLD.match(text.text, hit.end)
            if told and not _UNTOLD.search(told.group("name")):
                yield FoundName(*told.span("name"), _TOLD_ODDS, "byname")
        yield from self._find_ranked(text)
        if "Dr" in text.text:
            for match in _DOCTOR.finditer(text.text):
                if match.group("who") in self.reader.model.single:
                    yield FoundName(*match.span("who"), _TOLD_ODDS, "doctor")
        if text.text.count(":") >= _LEAST_LINES:
            yield from self._find_speakers(text.text)

    def _find_ranked(self, text: NormalisedText) -> Iterator[FoundName]:
        plain, model = text.text, self.reader.model
        for hit in text.hits.get("NAME.rank", ()):
            start = hit.start - 1 - (plain[hit.start - 1 : hit.start] == "家")
            surname = plain[start : start + 1] if start >= 0 else ""
            if hit.value == _CLAN:
                is_kin = plain[start - 1 : start] in _BEFORE_CLAN and surname in model.single
                if is_kin and not _NO_CLAN.match(plain, hit.end):
                    yield FoundName(start, hit.end, _RANKED, "ranked")
                continue
            if surname not in model.single or surname in FUNCTION_SURNAMES or _GOES_ON.match(plain, hit.end):
                continue
            is_crossed = plain[start - 1 : start + 1] in model.words or plain[start : start + 2] in model.words
            is_open = self.reader.is_open_left(plain, start)
            if not is_crossed and (is_open or surname in model.common):
                yield FoundName(start, hit.end, _RANKED if is_open else _RANKED_INSIDE, "ranked")

    def _find_speakers(self, text: str) -> Iterator[FoundName]:
        lines = [line.span("who") for line in _LINE.finditer(text)]
        times = Counter(text[start:end] for start, end in lines)
        is_talk = len(lines) >= _LEAST_LINES and max(times.values()) > 1
        if not is_talk or len(times) > _MOST_SPEAKERS:
            return
        for start, end in lines:
            if self._is_name(text, start, end, times[text[start:end]]):
                yield FoundName(start, end, _SPEAKS, "speaker")

    def _is_name(self, text: str, start: int, end: int, times: int) -> bool:
        """True for what can be nothing but a person's name before a colon in a conversation."""
        who, model = text[start:end], self.reader.model
        if who[0].isascii():
            return times > 1 and _NO_SPEAKERS.search(who) is None
        if len(who) == 1:
            return times > 1 and who in model.single and who not in _SIDES
        if len(who) > 3 or self.reader.is_person_before(text, end) or _NO_SPEAKERS.search(who):
            return False
        if model.words.get(who, 99.0) <= _KNOWN_WORD or not NOT_GIVEN.isdisjoint(who[1:]):
            return False
        if who[0] in _NICK_HEADS:
            return who not in model.words and (times > 1 or who[1] in model.single)
        is_given = all(c in model.given for c in who[1:])
        if len(who) == 2 and who[0] == who[1]:
            return who[0] in model.given
        return times > 1 and is_given and (who[0] in model.single or (len(who) == 2 and who[0] in model.given))


def is_speaker(text: str, start: int, end: int) -> bool:
    """True for a word that opens a line, before a colon and a sentence, in a conversation: who speaks, not a field."""
    if not (start == 0 or text[start - 1] == "\n") or text[end : end + 1] != ":" or _FIELD.search(text, start, end):
        return False
    return _SAYS.match(text, end + 1) is not None and _is_talk(text)


@lru_cache(maxsize=1)
def _is_talk(text: str) -> bool:
    times = Counter(line.group("who") for line in _LINE.finditer(text))
    return sum(times.values()) >= _LEAST_LINES and max(times.values()) > 1
