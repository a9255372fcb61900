"""The fit stage: pinned tables -> bounded integer marginals -> noise under the ledger -> protected.record_model.

Knows: the order of steps and where a process may die. Must not know: cells, mechanisms, estimation. Killed anywhere and
run again it asks the same questions: what was released is returned, what was only reserved stays spent, and the rows of
a model are written once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pyspark.sql import SparkSession

from ppsehr_spark.config import Settings
from ppsehr_spark.errors import InputError
from ppsehr_spark.lake.crash_points import crash_point
from ppsehr_spark.lake.ledger_store import open_ledger
from ppsehr_spark.lake.record_model_store import write_marginals
from ppsehr_spark.lake.row_versions import row_versions
from ppsehr_spark.lake.schemas import ENCOUNTERS, PATIENTS
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.privacy.policy import Policy, Scope, parse_policy
from ppsehr_spark.spark.frames import read_table
from ppsehr_spark.spark.marginals import tabulate_marginals
from ppsehr_spark.spark.session import describe
from ppsehr_spark.synthesis.records import (
    RecordPlan,
    ReleasedMarginal,
    count_cells,
    make_model_id,
    parse_record_plan,
    release_marginals,
)

_PURPOSE = "record_model"


def fit_record_model(
    open_spark: Callable[[], SparkSession], lake: Lake, *, settings: Settings, run_id: str
) -> dict[str, int | float]:
    """Release and store the marginals of conf/record_model.toml.

    Args:
        open_spark: called when data must be read; a finished fit needs no session.

    Returns:
        Marginals, cells, rho, and 1 for ``written`` when the rows are new.

    Raises:
        BudgetRefusedError: before data are read.
        InputError: ``NO_ENCOUNTERS`` when there is no table of visits.
    """
    policy = parse_policy(settings.files)
    plan = parse_record_plan(settings.files, delta=policy.total.delta)
    versions = {spec.full_name: lake.version(spec) for spec in (PATIENTS, ENCOUNTERS)}
    if versions[ENCOUNTERS.full_name] is None:
        raise InputError("NO_ENCOUNTERS", table=ENCOUNTERS.full_name, hint="run the ingest stage first")
    model_id = make_model_id(plan, versions=row_versions(lake, versions))
    released = _release(lake, plan, policy, settings, model_id, lambda: _tabulate(open_spark(), lake, plan, versions))
    crash_point("fit.before_write")
    is_new = write_marginals(lake, released, model_id=model_id, domain=plan.domain, run_id=run_id)
    crash_point("fit.after_write")
    n_cells = sum(count_cells(marginal, plan.domain) for marginal in plan.marginals)
    return {"marginals": len(released), "cells": n_cells, "rho": plan.rho, "written": int(is_new)}


def plan_record_model(settings: Settings) -> dict[str, object]:
    """For ``--dry-run``: what would be asked, its cost and its noise, without reading anything."""
    plan = parse_record_plan(settings.files, delta=parse_policy(settings.files).total.delta)
    marginals = [
        {
            "name": marginal.name,
            "record": marginal.record,
            "attributes": list(marginal.attributes),
            "cells": count_cells(marginal, plan.domain),
            "rho": round(plan.rho_of(marginal), 6),
            "noise_sd": round(plan.noise_scale_of(marginal), 2),
        }
        for marginal in plan.marginals
    ]
    budget = {"epsilon": plan.budget.epsilon, "delta": plan.budget.delta, "rho": round(plan.rho, 6)}
    return {"budget": budget, "marginals": marginals}


def _release(
    lake: Lake,
    plan: RecordPlan,
    policy: Policy,
    settings: Settings,
    model_id: str,
    tabulate: Callable[[], Mapping[str, list[int]]],
) -> tuple[ReleasedMarginal, ...]:
    scope = Scope(dataset=settings.privacy.dataset, purpose=_PURPOSE, user="job:fit")
    return release_marginals(open_ledger(lake, policy), plan, model_id=model_id, scope=scope, tabulate=tabulate)


def _tabulate(
    spark: SparkSession, lake: Lake, plan: RecordPlan, versions: Mapping[str, int | None]
) -> dict[str, list[int]]:
    """Exact counts from the pinned versions; they never leave this process."""
    describe(spark, "fit: marginals")
    frames = {
        spec.full_name: read_table(spark, lake, spec, version=versions[spec.full_name])
        for spec in (PATIENTS, ENCOUNTERS)
    }
    counts = tabulate_marginals(
        frames[ENCOUNTERS.full_name], frames[PATIENTS.full_name], domain=plan.domain, marginals=plan.marginals
    )
    crash_point("fit.after_collect")
    return counts
