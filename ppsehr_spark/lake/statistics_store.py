"""``protected.dp_statistics`` and ``phi.drift_sketches``: rows written once, and what stands now.

Knows: how released cells and sketches become rows. Must not know: how a value was aggregated or drawn. A release is
written under its grant id, so a stage that is killed between ledger and table and runs again writes what is missing
and nothing twice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import pyarrow as pa

from ppsehr_spark.lake.crash_points import crash_point
from ppsehr_spark.lake.schemas import DP_STATISTICS, DRIFT_SKETCHES, PRIVACY_LEDGER
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.privacy.catalogue import QUANTILE, THRESHOLD, TOP_K
from ppsehr_spark.privacy.releases import PlannedRelease, StatisticRow

_DISCRETE_GAUSSIAN = "discrete Gaussian"
_MECHANISMS = {
    QUANTILE: "exponential mechanism",
    TOP_K: "noisy top-k, then discrete Gaussian",
    THRESHOLD: "discrete Gaussian with key threshold",
}


def name_mechanism(kind: str) -> str:
    """Mechanism of a release; ``conf/claim`` words it."""
    return _MECHANISMS.get(kind, _DISCRETE_GAUSSIAN)


def append_statistics(
    lake: Lake,
    planned: PlannedRelease,
    rows: Sequence[StatisticRow],
    *,
    ask_id: str,
    grant_id: str,
    versions: Mapping[str, int | None],
    run_id: str,
) -> bool:
    """Write the rows that one grant paid for; False when they stood before."""
    release = planned.release
    shared = {
        "ask_id": ask_id,
        "query": release.id,
        "kind": release.kind,
        "title": release.title,
        "unit": release.unit,
        "mechanism": name_mechanism(release.kind),
        "rho": planned.rho,
        "grant_id": grant_id,
        "table_versions": json.dumps(versions, sort_keys=True),
        "run_id": run_id,
    }
    table = pa.Table.from_pylist([{**shared, **_to_plain(row)} for row in rows], schema=DP_STATISTICS.schema)
    crash_point("stats.before_rows")
    is_new = lake.append(DP_STATISTICS, table, app_id=grant_id, app_version=1)
    crash_point("stats.after_rows")
    return is_new


def read_statistics(lake: Lake) -> pa.Table:
    """The newest release of every query, by the order of the ledger; columns of the spec, by query and cell.

    Where the data choose the keys, the newest release may have none: then no row of an older one stands for it.
    """
    rows = lake.read(DP_STATISTICS).to_pylist()
    ledger = lake.read(PRIVACY_LEDGER, ["grant_id", "sequence", "run_id", "query"], "kind = 'commit'").to_pylist()
    committed = {row["grant_id"]: int(row["sequence"]) for row in ledger}
    chosen = {row["query"] for row in rows if row["kind"] == THRESHOLD}
    newest: dict[str, tuple[int, str]] = {}
    for row in (row for row in ledger if row["query"] in chosen):
        newest[row["query"]] = max((int(row["sequence"]), row["run_id"]), newest.get(row["query"], (0, "")))
    for row in rows:
        rank = (committed.get(row["grant_id"], 0), row["ask_id"])
        newest[row["query"]] = max(rank, newest.get(row["query"], (0, "")))
    current = [row for row in rows if newest[row["query"]][1] == row["ask_id"]]
    current.sort(key=lambda row: (row["query"], row["cell"]))
    return pa.Table.from_pylist(current, schema=DP_STATISTICS.schema)


def append_sketch(
    lake: Lake, *, measure: str, table_version: int, n_rows: int, centroids: str, sketch_key: str, run_id: str
) -> bool:
    """Write one drift sketch; False when it stood before."""
    row = {
        "sketch_key": sketch_key,
        "measure": measure,
        "n_rows": n_rows,
        "centroids": centroids,
        "table_version": table_version,
        "run_id": run_id,
    }
    table = pa.Table.from_pylist([row], schema=DRIFT_SKETCHES.schema)
    crash_point("stats.before_sketch")
    is_new = lake.append(DRIFT_SKETCHES, table, app_id=sketch_key, app_version=1)
    crash_point("stats.after_sketch")
    return is_new


@dataclass(frozen=True)
class Sketch:
    """One row of ``phi.drift_sketches``; ``centroids`` is a t-digest as JSON."""

    measure: str
    table_version: int
    n_rows: int
    centroids: str


def read_sketches(lake: Lake) -> list[Sketch]:
    """All sketches by measure and table version, one for each, also where two methods sketched the same rows."""
    rows = lake.read(DRIFT_SKETCHES, [field.name for field in fields(Sketch)]).to_pylist()
    newest = {(row["measure"], row["table_version"]): Sketch(**row) for row in rows}
    return [newest[key] for key in sorted(newest)]


def has_sketch(lake: Lake, sketch_key: str) -> bool:
    """True when this sketch was written."""
    return sketch_key in lake.read(DRIFT_SKETCHES, ["sketch_key"]).column(0).to_pylist()


def _to_plain(row: StatisticRow) -> dict[str, Any]:
    return {
        "cell": row.position,
        "group_keys": [{"name": name, "value": value} for name, value in row.cell],
        "value": row.value,
        "low": row.low,
        "high": row.high,
        "is_suppressed": row.is_suppressed,
    }
