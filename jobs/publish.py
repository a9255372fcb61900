"""Protected tables -> release.* (no engine): notes, DP statistics and synthetic data, each behind its own gates."""

from __future__ import annotations

import argparse
import sys

from ppsehr_spark.config import hash_values
from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.evaluations import EVALUATED
from ppsehr_spark.lake.note_publishing import read_canaries
from ppsehr_spark.lake.publishing import publish_products
from ppsehr_spark.runtime import RunContext, Stage, StageResult, run_job


def _body(context: RunContext) -> StageResult:
    canaries = read_canaries(context.arguments.canaries) if context.arguments.canaries else []
    with context.progress(None, unit="note") as bar:
        done = publish_products(
            context.lake, context.settings, run_id=context.run_id, canaries=canaries, on_batch=bar.update
        )
    for release in done.releases:
        stood = "" if release.is_new else " (stood before)"
        text = f"{release.product} {release.release_id} n_rows={release.n_rows}{stood}"
        context.reporter.say("released", text, product=release.product, release_id=release.release_id)
    for product, refusal in done.refusals:
        context.reporter.say(refusal.code, f"{product} refused: {refusal}", level="error", product=product)
    if done.refusals:
        raise done.refusals[0][1]
    counts = {"n_rows": sum(r.n_rows for r in done.releases), "n_withheld": sum(r.n_withheld for r in done.releases)}
    return StageResult({**counts, "n_products": len(done.releases), "is_new": sum(r.is_new for r in done.releases)})


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    help_text = "one string per line that must not come out; added to conf/canaries.tsv"
    parser.add_argument("--canaries", default="", metavar="FILE", help=help_text)


def _fingerprint(context: RunContext) -> str:
    return hash_values(read_canaries(context.arguments.canaries) if context.arguments.canaries else [])


NOTE_TABLES = (schemas.PROTECTED_NOTES, schemas.NOTES, schemas.ANNOTATIONS)
STAGE = Stage(
    name="publish",
    help=__doc__,
    body=_body,
    inputs=(*NOTE_TABLES, *EVALUATED, schemas.EVALUATIONS, schemas.PRIVACY_LEDGER),
    conf_sections=("protect", "publish", "privacy"),
    conf_files=("categories/", "lexicons/", "tiers.toml", "canaries.tsv", "claim/", "releases.toml", "narratives/"),
    add_arguments=_add_arguments,
    fingerprint=_fingerprint,
    writes=tuple(spec for spec in schemas.TABLES.values() if spec.writer == "publish"),
    example="python jobs/publish.py --lake .state/lake --canaries .state/source/canaries.txt",
    uses_knowledge=True,
)

if __name__ == "__main__":
    sys.exit(run_job(STAGE))
