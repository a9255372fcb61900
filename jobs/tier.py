"""Rule spans, model answers and corrections -> phi.annotations (Spark): final spans with tiers."""

from __future__ import annotations

import sys

from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.change_feeds import confirm_outputs
from ppsehr_spark.lake.knowledge_scope import list_touches
from ppsehr_spark.runtime import RunContext, Stage, StageResult, run_job
from ppsehr_spark.spark.notes.tiering import tier_notes
from ppsehr_spark.spark.session import open_session, sign_commits


def _body(context: RunContext) -> StageResult:
    spark, reading = open_session("tier"), context.reading()
    sign_commits(spark, context.pins.writer)
    counts = tier_notes(
        spark,
        context.lake,
        settings=context.settings,
        run_id=context.run_id,
        equivalent=list_touches(context.lake, context.conf),
        reading=reading,
    )
    counts["followed_changes"] = int(reading.is_incremental)
    return StageResult(counts, output_versions=confirm_outputs(context.lake, context.pins))


STAGE = Stage(
    name="tier",
    help=__doc__,
    body=_body,
    inputs=(schemas.NOTES, schemas.RULE_ANNOTATIONS, schemas.SEGMENT_ANNOTATIONS, schemas.CORRECTIONS),
    conf_sections=("annotate",),  # the judge's threshold
    conf_files=("categories/", "lexicons/", "prompts/", "tiers.toml"),
    follows_changes=True,
    plan=lambda context: context.reading().to_plan(),
    writes=(schemas.ANNOTATIONS,),
    example="spark-submit --properties-file conf/spark/laptop.conf --load-spark-defaults jobs/tier.py "
    "--lake .state/lake",
    uses_knowledge=True,
)

if __name__ == "__main__":
    sys.exit(run_job(STAGE))
