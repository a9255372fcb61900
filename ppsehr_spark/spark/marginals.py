"""Marginals of real visits on Spark: one row per patient and kind of record, integer counts over all public cells.

Knows: how phi.encounters and phi.patients become cells, natively. Must not know: budgets, noise, models. The bound is
kept here: whoever has many visits still has one first visit and one pair of consecutive visits, so each marginal
changes by 1 in one cell when a patient is removed.

Times are UTC in the table and hospital time on paper: days and ages are taken at +08:00 (GB/T 7408), by arithmetic on
epoch seconds, whatever the session's time zone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from ppsehr_spark.spark.bounding import keep_first_by_hash
from ppsehr_spark.synthesis.records.domain import FIRST_VISIT, NEXT_VISIT, Band, RecordDomain
from ppsehr_spark.synthesis.records.marginals import Marginal, count_cells

_HOSPITAL_OFFSET_S = 8 * 3600
_DAY_S = 86_400
_MONTH_DAY = 100
#: Public word under which one pair of a patient's visits is chosen.
_PAIR_PURPOSE = "record_model.next_visit"


def tabulate_marginals(
    encounters: DataFrame, patients: DataFrame, *, domain: RecordDomain, marginals: Sequence[Marginal]
) -> dict[str, list[int]]:
    """Exact counts of every marginal, by one Spark job; for a mechanism's eyes only.

    Args:
        encounters: phi.encounters at a pinned version.
        patients: phi.patients at a pinned version; a patient without a row counts with unknown sex and age.

    Returns:
        Marginal name -> one integer per cell, last axis fastest.
    """
    visits = _order_visits(encounters, patients)
    rows = {FIRST_VISIT: visits.where(F.col("position") == 1), NEXT_VISIT: _choose_pairs(visits)}
    parts = []
    for record, frame in rows.items():
        chosen = [(at, marginal) for at, marginal in enumerate(marginals) if marginal.record == record]
        if chosen:
            parts.append(_to_cells(frame, record, chosen, domain))
    counted = parts[0] if len(parts) == 1 else parts[0].unionAll(parts[1])
    counts = {marginal.name: [0] * count_cells(marginal, domain) for marginal in marginals}
    for row in counted.groupBy("marginal", "cell").count().collect():
        counts[marginals[row["marginal"]].name][row["cell"]] = int(row["count"])
    return counts


def _order_visits(encounters: DataFrame, patients: DataFrame) -> DataFrame:
    """Visits with their place in the patient's time, the visit before, and the patient's sex and birth."""
    people = patients.groupBy("patient_key").agg(F.min("sex").alias("sex"), F.min("birth_date").alias("birth_date"))
    visits = encounters.where(F.col("patient_key").isNotNull()).select(
        "patient_key",
        "encounter_key",
        "encounter_type",
        "department",
        "is_deceased",
        "admitted_at",
        _to_day(F.col("admitted_at")).alias("admitted_on"),
        _to_day(F.col("discharged_at")).alias("discharged_on"),
        F.get("diagnosis_codes", F.lit(0)).alias("diagnosis"),
    )
    owner = Window.partitionBy("patient_key")
    order = owner.orderBy(F.col("admitted_at").asc_nulls_last(), F.col("encounter_key"))
    before = F.struct("diagnosis", "department", "discharged_on")
    ordered = visits.select(
        "*",
        F.row_number().over(order).alias("position"),
        F.count("*").over(owner).alias("n_visits"),
        F.lag(before).over(order).alias("previous"),
    )
    return ordered.join(people, "patient_key", "left")


def _choose_pairs(visits: DataFrame) -> DataFrame:
    """One pair of consecutive visits per patient, always the same one."""
    later = visits.where(F.col("position") > 1)
    return keep_first_by_hash(later, by=["patient_key"], key="encounter_key", purpose=_PAIR_PURPOSE, n=1)


def _to_cells(frame: DataFrame, record: str, chosen: Sequence[tuple[int, Marginal]], domain: RecordDomain) -> DataFrame:
    """One row per record and marginal: which marginal, which cell."""
    places = _place_attributes(record, domain)
    used = {name for _, marginal in chosen for name in marginal.attributes}
    placed = frame.select(*(places[name].cast("int").alias(name) for name in sorted(used)))
    cells = [
        F.struct(F.lit(at).alias("marginal"), _ravel(marginal.attributes, domain).alias("cell"))
        for at, marginal in chosen
    ]
    return placed.select(F.explode(F.array(*cells)).alias("_")).select("_.marginal", "_.cell")


def _ravel(attributes: Sequence[str], domain: RecordDomain) -> Column:
    cell = F.lit(0)
    for name, size in zip(attributes, domain.shape(attributes), strict=True):
        cell = cell * F.lit(size) + F.col(name)
    return cell.cast("int")


def _place_attributes(record: str, domain: RecordDomain) -> Mapping[str, Column]:
    """Attribute name -> its cell, for one kind of record."""
    stay = F.datediff("discharged_on", "admitted_on")
    places = {
        "sex": _place_value(F.col("sex"), "sex", domain),
        "age_band": _place_band(_count_years(F.col("birth_date"), F.col("admitted_on")), domain.age_bands),
        "diagnosis": _place_value(F.col("diagnosis"), "diagnosis", domain),
        "department": _place_value(F.col("department"), "department", domain),
        "encounter_type": _place_value(F.col("encounter_type"), "encounter_type", domain),
        "length_of_stay": _place_band(stay, domain.stay_bands),
        "is_deceased": F.coalesce(F.col("is_deceased").cast("int"), F.lit(domain.n_listed("is_deceased"))),
    }
    if record == FIRST_VISIT:
        places["n_visits"] = F.least(F.col("n_visits"), F.lit(domain.max_visits)) - 1
        places["start_quarter"] = _place_quarter(F.col("admitted_on"), domain)
        return places
    before = F.col("previous")
    places["previous_diagnosis"] = _place_value(before["diagnosis"], "previous_diagnosis", domain)
    places["previous_department"] = _place_value(before["department"], "previous_department", domain)
    places["gap"] = _place_band(F.datediff("admitted_on", before["discharged_on"]), domain.gap_bands)
    is_same = F.col("diagnosis") == before["diagnosis"]
    places["same_diagnosis"] = F.coalesce(is_same.cast("int"), F.lit(0))
    return places


def _place_value(value: Column, attribute: str, domain: RecordDomain) -> Column:
    """Place of a value in the public list, the last cell for any other and for null."""
    listed = domain.values(attribute)[: domain.n_listed(attribute)]
    position = F.array_position(F.array(*(F.lit(name) for name in listed)), value)
    return F.when(position > 0, position - 1).otherwise(F.lit(len(listed)))


def _place_band(number: Column, bands: Sequence[Band]) -> Column:
    """Place of the band, the last band for more, the last cell for less than its first and for null."""
    above = sum(((number >= F.lit(band.low)).cast("int") for band in bands[1:]), F.lit(0))
    return F.when(number >= F.lit(bands[0].low), above).otherwise(F.lit(len(bands)))


def _place_quarter(day: Column, domain: RecordDomain) -> Column:
    quarter = (F.year(day) - F.lit(domain.first_year)) * 4 + F.quarter(day) - 1
    n_quarters = domain.n_listed("start_quarter")
    return F.when((quarter >= 0) & (quarter < n_quarters), quarter).otherwise(F.lit(n_quarters))


def _to_day(moment: Column) -> Column:
    """Calendar day at the hospital."""
    return F.date_from_unix_date(F.floor((F.unix_seconds(moment) + _HOSPITAL_OFFSET_S) / _DAY_S).cast("int"))


def _count_years(birth: Column, day: Column) -> Column:
    """Completed years of age; negative before birth."""
    not_yet = F.month(day) * _MONTH_DAY + F.dayofmonth(day) < F.month(birth) * _MONTH_DAY + F.dayofmonth(birth)
    return F.year(day) - F.year(birth) - not_yet.cast("int")
