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


def keep_first_by_hash(frame: DataFrame, *, by: Sequence[str], key: str, purpose: str, n: int | Column) -> DataFrame:
    """At most ``n`` rows per group, the first by keyed hash.

    Args:
        by: columns that name the group, the patient first.
        key: column that tells the rows of a group apart; equal keys within a group make the choice arbitrary.
        purpose: public word mixed into the hash, so that two questions do not always keep the same rows.
        n: 1 or more; or a column over the group's own public columns, where groups have different bounds.

    Raises:
        UsageError: ``CONTRIBUTION_BOUND``.
    """
    if not by or (isinstance(n, int) and n < 1):
        raise UsageError("CONTRIBUTION_BOUND", field="n", hint="bounds are public whole numbers, 1 or more")
    order = Window.partitionBy(*by).orderBy(F.xxhash64(F.col(key), F.lit(purpose)), F.col(key))
    return frame.withColumn(_RANK, F.row_number().over(order)).where(F.col(_RANK) <= n).drop(_RANK)
