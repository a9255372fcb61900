"""Randomness for guarantees: every draw comes from the operating system, so there is no seed to fix, store or guess.

Knows: Poisson sampling and Gaussian noise. Must not know: gradients, plans. torch's own CPU generator takes 32 bits of
a seed, and its state can be checkpointed by accident; here no state exists. The price is speed: a quarter of a second
for a million noise values on one core.

Reference: Box and Muller 1958; Holohan and Braghin 2021 (a sum of four independent Gaussians, halved, has the same
distribution and hides the rounding of each, by which a single floating-point draw could be told apart).
"""

from __future__ import annotations

import os

import numpy as np

_N_SUMMED = 4
_CHUNK = 1 << 18
_MANTISSA_BITS = 53


def draw_mask(n: int, *, rate: float) -> np.ndarray:
    """``n`` independent coin tosses, each true with probability ``rate`` in [0, 1] (Poisson sampling)."""
    return _uniform(n) <= rate if rate < 1 else np.ones(n, dtype=bool)


def draw_normal(n: int, *, std: float) -> np.ndarray:
    """``n`` independent Gaussian values (float64) of mean 0 and this standard deviation."""
    values = np.zeros(n)
    if std == 0:
        return values
    for at in range(0, n, _CHUNK):
        part = values[at : at + _CHUNK]
        for _ in range(_N_SUMMED):
            part += _standard_normal(len(part))
    return values * (std / _N_SUMMED**0.5)


def _standard_normal(n: int) -> np.ndarray:
    half = (n + 1) // 2
    radius, angle = np.sqrt(-2 * np.log(_uniform(half))), 2 * np.pi * _uniform(half)
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:n]


def _uniform(n: int) -> np.ndarray:
    """Values in (0, 1], 53 random bits each."""
    bits = np.frombuffer(os.urandom(8 * n), dtype=np.uint64) >> np.uint64(64 - _MANTISSA_BITS)
    return (bits.astype(np.float64) + 1) * 2.0**-_MANTISSA_BITS
