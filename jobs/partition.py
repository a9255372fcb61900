"""phi.notes -> phi.rule_annotations, phi.segments, phi.work_units (Spark): recognisers decide, doubt becomes work."""

from __future__ import annotations

import sys

from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.change_feeds import confirm_outputs
from ppsehr_spark.lake.crash_points import crash_point
from ppsehr_spark.lake.knowledge_scope import list_touches
from ppsehr_spark.runtime import RunContext, Stage, StageResult, run_job
from ppsehr_spark.spark.notes.recognition import recognise_notes
from ppsehr_spark.spark.session import open_session, sign_commits


def _body(context: RunContext) -> StageResult:
    spark, reading = open_session("partition"), context.reading()
    sign_commits(spark, context.pins.writer)
    counts = recognise_notes(
        spark,
        context.lake,
        settings=context.settings,
        run_id=context.run_id,
        touches=None if reading.is_incremental else list_touches(context.lake, context.conf),
        reading=reading,
    )
    crash_point("partition.after_rules")
    counts["followed_changes"] = int(reading.is_incremental)
    return StageResult(counts, output_versions=confirm_outputs(context.lake, context.pins))


STAGE = Stage(
    name="partition",
    help=__doc__,
    body=_body,
    inputs=(schemas.NOTES,),
    conf_sections=("partition", "identity"),
    conf_files=("categories/", "lexicons/", "tiers.toml"),
    follows_changes=True,
    plan=lambda context: context.reading().to_plan(),
    writes=(schemas.RULE_ANNOTATIONS, schemas.SEGMENTS, schemas.WORK_UNITS),
    example="spark-submit --properties-file conf/spark/laptop.conf --load-spark-defaults jobs/partition.py "
    "--lake .state/lake",
    uses_knowledge=True,
)

if __name__ == "__main__":
    sys.exit(run_job(STAGE))
