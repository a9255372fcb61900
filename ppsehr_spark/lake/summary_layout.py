"""How figures are laid out in a terminal, where a Hanzi takes two columns.

Knows: columns and widths. Must not know: what a figure means.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence


def format_share(value: float) -> str:
    """Three decimals, ``-`` for what is not defined."""
    return "-" if math.isnan(value) else f"{value:.3f}"


def make_head(cells: Sequence[object], widths: Sequence[int]) -> str:
    """A line of column titles, not indented."""
    return make_line(cells, (widths[0] + 2, *widths[1:])).removeprefix("  ")


def make_line(cells: Sequence[object], widths: Sequence[int]) -> str:
    """First cell to the left, the following to the right within their widths, the rest as it is."""
    parts = []
    for at, cell in enumerate(cells):
        text = str(cell)
        room = " " * max(0, (widths[at] if at < len(widths) else 0) - count_columns(text))
        parts.append(text + room if at == 0 else room + text if at < len(widths) else f"  {text}")
    return ("  " + "".join(parts)).rstrip()


def count_columns(text: str) -> int:
    """Terminal columns that the text takes."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)
