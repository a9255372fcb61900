"""Several questions answered from one reading of the data: all are reserved first, then read, then drawn one by one.

Knows: the order of reserve, read, draw and commit. Must not know: what is asked, how data are read. Either the budget
holds everything that is still unanswered, or nothing is kept and no data are read; a reading that fails gives back
every reservation that nothing was drawn under. A process that is killed leaves its reservations spent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from ppsehr_spark.privacy.grants import Grant, Query
from ppsehr_spark.privacy.ledger import Ledger, Released, Value

Data = TypeVar("Data")


def answer_together(
    ledger: Ledger,
    queries: Sequence[Query],
    *,
    read: Callable[[Sequence[Query]], Data],
    draw: Callable[[Grant, Data], Value],
) -> list[Released]:
    """Released values in the order of the queries; finished ones come from the ledger.

    Args:
        queries: of distinct (run, name).
        read: aggregates for the queries that are not finished; not called when there are none.
        draw: hands the grant to exactly one mechanism.

    Raises:
        BudgetRefusedError: before ``read``; what was set aside for the others is given back.
    """
    outcomes: list[Grant | Released] = []
    try:
        for query in queries:
            outcomes.append(ledger.reserve(query))
        grants = [outcome for outcome in outcomes if isinstance(outcome, Grant)]
        if not grants:
            return [outcome for outcome in outcomes if isinstance(outcome, Released)]
        data = read([grant.query for grant in grants])
        return [each if isinstance(each, Released) else ledger.commit(each, draw(each, data)) for each in outcomes]
    finally:
        for each in outcomes:
            if isinstance(each, Grant) and not each.is_redeemed:
                ledger.release(each)
