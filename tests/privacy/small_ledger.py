"""A ledger in memory and queries to put to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ppsehr_spark.privacy.book import Book, Entry, read_book
from ppsehr_spark.privacy.events import Event, ZeroConcentrated
from ppsehr_spark.privacy.grants import Query
from ppsehr_spark.privacy.ledger import Ledger
from ppsehr_spark.privacy.policy import Cap, Policy, Scope
from ppsehr_spark.privacy.units import Budget, ContributionBounds

DELTA = 1e-6


@dataclass
class MemoryStore:
    """The least that a store is: rows, one writer."""

    rows: list[Entry] = field(default_factory=list)

    def entries(self) -> Sequence[Entry]:
        return list(self.rows)

    def book(self) -> Book:
        return read_book(self.rows)

    def extend(self, kind: str, decide: Callable[[Book], Entry | None]) -> Entry | None:
        entry = decide(self.book())
        if entry is not None:
            assert entry.kind == kind
            self.rows.append(entry)
        return entry


def make_query(
    name: str = "count",
    *,
    run_id: str = "r1",
    event: Event | None = None,
    purpose: str = "statistics",
    user: str = "job:stats",
    dataset: str = "encounters",
    bounds: tuple[int, int] = (1, 1),
) -> Query:
    scope = Scope(dataset, purpose, user)
    return Query(run_id, name, scope, event or ZeroConcentrated(0.01), ContributionBounds(*bounds))


def make_policy(epsilon: float, *caps: Cap) -> Policy:
    return Policy((Cap("total", Budget(epsilon, DELTA)), *caps))


def make_ledger(epsilon: float, *caps: Cap) -> Ledger:
    return Ledger(MemoryStore(), make_policy(epsilon, *caps))
