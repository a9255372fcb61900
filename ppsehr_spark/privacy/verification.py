"""Recompute a ledger from its rows alone: what a compliance officer believes without believing us.

Knows: entries and accounting. Must not know: where rows are stored, today's caps (every row carries those it was
admitted under). The chain of hashes is checked by the store; here it is asked whether the rows make sense.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ppsehr_spark.errors import PpsehrError, QualityGateError
from ppsehr_spark.privacy.accounting import Cost, compute_epsilon, state_cost
from ppsehr_spark.privacy.book import RESERVE, Entry, Tally, count_row, counts_under, read_book
from ppsehr_spark.privacy.events import Event, decode_event
from ppsehr_spark.privacy.policy import Cap, Scope, decode_policy

_RELATIVE_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Fault:
    """What is wrong with which row (1-based); ``reason`` is a code."""

    row: int
    reason: str


@dataclass(frozen=True)
class Verification:
    """What the rows say when everything is computed again.

    Attributes:
        n_rows: rows read.
        faults: empty when every figure and every step holds.
        cost: guarantee of everything spent, ``None`` for an empty ledger or one that cannot be read.
        n_open: reservations that are neither committed nor given back; they are spent.
        n_committed: releases.
    """

    n_rows: int
    faults: tuple[Fault, ...]
    cost: Cost | None
    n_open: int
    n_committed: int


def verify_entries(entries: Sequence[Entry]) -> Verification:
    """Check every row against the rows before it.

    Reason codes: those of ``book.read_book``; ``EPSILON_DIFFERS`` (the stated figure is not what the events cost),
    ``DELTA_DIFFERS``, ``OVER_CAP`` (admitted although a cap of its own row does not hold it), ``PRIVACY_CAPS``.
    """
    try:
        book = read_book(entries)
    except QualityGateError as error:
        fault = Fault(int(str(error.fields["row"])), str(error.fields["reason"]))
        return Verification(len(entries), (fault,), None, 0, 0)
    faults = _check_figures(entries)
    cost = state_cost(_all_of(book.tally), delta=entries[-1].delta) if entries else None
    n_committed = len(book.committed)
    return Verification(len(entries), tuple(faults), cost, len(book.spent) - n_committed, n_committed)


def _check_figures(entries: Sequence[Entry]) -> list[Fault]:
    """Walk the rows with what is spent after each of them."""
    tally: Counter[tuple[Scope, str]] = Counter()
    faults: list[Fault] = []
    for row, entry in enumerate(entries, start=1):
        count_row(tally, entry)
        faults += [Fault(row, reason) for reason in _check_row(entry, tally)]
    return faults


def _check_row(entry: Entry, tally: Tally) -> list[str]:
    try:
        policy = decode_policy(entry.caps)
    except PpsehrError as error:
        return [error.code]
    if entry.delta != policy.total.delta:
        return ["DELTA_DIFFERS"]
    reasons = []
    computed = compute_epsilon(_all_of(tally), delta=entry.delta)
    if computed != entry.epsilon and not math.isclose(computed, entry.epsilon, rel_tol=_RELATIVE_TOLERANCE):
        reasons.append("EPSILON_DIFFERS")
    if entry.kind == RESERVE:
        covering = [cap for cap in policy.caps if cap.covers(entry.scope)]
        reasons += ["OVER_CAP" for cap in covering if not _is_within(cap, tally)][:1]
    return reasons


def _all_of(tally: Tally) -> Counter[Event]:
    counts: Counter[Event] = Counter()
    for (_, event), n_times in tally.items():
        counts[decode_event(event)] += n_times
    return counts


def _is_within(cap: Cap, tally: Tally) -> bool:
    return compute_epsilon(counts_under(tally, cap), delta=cap.budget.delta) <= cap.budget.epsilon
