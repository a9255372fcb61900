"""Reviewed errors -> phi.knowledge (Ray): induction and Qwen propose, a gate decides, a version or refusal is kept."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence

from ppsehr_spark.domain.knowledge.mistakes import ReviewedNote
from ppsehr_spark.evaluation.reviewed_sources import read_reviewed
from ppsehr_spark.lake import schemas
from ppsehr_spark.runtime import RunContext, Stage, StageResult, run_job
from ppsehr_spark.service import knowledge_door
from ray_actors.evolve_run import describe_lesson, evolve_lake, fingerprint_lesson, prepare_lesson, roll_back


def _body(context: RunContext) -> StageResult:
    lake, settings, run_id = context.lake, context.settings, context.run_id
    if context.arguments.rollback is not None:
        return StageResult(roll_back(lake, settings=settings, run_id=run_id, version=context.arguments.rollback))
    with context.progress(unit="trial") as progress:
        return StageResult(evolve_lake(lake, settings=settings, run_id=run_id, gold=_gold(context), progress=progress))


def _gold(context: RunContext) -> tuple[ReviewedNote, ...]:
    return read_reviewed(context.arguments.gold) if context.arguments.gold else ()


def _plan(context: RunContext) -> Mapping[str, object]:
    return describe_lesson(prepare_lesson(context.lake, context.settings, _gold(context)), context.settings)


def _fingerprint(context: RunContext) -> object:
    is_step_back = context.arguments.rollback is not None  # never "done before"
    return context.run_id if is_step_back else fingerprint_lesson(context.lake, _gold(context))


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--gold", default="", metavar="PATH", help="folder of .gold.txt or a .jsonl; its dev half counts"
    )
    parser.add_argument("--rollback", type=int, default=None, metavar="VERSION", help="make VERSION the one in force")
    parser.add_argument("--list", action="store_true", help="print the history; also --show VERSION, --export DIR")


STAGE = Stage(
    name="evolve", help=__doc__, body=_body, plan=_plan, add_arguments=_add_arguments, fingerprint=_fingerprint,
    inputs=(schemas.CORRECTIONS,), conf_sections=("evolve", "engine", "partition"),
    conf_files=("categories/", "lexicons/", "tiers.toml", "knowledge.toml", "prompts/"), writes=(schemas.KNOWLEDGE,),
    example="python jobs/evolve.py --lake .state/lake --gold tests/data/gold --set evolve.engine=none",
)  # fmt: skip


def main(argv: Sequence[str]) -> int:
    """``ppsehr evolve``: look at the history, or run the job."""
    return knowledge_door.main(argv) if knowledge_door.is_reading(argv) else run_job(STAGE, argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
