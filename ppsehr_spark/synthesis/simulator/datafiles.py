"""Reading the simulator's own data files (names, places, conditions, prose); they travel inside the package.

Knows: how a data file is found and split into words. Must not know: what the words are for.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib import resources
from itertools import accumulate
from typing import Any

_WEIGHTED = re.compile(r"([^\s\d]+)(\d+)")


@cache
def read_toml(name: str) -> dict[str, Any]:
    """A TOML file of the data folder as a dictionary."""
    return tomllib.loads(read_text(f"{name}.toml"))


@cache
def read_text(name: str) -> str:
    """A UTF-8 text file of the data folder."""
    return resources.files(f"{__package__}.data").joinpath(name).read_text(encoding="utf-8")


def read_rows(name: str) -> list[dict[str, str]]:
    """A tab-separated file with a header; missing trailing cells are empty, ``#`` starts a comment row."""
    rows = [row.split("\t") for row in read_text(f"{name}.tsv").splitlines() if row and not row.startswith("#")]
    header = rows[0]
    return [dict(zip(header, [*row, *[""] * (len(header) - len(row))], strict=True)) for row in rows[1:]]


def split_weighted(text: str) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """``王71 李70`` as words and cumulative weights."""
    pairs = _WEIGHTED.findall(text)
    return tuple(word for word, _ in pairs), tuple(accumulate(float(weight) for _, weight in pairs))
