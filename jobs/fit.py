"""Bounded marginals of visits, noised under the ledger -> protected.record_model (Spark)."""

from __future__ import annotations

import sys

from ppsehr_spark.lake import schemas
from ppsehr_spark.runtime import RunContext, Stage, StageResult, run_job
from ppsehr_spark.spark.record_model import fit_record_model, plan_record_model
from ppsehr_spark.spark.session import open_session


def _body(context: RunContext) -> StageResult:
    counts = fit_record_model(
        lambda: open_session("fit"), context.lake, settings=context.settings, run_id=context.run_id
    )
    return StageResult(counts)


STAGE = Stage(
    name="fit",
    help=__doc__,
    body=_body,
    inputs=(schemas.PATIENTS, schemas.ENCOUNTERS),
    conf_sections=("privacy",),  # the source's name in the ledger
    conf_files=("record_model.toml", "codelists/", "privacy.toml"),
    plan=lambda context: plan_record_model(context.settings),
    writes=(schemas.RECORD_MODEL,),
    example="spark-submit --properties-file conf/spark/laptop.conf --load-spark-defaults jobs/fit.py "
    "--lake .state/lake",
)

if __name__ == "__main__":
    sys.exit(run_job(STAGE))
