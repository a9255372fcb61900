"""Rows of words as columns for a terminal.

Knows: widths. Must not know: what stands in a cell.
"""

from __future__ import annotations

from collections.abc import Sequence


def align_columns(rows: Sequence[Sequence[str]]) -> str:
    """One line per row, two blanks between columns that are as wide as their widest cell; headings are a row, too."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join(lines)
