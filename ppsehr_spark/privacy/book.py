"""The ledger as rows: what each row says, and what all rows together mean.

Knows: which sequence of rows is possible and what is spent after it. Must not know: where rows are stored, who writes
them. A reservation counts as spent from its row on, whatever becomes of the process; only a release row, written by
the holder of the unused grant, takes it back.

Folding goes on where it stopped (``Book.follow``), and what is spent is kept as counts of equal events per scope
(``Tally``): what the next row costs does not depend on how many rows there are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import TypeAlias

from ppsehr_spark.errors import PpsehrError, QualityGateError
from ppsehr_spark.privacy.accounting import compute_epsilon
from ppsehr_spark.privacy.events import Event, decode_event
from ppsehr_spark.privacy.policy import Cap, Scope

RESERVE, COMMIT, RELEASE = "reserve", "commit", "release"
#: Scope and encoded event -> how many reservations of it count as spent.
Tally: TypeAlias = Mapping[tuple[Scope, str], int]


@dataclass(frozen=True)
class Entry:
    """One row of the ledger.

    Attributes:
        kind: ``reserve``, ``commit`` (the release is out) or ``release`` (an unused reservation is given back).
        grant_id: the reservation it is about.
        run_id, query: name of what was asked.
        dataset, purpose, user: its scope.
        event: ``events.encode_event``.
        max_cells, max_per_cell: its contribution bounds.
        caps: ``policy.encode_policy`` of the caps in force.
        epsilon: stated for everything that is spent after this row, at ``delta``.
        delta: of the total cap.
        released: canonical JSON of the released value, on ``commit`` only.
    """

    kind: str
    grant_id: str
    run_id: str
    query: str
    dataset: str
    purpose: str
    user: str
    event: str
    max_cells: int
    max_per_cell: int
    caps: str
    epsilon: float
    delta: float
    released: str | None = None

    @property
    def scope(self) -> Scope:
        """Whose caps it counts against."""
        return _scope(self.dataset, self.purpose, self.user)

    @property
    def request(self) -> tuple[object, ...]:
        """All that must be equal for two entries to be about the same question."""
        return (self.dataset, self.purpose, self.user, self.event, self.max_cells, self.max_per_cell)

    @property
    def question(self) -> tuple[str, str]:
        """Run and query name."""
        return (self.run_id, self.query)


@dataclass(frozen=True)
class Book:
    """What all rows together mean.

    Attributes:
        spent: grant id -> reservation that counts (committed, in use, or left behind by a crash).
        committed: grant ids whose release is out.
        finished: run and query -> its commit entry.
        seen: every grant id that was ever reserved.
        tally: ``spent`` as counts of equal events.
        n_rows: rows folded so far.
    """

    spent: Mapping[str, Entry] = field(default_factory=lambda: MappingProxyType({}))
    committed: frozenset[str] = frozenset()
    finished: Mapping[tuple[str, str], Entry] = field(default_factory=lambda: MappingProxyType({}))
    seen: frozenset[str] = frozenset()
    tally: Tally = field(default_factory=lambda: MappingProxyType({}))
    n_rows: int = 0

    def follow(self, entries: Iterable[Entry]) -> Book:
        """The book after further rows, in order; this one stays as it is.

        Raises:
            QualityGateError: ``PRIVACY_LEDGER`` with the row and the reason, at the first impossible row.
        """
        fold = _Fold(dict(self.spent), set(self.committed), dict(self.finished), set(self.seen), Counter(self.tally))
        n_rows = self.n_rows
        for entry in entries:
            n_rows += 1
            reason = _find_fault(entry, fold)
            if reason:
                hint = "the ledger was changed by something else; run scripts/verify_ledger.py"
                raise QualityGateError("PRIVACY_LEDGER", row=n_rows, reason=reason, hint=hint)
            _take(entry, fold)
        return Book(fold.spent, frozenset(fold.committed), fold.finished, frozenset(fold.seen), fold.tally, n_rows)

    def counts_under(self, cap: Cap) -> Counter[Event]:
        """Every event that counts against the cap, with how often it happened."""
        return counts_under(self.tally, cap)

    def epsilon_under(self, cap: Cap, *asked: Event) -> float:
        """Epsilon at the cap's delta of all that counts against it, and of what is asked."""
        return compute_epsilon(self.counts_under(cap) + Counter(asked), delta=cap.budget.delta)


@dataclass
class _Fold:
    """A book in the making."""

    spent: dict[str, Entry]
    committed: set[str]
    finished: dict[tuple[str, str], Entry]
    seen: set[str]
    tally: Counter[tuple[Scope, str]]


def read_book(entries: Iterable[Entry]) -> Book:
    """Fold all rows, in order.

    Raises:
        QualityGateError: ``PRIVACY_LEDGER`` with the row and the reason, at the first impossible row.
    """
    return Book().follow(entries)


def counts_under(tally: Tally, cap: Cap) -> Counter[Event]:
    """Events of the scopes that a cap covers, with how often they happened."""
    counts: Counter[Event] = Counter()
    for (scope, event), n_times in tally.items():
        if cap.covers(scope):
            counts[decode_event(event)] += n_times
    return counts


@lru_cache(maxsize=4096)
def _scope(dataset: str, purpose: str, user: str) -> Scope:
    return Scope(dataset, purpose, user)


def count_row(tally: Counter[tuple[Scope, str]], entry: Entry) -> None:
    """Bring a tally from before a row to after it."""
    key = (entry.scope, entry.event)
    if entry.kind == RESERVE:
        tally[key] += 1
    elif entry.kind == RELEASE:
        tally[key] -= 1
        if not tally[key]:
            del tally[key]


def _take(entry: Entry, fold: _Fold) -> None:
    fold.seen.add(entry.grant_id)
    count_row(fold.tally, entry)
    if entry.kind == RESERVE:
        fold.spent[entry.grant_id] = entry
    elif entry.kind == RELEASE:
        del fold.spent[entry.grant_id]
    else:
        fold.committed.add(entry.grant_id)
        fold.finished[entry.question] = entry


def _find_fault(entry: Entry, fold: _Fold) -> str:
    """Reason code why this row cannot stand here, ``""`` when it can."""
    try:
        decode_event(entry.event)
        scope = entry.scope
    except PpsehrError as error:
        return error.code
    if not (scope and entry.run_id and entry.query):
        return "NO_QUESTION"
    if (entry.released is not None) != (entry.kind == COMMIT):
        return "RELEASED_VALUE"
    if entry.kind == RESERVE:
        return "RESERVED_TWICE" if entry.grant_id in fold.seen else ""
    if entry.kind not in (COMMIT, RELEASE):
        return "UNKNOWN_KIND"
    reservation = fold.spent.get(entry.grant_id)
    if reservation is None or entry.grant_id in fold.committed:
        return "NOT_RESERVED"
    if (reservation.question, reservation.request) != (entry.question, entry.request):
        return "ANOTHER_QUESTION"
    return "FINISHED_TWICE" if entry.kind == COMMIT and entry.question in fold.finished else ""
