"""Joint distributions out of a Markov network, by variable elimination in log space.

Knows: factors. Must not know: what they mean. NumPy is enough here, and a few milliseconds where a compiler would take
a second per question. Reference: Koller and Friedman 2009, section 9.3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class LogFactor:
    """Logarithms of a non-negative function; ``-inf`` where it is 0. One axis per attribute."""

    attributes: tuple[str, ...]
    values: NDArray[np.float64]


def compute_joint(factors: Sequence[LogFactor], attributes: Sequence[str]) -> NDArray[np.float64]:
    """Probability of every combination of the attributes under the normalised product of all factors.

    Args:
        attributes: axes of the result; each stands in some factor.

    Returns:
        Sums to 1; NaN when the product is 0 everywhere or not finite.
    """
    waiting = list(factors)
    while hidden := {name for factor in waiting for name in factor.attributes} - set(attributes):
        name = min(sorted(hidden), key=lambda item: _size_without(waiting, item))
        touching = [factor for factor in waiting if name in factor.attributes]
        waiting = [factor for factor in waiting if name not in factor.attributes]
        waiting.append(_sum_out(_multiply(touching), name))
    table = _multiply(waiting)
    axes = [table.attributes.index(name) for name in attributes]
    values = np.transpose(table.values, axes)
    with np.errstate(invalid="ignore"):
        mass = np.exp(values - values.max())
        share: NDArray[np.float64] = mass / mass.sum()
    return share


def _size_without(factors: Sequence[LogFactor], name: str) -> int:
    """Cells of the table that eliminating this attribute makes."""
    sizes = _sizes([factor for factor in factors if name in factor.attributes])
    return int(np.prod([size for other, size in sizes.items() if other != name], dtype=np.int64))


def _multiply(factors: Sequence[LogFactor]) -> LogFactor:
    sizes = _sizes(factors)
    total = np.zeros(tuple(sizes.values()))
    for factor in factors:
        total = total + _spread(factor, sizes)
    return LogFactor(tuple(sizes), total)


def _spread(factor: LogFactor, sizes: Mapping[str, int]) -> NDArray[np.float64]:
    """The factor with its axes in the order of ``sizes`` and axes of length 1 for the others."""
    mine = [name for name in sizes if name in factor.attributes]
    values = np.transpose(factor.values, [factor.attributes.index(name) for name in mine])
    return values.reshape(tuple(size if name in mine else 1 for name, size in sizes.items()))


def _sizes(factors: Sequence[LogFactor]) -> dict[str, int]:
    return {name: n for factor in factors for name, n in zip(factor.attributes, factor.values.shape, strict=True)}


def _sum_out(factor: LogFactor, name: str) -> LogFactor:
    axis = factor.attributes.index(name)
    top = factor.values.max(axis=axis, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        summed = np.log(np.exp(factor.values - top).sum(axis=axis)) + top.squeeze(axis)
    return LogFactor(tuple(other for other in factor.attributes if other != name), summed)
