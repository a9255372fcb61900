"""Which characters can open a match of an expression, so that all other positions cost next to nothing.

Knows: the parse tree of a regular expression. Must not know: word lists. Purely an optimisation: where the
answer is not certain it is ``None``, and every position is tried.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Any

_WIDEST_RANGE = 512
_TRANSPARENT = ("ASSERT", "ASSERT_NOT", "AT")
_REPEATS = ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT")
_CLASSES = {"CATEGORY_DIGIT": "0123456789", "CATEGORY_SPACE": " \t\r\n\f\v\u3000\xa0"}


def compile_guard(sources: Iterable[str]) -> str:
    """A look-ahead for the first characters of all expressions, ``""`` where they cannot be told."""
    characters: set[str] = set()
    parser: Any = import_module("re._parser")
    for source in sources:
        found, is_empty = _read_sequence(parser.parse(source))
        if found is None or is_empty:
            return ""
        characters |= found
    both_cases = {form for c in characters for form in (c, c.upper(), c.lower()) if len(form) == 1}
    return f"(?=[{''.join(map(re.escape, sorted(both_cases)))}])"


def _read_sequence(nodes: Sequence[Any]) -> tuple[set[str] | None, bool]:
    """First characters of a sequence (``None``: any) and whether it can match nothing."""
    characters: set[str] = set()
    for name, argument in nodes:
        found, is_empty = _read_node(str(name), argument)
        if found is None:
            return None, False
        characters |= found
        if not is_empty:
            return characters, False
    return characters, True


def _read_node(name: str, argument: Any) -> tuple[set[str] | None, bool]:
    if name in _TRANSPARENT:
        return set(), True
    if name == "LITERAL":
        return {chr(argument)}, False
    if name == "IN":
        return _read_set(argument), False
    if name in _REPEATS:
        found, is_empty = _read_sequence(argument[2])
        return found, is_empty or argument[0] == 0
    if name == "SUBPATTERN":
        return _read_sequence(argument[3])
    if name == "ATOMIC_GROUP":
        return _read_sequence(argument)
    if name == "BRANCH":
        branches = [_read_sequence(branch) for branch in argument[1]]
        if any(found is None for found, _ in branches):
            return None, False
        return {c for found, _ in branches for c in found or ()}, any(is_empty for _, is_empty in branches)
    return None, False


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
