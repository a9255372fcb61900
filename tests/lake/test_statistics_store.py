"""What stands of ``protected.dp_statistics`` after several releases of one query."""

from __future__ import annotations

from ppsehr_spark.config import Settings
from ppsehr_spark.lake.ledger_store import open_ledger
from ppsehr_spark.lake.statistics_store import read_statistics
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.privacy.catalogue import THRESHOLD, Catalogue, Release
from ppsehr_spark.privacy.policy import parse_policy
from ppsehr_spark.privacy.releases import plan_releases
from ppsehr_spark.privacy.units import Budget
from tests.lake.dp_lake import release_statistic

CODES = Release(
    "codes", "常见编码", THRESHOLD, 1.0, "人", keys=("diagnosis_code",), max_cells=1, form="A99", delta=1e-10
)


def test_an_older_choice_of_keys_does_not_outlive_one_that_found_none(lake: Lake, settings: Settings) -> None:
    (planned,) = plan_releases(Catalogue(Budget(0.5, 1e-7), (CODES,), 2.0), lists={}, span_cells=())
    ledger = open_ledger(lake, parse_policy(settings.files))
    release_statistic(lake, ledger, planned, {7: 9000, 3: 1}, ask_id="stats-1")
    assert [row["group_keys"] for row in read_statistics(lake).to_pylist()] == [
        [{"name": "diagnosis_code", "value": "A07"}]
    ]
    release_statistic(lake, ledger, planned, {3: 1}, ask_id="stats-2")
    assert read_statistics(lake).num_rows == 0
    release_statistic(lake, ledger, planned, {8: 9000}, ask_id="stats-3")
    assert [row["ask_id"] for row in read_statistics(lake).to_pylist()] == ["stats-3"]
