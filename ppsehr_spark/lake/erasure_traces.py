"""What has learnt from persons who are erased: it is marked, not deleted.

Knows: checkpoints, record models, statistics, synthetic data, releases of these. Must not know: how they were made.
What is differentially private keeps its claim: the guarantee was given to every patient of the data, those who leave
included, and the budget stays spent. Whoever wants models that never saw a person trains anew and pays again.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from pyarrow import compute

from ppsehr_spark.lake.schemas import (
    CHECKPOINTS,
    DP_STATISTICS,
    MEMBERSHIP_SCORES,
    RECORD_MODEL,
    RELEASED_NOTES,
    RELEASES,
    SYNTHETIC_PATIENTS,
    TableSpec,
)
from ppsehr_spark.lake.tables import Lake


def list_learners(lake: Lake, patient_keys: pa.Array) -> dict[str, Any]:
    """Ids of everything that may have learnt from the patients.

    A checkpoint is left out where its scores say that all of them were held out of training; statistics, record models
    and what follows from them read whole tables, so all of them count.
    """
    return {
        "checkpoints": _list_checkpoints(lake, patient_keys),
        "record_models": _distinct(lake, RECORD_MODEL, "model_id"),
        "dp_statistics": _distinct(lake, DP_STATISTICS, "ask_id"),
        "synthetic_datasets": _distinct(lake, SYNTHETIC_PATIENTS, "dataset_id"),
        "releases": sorted(
            {
                row["release_id"]
                for row in lake.read(RELEASES, ["release_id", "table"]).to_pylist()
                if row["table"] != RELEASED_NOTES.full_name
            }
        ),
    }


def _list_checkpoints(lake: Lake, patient_keys: pa.Array) -> list[str]:
    held_out: dict[str, set[str]] = {}
    for batch in lake.stream(MEMBERSHIP_SCORES, ["checkpoint_id", "patient_key", "is_member"]):
        rows = batch.filter(compute.is_in(batch["patient_key"], value_set=patient_keys)).to_pylist()
        for row in rows:
            held_out.setdefault(row["checkpoint_id"], set()).add("member" if row["is_member"] else "held out")
    return [name for name in _distinct(lake, CHECKPOINTS, "checkpoint_id") if held_out.get(name) != {"held out"}]


def _distinct(lake: Lake, spec: TableSpec, column: str) -> list[str]:
    return sorted(set(lake.read(spec, [column])[column].to_pylist()))
