"""Which characters can open a match of an expression, so that all other positions cost next to nothing.

Knows: the parse tree of a regular expression. Must not know: word lists. Purely an optimisation: where the
answer is not certain it is ``None``, and every position is tried.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Final, final

_WIDEST_RANGE = 512
_ASSERTIONS = ("ASSERT", "ASSERT_NOT")
_TRANSPARENT = (*_ASSERTIONS, "AT")
_REPEATS = ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT")
_SPACES = "".join(chr(code) for code in range(0x3001) if chr(code).isspace())
_CLASSES = {"CATEGORY_DIGIT": "0123456789", "CATEGORY_SPACE": _SPACES}
_BEHIND = -1


@dataclass
class Opening:
    """What matches can begin with.

    Attributes:
        is_empty: a match may hold nothing.
        is_any: one may begin with any character.
        alone: characters that may be all of one.
        pairs: first character -> second ones; ``None``: any, or none.
    """

    is_empty: bool = False
    is_any: bool = False
    alone: set[str] = field(default_factory=set)
    pairs: dict[str, set[str] | None] = field(default_factory=dict)

    def firsts(self) -> set[str] | None:
        """All first characters, ``None`` for any."""
        return None if self.is_any else self.alone | set(self.pairs)

    def add(self, other: Opening) -> None:
        """Whichever of the two comes first in an alternative."""
        self.is_empty, self.is_any = self.is_empty or other.is_empty, self.is_any or other.is_any
        self.alone |= other.alone
        for first, seconds in other.pairs.items():
            known = self.pairs.get(first, set())
            self.pairs[first] = None if known is None or seconds is None else known | seconds

    def then(self, other: Opening) -> Opening:
        """This one and behind it the other."""
        joined = Opening(self.is_empty and other.is_empty, self.is_any, pairs=dict(self.pairs))
        joined.alone = set(self.alone) if other.is_empty else set()
        if self.is_empty:
            joined.add(Opening(False, other.is_any, other.alone, other.pairs))
        seconds = other.firsts()
        if seconds is None or seconds:
            joined.add(Opening(pairs=dict.fromkeys(self.alone, seconds)))
        return joined


def compile_guard(sources: Iterable[str]) -> str:
    """A look-ahead for the first characters of all expressions, ``""`` where they cannot be told."""
    openings = [_read(source) for source in sources]
    if any(opening.is_empty or opening.is_any for opening in openings):
        return ""
    return f"(?={_write_class(_both_cases({c for opening in openings for c in opening.firsts() or ()}))})"


def read_pairs(sources: Iterable[str]) -> dict[str, frozenset[str] | None] | None:
    """First character of any match -> what may be second (``None``: any, or nothing); ``None`` where it cannot be told.

    Both letter cases are in it.
    """
    joined = Opening()
    for source in sources:
        joined.add(_read(source))
    if joined.is_any or joined.is_empty:
        return None
    joined.add(Opening(pairs=dict.fromkeys(joined.alone)))
    cased = Opening()
    for first, seconds in joined.pairs.items():
        both = None if seconds is None else _both_cases(seconds)
        cased.add(Opening(pairs=dict.fromkeys(_both_cases({first}), both)))
    return {first: None if seconds is None else frozenset(seconds) for first, seconds in cased.pairs.items()}


@final
class GuardedPattern:
    """An expression that is tried only where a match may begin; the matches are those of ``re``.

    Args:
        source: the expression, compiled or not.
    """

    def __init__(self, source: re.Pattern[str] | str) -> None:
        regex = re.compile(source) if isinstance(source, str) else source
        self.regex: Final = regex
        self._starts: Final = compile_starts(regex.pattern)
        self._pairs: Final = read_pairs([regex.pattern])

    def may_match(self, text: str, at: int) -> bool:
        """False where the first two characters at ``at`` rule a match out."""
        if self._pairs is None:
            return True
        first = text[at : at + 1]
        if first not in self._pairs:
            return False
        seconds = self._pairs[first]
        return seconds is None or text[at + 1 : at + 2] in seconds

    def match(self, text: str, at: int) -> re.Match[str] | None:
        """``regex.match(text, at)``."""
        return self.regex.match(text, at) if self.may_match(text, at) else None

    def search(self, text: str) -> re.Match[str] | None:
        """``regex.search(text)``."""
        if self._starts is None:
            return self.regex.search(text)
        start = self._starts.search(text)
        return self.regex.search(text, start.start()) if start else None

    def find_all(self, text: str, first: int, last: int) -> list[re.Match[str]]:
        """``regex.finditer(text, first, last)``."""
        if self._starts is None:
            return list(self.regex.finditer(text, first, last))
        matches: list[re.Match[str]] = []
        free_from = first
        for start in self._starts.finditer(text, first, last):
            at = start.start()
            match = self.regex.match(text, at, last) if at >= free_from else None
            if match:
                free_from = match.end()
                matches.append(match)
        return matches


def compile_starts(source: str) -> re.Pattern[str] | None:
    """Finds every character at which a match of ``source`` may begin, and few others; ``None`` where it cannot be told.

    One class of characters comes first, which the engine of ``re`` runs through many times faster than it tries an
    expression that begins with an assertion; what must or must not stand before is asked behind it.
    """
    pairs = read_pairs([source])
    if not pairs:
        return None
    seconds: set[str] | None = set()
    for second in pairs.values():
        seconds = None if seconds is None or second is None else seconds | second
    after = "" if seconds is None else f"(?={_write_class(seconds)})"
    return re.compile(f"{_write_class(set(pairs))}{_write_before(source)}{after}")


def _write_before(source: str) -> str:
    """What the expression asks of the one character before it, as asked from behind its first one."""
    written = ""
    for name, argument in _parse(source):
        if str(name) not in _TRANSPARENT:
            break
        if str(name) not in _ASSERTIONS or argument[0] != _BEHIND or len(argument[1]) != 1:
            continue
        kind, content = argument[1][0]
        members = content if str(kind) == "IN" else [(kind, content)]
        characters = _read_set(members)
        if characters and str(name) == "ASSERT_NOT":
            written += f"(?<!{_write_class(characters)}(?s:.))"
        elif characters:
            written += f"(?<={_write_class(_both_cases(characters))}(?s:.))"
    return written


def _parse(source: str) -> Sequence[Any]:
    parser: Any = import_module("re._parser")
    nodes: Sequence[Any] = parser.parse(source)
    return nodes


def _read(source: str) -> Opening:
    return _read_sequence(_parse(source))


def _both_cases(characters: set[str]) -> set[str]:
    """With all that ``re.IGNORECASE`` takes for the same."""
    extra: Mapping[int, tuple[int, ...]] = import_module("re._casefix")._EXTRA_CASES
    forms = {form for c in characters for form in (c, c.upper(), c.lower()) if len(form) == 1}
    return forms | {chr(code) for c in forms for code in extra.get(ord(c), ())}


def _write_class(characters: set[str]) -> str:
    return f"[{''.join(map(re.escape, sorted(characters)))}]"


def _read_sequence(nodes: Sequence[Any]) -> Opening:
    opening = Opening(is_empty=True)
    for name, argument in nodes:
        if not (opening.is_empty or opening.alone):
            break
        opening = opening.then(_read_node(str(name), argument))
    return opening


def _read_node(name: str, argument: Any) -> Opening:
    if name in _TRANSPARENT:
        return Opening(is_empty=True)
    if name == "LITERAL":
        return Opening(alone={chr(argument)})
    if name == "IN":
        characters = _read_set(argument)
        return Opening(is_any=True) if characters is None else Opening(alone=characters)
    if name in _REPEATS:
        return _read_repeat(*argument)
    if name in ("SUBPATTERN", "ATOMIC_GROUP"):
        return _read_sequence(argument[3] if name == "SUBPATTERN" else argument)
    if name == "BRANCH":
        joined = Opening()
        for branch in argument[1]:
            joined.add(_read_sequence(branch))
        return joined
    if name == "FAILURE":
        return Opening()
    return Opening(is_any=True, is_empty=name not in ("ANY", "NOT_LITERAL"))


def _read_repeat(least: int, most: int, nodes: Sequence[Any]) -> Opening:
    once = _read_sequence(nodes)
    joined = Opening(is_empty=least == 0)
    if least < 2:
        joined.add(once)
    if most > 1:
        joined.add(once.then(once))
    return joined


def _read_set(members: Sequence[Any]) -> set[str] | None:
    characters: set[str] = set()
    for name, argument in members:
        if str(name) == "LITERAL":
            characters.add(chr(argument))
        elif str(name) == "RANGE" and argument[1] - argument[0] < _WIDEST_RANGE:
            characters.update(map(chr, range(argument[0], argument[1] + 1)))
        elif str(name) == "CATEGORY" and str(argument) in _CLASSES:
            characters.update(_CLASSES[str(argument)])
        else:
            return None
    return characters
