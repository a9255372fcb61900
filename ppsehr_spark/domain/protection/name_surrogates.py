"""Fictional names: the same name of one patient always becomes the same fictional name of the same form.

Knows: how a Chinese name is put together (surname, given name, title, masked parts, names with a middle dot, Latin
names). Must not know: spans, policies. Surname and given name are drawn apart, so that ``王主任`` and ``王建国`` of one
patient's notes keep a common surname.
"""

from __future__ import annotations

from dataclasses import dataclass

from ppsehr_spark.domain.protection.draw import Draw
from ppsehr_spark.domain.protection.fiction import FEMALE, MALE, NEUTRAL, PATRONYM, Fiction

_PREFIXES = "小老阿大"
_MASKED = frozenset("某Xx×*＊○〇△□_")
_DOTS = frozenset("·•・‧∙⋅.")
_MAX_PLAIN_CHARS = 3


@dataclass(frozen=True, slots=True)
class NameParts:
    """A Hanzi name taken apart; any part may be empty."""

    prefix: str
    surname: str
    given: str
    title: str


def draw_name(value: str, *, fiction: Fiction, key: bytes, scope: tuple[str, ...]) -> str | None:
    """A fictional name with the form, length class and sex class of ``value``.

    Args:
        value: the name as written, with or without title.
        fiction: word lists.
        key: HMAC key.
        scope: what the draw is consistent within (patient key, attempt).

    Returns:
        The name, or ``None`` when nothing in ``value`` could be changed.
    """
    compact = "".join(value.split())
    if not compact:
        return None
    if compact.isascii() and any(char.isalpha() for char in compact):
        return _draw_latin(value, fiction, Draw(key, "latin", compact.lower(), *scope))
    if not _DOTS.isdisjoint(compact[1:-1]):
        return _draw_dotted(compact, fiction, key, scope)
    return _respace(value, _draw_hanzi(split_name(compact, fiction), fiction, key, scope))


def split_name(compact: str, fiction: Fiction) -> NameParts:
    """Take a Hanzi name without white space apart."""
    has_title = compact.endswith(fiction.titles)
    title = next((t for t in fiction.titles if _carries_title(compact, t)), "") if has_title else ""
    rest = compact.removesuffix(title) if title else compact
    if len(rest) == 2 and rest[0] in _PREFIXES and rest[1] in fiction.known_surnames:
        return NameParts(rest[0], rest[1], "", title)
    if rest[:2] in fiction.known_surnames and len(rest) <= _MAX_PLAIN_CHARS + 1:
        return NameParts("", rest[:2], rest[2:], title)
    is_plain = len(rest) <= _MAX_PLAIN_CHARS or not _MASKED.isdisjoint(rest)
    has_surname = is_plain and (len(rest) != 2 or rest[0] in fiction.known_surnames or rest[1] in _MASKED)
    return NameParts("", rest[0], rest[1:], title) if has_surname else NameParts("", "", rest, title)


def classify_sex(given: str, fiction: Fiction) -> str:
    """Sex class that the characters of a given name suggest; neutral when they do not agree."""
    classes = {fiction.sex_of.get(char, NEUTRAL) for char in given} - {NEUTRAL}
    return classes.pop() if len(classes) == 1 else NEUTRAL


def _carries_title(compact: str, title: str) -> bool:
    """A one-character title (王总) counts after a bare surname only: it also ends given names."""
    n_rest = len(compact) - len(title)
    return compact.endswith(title) and (n_rest >= 1 if len(title) > 1 else n_rest == 1)


def _draw_hanzi(parts: NameParts, fiction: Fiction, key: bytes, scope: tuple[str, ...]) -> str:
    surname = _draw_surname(parts.surname, fiction, key, scope) if parts.surname else ""
    given = _draw_given(parts.given, fiction, key, scope) if parts.given else ""
    return f"{parts.prefix}{surname}{given}{parts.title}"


def _draw_surname(surname: str, fiction: Fiction, key: bytes, scope: tuple[str, ...]) -> str:
    if _MASKED.issuperset(surname):
        return surname
    return Draw(key, "surname", surname, *scope).pick(fiction.surnames[len(surname)], avoid=surname)


def _draw_given(given: str, fiction: Fiction, key: bytes, scope: tuple[str, ...]) -> str:
    draw = Draw(key, "given", given, *scope)
    if len(given) > _MAX_PLAIN_CHARS and _MASKED.isdisjoint(given):
        return draw.pick(fiction.ethnic[_guess_ethnic_sex(given)], avoid=given)
    options = fiction.given[classify_sex(given, fiction)]
    return "".join(char if char in _MASKED else draw.pick(options, avoid=char) for char in given)


def _draw_dotted(compact: str, fiction: Fiction, key: bytes, scope: tuple[str, ...]) -> str:
    dot = next(char for char in compact[1:] if char in _DOTS)
    first, *others = compact.split(dot)
    sex = _guess_ethnic_sex(first)
    drawn = [Draw(key, "ethnic", first, *scope).pick(fiction.ethnic[sex], avoid=first)]
    drawn += [Draw(key, "patronym", o, *scope).pick(fiction.ethnic[PATRONYM], avoid=o) for o in others]
    return dot.join(drawn)


def _guess_ethnic_sex(first: str) -> str:
    has_female_ending = first.endswith(("古丽", "古力", "娜", "娅", "汗", "姆", "卓玛", "其其格", "努尔", "央金"))
    return FEMALE if has_female_ending else MALE


def _draw_latin(value: str, fiction: Fiction, draw: Draw) -> str:
    words = [draw.pick(fiction.latin, avoid=word.title()) if len(word) > 1 else word for word in value.split()]
    if words == value.split():
        words = [draw.pick(fiction.latin)]
    return " ".join(word.upper() if value.isupper() else word for word in words)


def _respace(value: str, drawn: str) -> str | None:
    """Put white space inside the original (``张 三``) back in its place; ``None`` when nothing changed."""
    if len(drawn) == len("".join(value.split())):
        chars = iter(drawn)
        drawn = "".join(char if char.isspace() else next(chars) for char in value)
    return drawn if drawn != value else None
