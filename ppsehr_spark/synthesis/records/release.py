"""Asking for the marginals of a record model: one ledger query each, answered once.

Knows: the order reserve -> draw -> commit. Must not know: how the counts are made (a callback) or where rows lie.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache

import numpy as np

from ppsehr_spark.errors import QualityGateError
from ppsehr_spark.privacy.asking import make_ask_id
from ppsehr_spark.privacy.grants import Grant, Query
from ppsehr_spark.privacy.ledger import Ledger, Released, Value, answer_once
from ppsehr_spark.privacy.noise import draw_counts
from ppsehr_spark.privacy.policy import Scope
from ppsehr_spark.synthesis.records.domain import encode_domain
from ppsehr_spark.synthesis.records.marginals import Marginal, ReleasedMarginal, count_cells
from ppsehr_spark.synthesis.records.plan import BOUNDS, RecordPlan

#: Counts of every marginal, exact; called at most once, after the first reservation.
Tabulate = Callable[[], Mapping[str, Sequence[int]]]


def make_model_id(plan: RecordPlan, *, versions: Mapping[str, int | None]) -> str:
    """The ask id of a fit: equal for equal domain, marginals, budget and table versions."""
    asked = [[m.name, m.record, list(m.attributes), m.share] for m in plan.marginals]
    budget = [str(plan.budget.epsilon), plan.budget.delta]
    definition = {"domain": encode_domain(plan.domain), "marginals": asked, "budget": budget}
    return make_ask_id("fit", definition=definition, versions=versions)


def release_marginals(
    ledger: Ledger, plan: RecordPlan, *, model_id: str, scope: Scope, tabulate: Tabulate
) -> tuple[ReleasedMarginal, ...]:
    """Every marginal of the plan, noised; what the ledger has released before is returned as it was.

    Marginals are reserved one by one, so that a crash leaves one of them spent and not all.

    Raises:
        BudgetRefusedError: before the data are read, when the budget does not hold all that is still unanswered.
    """
    queries = [Query(model_id, m.name, scope, plan.event_of(m), BOUNDS) for m in plan.marginals]
    ledger.require_room(queries)
    counts = cache(tabulate)  # one pass over the data serves all marginals, after the first reservation
    released = [answer_once(ledger, query, draw=lambda grant: _draw(counts(), grant)) for query in queries]
    return tuple(_name(plan, m, answer) for m, answer in zip(plan.marginals, released, strict=True))


def _draw(counts: Mapping[str, Sequence[int]], grant: Grant) -> Value:
    return draw_counts(counts[grant.query.name], grant=grant)


def _name(plan: RecordPlan, marginal: Marginal, answer: Released) -> ReleasedMarginal:
    """The released value with what it is about."""
    drawn = np.array(answer.value, dtype=np.int64)
    if drawn.shape != (count_cells(marginal, plan.domain),):
        raise QualityGateError("RECORD_MODEL", marginal=marginal.name, hint="the released value has another shape")
    noise_scale, rho = plan.noise_scale_of(marginal), plan.rho_of(marginal)
    return ReleasedMarginal(
        marginal.name, marginal.record, marginal.attributes, drawn, noise_scale, rho, answer.grant_id
    )
