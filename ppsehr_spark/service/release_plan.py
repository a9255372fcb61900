"""``ppsehr dp plan``: what the next release of DP statistics would cost and show, before anything is read or spent.

Knows: how a plan is laid out for people. Must not know: records; it reads conf and, where a lake has them, statistics
that were released before (post-processing, free). Writes nothing.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from ppsehr_spark.config import Settings
from ppsehr_spark.errors import ExitCode
from ppsehr_spark.lake.schemas import DP_STATISTICS
from ppsehr_spark.lake.statistics_plan import VISITS_PER_PATIENT, plan_stage, read_catalogue
from ppsehr_spark.lake.statistics_store import read_statistics
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.operations.tables import align_columns
from ppsehr_spark.privacy import catalogue as kinds
from ppsehr_spark.privacy.accounting import compute_epsilon
from ppsehr_spark.privacy.allocation import ABSOLUTE, SQUARED, allocate_rho, express_noise, make_claim, sum_error
from ppsehr_spark.privacy.catalogue import Catalogue
from ppsehr_spark.privacy.releases import Z_95, PlannedRelease
from ppsehr_spark.service.arguments import add_settings_arguments, load_chosen_settings, make_parser, run_door

_POWERS = {"squared": SQUARED, "absolute": ABSOLUTE}
_COVERED = 0.95
_Rows = Mapping[str, Sequence[Mapping[str, Any]]]
_EXAMPLES = """  ppsehr dp plan                                  from conf alone
  ppsehr dp plan --lake .state/lake               with what was released before: signal, relative error
  ppsehr dp plan --error absolute --json
  ppsehr dp plan --explain                        formulas and rules
  ppsehr dp run --lake .state/lake                the stats stage by hand (its own --help, --dry-run)
exit codes: 0 done, 2 usage, 3 configuration"""
_EXPLAINED = """
epsilon    of the release alone, at the delta of the total cap (dp-accounting, RDP); epsilons do not add
noise sd   of a cell in patients or visits; a mean's or variance's is that of its number of visits, a sum's in visits of
           the largest value; cells of tables and hierarchies after least squares; quantiles err in ranks, have none
error 95%  95% of the noise of a cell lies within
signal     share of the cells released before whose value reaches the display limit under the noise planned now
proposed   the sum over releases of weight * (noise sd / typical cell)^p is least, under the same total, where rho is
           proportional to (weight * (c / typical cell)^p)^(2 / (p + 2)), with noise sd = c / sqrt(2 rho); p = 2
           squared, p = 1 absolute (--error). The typical cell is the mean released value of cells with signal. Where
           some releases have one, the others keep their shares; where none has, it is 1 for all and the error is in
           patients or visits. Quantiles keep their shares.
K, K'      visits of a patient that count, now and by a public rule: the least number that covers 95% of the patients of
           the released histogram visits_per_patient; without such a release the present bound stands"""


@dataclass(frozen=True)
class PlanLine:
    """One release of the plan.

    Attributes:
        error_95: 95% of a cell's noise lies within; ``None`` for quantiles.
        signal: share of cells expected to carry signal; ``None`` when nothing was released before.
        proposed: share that would make the stated error least.
        max_encounters, proposed_encounters: present bound and that of the rule; 0 where visits are not bounded so.
    """

    id: str
    kind: str
    cells: int | None
    rho: float
    epsilon: float
    delta: float
    noise_sd: float | None
    error_95: float | None
    signal: float | None
    share: float
    proposed: float
    max_encounters: int
    proposed_encounters: int


@dataclass(frozen=True)
class ReleasePlan:
    """The whole plan; ``is_relative`` says whether errors count by the size of cells."""

    epsilon: float
    delta: float
    rho: float
    is_relative: bool
    error_now: float
    error_proposed: float
    releases: tuple[PlanLine, ...]


def main(argv: Sequence[str]) -> int:
    """Run ``ppsehr dp plan``; returns the exit code."""
    parser = make_parser("dp", "plan: what DP statistics would cost and show; writes nothing.", _EXAMPLES)
    parser.add_argument("what", choices=["plan"], help="plan (run is a job of its own: ppsehr dp run --help)")
    parser.add_argument("--lake", default=None, metavar="URI", help="lake whose released statistics are looked at")
    parser.add_argument("--error", choices=list(_POWERS), default="squared", help="what the proposal makes least")
    parser.add_argument("--json", action="store_true", help="print the plan as JSON")
    parser.add_argument("--explain", action="store_true", help="say what each column means and by which formula")
    add_settings_arguments(parser)
    options = parser.parse_args(argv)
    return run_door("dp", lambda: _show(options))


def _show(options: argparse.Namespace) -> int:
    plan = make_plan(load_chosen_settings(options), _read_before(options.lake), power=_POWERS[options.error])
    if options.json:
        print(json.dumps(dataclasses.asdict(plan), ensure_ascii=False, indent=1))
    else:
        print(render_plan(plan) + (_EXPLAINED if options.explain else ""))
    return int(ExitCode.OK)


def make_plan(settings: Settings, before: _Rows, *, power: int = SQUARED) -> ReleasePlan:
    """Cost, error and proposal of every release.

    Args:
        before: query -> rows released before, empty when there are none.
    """
    catalogue, (planned, _) = read_catalogue(settings), plan_stage(settings)
    sizes = {each.release.id: _find_size(each, before.get(each.release.id, ())) for each in planned}
    claims = [claim for each in planned if (claim := make_claim(each))]
    is_relative = any(sizes.values())
    if is_relative:
        claims = [dataclasses.replace(each, size=size) for each in claims if (size := sizes[each.release_id])]
    now = {each.release.id: each.rho for each in planned}
    shared = sum(now[claim.release_id] for claim in claims)
    proposed = {**now, **allocate_rho(claims, shared, power=power)}
    covering = _cover_visits(before)
    lines = tuple(_describe(each, catalogue, proposed[each.release.id], before, covering) for each in planned)
    events = [each.part.event for each in planned]
    return ReleasePlan(
        epsilon=compute_epsilon(events, delta=catalogue.budget.delta),
        delta=catalogue.budget.delta,
        rho=sum(now.values()),
        is_relative=is_relative,
        error_now=sum_error(claims, now, power=power),
        error_proposed=sum_error(claims, proposed, power=power),
        releases=lines,
    )


def render_plan(plan: ReleasePlan) -> str:
    """The plan as a table and a summary."""
    head = (
        "release", "kind", "cells", "epsilon", "delta", "noise sd", "error 95%", "signal", "share", "proposed",
        "K", "K'",
    )  # fmt: skip
    body = [
        (
            line.id, line.kind, _whole(line.cells), f"{line.epsilon:.3f}", f"{line.delta:.0e}" if line.delta else "-",
            _number(line.noise_sd), _number(line.error_95), "unknown" if line.signal is None else f"{line.signal:.0%}",
            f"{line.share:.3f}", f"{line.proposed:.3f}", _whole(line.max_encounters), _whole(line.proposed_encounters),
        )
        for line in plan.releases
    ]  # fmt: skip
    unit = "relative to the typical cell" if plan.is_relative else "in patients or visits (nothing released before)"
    total = f"all together: epsilon {plan.epsilon:.3f} at delta {plan.delta:g}, rho {plan.rho:.6f}"
    error = f"stated error, {unit}: now {plan.error_now:.4g}, as proposed {plan.error_proposed:.4g}"
    bounds = "K, K': visits of a patient that count, now and by the rule (--explain)"
    return "\n".join([align_columns([head, *body]), "", total, error, bounds])


def _describe(
    planned: PlannedRelease, catalogue: Catalogue, proposed: float, before: _Rows, covering: int | None
) -> PlanLine:
    release, sd = planned.release, express_noise(planned)
    simple = planned.half_width if planned.has_counts and release.kind != kinds.SUM else None
    return PlanLine(
        id=release.id,
        kind=release.kind,
        cells=planned.n_rows,
        rho=planned.rho,
        epsilon=compute_epsilon([planned.part.event], delta=catalogue.budget.delta),
        delta=release.delta,
        noise_sd=sd,
        error_95=simple if simple is not None else None if sd is None else Z_95 * sd,
        signal=_share_signal(planned, before.get(release.id, ())),
        share=release.share,
        proposed=release.share * proposed / planned.rho,
        max_encounters=release.max_encounters,
        proposed_encounters=(covering or release.max_encounters) if release.max_encounters else 0,
    )


def _read_before(uri: str | None) -> _Rows:
    if uri is None:
        return {}
    lake = Lake(uri)
    if lake.version(DP_STATISTICS) is None:
        return {}
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in read_statistics(lake).to_pylist():
        found.setdefault(row["query"], []).append(row)
    return found


def _share_signal(planned: PlannedRelease, rows: Sequence[Mapping[str, Any]]) -> float | None:
    if not rows or planned.noise_sd is None:
        return None
    return len(_with_signal(planned, rows)) / len(rows)


def _with_signal(planned: PlannedRelease, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Rows that reach the display limit; of means and variances, those that were shown."""
    if planned.release.kind in (kinds.MEAN, kinds.VARIANCE):
        return [row for row in rows if not row["is_suppressed"]]
    return [row for row in rows if row["value"] >= planned.suppress_below]


def _find_size(planned: PlannedRelease, rows: Sequence[Mapping[str, Any]]) -> float | None:
    """Typical cell in patients or visits; ``None`` when no release tells it."""
    if planned.release.kind in (kinds.MEAN, kinds.VARIANCE, kinds.QUANTILE):
        return None
    values = [row["value"] for row in _with_signal(planned, rows)]
    unit = max(map(abs, planned.release.clamp)) if planned.release.kind == kinds.SUM else 1
    return fmean(values) / unit if values else None


def _cover_visits(before: _Rows) -> int | None:
    """Least number of visits that covers 95% of patients, by released bins; the last bin has no upper end."""
    rows = sorted(before.get(VISITS_PER_PATIENT, ()), key=lambda row: int(row["cell"]))
    counts = [max(0.0, row["value"]) for row in rows]
    reached, total = 0.0, sum(counts)
    for row, count in zip(rows[:-1], counts[:-1], strict=True):
        reached += count
        if total and reached >= _COVERED * total:
            return int(str(row["group_keys"][0]["value"]).split("-")[-1])
    return None


def _whole(value: int | None) -> str:
    return str(value) if value else "-"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
