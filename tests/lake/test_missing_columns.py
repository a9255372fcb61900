"""A table from before a nullable column was in its contract: it reads as null, and the next append adds it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.tables import Lake, list_missing

SPEC = schemas.CORRECTIONS
OLDER = replace(SPEC, schema=pa.schema([field for field in SPEC.schema if field.name != "author"]))


def _row(key: str, spec: schemas.TableSpec) -> pa.Table:
    plain: dict[str, Any] = {field.name: None if field.nullable else key for field in spec.schema}
    return pa.Table.from_pylist([plain | ({"author": "dr.lin"} if spec is SPEC else {})], schema=spec.schema)


@pytest.mark.parametrize("app_id", ["", "people.1"])
def test_a_missing_column_is_null_until_the_next_append(lake: Lake, app_id: str) -> None:
    lake.append(OLDER, _row("a", OLDER))
    table = lake.open(SPEC)
    assert table and [field.name for field in list_missing(table, SPEC)] == ["author"]
    assert lake.read(SPEC, ["correction_key", "author"]).to_pylist() == [{"correction_key": "a", "author": None}]
    assert lake.append(SPEC, _row("b", SPEC), app_id=app_id, app_version=1)
    assert lake.append(SPEC, _row("b", SPEC), app_id=app_id, app_version=1) is not bool(app_id)
    rows = {row["correction_key"]: row["author"] for row in lake.read(SPEC).to_pylist()}
    assert rows == {"a": None, "b": "dr.lin"}
    widened = lake.open(SPEC)
    assert widened and not list_missing(widened, SPEC)
    assert lake.read(SPEC, ["author"], version=table.version())["author"].to_pylist() == [None]


def test_a_missing_key_is_no_null(lake: Lake) -> None:
    lake.append(OLDER, _row("a", OLDER))
    wanted = pa.schema([*SPEC.schema, pa.field("second_key", pa.string(), nullable=False)])
    with pytest.raises(Exception, match="second_key"):
        lake.read(replace(SPEC, schema=wanted))
