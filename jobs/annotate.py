"""Open work units -> phi.segment_annotations (Ray): Qwen judges, extracts and tiers within a token budget."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from ppsehr_spark.lake import dead_letters, schemas
from ppsehr_spark.runtime import RunContext, Stage, StageResult, run_job
from ray_actors.resumption import add_arguments, describe_open, keep_run_id


def _body(context: RunContext) -> StageResult:
    from ray_actors.annotate_run import annotate_lake  # Ray takes seconds to import; --dry-run needs none of it

    lake, options, only = context.lake, context.arguments, None
    if options.replay:
        only = dead_letters.reopen(lake, error_code=options.error_code, run_id=context.run_id)
    if options.resume or options.explain:
        print(f"annotate: run {context.run_id} finds {describe_open(lake, context.settings)}", file=sys.stderr)
    with context.progress(unit="segment") as progress:
        counts = annotate_lake(
            lake, settings=context.settings, run_id=context.run_id, progress=progress, only=only, done=context.done
        )
    return StageResult(counts.to_dict(), is_partial=counts.n_dead_letters > 0)


def _plan(context: RunContext) -> Mapping[str, object]:
    dead = dead_letters.count_dead(context.lake, error_code=context.arguments.error_code)
    about = {"engine": context.settings.annotate.engine, "token_budget": context.settings.annotate.token_budget}
    opened = describe_open(context.lake, context.settings)
    tokens = min(opened["estimated_prompt_tokens"], context.settings.annotate.token_budget)
    return {**about, "dead_letters": dead, **opened, "estimated_tokens": tokens}


def _work(context: RunContext) -> int:
    return describe_open(context.lake, context.settings)["open_segments"]


STAGE = Stage(
    name="annotate",
    help=__doc__,
    body=_body,
    add_arguments=add_arguments,
    plan=_plan,
    work=_work,
    work_count="segments",
    writes=(schemas.SEGMENT_ANNOTATIONS, schemas.DEAD_LETTERS),
    example="python jobs/annotate.py --lake .state/lake --set annotate.token_budget=20000",
    uses_knowledge=True,
)


def replay(arguments: Sequence[str]) -> int:
    """``ppsehr replay``: the annotate job over dead letters; it alone writes their table."""
    return run_job(STAGE, ["--replay", *arguments])


if __name__ == "__main__":
    sys.exit(run_job(STAGE, keep_run_id(sys.argv[1:])))
