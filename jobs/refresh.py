"""The night after: what changed in the sources goes through the stages, and nothing else does.

Runs the pipeline from ingest to protect, each stage in a process of its own, and prints what was read and rewritten.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence

from ppsehr_spark.errors import ExitCode
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.operations.refreshing import mark_versions, measure_refresh, render_report
from ppsehr_spark.runtime import new_run_id

#: Statistics spend budget, so they run only when somebody asks.
_LAST = ("ingest", "partition", "annotate", "tier", "protect", "stats")
_EXAMPLES = """examples:
  ppsehr refresh --lake /data/lake --source /data/delivery-0612            changes only
  ppsehr refresh --lake /data/lake --source /data/export --snapshot        a full export: absent notes are deleted
  ppsehr refresh --lake /data/lake --source /data/delivery --dry-run       what each stage would read
  ppsehr refresh --lake /data/lake --source /data/delivery --full          compare whole tables (CHANGE_FEED_GONE)
every other option of `ppsehr run` is understood, too (--profile, --conf, --set, --explain, --spark-extra)"""


def main(argv: Sequence[str] | None = None) -> int:
    """Refresh a lake; returns the exit code of the first stage that fails, else 0 or 6 (partial)."""
    options, passed = _parser().parse_known_args(argv)
    lake, run_id = Lake(options.lake), options.run_id or new_run_id()
    before = mark_versions(lake)
    command = [sys.executable, "-m", "jobs.pipeline", "--lake", options.lake, "--source", options.source]
    command += ["--from", "ingest", "--until", options.until, "--run-id", run_id, "--no-summary", *passed]
    command += ["--dry-run"] if options.dry_run else []
    code = subprocess.run(command, check=False).returncode
    if code in (ExitCode.OK, ExitCode.PARTIAL) and not options.dry_run:
        print(render_report(measure_refresh(lake, before, run_id), as_json=options.json))
    return code if code in set(ExitCode) else int(ExitCode.INFRASTRUCTURE)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ppsehr refresh", description=__doc__, epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
    )  # fmt: skip
    parser.add_argument("--lake", default=".state/lake", metavar="URI", help="lake root (default .state/lake)")
    parser.add_argument("--source", required=True, metavar="URI", help="what was delivered")
    parser.add_argument("--until", choices=_LAST, default="protect", help="last stage (default protect)")
    parser.add_argument("--run-id", default="", help="default: a new one")
    parser.add_argument("--dry-run", action="store_true", help="each stage says what it would do and writes nothing")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
