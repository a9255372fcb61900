"""Quantiles of released histograms as SQL: free of cost, because only what was released is read.

Knows: how noised bins bound a quantile. Must not know: where the rows come from (``view_specs``), records. A value is
interpolated between the first and last whole number of its bin, over bins clamped at 0; the open last bin gives its
lower end. The interval is never narrower than a bin, and is found without clamping, which would favour empty bins.

**The interval.** With S_j the rows of the first j bins and N all rows, the quantile at f lies beyond them just when T_j
= S_j - f N is below 0. The noise of T_j has the variance s^2 ((1 - f)^2 j + f^2 (B - j)) for B bins of independent
noise s^2. A bin is out when T at its lower end is above, or T at its upper end below 0 by more than the 95% of that
noise; each happens to the bin that holds the quantile with chance 2.5% at most (inversion of a test: Fieller 1954,
"Some problems in interval estimation", for ratios). The interval goes from the first bin that is not out to the last;
its upper end is null when that is the open one. Contribution bounds and clamping move quantiles too, and are no part of
it.
"""

from __future__ import annotations

#: Of every histogram; the fractions are those that papers print.
FRACTIONS = ("0.10", "0.25", "0.50", "0.75", "0.90")


def quantiles_sql(statistics: str, *, release: str = "") -> str:
    """One row per histogram and fraction: query, title, measure, quantile, value, low, high.

    Args:
        statistics: SQL of rows of ``dp_statistics``, one answer per query, with one row per group key as ``k``.
        release: column that names the one release they belong to, and comes first; none by default.
    """
    values = ", ".join(f"({fraction})" for fraction in FRACTIONS)
    named, shown = (f"{release}, ", f"max({release}) AS {release}, ") if release else ("", "")
    return f"""WITH bins AS (
  SELECT {named}query, title, k.name AS measure, cell, value, (high - low) / 2 AS half,
    try_cast(replace(split_part(k.value, '-', 1), '+', '') AS DOUBLE) AS first_value,
    try_cast(CASE WHEN k.value LIKE '%-%' THEN split_part(k.value, '-', 2) ELSE k.value END AS DOUBLE) AS last_value
  FROM ({statistics}) WHERE kind = 'histogram'),
sums AS (
  SELECT *, greatest(value, 0) AS kept, sum(value) OVER (PARTITION BY query ORDER BY cell) AS upto,
    sum(value) OVER (PARTITION BY query) AS total, count(*) OVER (PARTITION BY query) AS n_bins,
    sum(greatest(value, 0)) OVER (PARTITION BY query ORDER BY cell) AS kept_upto,
    sum(greatest(value, 0)) OVER (PARTITION BY query) AS kept_total
  FROM bins),
asked AS (SELECT s.*, CAST(f.fraction AS DOUBLE) AS f FROM sums s CROSS JOIN (VALUES {values}) AS f(fraction)),
judged AS (
  SELECT *,
    kept > 0 AND kept_upto - kept < f * kept_total AND kept_upto >= f * kept_total AS is_estimate,
    NOT (cell > 0 AND upto - value - f * total > half * sqrt((1 - f) * (1 - f) * cell + f * f * (n_bins - cell)))
      AND NOT (cell + 1 < n_bins AND upto - f * total
        < -half * sqrt((1 - f) * (1 - f) * (cell + 1) + f * f * (n_bins - cell - 1))) AS is_possible
  FROM asked)
SELECT {shown}query, max(title) AS title, max(measure) AS measure,
  concat('P', CAST(CAST(100 * f AS INT) AS STRING)) AS quantile,
  round(max(CASE WHEN is_estimate THEN first_value
    + (f * kept_total - kept_upto + kept) / kept * (coalesce(last_value, first_value) - first_value) END), 2) AS value,
  min(CASE WHEN is_estimate OR is_possible THEN first_value END) AS low,
  CASE WHEN max(CASE WHEN is_estimate OR is_possible THEN cell END) + 1 < max(n_bins)
    THEN max(CASE WHEN is_estimate OR is_possible THEN last_value END) END AS high
FROM judged GROUP BY query, f"""
