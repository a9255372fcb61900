"""The guard: originals that reappear in or around a replacement.

Knows: how to find many values in a text in linear time. Must not know: how a replacement was made.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence

from daachorse import CharwiseDoubleArrayAhoCorasick

from ppsehr_spark.domain.notes import Span
from ppsehr_spark.domain.protection.regions import Region

#: Building an automaton costs more than this many plain searches.
_MAX_PLAIN_SEARCHES = 64


def find_collisions(
    text: str, places: Sequence[Span], *, regions: Sequence[Region], values: frozenset[str]
) -> tuple[set[int], int]:
    """Look for values that touch a replacement.

    Args:
        text: the protected text.
        places: where each region lies in it.
        regions: in the same order.
        values: what must not touch a changed region.

    Returns:
        Indices of the regions a value overlaps, and how many values stand in untouched text.
    """
    changed = [at for at, region in enumerate(regions) if region.operation.operator != "keep"]
    starts = [places[at].start for at in changed]
    colliding: set[int] = set()
    n_residual = 0
    for start, end in _find_values(text, values):
        last = bisect_right(starts, end - 1) - 1
        if last >= 0 and places[changed[last]].end > start:
            colliding.add(changed[last])
        else:
            n_residual += 1
    return colliding, n_residual


def _find_values(text: str, values: frozenset[str]) -> Iterator[tuple[int, int]]:
    """Occurrences of any value; linear in the text (an automaton when there are many values)."""
    if len(values) > _MAX_PLAIN_SEARCHES:
        automaton = CharwiseDoubleArrayAhoCorasick(sorted(values))
        yield from ((start, end) for start, end, _ in automaton.find_overlapping_no_suffix(text))
        return
    for value in sorted(values):
        at = text.find(value)
        while at >= 0:
            yield at, at + len(value)
            at = text.find(value, at + 1)
