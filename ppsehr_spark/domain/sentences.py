"""Where a note may be cut: sentence borders, and windows over them that overlap.

Knows: Chinese clinical punctuation and code-point arithmetic. Must not know: spans, categories, models.
Every function is linear in the length of the text.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right

from ppsehr_spark.errors import ConfigurationError

#: A sentence ends after a full stop, an exclamation or question mark, a semicolon or a line break. The ASCII full
#: stop is left out because laboratory values hold it.
_SENTENCE_END = re.compile("[。！？；!?;]+[”’」』）)]*\\s*|[\r\n]+\\s*")


def sentence_borders(text: str) -> list[int]:
    """Sorted cut positions from 0 to ``len(text)``; neighbours enclose one sentence with its trailing space."""
    borders = [0]
    for match in _SENTENCE_END.finditer(text):
        if match.end() > borders[-1]:
            borders.append(match.end())
    if borders[-1] < len(text):
        borders.append(len(text))
    return borders


def sentence_around(borders: list[int], *, start: int, end: int) -> tuple[int, int]:
    """Range of the whole sentences that hold ``[start, end)``."""
    left = bisect_right(borders, start) - 1
    right = bisect_left(borders, end)
    return borders[left], borders[right]


def widen_sentences(borders: list[int], *, start: int, end: int, at_least: int, at_most: int) -> tuple[int, int]:
    """Add whole neighbouring sentences, the one before first, until ``at_least`` code points are held.

    A neighbour that would lift the range above ``at_most`` is left out. ``start`` and ``end`` must be borders.
    """
    left, right = bisect_left(borders, start), bisect_left(borders, end)
    has_grown = True
    while has_grown and borders[right] - borders[left] < at_least:
        has_grown = False
        if left > 0 and borders[right] - borders[left - 1] <= at_most:
            left, has_grown = left - 1, True
        if (
            borders[right] - borders[left] < at_least
            and right + 1 < len(borders)
            and borders[right + 1] - borders[left] <= at_most
        ):
            right, has_grown = right + 1, True
    return borders[left], borders[right]


def trim_blank(text: str, *, start: int, end: int) -> tuple[int, int]:
    """The same range without blank characters at either end (an empty range collapses on ``end``)."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def cut_windows(text: str, *, max_chars: int, overlap_chars: int) -> list[tuple[int, int]]:
    """Cover the whole text with windows of at most ``max_chars``, cut on sentence borders where there are any.

    Any run of at most ``overlap_chars`` + 1 code points lies wholly inside some window.

    Raises:
        ConfigurationError: ``SEGMENT_SIZE`` unless 0 <= overlap_chars < max_chars / 2.
    """
    if not 0 <= overlap_chars < max_chars / 2:
        hint = "partition.overlap_chars must be less than half of partition.max_segment_chars"
        raise ConfigurationError("SEGMENT_SIZE", hint=hint)
    borders = sentence_borders(text)
    windows: list[tuple[int, int]] = []
    start = 0
    while start < len(text):
        end = _window_end(borders, start=start, max_chars=max_chars)
        windows.append((start, end))
        start = end if end == len(text) else _next_start(borders, start=start, end=end, overlap_chars=overlap_chars)
    return windows


def _window_end(borders: list[int], *, start: int, max_chars: int) -> int:
    """The last border within reach; in a sentence without borders a hard cut."""
    furthest = borders[bisect_right(borders, start + max_chars) - 1]
    is_useful = furthest == borders[-1] or furthest >= start + (max_chars + 1) // 2
    return furthest if is_useful else min(start + max_chars, borders[-1])


def _next_start(borders: list[int], *, start: int, end: int, overlap_chars: int) -> int:
    """The last border at or before ``end - overlap_chars`` unless it lies too far back to make progress."""
    latest = max(end - overlap_chars, start + 1)
    border = borders[bisect_right(borders, latest) - 1]
    return border if border > max(start, latest - max(overlap_chars, 1)) else latest
