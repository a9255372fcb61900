"""phi.notes -> phi.rule_annotations, phi.segments, phi.work_units (Spark): recognisers decide, doubt becomes work."""

from __future__ import annotations

import sys

from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.crash_points import crash_point
from ppsehr_spark.lake.knowledge_scope import list_touches
from ppsehr_spark.runtime import RunContext, Stage, StageResult, run_job
from ppsehr_spark.spark.notes.recognition import recognise_notes
from ppsehr_spark.spark.notes.units import pack_segments
from ppsehr_spark.spark.session import open_session


def _body(context: RunContext) -> StageResult:
    spark = open_session("partition")
    touches = list_touches(context.lake, context.conf)
    counts = recognise_notes(spark, context.lake, settings=context.settings, run_id=context.run_id, touches=touches)
    crash_point("partition.after_rules")
    unit_tokens = context.settings.partition.unit_tokens
    units = pack_segments(spark, context.lake, unit_tokens=unit_tokens, run_id=context.run_id)
    return StageResult({**counts, "units": units})


STAGE = Stage(
    name="partition",
    help=__doc__,
    body=_body,
    inputs=(schemas.NOTES,),
    conf_sections=("partition", "identity"),
    conf_files=("categories/", "lexicons/", "tiers.toml"),
    writes=(schemas.RULE_ANNOTATIONS, schemas.SEGMENTS, schemas.WORK_UNITS),
    example="spark-submit --properties-file conf/spark/laptop.conf --load-spark-defaults jobs/partition.py "
    "--lake .state/lake",
    uses_knowledge=True,
)

if __name__ == "__main__":
    sys.exit(run_job(STAGE))
