"""What the tagger looks at: characters, what LAC thinks of them, and the words that LAC cuts.

Knows: one sentence and LAC's posterior of it. Must not know: the labels that are learned from this. A change here
needs new weights (``scripts/train_tagger.py``). Features follow F. Sha and F. Pereira, "Shallow parsing with
conditional random fields", NAACL 2003, with the posterior of another tagger in place of part-of-speech tags.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

_ENTITIES = {"P": "PER", "L": "LOC", "O": "ORG"}
_STEPS = np.array([0.02, 0.1, 0.3, 0.6, 0.9])
_EDGES = ("<", "<")
_MAX_WORD_CHARS = 8
_DIGITS = str.maketrans("0123456789", "0" * 10)

Features = list[str]


def describe_sentence(sentence: str, posterior: np.ndarray[Any, Any], labels: Sequence[str]) -> list[Features]:
    """Features of every character.

    Args:
        sentence: normalised text, at least one character.
        posterior: LAC's, (length, labels).
        labels: names of its columns.
    """
    chars = (*_EDGES, *sentence.translate(_DIGITS), *_EDGES)
    kinds = "".join(_kind(char) for char in chars)
    likeliest = [labels[column] for column in posterior.argmax(axis=1)]
    rows = [[*_around(chars, at), f"k={kinds[at : at + 5]}", *_tags(likeliest, at)] for at in range(len(sentence))]
    for row, words in zip(rows, _words(sentence.translate(_DIGITS), likeliest), strict=True):
        row += words
    for sign, entity in _ENTITIES.items():
        columns = [labels.index(f"{entity}-B"), labels.index(f"{entity}-I")]
        steps = np.searchsorted(_STEPS, posterior[:, columns].sum(axis=1), side="right")
        for row, beside in zip(rows, _beside([str(step) for step in steps], sign), strict=True):
            row += beside
    return rows


def _around(chars: Sequence[str], at: int) -> Features:
    """Characters two to either side, alone and joined; ``chars`` begins two before the first one."""
    a, b, c, d, e = chars[at : at + 5]
    single = [f"a={a}", f"b={b}", f"c={c}", f"d={d}", f"e={e}"]
    return [*single, f"ab={a}{b}", f"bc={b}{c}", f"cd={c}{d}", f"de={d}{e}", f"bcd={b}{c}{d}"]


def _kind(char: str) -> str:
    if char == "0":
        return "0"
    if char.isascii():
        return "a" if char.isalpha() else "s" if char.isspace() else "."
    return "h" if char.isalpha() else "."


def _tags(likeliest: Sequence[str], at: int) -> Features:
    own = likeliest[at]
    before = likeliest[at - 1] if at else "<"
    after = likeliest[at + 1] if at + 1 < len(likeliest) else ">"
    return [f"l={own}", f"l-={before}", f"l+={after}", f"ll={own}|{after}"]


def _beside(steps: Sequence[str], sign: str) -> Iterator[Features]:
    padded = ("<", *steps, ">")
    for at in range(len(steps)):
        yield [f"{sign}-{padded[at]}", f"{sign}={padded[at + 1]}", f"{sign}+{padded[at + 2]}"]


def _words(sentence: str, likeliest: Sequence[str]) -> Iterator[Features]:
    """Per character: its word, two before and one after; whether it begins the word."""
    starts = [at for at, label in enumerate(likeliest) if not at or not _goes_on(likeliest[at - 1], label)]
    ends = [*starts[1:], len(sentence)]
    words = [sentence[a:b][:_MAX_WORD_CHARS] for a, b in zip(starts, ends, strict=True)]
    padded = (*_EDGES, *words, ">")
    for at, (start, end) in enumerate(zip(starts, ends, strict=True)):
        for place in range(start, end):
            sign = "B" if place == start else "I"
            far, before, own, after = padded[at : at + 4]
            yield [f"w={sign}{own}", f"w-={sign}{before}", f"w+={sign}{after}", f"w--={sign}{far}"]


def _goes_on(before: str, label: str) -> bool:
    return label.endswith("-I") and before[:-2] == label[:-2]
