"""Protected notes -> release.notes, behind gates (no engine): canaries, residual identifiers, open text, policy."""

from __future__ import annotations

import argparse
import sys

from ppsehr_spark.config import hash_values
from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.publishing import publish_notes, read_canaries
from ppsehr_spark.runtime import RunContext, Stage, StageResult, run_job


def _body(context: RunContext) -> StageResult:
    with context.progress(None, unit="note") as bar:
        release = publish_notes(
            context.lake,
            context.settings,
            run_id=context.run_id,
            canaries=_canaries(context),
            on_batch=bar.update,
        )
    print(f"publish: release {release.release_id}" + ("" if release.is_new else " (stood before)"), file=sys.stderr)
    counts = {"n_rows": release.n_rows, "n_withheld": release.n_withheld, "is_new": int(release.is_new)}
    return StageResult(counts)


def _canaries(context: RunContext) -> list[str]:
    return read_canaries(context.arguments.canaries) if context.arguments.canaries else []


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    help_text = "one string per line that must not come out; added to conf/canaries.tsv"
    parser.add_argument("--canaries", default="", metavar="FILE", help=help_text)


STAGE = Stage(
    name="publish",
    help=__doc__,
    body=_body,
    inputs=(schemas.PROTECTED_NOTES, schemas.NOTES, schemas.ANNOTATIONS),
    conf_sections=("protect", "publish"),
    conf_files=("categories/", "lexicons/", "tiers.toml", "canaries.tsv"),
    add_arguments=_add_arguments,
    fingerprint=lambda context: hash_values(_canaries(context)),
    writes=(schemas.RELEASED_NOTES, schemas.RELEASES),
    example="python jobs/publish.py --lake .state/lake --canaries .state/source/canaries.txt",
)

if __name__ == "__main__":
    sys.exit(run_job(STAGE))
