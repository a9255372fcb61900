"""The stats stage: plan, reserve, aggregate on Spark, draw on the driver, commit, write.

Knows: the order of the steps and what names a question. Must not know: how a cell is found or noise is drawn. When
every release is finished Spark is not even started.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pyspark.sql import SparkSession

from ppsehr_spark.config import Settings
from ppsehr_spark.lake.crash_points import crash_point
from ppsehr_spark.lake.ledger_store import open_ledger
from ppsehr_spark.lake.row_versions import row_versions
from ppsehr_spark.lake.schemas import ANNOTATIONS, ENCOUNTERS, NOTES, PATIENTS
from ppsehr_spark.lake.statistics_plan import plan_stage as plan_stage
from ppsehr_spark.lake.statistics_plan import read_catalogue as read_catalogue
from ppsehr_spark.lake.statistics_store import append_statistics
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.privacy.answering import answer_together
from ppsehr_spark.privacy.asking import make_ask_id
from ppsehr_spark.privacy.grants import Grant, Query
from ppsehr_spark.privacy.ledger import Ledger, Released
from ppsehr_spark.privacy.policy import Scope, parse_policy
from ppsehr_spark.privacy.releases import Counts, PlannedRelease, describe_definition, draw_part, make_rows
from ppsehr_spark.spark.statistics.aggregation import aggregate_releases, tables_of

STAGE_NAME = "stats"
INPUTS = (ENCOUNTERS, NOTES, ANNOTATIONS, PATIENTS)
_PURPOSE = "statistics"
_Counts = Mapping[str, Counts]


@dataclass(frozen=True)
class Ask:
    """One release, put to the ledger for pinned table versions."""

    planned: PlannedRelease
    query: Query
    versions: Mapping[str, int | None]


def release_statistics(
    start: Callable[[], SparkSession],
    lake: Lake,
    *,
    settings: Settings,
    run_id: str,
    ledger: Ledger | None = None,
    planned: Sequence[PlannedRelease] | None = None,
) -> dict[str, int]:
    """Release what the catalogue lists, each statistic once per definition and table version.

    Args:
        start: opens the Spark session; called when something is to be aggregated.
        ledger: that of the lake by default.
        planned: that of the settings by default.

    Returns:
        Counts: releases, drawn grants, grants answered from the ledger, rows written.

    Raises:
        BudgetRefusedError: ``PRIVACY_BUDGET`` before any data are read.
    """
    releases, lists = plan_stage(settings)
    asks = plan_asks(lake, planned or releases, dataset=settings.privacy.dataset)
    n_drawn = 0

    def read(queries: Sequence[Query]) -> _Counts:
        wanted = [ask for ask in asks if ask.query in queries]
        versions = {name: version for ask in wanted for name, version in ask.versions.items()}
        return aggregate_releases(start(), lake, [ask.planned for ask in wanted], lists=lists, versions=versions)

    def draw(grant: Grant, counts: _Counts) -> list[int]:
        nonlocal n_drawn
        n_drawn += 1
        ask = next(ask for ask in asks if ask.query == grant.query)
        crash_point("stats.before_draw")
        drawn = draw_part(ask.planned.part, counts[ask.planned.release.id], grant=grant)
        crash_point("stats.after_draw")
        return drawn

    book = ledger or open_ledger(lake, parse_policy(settings.files))
    answers = answer_together(book, [ask.query for ask in asks], read=read, draw=draw)
    n_rows = sum(_write(lake, ask, answer, run_id) for ask, answer in zip(asks, answers, strict=True))
    return {
        "releases": len(asks),
        "drawn": n_drawn,
        "from_ledger": len(asks) - n_drawn,
        "rows": n_rows,
    }


def plan_asks(lake: Lake, planned: Sequence[PlannedRelease], *, dataset: str) -> list[Ask]:
    """One query per release, named after its definition and the table versions that it reads."""
    scope = Scope(dataset, _PURPOSE, f"job:{STAGE_NAME}")
    newest = {spec.full_name: lake.version(spec) for spec in INPUTS}
    rows = row_versions(lake, newest)  # a compaction is no new question
    asks = []
    for each in planned:
        versions = {spec.full_name: newest[spec.full_name] for spec in tables_of(each.release)}
        definition = {"dataset": dataset, **describe_definition(each)}
        held = {name: rows[name] for name in versions}
        ask_id = make_ask_id(STAGE_NAME, definition=definition, versions=held)
        part = each.part
        asks.append(Ask(each, Query(ask_id, part.name, scope, part.event, part.bounds), versions))
    return asks


def _write(lake: Lake, ask: Ask, answer: Released, run_id: str) -> int:
    rows = make_rows(ask.planned, ask.planned.part, answer.value)
    is_new = append_statistics(
        lake,
        ask.planned,
        rows,
        ask_id=ask.query.run_id,
        grant_id=answer.grant_id,
        versions=ask.versions,
        run_id=run_id,
    )
    return len(rows) if is_new else 0
