"""Marginals on Spark against a count in plain Python, and what one patient can change at most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from ppsehr_spark.config import SimulateSettings, read_conf_files
from ppsehr_spark.lake import schemas
from ppsehr_spark.synthesis.records import RecordPlan, parse_record_plan
from ppsehr_spark.synthesis.records.domain import FIRST_VISIT, NEXT_VISIT
from ppsehr_spark.synthesis.simulator import simulate_record
from tests.synthesis.plain_rows import count_rows, first_rows, make_tables, pair_rows

pytestmark = pytest.mark.spark
Row = dict[str, Any]
Counts = Mapping[str, list[int]]
_CLINIC = {"department": "产科", "encounter_type": "门诊", "is_deceased": False}


def _make_awkward() -> tuple[list[Row], list[Row]]:
    """Nulls, times on the edge of a day, values that no list names, many visits, a patient without any."""
    new_year = datetime(2020, 12, 31, 16, 30, tzinfo=UTC)  # half past midnight of 2021 at the hospital
    visits: list[Row] = [
        {
            "encounter_key": f"many-{n:02d}", "patient_key": "many", "admitted_at": new_year + timedelta(days=40 * n),
            "discharged_at": new_year + timedelta(days=40 * n, hours=8), "diagnosis_codes": ["Z34.900"], **_CLINIC,
        }
        for n in range(40)
    ]  # fmt: skip
    empty = {name: None for name in visits[0]}
    edge = {"admitted_at": new_year, "discharged_at": new_year + timedelta(hours=23), "diagnosis_codes": ["I10.x00"]}
    visits += [
        {**empty, "encounter_key": "n1", "patient_key": "nothing known"},
        {**empty, "encounter_key": "n2", "patient_key": "nothing known", "diagnosis_codes": []},
        {**_CLINIC, **edge, "encounter_key": "e1", "patient_key": "born that day"},
        {**_CLINIC, **edge, "encounter_key": "e2", "patient_key": "leap", "department": "not listed"},
        {**_CLINIC, **edge, "encounter_key": "e3", "patient_key": "unborn", "encounter_type": "体检"},
        {
            **_CLINIC,
            **edge,
            "encounter_key": "e4",
            "patient_key": "backwards",
            "discharged_at": new_year - timedelta(9),
        },
        {
            **_CLINIC,
            **edge,
            "encounter_key": "e5",
            "patient_key": "early",
            "admitted_at": datetime(1999, 1, 1, tzinfo=UTC),
        },
    ]
    births = {
        "many": date(1990, 1, 1), "born that day": date(2014, 1, 1), "leap": date(1980, 2, 29),
        "unborn": date(2030, 1, 1), "backwards": None, "idle": date(1950, 5, 5),
    }  # fmt: skip
    people = [
        {"patient_key": key, "sex": "" if key == "leap" else "F", "birth_date": birth} for key, birth in births.items()
    ]
    return visits, people


@pytest.fixture(scope="module")
def plan() -> RecordPlan:
    return parse_record_plan(read_conf_files(), delta=1e-7)


@pytest.fixture(scope="module")
def tables() -> tuple[list[Row], list[Row]]:
    visits, people = make_tables([simulate_record(index, SimulateSettings()) for index in range(150)])
    awkward = _make_awkward()
    return visits + awkward[0], people + awkward[1]


def _count(spark: Any, plan: RecordPlan, visits: Sequence[Row], people: Sequence[Row], *, n_parts: int = 2) -> Counts:
    from ppsehr_spark.spark.frames import spark_schema
    from ppsehr_spark.spark.marginals import tabulate_marginals

    def frame(spec: Any, rows: Sequence[Row]) -> Any:
        names = list(rows[0])
        schema = pa.schema([spec.schema.field(name).with_nullable(True) for name in names])
        filled = pa.Table.from_pylist(list(rows), schema=schema)
        return spark.createDataFrame(filled, spark_schema(schema)).repartition(n_parts)

    return tabulate_marginals(
        frame(schemas.ENCOUNTERS, visits), frame(schemas.PATIENTS, people), domain=plan.domain, marginals=plan.marginals
    )


@pytest.fixture(scope="module")
def counted(spark: Any, plan: RecordPlan, tables: tuple[list[Row], list[Row]]) -> Counts:
    return _count(spark, plan, *tables)


def test_first_visits_are_counted_exactly(
    counted: Counts, plan: RecordPlan, tables: tuple[list[Row], list[Row]]
) -> None:
    rows = first_rows(*tables)
    assert len(rows) == 150 + 7
    for marginal in plan.marginals:
        if marginal.record == FIRST_VISIT:
            assert counted[marginal.name] == count_rows(rows, marginal, plan.domain), marginal.name


def test_days_are_those_of_the_hospital(tables: tuple[list[Row], list[Row]]) -> None:
    """The plain count itself, by hand: 16:30 UTC on the last day of 2020 is 2021 in the ward."""
    rows = {(row["start_quarter"], row["age_band"]) for row in first_rows(*_make_awkward())}
    assert ("2021Q1", "7-13") in rows, "turned seven that day"
    assert ("2021Q1", "40-49") in rows and ("2021Q1", None) in rows and ("1999Q1", None) in rows


def test_each_patient_gives_one_of_their_own_pairs(
    counted: Counts, plan: RecordPlan, tables: tuple[list[Row], list[Row]]
) -> None:
    pairs = pair_rows(*tables)
    certain = [owned[0] for owned in pairs if len(owned) == 1]
    assert len(certain) > 30 and len(pairs) - len(certain) > 30
    for marginal in plan.marginals:
        if marginal.record == NEXT_VISIT:
            counts = counted[marginal.name]
            least = count_rows(certain, marginal, plan.domain)
            most = [0] * len(counts)
            for owned in pairs:
                possible = [count_rows([pair], marginal, plan.domain).index(1) for pair in owned]
                for cell in set(possible):
                    most[cell] += 1
            assert sum(counts) == len(pairs)
            assert all(low <= n <= high for low, n, high in zip(least, counts, most, strict=True)), marginal.name


def test_a_retry_on_other_partitions_counts_the_same(
    spark: Any, counted: Counts, plan: RecordPlan, tables: tuple[list[Row], list[Row]]
) -> None:
    visits, people = tables
    assert _count(spark, plan, visits[::-1], people[::-1], n_parts=5) == counted


@pytest.mark.parametrize("gone", ["many", "nothing known", "leap", "P00000003", "P00000017"])
def test_removing_one_patient_changes_each_marginal_by_at_most_one(
    spark: Any, counted: Counts, plan: RecordPlan, tables: tuple[list[Row], list[Row]], gone: str
) -> None:
    visits, people = ([row for row in table if row["patient_key"] != gone] for table in tables)
    n_visits = len(tables[0]) - len(visits)
    assert n_visits >= 1
    without = _count(spark, plan, visits, people)
    for marginal in plan.marginals:
        changes = [a - b for a, b in zip(counted[marginal.name], without[marginal.name], strict=True) if a != b]
        has_record = marginal.record == FIRST_VISIT or n_visits > 1
        assert changes == ([1] if has_record else []), f"{marginal.name}: l2 distance above the bound"


def test_a_patient_twice_in_the_table_still_counts_once(
    spark: Any, counted: Counts, plan: RecordPlan, tables: tuple[list[Row], list[Row]]
) -> None:
    visits, people = tables
    doubled = _count(spark, plan, visits, people + people)
    assert doubled == counted
