"""Names written by sound: foreign and minority names in Chinese characters, with or without a dot.

Knows: characters that transliterate and what they cost, components of minority names, the dotted form. Must not know:
labels or titles. Reference: annotation guideline v1, row NAME; ``lexicons/transliteration.tsv``, ``ethnic_names.tsv``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Final

from ppsehr_spark.domain.rules.grammars import GrammarContext

LONGEST: Final = 9
_START_COST: Final = 5.0
_COMPONENT_COST: Final = 4.5
_UNSPELLED_COST: Final = 14.0
_CLOSED_FIELD: Final = 4.0
_LEAST_COMPOSED: Final = 4
_HANZI = "\u4e00-\u9fff\u3400-\u4dbf"
_PART = rf"(?:(?![的了在和与及是说对为从被把向由])[{_HANZI}])"
_DOTTED = re.compile(rf"{_PART}{{1,7}}(?:·{_PART}{{1,8}}){{1,4}}")


#: Cheapest words of ``text[i:stop]`` for every ``i`` in ``at..stop``.
Ordinary = Callable[[str, int, int], list[float]]


class ForeignNames:
    """Costs and edges of transliterated names; bounded work per question."""

    def __init__(self, context: GrammarContext) -> None:
        rows = context.lexicon("lexicons/transliteration.tsv")
        self._cost = {c: float(row[0]) for row in rows for c in row[1]}
        self.characters = frozenset(self._cost)
        rows = context.lexicon("lexicons/ethnic_names.tsv")
        self.components = frozenset(c for row in rows for c in row[1].split(" "))
        self._longest = max(len(c) for c in self.components)
        self._firsts = frozenset(c[0] for c in self.components)

    def costs(self, text: str, at: int) -> list[tuple[int, float]]:
        """(end, cost) of every transliterated run of two or more characters that starts at ``at``."""
        best = {at: _START_COST}
        for i in range(at, min(at + LONGEST, len(text))):
            cost = best.get(i)
            if cost is None:
                continue
            if text[i] in self._cost:
                best[i + 1] = min(best.get(i + 1, math.inf), cost + self._cost[text[i]])
            for part in self._components_at(text, i):
                best[part] = min(best.get(part, math.inf), cost + _COMPONENT_COST)
        return [(end, cost) for end, cost in best.items() if end - at >= 2]

    def _components_at(self, text: str, at: int) -> list[int]:
        """Ends of the components that begin at ``at``."""
        if text[at] not in self._firsts:
            return []
        ends = range(at + 1, min(at + self._longest, len(text)) + 1)
        return [end for end in ends if text[at:end] in self.components]

    def is_composed(self, text: str, start: int, end: int) -> bool:
        """True when ``text[start:end]`` is two or more components of minority names, four characters or more."""
        return end - start >= _LEAST_COMPOSED and self._component_end(text[:end], start) == end

    def _component_end(self, text: str, at: int) -> int:
        """How far components of minority names reach from ``at``; ``at`` where none begins."""
        reached = {at}
        for start in range(at, min(at + LONGEST, len(text))):
            if start in reached:
                reached.update(self._components_at(text, start))
        return max(reached)

    def run_start(self, text: str, end: int) -> int:
        """Where the run of transliterating characters that ends at ``end`` starts."""
        start = end
        while start > 0 and end - start < LONGEST and text[start - 1] in self._cost:
            start -= 1
        return start

    def spelled_to(self, text: str, low: int, end: int) -> list[float]:
        """Cost of ``text[i:end]`` as a part of a name written by sound, for every ``i`` in ``low..end``."""
        best = [0.0] * (end - low + 1)
        for i in range(end - 1, low - 1, -1):
            cost = self._cost.get(text[i], _UNSPELLED_COST) + best[i + 1 - low]
            parts = (best[part - low] for part in self._components_at(text, i) if part <= end)
            best[i - low] = min([cost, *(_COMPONENT_COST + part for part in parts)])
        return best

    def dotted_end(self, text: str, at: int, follow: Callable[[str, int], bool], ordinary: Ordinary) -> int | None:
        """The end of a name with dots at ``at``: a following word ends it, else the cheapest cut."""
        match = _DOTTED.match(text, at)
        if match is None:
            return None
        start, end = match.group().rindex("·") + at + 1, match.end()
        reach = self._component_end(text, start)
        ended = next((i for i in range(max(reach, start + 1), end) if follow(text, i)), end)
        if reach >= ended or end - start <= 1:
            return ended
        sounds, words = self._spelled_from(text, start, ended), ordinary(text, start, ended)
        sounds[-1] -= _CLOSED_FIELD * (ended == end)
        return min((sounds[i - start] + words[i - start], -i) for i in range(max(reach, start + 1), ended + 1))[1] * -1

    def _spelled_from(self, text: str, start: int, end: int) -> list[float]:
        """Cost of ``text[start:i]`` as a part of a name written by sound, for every ``i`` in ``start..end``."""
        best = [0.0] + [math.inf] * (end - start)
        for i in range(start, end):
            cost = best[i - start]
            best[i + 1 - start] = min(best[i + 1 - start], cost + self._cost.get(text[i], _UNSPELLED_COST))
            for part in self._components_at(text, i):
                if part <= end:
                    best[part - start] = min(best[part - start], cost + _COMPONENT_COST)
        return best
