"""How well a membership attack does: AUC and the true-positive rate where false alarms are rare.

Knows: scores of members and of others. Must not know: how a score was made, tables. The loss attack takes a small loss
for a sign of membership (Yeom et al. 2018); rates at 1% and 0.1% false positives as in Carlini et al. 2022 ("Membership
inference attacks from first principles"): an average such as AUC hides an attack that is sure of a few.

Whatever comes out here read real records: basis internal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ppsehr_spark.errors import UsageError
from ppsehr_spark.privacy.proportions import bound_share

#: False-positive rates at which the true-positive rate is reported.
FALSE_POSITIVE_RATES = (0.01, 0.001)
_Z_95 = 1.959963984540054
_BISECTIONS = 60

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A figure and the limits between which the truth lies in 95 of 100 samples."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class OperatingPoint:
    """The best true-positive rate with a false-positive rate of at most ``max_false_rate`` on these patients.

    Attributes:
        n_false: false alarms that the rate allows on so few patients; 0 means that the rate itself was never measured.
        is_resolved: there are enough others to measure such a rate (at least one false alarm is allowed).
    """

    max_false_rate: float
    rate: Interval
    n_false: int
    is_resolved: bool


@dataclass(frozen=True)
class AttackReport:
    """What an attack achieved; the counts of patients tell of real records."""

    auc: Interval
    points: tuple[OperatingPoint, ...]
    n_members: int
    n_others: int


def loss_scores(losses: Sequence[float]) -> list[float]:
    """Scores of the loss attack: the smaller the loss, the likelier a member."""
    return [-loss for loss in losses]


def measure_attack(members: Sequence[float], others: Sequence[float]) -> AttackReport:
    """AUC and operating points of an attack.

    Args:
        members, others: scores, higher for more likely a member.

    Raises:
        UsageError: ``ATTACK_SCORES`` when a group is empty or holds a score that is not finite.
    """
    inside, outside = _to_scores(members), _to_scores(others)
    return AttackReport(
        auc=_bound_auc(compute_auc(inside, outside), len(inside), len(outside)),
        points=tuple(_measure_point(inside, outside, rate) for rate in FALSE_POSITIVE_RATES),
        n_members=len(inside),
        n_others=len(outside),
    )


def compute_auc(members: Array, others: Array) -> float:
    """Chance that a member scores above another patient, ties counted half (Mann and Whitney 1947)."""
    ordered = np.sort(others)
    below = np.searchsorted(ordered, members, side="left")
    not_above = np.searchsorted(ordered, members, side="right")
    return float((below + not_above).sum() / 2 / len(members) / len(others))


def _measure_point(members: Array, others: Array, max_rate: float) -> OperatingPoint:
    n_false = math.floor(max_rate * len(others) + 1e-9)
    threshold = np.sort(others)[::-1][n_false]
    n_true = int((members > threshold).sum())
    low, high = bound_share(n_true, len(members))
    return OperatingPoint(max_rate, Interval(n_true / len(members), low, high), n_false, n_false > 0)


def _bound_auc(auc: float, n_members: int, n_others: int) -> Interval:
    """Limits where the figure is 1.96 standard errors of the limit itself away.

    The variance is Hanley and McNeil's (1982) with both groups at their mean size less one (Newcombe 2006, part 2,
    method 5), which keeps a width above 0 at an AUC of 0 and 1.
    """

    def is_within(limit: float) -> bool:
        return abs(auc - limit) <= _Z_95 * math.sqrt(_variance(limit, n_members, n_others))

    return Interval(auc, _outermost(auc, 0.0, is_within), _outermost(auc, 1.0, is_within))


def _variance(auc: float, n_members: int, n_others: int) -> float:
    size = (n_members + n_others) / 2 - 1
    spread = 1 + size * ((1 - auc) / (2 - auc) + auc / (1 + auc))
    return auc * (1 - auc) * spread / (n_members * n_others)


def _outermost(start: float, end: float, is_within: Callable[[float], bool]) -> float:
    """The border between what is within, at ``start``, and what is not, towards ``end``."""
    inner, outer = start, end
    for _ in range(_BISECTIONS):
        middle = (inner + outer) / 2
        inner, outer = (middle, outer) if is_within(middle) else (inner, middle)
    return outer


def _to_scores(values: Sequence[float]) -> Array:
    scores = np.asarray(values, dtype=np.float64)
    if not len(scores) or not np.isfinite(scores).all():
        raise UsageError("ATTACK_SCORES", hint="both groups hold finite scores")
    return scores
