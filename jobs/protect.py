"""phi.notes and phi.annotations -> protected.notes (Spark), by the policy in conf/protection.toml."""

from __future__ import annotations

import sys

from ppsehr_spark.lake import schemas
from ppsehr_spark.runtime import RunContext, Stage, StageResult, run_job
from ppsehr_spark.spark.notes.protection import protect_notes
from ppsehr_spark.spark.session import open_session


def _body(context: RunContext) -> StageResult:
    spark = open_session("protect")
    return StageResult(protect_notes(spark, context.lake, settings=context.settings, run_id=context.run_id))


STAGE = Stage(
    name="protect",
    help=__doc__,
    body=_body,
    inputs=(schemas.NOTES, schemas.ANNOTATIONS),
    conf_sections=("protect", "identity"),
    conf_files=("categories/", "lexicons/", "protection.toml"),
    writes=(schemas.PROTECTED_NOTES,),
    example="spark-submit --properties-file conf/spark/laptop.conf --load-spark-defaults jobs/protect.py "
    "--lake .state/lake",
)

if __name__ == "__main__":
    sys.exit(run_job(STAGE))
