"""The ledger as rows: what each row says, and what all rows together mean.

Knows: which sequence of rows is possible and what is spent after it. Must not know: where rows are stored, who writes
them. A reservation counts as spent from its row on, whatever becomes of the process; only a release row, written by
the holder of the unused grant, takes it back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from ppsehr_spark.errors import PpsehrError, QualityGateError
from ppsehr_spark.privacy.accounting import compute_epsilon
from ppsehr_spark.privacy.events import Event, decode_event
from ppsehr_spark.privacy.policy import Cap, Scope

RESERVE, COMMIT, RELEASE = "reserve", "commit", "release"


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
        return Scope(self.dataset, self.purpose, self.user)

    @property
    def request(self) -> tuple[object, ...]:
        """All that must be equal for two entries to be about the same question."""
        return (self.scope, self.event, self.max_cells, self.max_per_cell)

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
    """

    spent: Mapping[str, Entry] = field(default_factory=lambda: MappingProxyType({}))
    committed: frozenset[str] = frozenset()
    finished: Mapping[tuple[str, str], Entry] = field(default_factory=lambda: MappingProxyType({}))

    def events_under(self, cap: Cap) -> list[Event]:
        """Every event that counts against the cap, in the order of reservation."""
        return [decode_event(entry.event) for entry in self.spent.values() if cap.covers(entry.scope)]

    def epsilon_under(self, cap: Cap, *asked: Event) -> float:
        """Epsilon at the cap's delta of all that counts against it, and of what is asked."""
        return compute_epsilon([*self.events_under(cap), *asked], delta=cap.budget.delta)


def read_book(entries: Iterable[Entry]) -> Book:
    """Fold the rows, in order.

    Raises:
        QualityGateError: ``PRIVACY_LEDGER`` with the row and the reason, at the first impossible row.
    """
    spent: dict[str, Entry] = {}
    seen: set[str] = set()
    committed: set[str] = set()
    finished: dict[tuple[str, str], Entry] = {}
    for number, entry in enumerate(entries, start=1):
        reason = _find_fault(entry, spent, seen, committed, finished)
        if reason:
            hint = "the ledger was changed by something else; run scripts/verify_ledger.py"
            raise QualityGateError("PRIVACY_LEDGER", row=number, reason=reason, hint=hint)
        seen.add(entry.grant_id)
        if entry.kind == RESERVE:
            spent[entry.grant_id] = entry
        elif entry.kind == RELEASE:
            del spent[entry.grant_id]
        else:
            committed.add(entry.grant_id)
            finished[entry.question] = entry
    return Book(spent, frozenset(committed), finished)


def _find_fault(
    entry: Entry,
    spent: Mapping[str, Entry],
    seen: set[str],
    committed: set[str],
    finished: Mapping[tuple[str, str], Entry],
) -> str:
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
        return "RESERVED_TWICE" if entry.grant_id in seen else ""
    if entry.kind not in (COMMIT, RELEASE):
        return "UNKNOWN_KIND"
    reservation = spent.get(entry.grant_id)
    if reservation is None or entry.grant_id in committed:
        return "NOT_RESERVED"
    if (reservation.question, reservation.request) != (entry.question, entry.request):
        return "ANOTHER_QUESTION"
    return "FINISHED_TWICE" if entry.kind == COMMIT and entry.question in finished else ""
