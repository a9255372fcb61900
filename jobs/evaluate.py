"""Statistics, synthetic data, checkpoints -> protected.evaluations (no engine): fidelity, agreement, attack, audit."""

from __future__ import annotations

import sys

from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.evaluations import EVALUATED, evaluate_lake
from ppsehr_spark.runtime import RunContext, Stage, StageResult, run_job


def _body(context: RunContext) -> StageResult:
    return StageResult(evaluate_lake(context.lake, context.settings, run_id=context.run_id))


STAGE = Stage(
    name="evaluate",
    help=__doc__,
    body=_body,
    inputs=(*EVALUATED, schemas.PRIVACY_LEDGER),
    conf_sections=("publish",),
    conf_files=("privacy.toml",),
    writes=(schemas.EVALUATIONS,),
    example="python jobs/evaluate.py --lake .state/lake",
)

if __name__ == "__main__":
    sys.exit(run_job(STAGE))
