"""How sure a counted share is: exact binomial limits.

Knows: successes out of trials. Must not know: what was counted. Reference: C. J. Clopper and E. S. Pearson, "The use of
confidence or fiducial limits illustrated in the case of the binomial", Biometrika 26, 1934 (limits by beta quantiles).
"""

from __future__ import annotations

from ppsehr_spark.errors import UsageError

#: Chance that an interval misses the truth, unless said otherwise.
ERROR_RATE = 0.05


def bound_share(n_successes: int, n_trials: int, *, error_rate: float = ERROR_RATE) -> tuple[float, float]:
    """Two-sided limits of a share; each side alone misses with at most half of ``error_rate``.

    Returns:
        ``(low, high)`` within [0, 1]; ``(0, 1)`` for no trial.
    """
    return (
        bound_share_below(n_successes, n_trials, error_rate=error_rate / 2),
        bound_share_above(n_successes, n_trials, error_rate=error_rate / 2),
    )


def bound_share_below(n_successes: int, n_trials: int, *, error_rate: float = ERROR_RATE) -> float:
    """A figure that is above the true share with chance ``error_rate`` at most."""
    _require_counts(n_successes, n_trials)
    return 0.0 if n_successes == 0 else _beta_quantile(error_rate, n_successes, n_trials - n_successes + 1)


def bound_share_above(n_successes: int, n_trials: int, *, error_rate: float = ERROR_RATE) -> float:
    """A figure that is below the true share with chance ``error_rate`` at most."""
    _require_counts(n_successes, n_trials)
    if n_successes == n_trials:
        return 1.0
    return _beta_quantile(1 - error_rate, n_successes + 1, n_trials - n_successes)


def _require_counts(n_successes: int, n_trials: int) -> None:
    if not 0 <= n_successes <= n_trials:
        raise UsageError("COUNTS", hint="0 <= successes <= trials")


def _beta_quantile(probability: float, first: int, second: int) -> float:
    from scipy.special import betaincinv  # a second to load: only those who bound a share pay for it

    return float(betaincinv(first, second, probability))
