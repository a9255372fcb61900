"""Names in the fields of forms: after a label, with or without a colon, and in the list that such a field holds.

Knows: labels, what may stand between a label and its name, lists of names. Must not know: running text.
Reference: annotation guideline v1, row NAME; headers and signatures of real records.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ppsehr_spark.domain.first_characters import GuardedPattern
from ppsehr_spark.domain.offsets import NormalisedText
from ppsehr_spark.domain.rules.name_called import is_speaker
from ppsehr_spark.domain.rules.name_found import FoundName
from ppsehr_spark.domain.rules.name_rating import PRIOR, NameRater
from ppsehr_spark.domain.rules.terms import longest

_AFTER_LABEL = re.compile(r"[ ]{0,3}(?:\([^()\n]{0,8}\))?[ ]{0,3}(?P<colon>:|\])[ ]{0,8}|[ ]{1,8}(?=[^ \n])")
#: What may follow a label.
GAPS = frozenset(" (:]")
#: Fields of persons that no list holds: ``取血者：``, ``核对者1：``, ``申报人：``.
_PERSON_FIELD = re.compile(
    r"[人者员生师士](?<=[\u4e00-\u9fff]{2})[0-9一二三甲乙]?(?:\([\u4e00-\u9fff]{1,6}\))?:[ ]{0,8}(?=[\u4e00-\u9fff])"
)
#: Log-odds of a later name in a list.
_LATER_IN_LIST = 1.0
_NEXT = re.compile(r"[ ]{0,2}[、,/;][ ]{0,2}|[ ]?[和及与][ ]?|[ ]{1,3}")
_KIN_IN_FIELD = GuardedPattern(
    r"(?:患者|其|病人)?(?:之|的)?(?:父亲?|母亲?|夫|妻子?|丈夫|儿子|女儿|"
    r"[儿子女](?=[\u4e00-\u9fff]{2,3}(?:[^\u4e00-\u9fff]|$))|[兄弟姐妹]|哥哥|姐姐|弟弟|妹妹)"
    r"(?=[\u4e00-\u9fff]{2})"
)


class NameFields:
    """Labels and the names after them."""

    def __init__(self, rater: NameRater, not_names: frozenset[str]) -> None:
        self.rater = rater
        self.reader = rater.reader
        self.not_names = not_names

    def find_labelled(self, text: NormalisedText) -> Iterator[FoundName]:
        """``姓名：张三``, ``医师签名：李四/王五``, ``姓名 张三``; weak labels need the colon."""
        plain = text.text
        for hit in longest(text.hits.get("NAME.label", ())):
            if len(hit.value) == 1 and plain[hit.start : hit.end + 1] in self.reader.model.words:
                continue
            if is_speaker(plain, hit.start, hit.end):
                continue
            gap = _AFTER_LABEL.match(plain, hit.end) if plain[hit.end : hit.end + 1] in GAPS else None
            if gap is None:
                yield from self.rater.read_beyond(plain, hit, PRIOR["label"], "after_label")
            else:
                prior = PRIOR["label:" if gap.group("colon") else "label "]
                yield from self.read_list(plain, gap.end(), prior, is_strict=True)
        for hit in longest(text.hits.get("NAME.weak_label", ())):
            gap = _AFTER_LABEL.match(plain, hit.start + len(hit.value))
            if gap:
                prior = PRIOR["weak_label:" if gap.group("colon") else "weak_label "]
                yield from self.read_list(plain, gap.end(), prior, is_strict=False)

    def find_fields(self, text: NormalisedText) -> Iterator[FoundName]:
        """A field whose name ends in a word for persons."""
        for match in _PERSON_FIELD.finditer(text.text):
            yield from self.read_list(text.text, match.end(), PRIOR["field:"], is_strict=False)

    def read_list(self, text: str, at: int, prior: float, *, is_strict: bool) -> Iterator[FoundName]:
        """A name and, separated by 、 or /, its companions."""
        kin = _KIN_IN_FIELD.match(text, at)
        at = kin.end() if kin else at
        for place in range(8):
            titled = self.reader.after_titled(text, at)
            if titled:
                gap = _NEXT.match(text, titled)
                if gap is None:
                    return
                at = gap.end()
            reading = self.reader.read_field(text, at, is_strict=is_strict and place == 0)
            if reading is None or text[reading.end : reading.end + 3].lstrip(" ")[:1] == ":":
                return
            if self.says_nothing(text, reading.start, reading.end):
                return
            yield self.rater.rate(text, reading, prior, "label")
            gap = _NEXT.match(text, reading.end)
            if gap is None:
                return
            at, mark = gap.end(), gap.group().strip()
            prior = min(prior, _LATER_IN_LIST if mark in ("、", "/") else -3.0 if mark else -4.5)

    def says_nothing(self, text: str, start: int, end: int) -> bool:
        """True for words that forms carry in place of a name (``同上``, ``患者本人``)."""
        return text[start:end] in self.not_names or (end - start > 2 and text[start : start + 2] in self.not_names)
