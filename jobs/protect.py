"""phi.notes and phi.annotations -> protected.notes (Spark), by the policy in conf/protection.toml."""

from __future__ import annotations

import sys

from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.change_feeds import confirm_outputs
from ppsehr_spark.runtime import RunContext, Stage, StageResult, run_job
from ppsehr_spark.spark.notes.protection import protect_notes
from ppsehr_spark.spark.session import open_session, sign_commits


def _body(context: RunContext) -> StageResult:
    spark, reading = open_session("protect"), context.reading()
    sign_commits(spark, context.pins.writer)
    counts = protect_notes(spark, context.lake, settings=context.settings, run_id=context.run_id, reading=reading)
    counts["followed_changes"] = int(reading.is_incremental)
    return StageResult(counts, output_versions=confirm_outputs(context.lake, context.pins))


STAGE = Stage(
    name="protect",
    help=__doc__,
    body=_body,
    inputs=(schemas.NOTES, schemas.ANNOTATIONS),
    conf_sections=("protect", "identity"),
    conf_files=("categories/", "lexicons/", "protection.toml"),
    follows_changes=True,
    plan=lambda context: context.reading().to_plan(),
    writes=(schemas.PROTECTED_NOTES,),
    example="spark-submit --properties-file conf/spark/laptop.conf --load-spark-defaults jobs/protect.py "
    "--lake .state/lake",
)

if __name__ == "__main__":
    sys.exit(run_job(STAGE))
