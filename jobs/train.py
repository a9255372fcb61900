"""Protected notes with their records -> protected.checkpoints (Ray): DP-SGD on patients under the privacy ledger."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from ppsehr_spark.lake import schemas
from ppsehr_spark.privacy.policy import parse_policy
from ppsehr_spark.runtime import RunContext, Stage, StageResult, run_job
from ray_actors.train_run import ask_training, train_lake


def _body(context: RunContext) -> StageResult:
    with context.progress(unit="step") as progress:
        counts = train_lake(context.lake, settings=context.settings, run_id=context.run_id, progress=progress)
    return StageResult(counts)


def _plan(context: RunContext) -> Mapping[str, object]:
    question = ask_training(context.lake, context.settings)
    delta = parse_policy(context.settings.files).total.delta
    return {
        "ask_id": question.query.run_id,
        "plan": question.plan.to_plain(),
        "epsilon": question.plan.epsilon(delta),
        "delta": delta,
        "n_workers": context.settings.train.n_workers,
    }


STAGE = Stage(
    name="train",
    help=__doc__,
    body=_body,
    inputs=(schemas.PROTECTED_NOTES, schemas.NOTES, schemas.ENCOUNTERS),
    conf_sections=("train", "privacy"),
    conf_files=("privacy.toml", "codelists/diagnoses.tsv"),
    plan=_plan,
    writes=(schemas.CHECKPOINTS, schemas.MEMBERSHIP_SCORES),
    example="python jobs/train.py --lake .state/lake --set train.epsilon=1.0 --dry-run",
)

if __name__ == "__main__":
    sys.exit(run_job(STAGE))
