"""Open work units -> phi.segment_annotations (Ray): Qwen judges, extracts and tiers within a token budget."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from ppsehr_spark.lake import schemas
from ppsehr_spark.runtime import RunContext, Stage, StageResult, run_job
from ray_actors.unit_store import open_tasks


def _body(context: RunContext) -> StageResult:
    from ray_actors.annotate_run import annotate_lake  # Ray takes seconds to import; --dry-run needs none of it

    with context.progress(unit="segment") as progress:
        counts = annotate_lake(context.lake, settings=context.settings, run_id=context.run_id, progress=progress)
    return StageResult(counts.to_dict(), is_partial=counts.n_dead_letters > 0)


def _plan(context: RunContext) -> Mapping[str, object]:
    tasks = open_tasks(context.lake, context.settings.files)
    units = context.lake.read(schemas.WORK_UNITS, ["unit_id", "n_segments", "estimated_tokens"]).to_pylist()
    per_segment = {unit["unit_id"]: unit["estimated_tokens"] / max(1, unit["n_segments"]) for unit in units}
    tokens = sum(per_segment[task.unit_id] * len(task.segment_keys) for task in tasks)
    return {
        "engine": context.settings.annotate.engine,
        "token_budget": context.settings.annotate.token_budget,
        "open_units": len(tasks),
        "open_segments": sum(len(task.segment_keys) for task in tasks),
        "estimated_tokens": min(round(tokens), context.settings.annotate.token_budget),
    }


def _work(context: RunContext) -> int:
    return sum(len(task.segment_keys) for task in open_tasks(context.lake, context.settings.files))


STAGE = Stage(
    name="annotate",
    help=__doc__,
    body=_body,
    plan=_plan,
    work=_work,
    work_count="segments",
    writes=(schemas.SEGMENT_ANNOTATIONS, schemas.DEAD_LETTERS),
    example="python jobs/annotate.py --lake .state/lake --set annotate.token_budget=20000",
    uses_knowledge=True,
)

if __name__ == "__main__":
    sys.exit(run_job(STAGE))
