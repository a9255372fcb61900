"""Deterministic draws from a keyed hash: the same key and parts always give the same choices.

Knows: how to turn an HMAC into choices. Must not know: what is chosen. Without the key nobody can
repeat or invert a draw (RFC 2104); the modulo bias of a 128-bit value over small ranges is below 2^-64.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from ppsehr_spark.domain.identity import keyed_hash

_REFILL_BELOW = 1 << 64


class Draw:
    """An endless stream of choices, seeded by ``keyed_hash(key, *parts)``."""

    def __init__(self, key: bytes, *parts: str) -> None:
        self._seed = keyed_hash(key, "surrogate", *parts)
        self._value = int(self._seed, 16)
        self._room = 1 << 128
        self._n_refills = 0

    def below(self, n: int) -> int:
        """An integer in [0, n)."""
        if self._room < _REFILL_BELOW:
            self._n_refills += 1
            block = hashlib.sha256(f"{self._seed}:{self._n_refills}".encode()).digest()
            self._value, self._room = int.from_bytes(block, "big"), 1 << 256
        self._value, rest = divmod(self._value, n)
        self._room //= n
        return rest

    def pick(self, options: Sequence[str], *, avoid: str = "") -> str:
        """One of ``options``, never ``avoid`` as long as there is another one."""
        at = self.below(len(options))
        return options[at] if options[at] != avoid else options[(at + 1) % len(options)]

    def digits(self, n: int) -> str:
        """``n`` decimal digits."""
        return "".join(str(self.below(10)) for _ in range(n))
