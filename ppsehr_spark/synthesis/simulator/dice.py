"""The one source of chance in the simulator: a Philox stream per patient.

Knows: how to draw. Must not know: what is drawn. A patient's stream depends on (seed, index) alone, so any
partitioning gives the same patients (counter-based generators: Salmon et al. 2011).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

_BLOCK = 2048
T = TypeVar("T")


class Dice:
    """Uniform numbers drawn in blocks, handed out one at a time (a scalar draw from numpy costs 20 times more)."""

    __slots__ = ("_block", "_generator", "_length")

    def __init__(self, *key: int, block: int = _BLOCK) -> None:
        self._generator = np.random.Generator(np.random.Philox(np.random.SeedSequence(list(key))))
        self._block: list[float] = []
        self._length = block

    def uniform(self) -> float:
        """One number in [0, 1)."""
        if not self._block:
            self._block = self._generator.random(self._length).tolist()
        return self._block.pop()

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.uniform() < probability

    def between(self, low: int, high: int) -> int:
        """A whole number in [low, high]."""
        return low + int(self.uniform() * (high - low + 1))

    def pick(self, items: Sequence[T]) -> T:
        """One item, all equally likely."""
        return items[int(self.uniform() * len(items))]

    def weighted(self, items: Sequence[T], cumulative: Sequence[float]) -> T:
        """One item by cumulative weights (the last one is the total)."""
        at = bisect_right(cumulative, self.uniform() * cumulative[-1])
        return items[min(at, len(items) - 1)]

    def normal(self, mean: float, deviation: float) -> float:
        """One Gaussian number (Box and Muller 1958)."""
        radius = math.sqrt(-2.0 * math.log(1.0 - self.uniform()))
        return mean + deviation * radius * math.cos(2.0 * math.pi * self.uniform())

    def digits(self, count: int) -> str:
        """``count`` decimal digits."""
        return str(int(self.uniform() * 10**count)).zfill(count)
