"""phi tables -> protected.dp_statistics (Spark): statistics of conf/releases.toml, paid from the privacy ledger."""

from __future__ import annotations

import sys
from typing import Any

from ppsehr_spark.lake import schemas
from ppsehr_spark.runtime import RunContext, Stage, StageResult, run_job
from ppsehr_spark.spark.session import open_session
from ppsehr_spark.spark.statistics.releasing import INPUTS, STAGE_NAME, plan_stage, release_statistics
from ppsehr_spark.spark.statistics.sketches import sketch_measures


def _body(context: RunContext) -> StageResult:
    def start() -> Any:
        return open_session(STAGE_NAME)

    counts = release_statistics(start, context.lake, settings=context.settings, run_id=context.run_id)
    return StageResult({**counts, "sketches": sketch_measures(start, context.lake, run_id=context.run_id)})


def _plan(context: RunContext) -> dict[str, object]:
    """What each release would cost and how large its noise would be; known without any data."""
    releases, _ = plan_stage(context.settings)
    return {
        "releases": [
            {
                "id": each.release.id,
                "rho": round(each.rho, 6),
                "cells": len(each.cells),
                "noise_sd": None if each.noise_sd is None else round(each.noise_sd, 2),
                "half_width_95": each.half_width,
            }
            for each in releases
        ]
    }


STAGE = Stage(
    name=STAGE_NAME,
    help=__doc__,
    body=_body,
    inputs=INPUTS,
    conf_sections=("privacy",),
    conf_files=("releases.toml", "privacy.toml", "codelists/", "categories/"),
    plan=_plan,
    writes=(schemas.DP_STATISTICS, schemas.DRIFT_SKETCHES),
    example="spark-submit --properties-file conf/spark/laptop.conf --load-spark-defaults jobs/stats.py "
    "--lake .state/lake",
)

if __name__ == "__main__":
    sys.exit(run_job(STAGE))
