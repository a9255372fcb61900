"""What a text says of sex, age, dates and stay, and whether it says it of the patient.

Knows: wordings. Must not know: the record they are compared with.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

_CLAUSE_END = re.compile(r"[，。；：！？、,;:!?\s（）()]")
_DIGITS = {character: value for value, character in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
_MALE = re.compile(r"(?<![一-龥0-9])男(?![一-龥])|男性|男孩|男童|男婴|(?:患者|患儿|老年|中年|青年|青少年)男")
_FEMALE = re.compile(r"(?<![一-龥0-9])女(?![一-龥])|女性|女孩|女童|女婴|(?:患者|患儿|老年|中年|青年|青少年)女(?!儿)")
_AGE = re.compile(r"(不满|未满|不足)?(\d{1,3}|[零〇一二两三四五六七八九十百]{1,5})[ ]?(?:周岁|岁)")
_MONTHS = re.compile(r"(\d{1,2})[ ]?个?月(?:大|龄)")
_STAY = re.compile(r"住院(?:天数|日数|时间|共|治疗|期间共|了|计|：|:){0,3}[ ]?(\d{1,3})[ ]?(?:天|日)")
_DATE = re.compile(r"(\d{4})[年\-/.](\d{1,2})[月\-/.](\d{1,2})日?")
_ADMITTED = re.compile(r"(?:入院|就诊)日期[：:]?\s*$")
_DISCHARGED = re.compile(r"(?:出院|死亡)日期[：:]?\s*$")


@dataclass(frozen=True)
class AgeMention:
    """``years`` as stated; ``follow`` are the characters behind it, ``at`` where it begins."""

    years: int
    at: int
    follow: str


@dataclass(frozen=True)
class DateMention:
    """A full date (``None`` when the calendar has no such day) and what it is called: ``in``, ``out`` or empty."""

    day: date | None
    label: str


def clause_before(text: str, at: int) -> str:
    """What stands before a place in its own clause, at most 16 characters."""
    window = text[max(0, at - 16) : at]
    return _CLAUSE_END.split(window)[-1]


def clause_around(text: str, at: int) -> str:
    """The clause that holds a place, at most 16 characters to each side."""
    return clause_before(text, at) + _CLAUSE_END.split(text[at : at + 16], maxsplit=1)[0]


def find_words(text: str, words: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Every occurrence of every word, with its place."""
    for word in words:
        at = text.find(word)
        while at >= 0:
            yield word, at
            at = text.find(word, at + len(word))


def find_sexes(text: str) -> Iterator[tuple[str, int]]:
    """``M`` or ``F`` where a person's sex is stated, with the place."""
    for sex, pattern in (("M", _MALE), ("F", _FEMALE)):
        for match in pattern.finditer(text):
            yield sex, match.start()


def find_ages(text: str) -> Iterator[AgeMention]:
    """Ages in years, months rounded down to years; ``不满1岁`` is 0."""
    for match in _AGE.finditer(text):
        years = read_number(match[2]) - (1 if match[1] else 0)
        yield AgeMention(years, match.start(), text[match.end() : match.end() + 3])
    for match in _MONTHS.finditer(text):
        yield AgeMention(int(match[1]) // 12, match.start(), text[match.end() : match.end() + 3])


def find_stays(text: str) -> list[int]:
    """Lengths of stay, in days."""
    return [int(days) for days in _STAY.findall(text)]


def find_dates(text: str) -> Iterator[DateMention]:
    """Full dates with the label before them."""
    for match in _DATE.finditer(text):
        before = text[max(0, match.start() - 8) : match.start()]
        label = "in" if _ADMITTED.search(before) else "out" if _DISCHARGED.search(before) else ""
        try:
            day = date(int(match[1]), int(match[2]), int(match[3]))
        except ValueError:
            day = None
        yield DateMention(day, label)


def read_number(text: str) -> int:
    """A number below 1000 in Arabic or Chinese digits."""
    if text.isascii():
        return int(text)
    total = current = 0
    for character in text:
        if character in _DIGITS:
            current = _DIGITS[character]
        else:
            total += max(1, current) * (100 if character == "百" else 10)
            current = 0
    return total + current
