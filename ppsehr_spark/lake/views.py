"""SQL doors for analysts: table DDL for Spark, views for Spark and DuckDB, all generated from the table specs.

Knows: how ``lake.schemas`` and ``lake.view_specs`` become Spark SQL and DuckDB. Must not know: what a job does.
``python -m ppsehr_spark.lake.views LAKE SQL`` runs one query with DuckDB, offline and without Spark.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import duckdb
import pyarrow as pa
from duckdb_extensions import import_extension

from ppsehr_spark.errors import UsageError
from ppsehr_spark.lake.schemas import TABLES, ZONES, TableSpec
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.lake.view_specs import VIEWS

#: Stands for the lake root in generated SQL; spark-sql takes it as ``--hivevar lake=URI``.
LAKE_VARIABLE = "${lake}"

_SCALARS = {
    pa.string(): "STRING",
    pa.bool_(): "BOOLEAN",
    pa.int32(): "INT",
    pa.int64(): "BIGINT",
    pa.float32(): "FLOAT",
    pa.float64(): "DOUBLE",
    pa.date32(): "DATE",
    pa.timestamp("us", tz="UTC"): "TIMESTAMP",
}


def spark_type(kind: pa.DataType) -> str:
    """Spark SQL spelling of an Arrow type.

    Raises:
        UsageError: ``NO_SPARK_TYPE`` for a type that no table of ours may have (naive timestamps among them).
    """
    if pa.types.is_list(kind):
        return f"ARRAY<{spark_type(kind.value_type)}>"
    if pa.types.is_struct(kind):
        return f"STRUCT<{', '.join(f'`{field.name}`: {spark_type(field.type)}' for field in kind)}>"
    if kind not in _SCALARS:
        raise UsageError("NO_SPARK_TYPE", type=str(kind))
    return _SCALARS[kind]


def table_ddl(spec: TableSpec) -> str:
    """``CREATE TABLE`` for Spark SQL with comments, place and Delta properties."""
    columns = ",\n".join(_column_ddl(field) for field in spec.schema)
    properties = ",\n".join(f"  '{name}' = '{value}'" for name, value in sorted(spec.properties.items()))
    return (
        f"CREATE TABLE IF NOT EXISTS {spec.full_name} (\n{columns}\n) USING delta\n"
        f"COMMENT {_quote_spark(spec.description)}\nLOCATION '{LAKE_VARIABLE}/{spec.path}'\n"
        f"TBLPROPERTIES (\n{properties}\n);"
    )


def spark_tables_script() -> str:
    """All schemas and tables for Spark SQL."""
    return "\n\n".join([_schemas_sql(), *(table_ddl(spec) for spec in TABLES.values())]) + "\n"


def spark_views_script(lake_uri: str = LAKE_VARIABLE, tables: frozenset[str] = frozenset(TABLES)) -> str:
    """For a lake that exists: a read-only view per table under its name, then the derived views, for Spark SQL.

    Views and not tables, because ``CREATE TABLE ... LOCATION`` on a missing table would write an empty one there.
    """
    root = lake_uri.rstrip("/")
    views = {name: (spec.description, f"SELECT * FROM delta.`{root}/{spec.path}`") for name, spec in TABLES.items()}
    present = {name: view for name, view in views.items() if name in tables}
    present |= {v.full_name: (v.description, v.spark_sql()) for v in VIEWS if tables.issuperset(v.tables)}
    return (
        "\n\n".join(
            [
                _schemas_sql(),
                *(
                    f"CREATE OR REPLACE VIEW {name} COMMENT {_quote_spark(description)} AS\n{sql};"
                    for name, (description, sql) in present.items()
                ),
            ]
        )
        + "\n"
    )


def duckdb_script(lake_uri: str = LAKE_VARIABLE, tables: frozenset[str] = frozenset(TABLES)) -> str:
    """Schemas, one view per Delta table and all derived views for DuckDB.

    Args:
        tables: tables that exist; others and the views over them are left out (``delta_scan`` binds at once).
    """
    return "\n\n".join(_duckdb_statements(lake_uri.rstrip("/"), tables)) + "\n"


def open_duckdb(lake: Lake) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB with every existing table and view of the lake; nothing is downloaded."""
    connection = duckdb.connect(config={"autoinstall_known_extensions": False})
    import_extension("delta", con=connection)
    connection.execute("LOAD delta")
    connection.execute(duckdb_script(lake.uri, list_tables(lake)))
    return connection


def list_tables(lake: Lake) -> frozenset[str]:
    """Full names of the tables that exist."""
    return frozenset(name for name, spec in TABLES.items() if lake.version(spec) is not None)


def _schemas_sql() -> str:
    return "\n".join(f"CREATE SCHEMA IF NOT EXISTS {zone};" for zone in ZONES)


def _duckdb_statements(root: str, tables: frozenset[str]) -> Iterator[str]:
    yield _schemas_sql()
    for name, spec in TABLES.items():
        if name in tables:
            place = _quote(f"{root}/{spec.path}")
            yield f"CREATE OR REPLACE VIEW {name} AS\nSELECT * FROM delta_scan({place});"
    for view in VIEWS:
        if tables.issuperset(view.tables):
            yield f"CREATE OR REPLACE VIEW {view.full_name} AS\n{view.duckdb_sql()};"


def _column_ddl(field: pa.Field) -> str:
    comment = (field.metadata or {}).get(b"comment", b"").decode()
    not_null = "" if field.nullable else " NOT NULL"
    return f"  `{field.name}` {spark_type(field.type)}{not_null} COMMENT {_quote_spark(comment)}"


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _quote_spark(text: str) -> str:
    """Spark joins adjacent literals, so a doubled quote would vanish; it wants a backslash."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def main(argv: list[str]) -> int:
    """``LAKE SQL`` prints the result of one query; ``LAKE --spark`` and ``LAKE --duckdb`` print the views to create."""
    if len(argv) != 2:
        print('usage: python -m ppsehr_spark.lake.views LAKE "SQL" | --spark | --duckdb', file=sys.stderr)
        return 2
    lake = Lake(argv[0])
    scripts = {"--spark": spark_views_script, "--duckdb": duckdb_script}
    if argv[1] in scripts:
        uri = lake.uri if "://" in lake.uri else os.path.abspath(lake.uri)
        print(scripts[argv[1]](uri, list_tables(lake)))
        return 0
    with open_duckdb(lake) as connection:
        connection.sql(argv[1]).show(max_rows=200)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
