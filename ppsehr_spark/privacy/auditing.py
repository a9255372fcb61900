"""What an attack proves: a lower bound on epsilon from scores of patients who were, and were not, trained on.

Knows: membership scores (higher: more likely a member) and statistics. Must not know: models, losses, tables. A bound
above the claimed epsilon means that claim, accounting or mechanism is wrong; a bound below it proves nothing good.

Two bounds, both at 95%:

* rates (Jagielski, Ullman and Oprea 2020; Nasr et al. 2021): epsilon >= ln((TPR - delta) / FPR), with exact binomial
  limits in place of the rates. Thresholds stand at fixed ranks of one group's scores, so that the share of that group
  beyond them has the limits of an order statistic (Wilks 1941); the error rate is divided by how many are tried. It
  takes the scores of one model for independent ones, which is the usual simplification.
* guesses (Steinke, Nasr and Jagielski 2023, "Privacy auditing with one (1) training run", Theorem 5.2): who is in was
  decided by a coin per patient, so each correct guess has odds of at most e^epsilon times those of the coin. Valid for
  one run. The theorem has fair coins; for a coin that keeps a patient with another rate the odds are weighted with it,
  and its factor 2 before delta becomes 1 / min(rate, 1 - rate). Where more of one side was scored than the coin gives,
  guesses of that side are weighted with the greater share, so that mere guessing proves nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ppsehr_spark.errors import UsageError
from ppsehr_spark.privacy.proportions import ERROR_RATE, bound_share_above, bound_share_below

_MOST_EPSILON = 64.0
_BISECTIONS = 50
#: More guesses prove more only of models far leakier than any claim, and take quadratic time.
_MOST_GUESSES = 2048

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Audit:
    """What one attack proved.

    Attributes:
        by_rates, by_guesses: lower bounds on epsilon, 0 when nothing is proved.
        most_provable: the bound by rates that a perfect attack on as many patients would have reached; an epsilon above
            it cannot be refuted with so few patients.
        n_members, n_others: patients scored; tells of real records.
        n_tests: thresholds and guess counts over which the error rate was divided, for each bound.
    """

    by_rates: float
    by_guesses: float
    most_provable: float
    n_members: int
    n_others: int
    n_tests: int

    @property
    def epsilon_low(self) -> float:
        """The greater bound; with the error rate halved between the two it holds at 95%."""
        return max(self.by_rates, self.by_guesses)


def audit_scores(
    members: Sequence[float],
    others: Sequence[float],
    *,
    delta: float,
    inclusion_rate: float,
    error_rate: float = ERROR_RATE,
) -> Audit:
    """Lower bounds on epsilon from scores, together wrong with chance ``error_rate`` at most.

    Args:
        members: one score per patient of the training set, higher for more likely a member.
        others: one per patient kept out.
        delta: of the claim.
        inclusion_rate: public chance with which each patient was put into the training set, in (0, 1).

    Raises:
        UsageError: ``AUDIT_SCORES`` when a group is empty, a score is not finite or the rate is out of range.
    """
    inside, outside = _to_scores(members), _to_scores(others)
    if not 0 < inclusion_rate < 1:
        raise UsageError("AUDIT_SCORES", field="inclusion_rate", hint="a chance between 0 and 1, both excluded")
    tests = [*_rank_tests(outside, inside), *_rank_tests(-inside, -outside)]
    each = error_rate / 2 / len(tests)
    share = len(inside) / (len(inside) + len(outside))
    rates = (max(inclusion_rate, share), max(1 - inclusion_rate, 1 - share))
    below, above = -np.ones(len(outside)), np.ones(len(inside))
    perfect = [*_rank_tests(below, above), *_rank_tests(-above, -below)]  # as if every member scored higher
    counts = [count for count in _powers_of_two(len(inside) + len(outside)) if count <= _MOST_GUESSES]
    return Audit(
        by_rates=max(bound_by_rates(*test, delta=delta, error_rate=each) for test in tests),
        by_guesses=_bound_guesses(inside, outside, counts, delta, rates, error_rate / 2),
        most_provable=max(bound_by_rates(*test, delta=delta, error_rate=each) for test in perfect),
        n_members=len(inside),
        n_others=len(outside),
        n_tests=len(tests),
    )


def bound_by_rates(
    n_hits: int, n_targets: int, n_false: int, n_bystanders: int, *, delta: float, error_rate: float = ERROR_RATE
) -> float:
    """Lower bound on epsilon from one threshold: hits among targets, false alarms among bystanders.

    Returns:
        ``ln((low(hits) - delta) / high(false))``, or 0 when that is not above 0; each limit takes half the error rate.
    """
    true_rate = bound_share_below(n_hits, n_targets, error_rate=error_rate / 2) - delta
    false_rate = bound_share_above(n_false, n_bystanders, error_rate=error_rate / 2)
    return max(0.0, math.log(true_rate / false_rate)) if true_rate > 0 else 0.0


def bound_by_guesses(
    n_correct: int,
    *,
    n_in: int,
    n_out: int,
    n_patients: int,
    delta: float,
    rates: tuple[float, float],
    error_rate: float = ERROR_RATE,
) -> float:
    """The greatest epsilon that so many correct guesses refute, 0 when they refute none.

    Args:
        n_in, n_out: guesses "was in" and "was out"; all other patients are passed over.
        n_patients: patients whose membership was drawn, guessed or not.
        rates: chance that a patient is in, and that one is out, before anything is known; in (0, 1).
    """

    def p_value(epsilon: float) -> float:
        return _chance_of_correct(n_correct, n_in, n_out, n_patients, epsilon=epsilon, delta=delta, rates=rates)

    return _largest_refuted(p_value, error_rate)


def _chance_of_correct(
    n_correct: int, n_in: int, n_out: int, n_patients: int, *, epsilon: float, delta: float, rates: tuple[float, float]
) -> float:
    """At most how likely so many correct guesses are under (epsilon, delta)."""
    chance_in, chance_out = (_from_odds(rate / (1 - rate), epsilon) for rate in rates)
    chances = _sum_of_binomials(n_in, chance_in, n_out, chance_out)
    at_least = np.cumsum(chances[::-1])[::-1]
    below = np.cumsum(chances[:n_correct][::-1])  # chance of n_correct - i .. n_correct - 1, i = 1, 2, ...
    steepest = float(np.max(below / np.arange(1, n_correct + 1))) if n_correct else 0.0
    slack = steepest * delta * n_patients / min(*rates, *(1 - rate for rate in rates))
    return min(1.0, float(at_least[n_correct]) + slack)


def _from_odds(odds: float, epsilon: float) -> float:
    """Chance of odds that e^epsilon multiplies; kept below 1, where the logarithm of the rest ends."""
    return min(1 / (1 + math.exp(-epsilon) / odds), 1 - 1e-16)


def _sum_of_binomials(n_first: int, p_first: float, n_second: int, p_second: float) -> Array:
    return np.asarray(np.convolve(_binomial(n_first, p_first), _binomial(n_second, p_second)), dtype=np.float64)


def _binomial(n_trials: int, chance: float) -> Array:
    """Chances of 0 to ``n_trials`` successes, for a chance in (0, 1)."""
    counts = np.arange(n_trials + 1, dtype=np.float64)
    factorials = np.concatenate([np.zeros(1), np.cumsum(np.log(counts[1:]))])
    ways = factorials[-1] - factorials - factorials[::-1]
    likelihoods: Array = np.exp(ways + counts * math.log(chance) + counts[::-1] * math.log1p(-chance))
    return likelihoods


def _largest_refuted(p_value: Callable[[float], float], error_rate: float) -> float:
    """The p-value grows with epsilon; bisection from below, so the answer itself is refuted."""
    if p_value(0.0) > error_rate:
        return 0.0
    low, high = 0.0, _MOST_EPSILON
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if p_value(middle) <= error_rate else (low, middle)
    return low


def _bound_guesses(
    inside: Array, outside: Array, counts: Sequence[int], delta: float, rates: tuple[float, float], error_rate: float
) -> float:
    """The best bound over guess counts that were fixed beforehand, for guesses "in", "out" and both."""
    scores = np.concatenate([inside, outside])
    is_member = np.concatenate([np.ones(len(inside), dtype=bool), np.zeros(len(outside), dtype=bool)])
    best = is_member[np.lexsort((is_member, -scores))]  # among equal scores the wrong guess comes first
    worst = is_member[np.lexsort((~is_member, scores))]
    plans = [(k, 0) for k in counts] + [(0, k) for k in counts] + [(k, k) for k in counts if 2 * k <= len(scores)]
    bounds = []
    for n_in, n_out in plans:
        n_correct = int(best[:n_in].sum()) + int((~worst[:n_out]).sum())
        bounds.append(
            bound_by_guesses(
                n_correct,
                n_in=n_in,
                n_out=n_out,
                n_patients=len(scores),
                delta=delta,
                rates=rates,
                error_rate=error_rate / len(plans),
            )
        )
    return max(bounds)


def _rank_tests(bystanders: Array, targets: Array) -> list[tuple[int, int, int, int]]:
    """Counts beyond the 1st, 2nd, 4th, 8th ... largest score of the bystanders; ties count against the attack."""
    ordered = np.sort(bystanders)[::-1]
    ranks = _powers_of_two(len(bystanders))
    return [(int((targets > ordered[rank - 1]).sum()), len(targets), rank - 1, len(bystanders)) for rank in ranks]


def _powers_of_two(limit: int) -> list[int]:
    return [1 << power for power in range(limit.bit_length())]


def _to_scores(values: Sequence[float]) -> Array:
    scores = np.asarray(values, dtype=np.float64)
    if not len(scores) or not np.isfinite(scores).all():
        raise UsageError("AUDIT_SCORES", field="scores", hint="both groups hold finite scores")
    return scores
