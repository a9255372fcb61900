"""What an annotate run finds when it begins: open segments, leases, and the run that did not end before it.

Knows: the lake. Must not know: Ray, engines. Everything is read from Delta; there is no other state to resume from.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import UTC, datetime

from ppsehr_spark.config import Settings
from ppsehr_spark.lake.dead_letters import read_dead
from ppsehr_spark.lake.schemas import RUNS, UNIT_CLAIMS
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.lake.unit_claims import read_leases
from ray_actors.unit_store import open_tasks

#: A run that failed or was interrupted has a record, too, and did not end.
_ENDED = (("annotate", "ok"), ("annotate", "partial"))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the annotate job takes beside the arguments of every job."""
    parser.add_argument("--resume", action="store_true", help="go on under the run id of a run that did not end")
    parser.add_argument("--replay", action="store_true", help="open dead letters again and ask about nothing else")
    parser.add_argument(
        "--error-code", default="", metavar="CODE", help="with --replay: only dead letters of this code"
    )


def describe_open(lake: Lake, settings: Settings) -> dict[str, int]:
    """Open units and segments with the tokens of their prompts by estimate, units under a lease, segments given up."""
    tasks = open_tasks(lake, settings.files)
    claims = lake.open(UNIT_CLAIMS)
    leases = read_leases(lake, claims, since=datetime.now(UTC)) if claims is not None else []
    return {
        "open_units": len(tasks),
        "open_segments": sum(len(task.segment_keys) for task in tasks),
        "estimated_prompt_tokens": sum(task.estimated_tokens for task in tasks),
        "leased_units": len({unit for lease in leases for unit in lease["unit_ids"]}),
        "given_up_segments": len(read_dead(lake)),
    }


def unfinished_run_id(lake: Lake) -> str:
    """Id of the last run that claimed units and has no record of its end; ``""`` when there is none."""
    runs = lake.read(RUNS, ["run_id", "stage", "status"]).to_pylist()
    ended = {run["run_id"] for run in runs if (run["stage"], run["status"]) in _ENDED}
    claims = lake.read(UNIT_CLAIMS, ["sequence", "run_id"]).sort_by("sequence").to_pylist()
    return next((row["run_id"] for row in reversed(claims) if row["run_id"] not in ended), "")


def keep_run_id(argv: Sequence[str]) -> list[str]:
    """Arguments of the job; ``--resume`` without a run id gets that of the last run that did not end."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--run-id", default="")
    parser.add_argument("--lake", default="")
    known, _ = parser.parse_known_args(argv)
    run_id = unfinished_run_id(Lake(known.lake)) if known.resume and known.lake and not known.run_id else ""
    return [*argv, *(["--run-id", run_id] if run_id else [])]
