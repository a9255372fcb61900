"""The permission to add noise once: a Grant, which nothing but a ledger can mint.

Knows: that a grant was reserved, in this process, and whether it was used. Must not know: where reservations are kept.
A grant cannot be constructed, changed, copied, pickled, carried into a forked process or used twice; so noise without a
reservation, or two draws for one reservation, is not a matter of discipline.
"""

from __future__ import annotations

import os
import threading
import weakref
from dataclasses import dataclass
from typing import NoReturn

from ppsehr_spark.errors import UsageError
from ppsehr_spark.privacy.events import Event, flatten_event
from ppsehr_spark.privacy.policy import Scope
from ppsehr_spark.privacy.units import ContributionBounds

_LOCK = threading.Lock()


@dataclass(frozen=True)
class Query:
    """What is asked: who asks, under which name, what will happen and what one patient can change.

    Attributes:
        run_id: the run; the same run and name ask the same thing, a refresh is another run.
        name: the release's name, unique within a run.
        scope: whose caps it counts against.
        event: what will happen to real records.
        bounds: per patient, fixed before any data are read; they, not the data, scale the noise.
    """

    run_id: str
    name: str
    scope: Scope
    event: Event
    bounds: ContributionBounds

    def __post_init__(self) -> None:
        flatten_event(self.event)
        if not self.run_id or not self.name or not isinstance(self.bounds, ContributionBounds):
            raise UsageError("QUERY", hint="a query has a run, a name and contribution bounds")


class Grant:
    """A reservation in hand. ``redeem_grant`` uses it up."""

    __slots__ = ("__weakref__", "_is_redeemed", "_pid", "grant_id", "query")

    grant_id: str
    query: Query
    _is_redeemed: bool
    _pid: int

    def __init__(self) -> None:
        raise UsageError("GRANT_FORGED", hint="a grant is minted by Ledger.reserve")

    def __setattr__(self, name: str, value: object) -> None:
        raise UsageError("GRANT_FORGED", field=name, hint="a grant allows what was reserved and nothing else")

    def __reduce__(self) -> NoReturn:
        raise UsageError("GRANT_COPIED", hint="a grant stays in the process that reserved it")

    @property
    def is_redeemed(self) -> bool:
        """True once noise was, or may have been, drawn under it."""
        return self._is_redeemed


_MINTED: weakref.WeakSet[Grant] = weakref.WeakSet()


def redeem_grant(grant: Grant) -> Query:
    """Use the grant up and return what it allows; every mechanism calls this before it draws.

    Raises:
        UsageError: ``GRANT_FORGED``, ``GRANT_COPIED`` (another process) or ``GRANT_REDEEMED`` (a second draw).
    """
    require_minted(grant)
    with _LOCK:
        if grant._is_redeemed:
            raise UsageError("GRANT_REDEEMED", hint="one reservation is one draw; ask for a new one")
        object.__setattr__(grant, "_is_redeemed", True)
    return grant.query


def require_minted(grant: Grant) -> None:
    """Refuse what no ledger of this process has minted."""
    if not isinstance(grant, Grant) or grant not in _MINTED:
        raise UsageError("GRANT_FORGED", hint="a grant is minted by Ledger.reserve")
    if grant._pid != os.getpid():
        raise UsageError("GRANT_COPIED", hint="a grant stays in the process that reserved it")


def mint_grant(grant_id: str, *, query: Query) -> Grant:
    """For ``ledger`` alone, after its reservation stands in the store (a test holds every other file to that)."""
    grant = object.__new__(Grant)
    for name, value in {"grant_id": grant_id, "query": query, "_is_redeemed": False, "_pid": os.getpid()}.items():
        object.__setattr__(grant, name, value)
    _MINTED.add(grant)
    return grant
