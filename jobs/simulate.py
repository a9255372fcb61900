"""Nothing but a seed -> a folder of fictional source files with gold spans, canaries and bad rows (Spark)."""

from __future__ import annotations

import argparse
import sys

from ppsehr_spark.runtime import RunContext, Stage, StageResult, run_job
from ppsehr_spark.spark.session import open_session
from ppsehr_spark.spark.simulate import is_current, write_source


def _body(context: RunContext) -> StageResult:
    root, settings = context.arguments.source, context.settings.simulate
    if is_current(root, settings) and not context.arguments.force:
        return StageResult({"unchanged_files": 1})
    return StageResult(write_source(open_session("simulate"), root=root, settings=settings))


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--source", required=True, metavar="URI", help="folder to write; emptied if simulated before")


def _fingerprint(context: RunContext) -> object:
    """Folder and settings; the run id as long as the files are not there, so that a lost folder is written again."""
    root = context.arguments.source
    return {"source": root, "missing": "" if is_current(root, context.settings.simulate) else context.run_id}


STAGE = Stage(
    name="simulate",
    help=__doc__,
    body=_body,
    conf_sections=("simulate",),
    add_arguments=_arguments,
    fingerprint=_fingerprint,
    plan=lambda context: {
        "patients": context.settings.simulate.n_patients,
        "record_patients": context.settings.simulate.n_record_patients,
        "source": context.arguments.source,
    },
    work=lambda context: context.settings.simulate.n_patients + context.settings.simulate.n_record_patients,
    example="spark-submit --properties-file conf/spark/laptop.conf --load-spark-defaults jobs/simulate.py "
    "--lake .state/lake --source .state/source --set simulate.n_patients=2000",
)

if __name__ == "__main__":
    sys.exit(run_job(STAGE))
