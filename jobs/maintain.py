"""Every table of the lake: compaction where it pays, purge, VACUUM, checkpoints and log clean-up (Spark, deltalake)."""

from __future__ import annotations

import sys

from ppsehr_spark.lake.maintenance import TablePlan, plan_tables
from ppsehr_spark.runtime import RunContext, Stage, StageResult, run_job
from ppsehr_spark.spark.maintenance.rounds import Caretaker, maintain_tables
from ppsehr_spark.spark.maintenance.spill import remove_stale_spill
from ppsehr_spark.spark.session import open_session


def _plans(context: RunContext) -> list[TablePlan]:
    plans = plan_tables(context.lake, context.settings.maintain)
    for plan in plans:
        if plan.held_back_by:
            print(f"maintain: {plan.table} keeps version {plan.keep_version} for {plan.held_back_by}", file=sys.stderr)
        if plan.is_feed_cut:
            print(f"maintain: the log of {plan.table} no longer reaches back to its last reader", file=sys.stderr)
    return plans


def _body(context: RunContext) -> StageResult:
    chosen, plans = context.settings.maintain, _plans(context)
    caretaker = Caretaker(context.lake, lambda: open_session("maintain"))
    with context.progress(len(plans), unit="table") as bar:
        counts = maintain_tables(caretaker, plans, target_mib=chosen.target_file_mib, on_table=bar.update)
    counts["spill_folders_removed"] = len(remove_stale_spill(caretaker.spark, hours=chosen.spill_hours))
    return StageResult(counts, is_partial=counts["skipped"] > 0)


STAGE = Stage(
    name="maintain",
    help=__doc__,
    body=_body,
    conf_sections=("maintain",),
    plan=lambda context: {"tables": [plan.to_plain() for plan in _plans(context)]},
    example="spark-submit --properties-file conf/spark/laptop.conf --load-spark-defaults jobs/maintain.py "
    "--lake .state/lake --dry-run",
)

if __name__ == "__main__":
    sys.exit(run_job(STAGE))
