"""Towns and streets said short without their county (``在厚街打工``, ``住徐泾，``), after a word of going or staying.

Knows: the short forms of towns and which of them are ordinary words. Must not know: how other places are found.
Reference: annotation guideline v1, row ADDRESS. Lists: ``lexicons/towns.tsv``, ``lexicons/ordinary_words.tsv``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence, Set

from ppsehr_spark.domain.rules.grammars import GrammarContext

#: Every alternative begins with a letter of its own, not with a look-behind: other positions cost nothing then.
_GOING = re.compile(
    r"在(?<![现存所实内潜正外不]在)|到(?<![达得达感直]到)(?!底)|去(?<![过失除下上出减]去)|从(?<!服从)|自(?<![各亲]自)|由(?<!理由)|"
    r"前往|返回?|抵达?|途经|路过|途径|常住|现住|家住|租住|暂住|借住|夜宿|移居|定居|住(?<=[,，。;；]住)|来自|迁到|搬到"
)
_LONGEST = 4
_RIGHT = re.compile(
    r"[,，。;；、!！?？)）\n]|$|(?:打工|务工|做(?!了|过)|上班|工作|教书|读书|上学|开[店厂车]|住|租|买|吃|打(?=[工鱼零])|带货|装货|进货|"
    r"摆摊|过来|出发|出去|来(?=[,，。])|返|转|接出|收|种|养|当|学|下车|上车|一带|附近|那[边里片]|这[边里]|的(?!话)|有|看|玩|逛|"
    r"玩水|乘|坐|骑|赶|发生|追尾|摔|跌|帮|拍|演|等|卖|跑)"
)


def read_ordinary(context: GrammarContext) -> frozenset[str]:
    """Words of every day, which no town's name may be."""
    rows = context.lexicon("lexicons/ordinary_words.tsv")
    return frozenset(word for row in rows for word in row[1].split(" "))


def find_towns(text: str, towns: Mapping[str, Sequence[str]], ordinary: Set[str]) -> Iterator[tuple[int, int]]:
    """``(start, end)`` of each town, longest first at one place."""
    for going in _GOING.finditer(text):
        at = going.end()
        for end in range(min(at + _LONGEST, len(text)), at + 1, -1):
            name = text[at:end]
            if name in towns and name not in ordinary and _RIGHT.match(text, end):
                yield at, end
                break
