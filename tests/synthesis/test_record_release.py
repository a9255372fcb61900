"""Asking for marginals: exact at infinite epsilon, once per question, refused before the data are read."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest

from ppsehr_spark.config import read_conf_files
from ppsehr_spark.errors import BudgetRefusedError
from ppsehr_spark.privacy.ledger import Ledger
from ppsehr_spark.privacy.policy import Scope
from ppsehr_spark.privacy.units import Budget
from ppsehr_spark.synthesis.records import (
    RecordPlan,
    ReleasedMarginal,
    count_cells,
    make_model_id,
    parse_record_plan,
    release_marginals,
)
from tests.privacy.small_ledger import MemoryStore, make_policy

FILES = read_conf_files()
SCOPE = Scope("lake", "record_model", "job:fit")


@dataclass
class Source:
    """Counts that remember how often they were read; reading number ``fails_at`` of them fails."""

    plan: RecordPlan
    n_reads: int = 0
    is_broken: bool = False
    counts: Mapping[str, Sequence[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.counts = {
            marginal.name: [(7 * cell) % 50 for cell in range(count_cells(marginal, self.plan.domain))]
            for marginal in self.plan.marginals
        }

    def __call__(self) -> Mapping[str, Sequence[int]]:
        self.n_reads += 1
        if self.is_broken:
            raise OSError("disk")
        return self.counts


@pytest.fixture(scope="module")
def plan() -> RecordPlan:
    return parse_record_plan(FILES, delta=1e-6)


def _ledger(epsilon: float) -> Ledger:
    return Ledger(MemoryStore(), make_policy(epsilon))


def _ask(ledger: Ledger, plan: RecordPlan, source: Source, *, version: int = 3) -> tuple[ReleasedMarginal, ...]:
    model_id = make_model_id(plan, versions={"phi.encounters": version})
    return release_marginals(ledger, plan, model_id=model_id, scope=SCOPE, tabulate=source)


def test_at_infinite_epsilon_the_release_is_exact(plan: RecordPlan) -> None:
    exact, source = replace(plan, budget=Budget(math.inf, 1e-6), rho=math.inf), Source(plan)
    released = _ask(_ledger(math.inf), exact, source)
    assert {marginal.name: marginal.counts.tolist() for marginal in released} == source.counts
    assert all(marginal.noise_scale == 0 for marginal in released)


def test_an_exact_release_is_refused_by_any_finite_budget(plan: RecordPlan) -> None:
    exact, source = replace(plan, budget=Budget(math.inf, 1e-6), rho=math.inf), Source(plan)
    with pytest.raises(BudgetRefusedError):
        _ask(_ledger(1000.0), exact, source)
    assert source.n_reads == 0


def test_the_noise_is_as_wide_as_stated(plan: RecordPlan) -> None:
    source = Source(plan)
    for marginal in _ask(_ledger(100.0), plan, source):
        if len(marginal.counts) < 90:
            continue
        errors = [float(a - b) for a, b in zip(marginal.counts, source.counts[marginal.name], strict=True)]
        tolerance = 5 / math.sqrt(2 * len(errors))  # five standard errors of a standard deviation
        assert statistics.pstdev(errors) == pytest.approx(marginal.noise_scale, rel=tolerance)
        assert abs(statistics.fmean(errors)) < 5 * marginal.noise_scale / math.sqrt(len(errors))


def test_a_retry_is_answered_by_the_ledger_alone(plan: RecordPlan) -> None:
    ledger, source = _ledger(2.1), Source(plan)
    first = _ask(ledger, plan, source)
    rows = len(ledger.store.entries())
    again = _ask(ledger, plan, source)
    assert [m.counts.tolist() for m in again] == [m.counts.tolist() for m in first]
    assert [m.grant_id for m in again] == [m.grant_id for m in first]
    assert (source.n_reads, len(ledger.store.entries())) == (1, rows)


def test_other_table_versions_are_another_question(plan: RecordPlan) -> None:
    ledger, source = _ledger(2.1), Source(plan)
    _ask(ledger, plan, source)
    with pytest.raises(BudgetRefusedError):
        _ask(ledger, plan, source, version=4)
    assert source.n_reads == 1


def test_a_budget_that_holds_some_marginals_only_is_refused_before_reading(plan: RecordPlan) -> None:
    ledger, source = _ledger(1.6), Source(plan)
    with pytest.raises(BudgetRefusedError):
        _ask(ledger, plan, source)
    assert source.n_reads == 0
    assert not ledger.store.entries(), "nothing was set aside"


def test_a_crash_while_reading_costs_one_marginal(plan: RecordPlan) -> None:
    ledger, source = _ledger(3.0), Source(plan, is_broken=True)
    with pytest.raises(OSError, match="disk"):
        _ask(ledger, plan, source)
    lost = ledger.balances()[0].epsilon_spent
    assert 0 < lost < 1
    source.is_broken = False
    assert len(_ask(ledger, plan, source)) == len(plan.marginals)
    assert 2.0 < ledger.balances()[0].epsilon_spent < 2.25
