"""The derived views of the lake, written once for Spark SQL and for DuckDB.

Knows: which questions every reader asks again (what is current, what was spent). Must not know: how a view comes into
being (``views``). Both dialects read the same text; three marks stand for what they spell differently.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ppsehr_spark.lake.histogram_quantiles import quantiles_sql

_MARK = re.compile(r"\{(\w+):([\w.]+)\}")
_Spelling = Mapping[str, Callable[[str], str]]
_SPARK: _Spelling = {
    "spans": lambda table: f"SELECT *, explode(spans) AS s FROM {table}",
    "keys": lambda table: f"SELECT *, explode(group_keys) AS k FROM {table}",
    "label": lambda column: f"array_join(transform({column}, k -> concat(k.name, '=', k.value)), ', ')",
}
_DUCKDB: _Spelling = {
    "spans": lambda table: f"SELECT *, unnest(spans) AS s FROM {table}",
    "keys": lambda table: f"SELECT *, unnest(group_keys) AS k FROM {table}",
    "label": lambda column: f"array_to_string([concat(k.name, '=', k.value) for k in {column}], ', ')",
}


@dataclass(frozen=True)
class ViewSpec:
    """A view over tables of the lake.

    Attributes:
        full_name: ``zone.name``.
        description: one line (English | Chinese).
        tables: tables it reads, as ``zone.name``.
        sql: the query. ``{spans:<table>}`` and ``{keys:<table>}`` stand for a table with one row per span (``s``) or
            per group key (``k``), ``{label:<column>}`` for group keys as one text, backticks for quoted names.
    """

    full_name: str
    description: str
    tables: tuple[str, ...]
    sql: str

    def spark_sql(self) -> str:
        """The query for Spark SQL."""
        return _MARK.sub(lambda mark: _SPARK[mark[1]](mark[2]), self.sql)

    def duckdb_sql(self) -> str:
        """The query for DuckDB."""
        return _MARK.sub(lambda mark: _DUCKDB[mark[1]](mark[2]), self.sql).replace("`", '"')


#: Releases that are current: of each product (``release.releases.table``) the one that became current last.
_CURRENT = """(
  SELECT release_id FROM (
    SELECT release_id, row_number() OVER (PARTITION BY `table` ORDER BY released_at DESC, release_id) AS recency
    FROM release.releases)
  WHERE recency = 1)"""


def _current(name: str, description: str, *, columns: str = "*") -> ViewSpec:
    """``release.current_<name>``: rows of current releases only, whatever older or unfinished ones left behind."""
    table = f"release.{name}"
    sql = f"SELECT {columns} FROM {table} WHERE release_id IN {_CURRENT}"
    return ViewSpec(f"release.current_{name}", description, (table, "release.releases"), sql)


_SHOWN_STATISTICS = """release_id, query, cell, kind, title, group_keys, {label:group_keys} AS cell_label,
  CASE WHEN is_suppressed THEN NULL ELSE value END AS value, CASE WHEN is_suppressed THEN NULL ELSE low END AS low,
  CASE WHEN is_suppressed THEN NULL ELSE high END AS high, unit, mechanism, rho, grant_id, is_suppressed"""

#: Every query with its answers, the newest by the ledger's order first.
_NEWEST_ANSWERS = """
  SELECT query, ask_id, row_number() OVER (PARTITION BY query ORDER BY max(paid_at) DESC) AS recency
  FROM (
    SELECT d.query, d.ask_id, l.sequence AS paid_at FROM protected.dp_statistics d
    JOIN control.privacy_ledger l ON l.grant_id = d.grant_id)
  GROUP BY query, ask_id"""

VIEWS: tuple[ViewSpec, ...] = (
    ViewSpec(
        "phi.annotated_spans",
        "one row per final span, without text | 最终标注展开",
        ("phi.annotations",),
        """SELECT note_key, s.start AS start_at, s.`end` AS end_at, s.category AS category, s.tier AS tier,
       s.source AS source, s.confidence AS confidence, s.rule AS rule, s.tier_rule AS tier_rule
FROM ({spans:phi.annotations})""",
    ),
    ViewSpec(
        "phi.gold_spans",
        "one row per gold span, without text | 金标准展开",
        ("phi.gold",),
        """SELECT note_key, s.start AS start_at, s.`end` AS end_at, s.category AS category, s.tier AS tier
FROM ({spans:phi.gold})""",
    ),
    ViewSpec(
        "protected.latest_statistics",
        "newest answer to every statistics query, by the ledger's order | 各统计最近一次的结果",
        ("protected.dp_statistics", "control.privacy_ledger"),
        f"""SELECT s.* FROM protected.dp_statistics s
JOIN ({_NEWEST_ANSWERS}) n
  ON n.query = s.query AND n.ask_id = s.ask_id AND n.recency = 1""",
    ),
    ViewSpec(
        "protected.statistic_cells",
        "newest answers as people read them: interval, price, and no figures where noise drowns | 现行统计（可读）",
        ("protected.dp_statistics", "control.privacy_ledger"),
        f"""SELECT s.query, s.cell, s.kind, s.title, {{label:s.group_keys}} AS cell_label,
  CASE WHEN s.is_suppressed THEN NULL ELSE s.value END AS value,
  CASE WHEN s.is_suppressed THEN NULL ELSE s.low END AS low,
  CASE WHEN s.is_suppressed THEN NULL ELSE s.high END AS high, s.unit, s.is_suppressed, s.mechanism, s.rho, l.event,
  s.grant_id, s.run_id, s.table_versions
FROM protected.dp_statistics s
JOIN control.privacy_ledger l ON l.grant_id = s.grant_id AND l.kind = 'commit'
JOIN ({_NEWEST_ANSWERS}) n ON n.query = s.query AND n.ask_id = s.ask_id AND n.recency = 1""",
    ),
    ViewSpec(
        "protected.histogram_quantiles",
        "P10 to P90 of the newest released histograms, within the bins that the noise allows | 已发布分布的分位数",
        ("protected.dp_statistics", "control.privacy_ledger"),
        quantiles_sql(f"""SELECT s.* FROM ({{keys:protected.dp_statistics}}) s
  JOIN ({_NEWEST_ANSWERS}) n ON n.query = s.query AND n.ask_id = s.ask_id AND n.recency = 1"""),
    ),
    _current("notes", "notes of the newest release | 最新发布的病历"),
    _current(
        "dp_statistics",
        "newest published statistics; a suppressed cell has no figures | 最新发布的统计，被隐去的格无数值",
        columns=_SHOWN_STATISTICS,
    ),
    ViewSpec(
        "release.current_dp_keys",
        "one row per published cell and group key | 最新发布统计的分组键展开",
        ("release.dp_statistics", "release.releases"),
        f"""SELECT release_id, query, cell, k.name AS key_name, k.value AS key_value
FROM ({{keys:release.dp_statistics}})
WHERE release_id IN {_CURRENT}""",
    ),
    ViewSpec(
        "release.current_histogram_quantiles",
        "P10 to P90 of the published histograms, within the bins that the noise allows | 最新发布分布的分位数",
        ("release.dp_statistics", "release.releases"),
        quantiles_sql(f"{{keys:release.dp_statistics}} WHERE release_id IN {_CURRENT}", release="release_id"),
    ),
    _current("synthetic_patients", "synthetic patients of the newest release | 最新发布的合成患者"),
    _current("synthetic_encounters", "synthetic visits of the newest release | 最新发布的合成就诊"),
    _current("synthetic_notes", "synthetic notes of the newest release | 最新发布的合成病历"),
    _current("evaluations", "figures about what is current | 现行发布的评估结果"),
    ViewSpec(
        "release.current_claim_cards",
        "newest claim card of what is current | 现行发布的最新隐私声明卡",
        ("release.claim_cards", "release.releases"),
        f"""SELECT * FROM (
  SELECT *, row_number() OVER (PARTITION BY release_id ORDER BY released_at DESC) AS recency FROM release.claim_cards)
WHERE recency = 1 AND release_id IN {_CURRENT}""",
    ),
    ViewSpec(
        "control.latest_runs",
        "newest run of every stage, however it ended | 各环节最近一次运行",
        ("control.runs",),
        """SELECT * FROM (
  SELECT *, row_number() OVER (PARTITION BY stage ORDER BY started_at DESC) AS recency FROM control.runs)
WHERE recency = 1""",
    ),
    ViewSpec(
        "control.privacy_spending",
        "the ledger without released values; epsilon is that of everything up to the row | 隐私预算花费",
        ("control.privacy_ledger",),
        """SELECT sequence, `at`, kind, dataset, purpose, `user`, run_id, query, grant_id, event,
       epsilon AS epsilon_so_far, epsilon - coalesce(lag(epsilon) OVER (ORDER BY sequence), 0) AS epsilon_step, delta
FROM control.privacy_ledger""",
    ),
)
