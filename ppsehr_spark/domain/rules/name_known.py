"""Foreign names that readers know without a dot or a title, and minority names made of known parts, standing alone.

Knows: which characters may stand beside such a name. Must not know: labels, titles or Chinese names.
Reference: annotation guideline v1, row NAME; ``lexicons/foreign_names.tsv``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ppsehr_spark.domain.offsets import NormalisedText
from ppsehr_spark.domain.rules.grammars import GrammarContext
from ppsehr_spark.domain.rules.name_edges import weigh_left, weigh_mark
from ppsehr_spark.domain.rules.name_found import FoundName
from ppsehr_spark.domain.rules.name_model import hanzi_end, is_hanzi
from ppsehr_spark.domain.rules.name_parts import NameReader
from ppsehr_spark.domain.rules.terms import longest

#: What turns a person's name into the name of something else.
_NAMESAKE = re.compile(
    r"公司|集团|大学|学院|研究院|医院|奖|号|杯|[省州市县区镇村路街岛山湖]|广场|基金|牌|级|手术|机器|管|氏|征|病|综合|"
    r"线|孔|韧带|量表|评分|抑郁|焦虑|故居|空军"
)

#: Parts that are ordinary words as well begin no name; the longest run of parts.
_COMMON, _RARE, _LONGEST = 12.0, 99.0, 6


class KnownForeignNames:
    """Listed names as terms of the one automaton."""

    def __init__(self, context: GrammarContext, reader: NameReader) -> None:
        rows = context.lexicon("lexicons/foreign_names.tsv")
        context.terms.add("NAME.foreign", [name for row in rows for name in row[0].split(" ")])
        self.reader = reader
        words = reader.model.words
        parts = [part for part in reader.foreign.components if len(part) > 1 and words.get(part, _RARE) > _COMMON]
        context.terms.add("NAME.part", parts)

    def find_composed(self, text: NormalisedText) -> Iterator[FoundName]:
        """``次仁卓玛``, ``卓玛措``: a whole run of parts of minority names; a short run needs a mark beside it."""
        plain, reader = text.text, self.reader
        done = -1
        for hit in text.hits.get("NAME.part", ()):
            if hit.start < done or is_hanzi(plain, hit.start - 1) or plain[hit.start - 1 : hit.start] == "·":
                continue
            done = end = hanzi_end(plain, hit.start, _LONGEST + 1)
            sounds = [c for e, c in reader.foreign.costs(plain, hit.start) if e == end]
            if not sounds or end - hit.start > _LONGEST or plain[end : end + 1] == "·":
                continue
            is_marked = weigh_mark(plain, end) > 0 or weigh_left(plain, hit.start) > 0
            is_long = end - hit.start > 3 and reader.foreign.is_composed(plain, hit.start, end)
            if is_long or (is_marked and end - hit.start > 1):
                yield FoundName(hit.start, end, 0.8 if is_long else 0.6, "composed")

    def find(self, text: NormalisedText) -> Iterator[FoundName]:
        """Listed names that no transliterating character prolongs; a short one needs edges on both sides."""
        plain, sounds = text.text, self.reader.foreign.characters
        for hit in longest(text.hits.get("NAME.foreign", ())):
            is_prolonged = plain[hit.end : hit.end + 1] in sounds and not self.reader.ends_dotted(plain, hit.end)
            is_inside = plain[hit.start - 1 : hit.start] in sounds | {"·"} and not self.reader.is_open_left(
                plain, hit.start
            )
            if is_prolonged or is_inside or plain[hit.end : hit.end + 1] == "·" or _NAMESAKE.match(plain, hit.end):
                continue
            is_edged = self.reader.is_open_left(plain, hit.start) and not is_hanzi(plain, hit.end)
            is_sure = len(hit.value) > 2 or is_edged or self.reader.is_followed(plain, hit.end)
            yield FoundName(hit.start, hit.end, 0.8 if is_sure else 0.4, "known_foreign")
