"""Facts of visits and marks as Spark columns: what decides into which public cell an item falls.

Knows: from which columns of the phi tables a fact is read. Must not know: public lists, releases' bounds. Facts of a
patient stand in rows only; no expression here holds a value.
"""

from __future__ import annotations

from pyspark.sql import Column
from pyspark.sql import functions as F

from ppsehr_spark.lake.statistics_plan import AGE, LENGTH_OF_STAY, MEASURES
from ppsehr_spark.spark.statistics.cells import DIAGNOSIS, MONTHS


def fact(name: str) -> Column:
    """One fact of a row of phi.encounters, joined with phi.patients where the fact is one of the patient."""
    if name in MEASURES:
        return measure_of(name).cast("int")
    if name == DIAGNOSIS:
        return F.when(F.size("diagnosis_codes") > 0, F.upper(F.trim(F.element_at("diagnosis_codes", 1))))
    if name == MONTHS:
        return F.year("admitted_at") * 12 + F.month("admitted_at")
    return F.col(name)


def measure_of(name: str) -> Column:
    """Whole-numbered measure of a row of phi.encounters; null where it cannot be told.

    ``length_of_stay_days``: calendar days (UTC) from admission to discharge, 0 for the same day. ``age_years``:
    completed years at admission, for rows that carry the patient's ``birth_date``.
    """
    if name == AGE:
        years = F.floor(F.months_between(F.to_date("admitted_at"), F.col("birth_date")) / 12)
        return F.when(years.isNotNull(), F.greatest(years, F.lit(0)))
    days = F.datediff(F.to_date("discharged_at"), F.to_date("admitted_at"))
    # greatest() alone would make 0 days of a visit without an end
    return {LENGTH_OF_STAY: F.when(days.isNotNull(), F.greatest(days, F.lit(0)))}[name]
