"""The one ledger: reserve -> Grant -> commit, so that nothing touches real records unpaid and nothing is drawn twice.

Knows: admission by composition and the order of rows. Must not know: where rows are stored (a ``Store``), data.
Reference: Feldman and Zrnic 2021 and Lecuyer 2021 (an RDP bound is a valid filter for adaptively chosen events).

Admission happens inside ``Store.extend``: the decision is taken on exactly the rows that the new row will follow, so
two processes cannot both spend what only one may. A refusal is raised before anybody has seen data, and everything in
it follows from public parameters.
"""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias

from ppsehr_spark.errors import BudgetRefusedError, QualityGateError, UsageError
from ppsehr_spark.privacy.accounting import compute_epsilon, state_cost
from ppsehr_spark.privacy.book import COMMIT, RELEASE, RESERVE, Book, Entry
from ppsehr_spark.privacy.events import Composed, Event, decode_event, encode_event
from ppsehr_spark.privacy.grants import Grant, Query, mint_grant, redeem_grant, require_minted
from ppsehr_spark.privacy.policy import Cap, Policy, encode_policy

#: Plain JSON: numbers, strings, lists and objects; already noised when it comes here.
Value: TypeAlias = Any
#: Runs of uses outside this product; no job has such an id, and no grant is minted for one.
OUTSIDE_RUN = "outside:"
_MAX_RELEASED_CHARS = 4_000_000
_SHOWN_DIGITS = 6


class Store(Protocol):
    """Rows that many processes extend one by one."""

    def entries(self) -> Sequence[Entry]:
        """All rows, in order."""

    def book(self) -> Book:
        """What all rows together mean."""

    def extend(self, kind: str, decide: Callable[[Book], Entry | None]) -> Entry | None:
        """Append what ``decide`` returns for exactly the book it was given; ask again when another was first."""


@dataclass(frozen=True)
class Released:
    """What was released for a query, now or earlier; ``value`` is what the ledger row holds."""

    grant_id: str
    value: Value


@dataclass(frozen=True)
class Balance:
    """One cap: what may be spent, what is, at the cap's delta; PLD's tighter figure where every event has one."""

    cap: Cap
    n_events: int
    epsilon_spent: float
    pld_epsilon: float | None = None

    @property
    def epsilon_left(self) -> float:
        """Difference of the two figures; what it buys depends on the event, because epsilons do not add."""
        return max(0.0, self.cap.budget.epsilon - self.epsilon_spent)


@dataclass(frozen=True)
class Ledger:
    """Caps over a store of rows."""

    store: Store
    policy: Policy

    def reserve(self, query: Query) -> Grant | Released:
        """Set aside what the query costs, before any data are read.

        Returns:
            A grant for one draw; or, when the same run has already released this query, that release.

        Raises:
            BudgetRefusedError: ``PRIVACY_BUDGET`` with cap, requested, spent and remaining epsilon.
            UsageError: ``QUERY_CHANGED`` when the name was finished with other parameters; ``OUTSIDE_RUN`` for the
                run of an outside use.
            QualityGateError: ``PRIVACY_LEDGER`` when the rows are not a possible ledger.
        """
        if query.run_id.startswith(OUTSIDE_RUN):
            raise UsageError("OUTSIDE_RUN", hint="budget of an outside use is set aside, and never drawn here")
        compute_epsilon([query.event], delta=self.policy.total.delta)  # imports the accountant before others wait
        grant_id = secrets.token_hex(16)
        finished: list[Entry] = []

        def decide(book: Book) -> Entry | None:
            done = book.finished.get((query.run_id, query.name))
            finished[:] = [done] if done else []
            return None if done else self._admit(book, _new_entry(query, grant_id, self.policy))

        self.store.extend(RESERVE, decide)
        if finished:
            return _same_answer(finished[0], _new_entry(query, grant_id, self.policy))
        return mint_grant(grant_id, query=query)

    def commit(self, grant: Grant, value: Value) -> Released:
        """Put the drawn value and the end of its reservation into one row.

        Returns:
            The release of this run and query: an earlier one, when another process was first; this draw is then lost
            and stays paid for.

        Raises:
            UsageError: ``GRANT_UNUSED`` when nothing was drawn, ``RELEASED_VALUE`` when the value is not plain JSON.
        """
        require_minted(grant)
        if not grant.is_redeemed:
            raise UsageError("GRANT_UNUSED", hint="nothing was drawn under this grant; release it instead")
        text = _encode_value(value)
        finished: list[Entry] = []

        def decide(book: Book) -> Entry | None:
            done = book.finished.get((grant.query.run_id, grant.query.name))
            finished[:] = [done] if done else []
            return None if done else self._conclude(book, grant.grant_id, kind=COMMIT, released=text)

        written = self.store.extend(COMMIT, decide)
        return _same_answer(written or finished[0], _new_entry(grant.query, grant.grant_id, self.policy))

    def release(self, grant: Grant) -> None:
        """Give back an unused reservation; whatever may have been drawn stays spent.

        Raises:
            UsageError: ``GRANT_REDEEMED``.
        """
        redeem_grant(grant)  # from here on nothing can be drawn under it
        self.store.extend(RELEASE, lambda book: self._conclude(book, grant.grant_id, kind=RELEASE, released=None))

    def set_aside(self, query: Query) -> Entry:
        """Reserve for a use outside this product, such as an evaluation by hand; no grant is minted for it.

        So no mechanism of ours can draw under it, and whoever reserved it knows whether it was used.

        Args:
            query: of a run whose id starts with ``OUTSIDE_RUN``.

        Raises:
            BudgetRefusedError: as ``reserve``.
            UsageError: ``OUTSIDE_RUN``.
        """
        if not query.run_id.startswith(OUTSIDE_RUN):
            raise UsageError("OUTSIDE_RUN", hint=f"an outside use has a run of its own, {OUTSIDE_RUN}...")
        entry = _new_entry(query, secrets.token_hex(16), self.policy)
        written = self.store.extend(RESERVE, lambda book: self._admit(book, entry))
        assert written is not None, "a reservation is always proposed"
        return written

    def give_back(self, grant_id: str, *, user: str) -> Entry:
        """End an outside use that never happened, for the user who set it aside.

        Raises:
            UsageError: ``NOT_RESERVED`` (unknown or given back before), ``GRANT_OF_A_RUN`` (a run reserved it, and may
                have drawn: it stays spent) or ``ANOTHER_USER``.
        """

        def decide(book: Book) -> Entry:
            _require_unused(book.spent.get(grant_id), user)
            return self._conclude(book, grant_id, kind=RELEASE, released=None)

        written = self.store.extend(RELEASE, decide)
        assert written is not None, "the end of a reservation is always proposed"
        return written

    def require_room(self, queries: Sequence[Query]) -> None:
        """Refuse now what could not all be admitted one after the other, finished questions aside.

        Nothing is set aside: for a caller who reserves step by step, so that a crash costs one step, and still wants
        the refusal before any data are read.

        Args:
            queries: of one scope.

        Raises:
            BudgetRefusedError: as ``reserve`` would for all of them in one.
        """
        book = self.store.book()
        asked = [query for query in queries if (query.run_id, query.name) not in book.finished]
        if asked:
            together = replace(asked[0], event=Composed(tuple(query.event for query in asked)))
            self._admit(book, _new_entry(together, "", self.policy))

    def balances(self, *, has_pld: bool = False) -> list[Balance]:
        """What is spent and left under every cap; on demand with PLD's figure, which takes seconds."""
        book = self.store.book()
        return [_balance(book, cap, has_pld) for cap in self.policy.caps]

    def _admit(self, book: Book, entry: Entry) -> Entry:
        """The reservation row with the stated figure after it, or the refusal."""
        event = _event_of(entry)
        for cap in self.policy.caps:
            if cap.covers(entry.scope) and not book.epsilon_under(cap, event) <= cap.budget.epsilon:
                raise _refusal(book, cap, event)
        return replace(entry, epsilon=book.epsilon_under(self.policy.caps[0], event))

    def _conclude(self, book: Book, grant_id: str, *, kind: str, released: str | None) -> Entry:
        """The row that ends a reservation, with the stated figure after it."""
        reservation = book.spent.get(grant_id)
        if reservation is None or grant_id in book.committed:
            raise QualityGateError("PRIVACY_LEDGER", reason="NOT_RESERVED", hint="run scripts/verify_ledger.py")
        given_back = [_event_of(reservation)] if kind == RELEASE else []
        left = book.counts_under(self.policy.caps[0]) - Counter(given_back)
        epsilon = compute_epsilon(left, delta=self.policy.total.delta)
        return replace(
            reservation,
            kind=kind,
            caps=encode_policy(self.policy),
            epsilon=epsilon,
            delta=self.policy.total.delta,
            released=released,
        )


def answer_once(ledger: Ledger, query: Query, *, draw: Callable[[Grant], Value]) -> Released:
    """Reserve, draw once, commit; a finished query returns its released value without a draw.

    Args:
        draw: reads the data and hands the grant to exactly one mechanism; not called at all when the budget refuses or
            the query is finished. When it fails, the reservation stays spent.
    """
    outcome = ledger.reserve(query)
    if isinstance(outcome, Released):
        return outcome
    return ledger.commit(outcome, draw(outcome))


def _balance(book: Book, cap: Cap, has_pld: bool) -> Balance:
    counts = book.counts_under(cap)
    pld = state_cost(counts, delta=cap.budget.delta).pld_epsilon if has_pld and counts else None
    return Balance(cap, counts.total(), book.epsilon_under(cap), pld)


def _new_entry(query: Query, grant_id: str, policy: Policy) -> Entry:
    return Entry(
        kind=RESERVE,
        grant_id=grant_id,
        run_id=query.run_id,
        query=query.name,
        dataset=query.scope.dataset,
        purpose=query.scope.purpose,
        user=query.scope.user,
        event=encode_event(query.event),
        max_cells=query.bounds.max_cells,
        max_per_cell=query.bounds.max_per_cell,
        caps=encode_policy(policy),
        epsilon=0.0,
        delta=policy.total.delta,
    )


def _same_answer(done: Entry, asked: Entry) -> Released:
    if done.request != asked.request:
        hint = "a run asks each name once; give the changed query another name or run"
        raise UsageError("QUERY_CHANGED", query=asked.query, hint=hint)
    return Released(done.grant_id, json.loads(done.released or "null"))


def _require_unused(reservation: Entry | None, user: str) -> None:
    if reservation is None:
        raise UsageError("NOT_RESERVED", hint="no reservation of that id counts as spent")
    if not reservation.run_id.startswith(OUTSIDE_RUN):
        raise UsageError("GRANT_OF_A_RUN", hint="a run reserved it and may have drawn noise: it stays spent")
    if reservation.user != user:
        raise UsageError("ANOTHER_USER", hint="who set it aside knows whether it was used, and gives it back")


def _refusal(book: Book, cap: Cap, event: Event) -> BudgetRefusedError:
    spent = book.epsilon_under(cap)
    figures = {
        "requested": compute_epsilon([event], delta=cap.budget.delta),
        "spent": spent,
        "remaining": max(0.0, cap.budget.epsilon - spent),
        "together": book.epsilon_under(cap, event),
        "allowed": cap.budget.epsilon,
    }
    shown = {f"epsilon_{name}": round(value, _SHOWN_DIGITS) for name, value in figures.items()}
    hint = "epsilons do not add: together is the composition of what is spent and what is asked"
    return BudgetRefusedError("PRIVACY_BUDGET", cap=cap.name, **shown, delta=cap.budget.delta, hint=hint)


def _event_of(entry: Entry) -> Event:
    return decode_event(entry.event)


def _encode_value(value: Value) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError):
        raise UsageError("RELEASED_VALUE", hint="a release is plain JSON without NaN or infinity") from None
    if len(text) > _MAX_RELEASED_CHARS:
        raise UsageError("RELEASED_VALUE", n_chars=len(text), hint="release a reference to what is larger")
    return text
