"""Keys that the data choose, as numbers within a public form: ``A99.X99`` holds every code such as ``I21.900``.

Knows: how a text of a form becomes a number and back. Must not know: which keys occur, what they mean. A key selected
by threshold can be any text of its public form and nothing else, so no free text of a record ever becomes a label.

A letter of a form stands for one character: ``A`` for A-Z, ``9`` for a digit, ``X`` for a digit or X; any other
character stands for itself.
"""

from __future__ import annotations

import math
import string

_ALPHABETS = {"A": string.ascii_uppercase, "9": string.digits, "X": string.digits + "X"}
#: Keys of one form at most: their numbers fit 32 bits.
MOST_KEYS = 2**31 - 1


def list_alphabets(form: str) -> list[str]:
    """The characters that may stand at each place, in the order of their digits."""
    return [_ALPHABETS.get(letter, letter) for letter in form]


def count_keys(form: str) -> int:
    """How many keys the form has; 1 for an empty one."""
    return math.prod(len(alphabet) for alphabet in list_alphabets(form))


def encode_key(form: str, text: str) -> int | None:
    """Number of a key, from 0; ``None`` for a text of another form."""
    alphabets = list_alphabets(form)
    if len(text) != len(alphabets) or any(c not in known for c, known in zip(text, alphabets, strict=True)):
        return None
    number = 0
    for character, alphabet in zip(text, alphabets, strict=True):
        number = number * len(alphabet) + alphabet.index(character)
    return number


def decode_key(form: str, number: int) -> str:
    """The key with this number, as ``encode_key`` gave it."""
    characters = []
    for alphabet in reversed(list_alphabets(form)):
        number, place = divmod(number, len(alphabet))
        characters.append(alphabet[place])
    return "".join(reversed(characters))
