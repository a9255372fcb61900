"""Source files -> phi.patients, encounters, notes, gold, patient_merges, rejects (Spark)."""

from __future__ import annotations

import argparse
import sys

from ppsehr_spark.lake import schemas
from ppsehr_spark.runtime import RunContext, Stage, StageResult, run_job
from ppsehr_spark.spark.ingest.landing import ingest_source, list_source, measure_source, source_fingerprint
from ppsehr_spark.spark.ingest.mapping import SourceMapping, load_mapping
from ppsehr_spark.spark.session import open_session


def _mapping(context: RunContext) -> SourceMapping:
    return load_mapping(context.settings.files, context.settings.ingest.source)


def _body(context: RunContext) -> StageResult:
    mapping = _mapping(context)
    list_source(mapping, context.arguments.source)  # a missing source is reported before a JVM works
    counts = ingest_source(
        open_session("ingest"),
        context.lake,
        mapping=mapping,
        root=context.arguments.source,
        settings=context.settings,
        run_id=context.run_id,
        is_snapshot=context.arguments.snapshot,
    )
    return StageResult(counts, is_partial=counts.get("deletions_withheld", 0) > 0)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--source", required=True, metavar="URI", help="folder that holds the hospital's export")
    parser.add_argument(
        "--snapshot", action="store_true", help="the export is complete: delete this source's notes that are not in it"
    )


STAGE = Stage(
    name="ingest",
    help=__doc__,
    body=_body,
    conf_sections=("ingest", "identity"),
    conf_files=("sources/",),
    add_arguments=_arguments,
    fingerprint=lambda c: [source_fingerprint(_mapping(c), c.arguments.source), c.arguments.snapshot],
    plan=lambda context: measure_source(_mapping(context), context.arguments.source),
    work=lambda context: measure_source(_mapping(context), context.arguments.source)["source_kib"] or None,
    writes=(schemas.PATIENTS, schemas.ENCOUNTERS, schemas.NOTES, schemas.GOLD, schemas.REJECTS, schemas.PATIENT_MERGES),
    example="spark-submit --properties-file conf/spark/laptop.conf --load-spark-defaults jobs/ingest.py "
    "--lake .state/lake --source .state/source",
)

if __name__ == "__main__":
    sys.exit(run_job(STAGE))
