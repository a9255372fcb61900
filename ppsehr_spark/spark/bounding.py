"""Contribution bounds on Spark: of what one patient owns, keep a fixed number of rows, always the same ones.

Knows: order by hash. Must not know: what a row means, how large a bound is, any budget. Keys are HMACs under the lake's
secret key, so the order of ``xxhash64(key, purpose)`` is a keyed-hash order: fixed for given rows under a retry, a
speculative task, another partitioning or another row order, and unknown to whoever lacks the key. Whether a row of a
patient is kept depends on that patient's rows alone, which is what makes the bound hold for neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from ppsehr_spark.errors import UsageError

_RANK = "_bounding_rank"


def order_by_hash(key: str | Column, *, purpose: str) -> Column:
    """The number by which keys are ordered for one purpose; the key is a keyed hash, or made of one."""
    return F.xxhash64(key, F.lit(purpose))


def keep_first_by_hash(frame: DataFrame, *, by: Sequence[str], key: str, purpose: str, n: int) -> DataFrame:
    """At most ``n`` rows per group, the first by keyed hash.

    Args:
        by: columns that name the group, the patient first.
        key: column that tells the rows of a group apart; equal keys within a group make the choice arbitrary.
        purpose: public word mixed into the hash, so that two questions do not always keep the same rows.
        n: 1 or more.

    Raises:
        UsageError: ``CONTRIBUTION_BOUND``.
    """
    if n < 1 or not by:
        raise UsageError("CONTRIBUTION_BOUND", field="n", hint="bounds are public whole numbers, 1 or more")
    order = Window.partitionBy(*by).orderBy(order_by_hash(key, purpose=purpose), F.col(key))
    return frame.withColumn(_RANK, F.row_number().over(order)).where(F.col(_RANK) <= n).drop(_RANK)
