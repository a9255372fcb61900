"""SQL doors: the analyst's queries run as printed, generated files are fresh, identifiers of SQL are safe."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, QueryBuilder

from ppsehr_spark.config import Settings
from ppsehr_spark.errors import UsageError
from ppsehr_spark.lake.ledger_store import open_ledger
from ppsehr_spark.lake.schemas import PROTECTED_NOTES, TABLES
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.lake.view_specs import VIEWS
from ppsehr_spark.lake.views import (
    duckdb_script,
    list_tables,
    main,
    open_duckdb,
    spark_tables_script,
    spark_type,
    spark_views_script,
    table_ddl,
)
from ppsehr_spark.privacy.policy import parse_policy
from tests.lake.note_release import publish_notes
from tests.lake.worked_rows import WORKED_ROWS

_ROOT = Path(__file__).resolve().parents[2]
_GUIDE = (_ROOT / "docs" / "queries.md").read_text(encoding="utf-8")
_QUERIES = re.findall(r"```sql\n(.*?)```", _GUIDE, re.S)
_SNIPPETS = re.findall(r"```python\n(.*?)```", _GUIDE, re.S)
_STATISTICS = {"patients_by_department", "length_of_stay_quantiles", "patients_by_span", "stays_by_days"}
_EXPECTED: dict[int, list[Any]] = {
    1: [("ADDRESS", 3, "rule+qwen", 1, 1), ("CONTACT", None, "rule", 1, 1), ("NAME", None, "qwen", 1, 1)],
    2: [("NAME", "NAME.test", 4, 1.0), ("STD", "STD.test", 2, 1.0), ("ADDRESS", "ADDRESS.test", 1, 1.0)],
    3: [("2023-05", "内科", "入院记录", 3, 2), ("2023-05", "内科", "出院记录", 1, 1)],
    4: [(None, "ok", 2, 82, 0.6)],
    6: [("心血管内科", 41, 35, 47, False), ("神经内科", 18, 12, 24, False), ("其他科室", None, None, None, True)],
    7: [
        (f"quantile={name}", days, "天", "exponential mechanism")
        for name, days in (("P25", 4), ("P50", 7), ("P75", 12))
    ],
    8: [("心血管内科", 1, 2, 1), ("神经内科", 1, 1, 1)],
    10: [
        ("marginal_distance", "department", 0.12, None, None, 0.6, True, "public"),
        ("marginal_distance", "sex", 0.05, None, None, 0.6, True, "public"),
        ("record_agreement", "", 1.0, None, None, 0.8, True, "public"),
    ],
}


def _ask(lake: Lake, sql: str) -> list[Any]:
    with open_duckdb(lake) as connection:
        return connection.sql(sql).fetchall()


@pytest.mark.parametrize("number", sorted(_EXPECTED))
def test_the_analysts_queries_answer_as_expected(published_lake: Lake, number: int) -> None:
    rows = _ask(published_lake, _QUERIES[number - 1])
    assert rows[: len(_EXPECTED[number])] == _EXPECTED[number]
    assert len(rows) == len(_EXPECTED[number]) or number < 3


def test_the_page_has_ten_queries_and_says_so() -> None:
    numbers = [int(number) for number in re.findall(r"^## (\d+)\. ", _GUIDE, re.M)]
    assert numbers == list(range(1, 11)) and len(_QUERIES) == 10
    assert set(numbers) - set(_EXPECTED) == {5, 9}, "the queries that have a test of their own"


def test_the_ninth_query_adds_up_to_the_stated_epsilon(published_lake: Lake, settings: Settings) -> None:
    rows = _ask(published_lake, _QUERIES[8])
    assert [row[:3] for row in rows] == [("record_model", 1, 0), ("statistics", 4, 4), ("training", 1, 1)]
    total = open_ledger(published_lake, parse_policy(settings.files)).balances()[0]
    assert sum(row[3] for row in rows) == pytest.approx(total.epsilon_spent, abs=1e-3)
    assert max(row[4] for row in rows) == pytest.approx(total.epsilon_spent)
    assert {row[5] for row in rows} == {total.cap.budget.delta}


def test_the_fifth_query_ties_audit_entries_to_releases(worked_lake: Lake) -> None:
    rows = _ask(worked_lake, _QUERIES[4])
    assert [(row[0], row[2], row[3], row[5], row[6], row[7]) for row in rows] == [
        (1, "job:publish", "release", 4, 0, "research")
    ]


def test_the_python_snippets_of_the_guide_run(published_lake: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(_SNIPPETS) == 3
    for snippet in _SNIPPETS:
        exec(compile(snippet.replace(".state/lake", published_lake.uri), "queries.md", "exec"), {})
    output = capsys.readouterr().out
    assert "annotated_spans" in output and "research" in output
    assert "birth_year" in output and "P75" in output and "心血管内科" in output and "其他科室" not in output


def test_every_released_table_is_read_by_deltalake_without_us(published_lake: Lake) -> None:
    released = [spec for spec in TABLES.values() if spec.zone == "release"]
    for spec in released:
        table = DeltaTable(published_lake.table_uri(spec))
        rows = table.to_pyarrow_table()
        counted = QueryBuilder().register("t", table).execute("SELECT count(*) AS n FROM t").read_all()
        assert rows.num_rows > 0 and rows.column_names == spec.schema.names, spec.full_name
        assert pa.table(counted)["n"].to_pylist() == [rows.num_rows]


def test_only_the_newest_release_of_each_product_is_current(published_lake: Lake) -> None:
    views = [view.full_name for view in VIEWS if view.full_name.startswith("release.current_")]
    assert len(views) == 9
    for view in views:
        found = {row[0] for row in _ask(published_lake, f"SELECT DISTINCT release_id FROM {view}")}
        n_products = 2 if view == "release.current_claim_cards" else 1  # the notes have a card of their own
        assert len(found) == n_products and not found & {"stats-old", "unfinished"}, view


def test_a_suppressed_cell_shows_nothing_but_that(published_lake: Lake) -> None:
    rows = _ask(
        published_lake,
        "SELECT cell_label, value, low, high FROM release.current_dp_statistics WHERE is_suppressed "
        "ORDER BY query, cell",
    )
    hidden = ["department=其他科室", "length_of_stay_days=0", "length_of_stay_days=15-30"]
    assert rows == [(label, None, None, None) for label in hidden]


def test_quantiles_of_a_histogram_stand_beside_it(published_lake: Lake) -> None:
    for view in ("protected.histogram_quantiles", "release.current_histogram_quantiles"):
        rows = _ask(published_lake, f"SELECT quantile, value, low, high FROM {view} ORDER BY quantile")
        assert rows == [
            ("P10", 2.21, 2, 3), ("P25", 2.77, 2, 3), ("P50", 5.5, 4, 7), ("P75", 9.6, 8, 14), ("P90", 13.56, 8, None),
        ], view  # fmt: skip


def test_the_latest_statistics_are_those_the_ledger_paid_last(published_lake: Lake) -> None:
    rows = _ask(published_lake, "SELECT DISTINCT query, ask_id FROM protected.latest_statistics ORDER BY query")
    assert rows == [(query, "stats-b") for query in sorted(_STATISTICS)]
    counted = _ask(published_lake, "SELECT count(*) FROM protected.latest_statistics")
    assert counted == [(14,)], "all cells of the newest answer, also of one that took several grants"


def test_spending_shows_everything_but_what_was_released(published_lake: Lake) -> None:
    names = [row[0] for row in _ask(published_lake, "DESCRIBE control.privacy_spending")]
    assert "released" not in names and {"purpose", "query", "epsilon_so_far"} <= set(names)
    assert _ask(published_lake, "SELECT count(*) FROM control.privacy_spending") == [(11,)]


def test_the_current_release_is_the_newest_one(worked_lake: Lake, fill: Any, settings: Settings) -> None:
    rows = [{**row, "department": "外科"} for row in WORKED_ROWS["protected.notes"]]
    fill(PROTECTED_NOTES, rows)
    release = publish_notes(worked_lake, settings, run_id="r2")
    found = _ask(worked_lake, "SELECT release_id, department, count(*) FROM release.current_notes GROUP BY ALL")
    assert found == [(release.release_id, "外科", 4)]


def test_rows_of_an_unfinished_release_are_in_no_view(worked_lake: Lake) -> None:
    stray = {**WORKED_ROWS["protected.notes"][0], "release_id": "unfinished"}
    spec = TABLES["release.notes"]
    row = {name: stray.get(name) for name in spec.schema.names}
    worked_lake.append(spec, pa.Table.from_pylist([row], schema=spec.schema))
    assert _ask(worked_lake, "SELECT count(*) FROM release.notes") == [(5,)]
    assert _ask(worked_lake, "SELECT count(*) FROM release.current_notes") == [(4,)]


def test_latest_runs_show_one_row_per_stage(worked_lake: Lake) -> None:
    assert _ask(worked_lake, "SELECT stage, run_id FROM control.latest_runs ORDER BY stage") == [
        ("ingest", "r1"),
        ("tier", "r1"),
    ]


def test_only_tables_that_exist_become_views(lake: Lake, fill: Any) -> None:
    assert _ask(lake, "SELECT count(*) FROM information_schema.tables") == [(0,)]
    fill(PROTECTED_NOTES, WORKED_ROWS["protected.notes"])
    assert list_tables(lake) == {"protected.notes"}
    names = _ask(lake, "SELECT table_schema || '.' || table_name FROM information_schema.tables")
    assert names == [("protected.notes",)]
    script = spark_views_script("/lake", list_tables(lake))
    assert "delta.`/lake/protected/notes`" in script and "phi.annotated_spans" not in script


def test_a_quote_in_the_lakes_path_stays_a_path(tmp_path: Path) -> None:
    script = duckdb_script("/data/o'neil", frozenset({"control.runs"}))
    assert "delta_scan('/data/o''neil/control/runs')" in script


def test_the_command_line_prints_rows_views_and_usage(worked_lake: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([worked_lake.uri, "SELECT count(*) AS n_notes FROM phi.notes"]) == 0
    assert "n_notes" in capsys.readouterr().out
    assert main([worked_lake.uri, "--spark"]) == 0
    assert f"delta.`{worked_lake.uri}/phi/notes`" in capsys.readouterr().out
    assert main([worked_lake.uri]) == 2


@pytest.mark.parametrize("name", sorted(TABLES))
def test_ddl_holds_every_column_comment_and_property(name: str) -> None:
    spec = TABLES[name]
    ddl = table_ddl(spec)
    for field in spec.schema:
        not_null = "" if field.nullable else " NOT NULL"
        assert f"`{field.name}` {spark_type(field.type)}{not_null} COMMENT" in ddl
    for key, value in spec.properties.items():
        assert f"'{key}' = '{value}'" in ddl
    assert "/*" not in ddl and f"LOCATION '${{lake}}/{spec.path}'" in ddl


def test_release_tables_have_no_deletion_vectors_and_statistics_on_keys_only() -> None:
    for name in ("release.notes", "release.releases"):
        properties = TABLES[name].properties
        assert properties["delta.enableDeletionVectors"] == "false"
        assert set(properties["delta.dataSkippingStatsColumns"].split(",")) == set(TABLES[name].keys)


@pytest.mark.parametrize("kind", [pa.timestamp("us"), pa.timestamp("us", tz="Asia/Shanghai"), pa.large_string()])
def test_a_type_without_a_place_in_the_lake_is_refused(kind: pa.DataType) -> None:
    with pytest.raises(UsageError, match="NO_SPARK_TYPE"):
        spark_type(kind)


def test_every_view_reads_known_tables_and_has_two_languages() -> None:
    for view in VIEWS:
        assert set(view.tables) <= set(TABLES) and "|" in view.description
        assert all(table in view.spark_sql() for table in view.tables)


def test_generated_files_are_fresh() -> None:
    command = [sys.executable, str(_ROOT / "scripts" / "gen_docs.py"), "--check"]
    checked = subprocess.run(command, capture_output=True, text=True, cwd=_ROOT, env=_environment())
    assert checked.returncode == 0, checked.stderr


def test_a_stale_file_is_named(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, 'scripts'); import gen_docs, pathlib;"
        "print(gen_docs.find_stale(pathlib.Path(sys.argv[1])))"
    )
    for path in ("docs/column-comments.zh.tsv", "docs/data-dictionary.en.md", "docs/data-dictionary.zh.md"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text((_ROOT / path).read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "docs/sql").mkdir()
    (tmp_path / "docs/sql/spark_tables.sql").write_text(spark_tables_script(), encoding="utf-8")
    with (tmp_path / "docs/data-dictionary.zh.md").open("a", encoding="utf-8") as stream:
        stream.write("手改\n")
    found = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, cwd=_ROOT, env=_environment()
    )
    assert found.returncode == 0, found.stderr
    assert "docs/data-dictionary.zh.md" in found.stdout and "docs/data-dictionary.en.md" not in found.stdout


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(_ROOT)}
