"""The same views in Spark SQL: every view and every query of the page gives the rows that DuckDB gives."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.lake.view_specs import VIEWS
from ppsehr_spark.lake.views import list_tables, open_duckdb, spark_views_script

pytestmark = pytest.mark.spark
_GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "queries.md").read_text(encoding="utf-8")
_QUERIES = re.findall(r"```sql\n(.*?)```", _GUIDE, re.S)
_ZONES = ("phi", "protected", "release", "control")


@pytest.fixture
def views(spark: Any, published_lake: Lake) -> Iterator[Lake]:
    """Every table and view of the lake in Spark's catalogue."""
    script = spark_views_script(published_lake.uri, list_tables(published_lake))
    for statement in script.split(";\n"):
        if statement.strip():
            spark.sql(statement)
    yield published_lake
    for zone in _ZONES:
        spark.sql(f"DROP SCHEMA IF EXISTS {zone} CASCADE")


def _plain(value: Any) -> Any:
    """What both engines must agree on: rows as tuples, times without a zone, floats without their last digits."""
    if isinstance(value, dict):
        return tuple(_plain(each) for each in value.values())
    if isinstance(value, (list, tuple)):
        return tuple(_plain(each) for each in value)
    if isinstance(value, datetime):
        return value.timestamp()
    return round(float(value), 9) if isinstance(value, (int, float, Decimal)) else value


def _sorted(rows: list[Any]) -> list[str]:
    return sorted(repr(_plain(tuple(row))) for row in rows)


def test_every_view_and_query_agrees_with_duckdb(spark: Any, views: Lake) -> None:
    asked = {view.full_name: f"SELECT * FROM {view.full_name}" for view in VIEWS}
    asked |= {f"query {number}": sql for number, sql in enumerate(_QUERIES, start=1)}
    assert len(asked) == len(VIEWS) + 10
    with open_duckdb(views) as connection:
        for name, sql in asked.items():
            expected = connection.sql(sql).fetchall()
            assert expected, name
            assert _sorted(spark.sql(sql).collect()) == _sorted(expected), name


def test_group_keys_open_up_in_spark_as_they_are(spark: Any, views: Lake) -> None:
    found = spark.sql("SELECT DISTINCT group_keys[0].name AS name FROM release.dp_statistics ORDER BY name").collect()
    assert [row["name"] for row in found] == ["category", "department", "length_of_stay_days", "quantile"]
