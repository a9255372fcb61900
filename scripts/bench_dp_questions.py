"""Questions of ``bench.py dp``: one count over 4,000 public cells, a catalogue of twenty releases, a ledger in memory.

Knows: their definitions and how a grant for one is come by. Must not know: Spark sessions, clocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from bench_ledger import MemoryStore

from ppsehr_spark.privacy.catalogue import COUNT, HISTOGRAM, MEAN, QUANTILE, Catalogue, Release
from ppsehr_spark.privacy.events import Event
from ppsehr_spark.privacy.grants import Grant, Query
from ppsehr_spark.privacy.ledger import Ledger
from ppsehr_spark.privacy.policy import Cap, Policy, Scope
from ppsehr_spark.privacy.releases import PlannedRelease, plan_releases
from ppsehr_spark.privacy.units import Budget, ContributionBounds

_TYPES = ("门诊", "住院", "急诊")
_STAY = "length_of_stay_days"
_EDGES = (0, 1, 2, 4, 8, 15, 31)
#: The quantiles asked of every measure.
FIVE = ((1, 10), (1, 4), (1, 2), (3, 4), (9, 10))


def _release(name: str, kind: str, **fields: Any) -> Release:
    return Release(name, name, kind, 1 / 20, "", **fields)


def _counts() -> list[Release]:
    keys = [
        ("department",),
        ("code",),
        ("encounter_type",),
        ("department", "encounter_type"),
        ("code", "encounter_type"),
    ]
    found = [_release("_".join(each), COUNT, keys=each, max_cells=2) for each in keys]
    for kind in _TYPES:
        only = {"encounter_type": kind}
        found.append(_release(f"department_{kind}", COUNT, keys=("department",), max_cells=2, only=only))
        found.append(_release(f"code_{kind}", COUNT, keys=("code",), max_cells=2, only=only))
    return found


def _stays() -> list[Release]:
    found = []
    for kind in ("", *_TYPES):
        only = {"encounter_type": kind} if kind else {}
        common: dict[str, Any] = {"measure": _STAY, "only": only}
        found.append(_release(f"bins_{kind}", HISTOGRAM, edges=_EDGES, max_cells=2, max_encounters=4, **common))
        found.append(
            _release(
                f"quantiles_{kind}", QUANTILE, candidates=tuple(range(61)), quantiles=FIVE, max_encounters=1, **common
            )
        )
    return found


SINGLE = _release("department_code", COUNT, keys=("department", "code"), max_cells=2)
#: Asked of an oracle only.
STAY_MEAN = _release(
    "stay_mean", MEAN, keys=("department",), measure=_STAY, clamp=(0, 60), max_cells=2, max_encounters=2
)
CATALOGUE = (SINGLE, *_counts(), *_stays())


@lru_cache(maxsize=1)
def public_lists() -> Any:
    """Twenty departments, two hundred codes, three types of visit and the one for all others."""
    from ppsehr_spark.lake.statistics_plan import PublicLists

    values = {
        "department": tuple(f"D{number:02d}" for number in range(20)),
        "code": tuple(f"{letter}{number:02d}" for letter in "ACEI" for number in range(50)),
        "encounter_type": (*_TYPES, "其他"),
    }
    return PublicLists(values, (), ())


def plan(releases: Sequence[Release], *, epsilon: float = 8.0) -> tuple[PlannedRelease, ...]:
    """Cells, events and noise of each, for a total of ``epsilon`` at delta 1e-7."""
    catalogue = Catalogue(Budget(epsilon, 1e-7), tuple(releases), 2.0)
    return plan_releases(catalogue, lists=public_lists().values, span_cells=())


def new_ledger(epsilon: float = 16.0) -> Ledger:
    """Empty, in memory."""
    return Ledger(MemoryStore(), Policy((Cap("total", Budget(epsilon, 1e-7)),)))


def query_of(planned: PlannedRelease) -> Query:
    """What is put to the ledger for a release."""
    part = planned.part
    return Query("bench", part.name, Scope("bench", "statistics", "bench"), part.event, part.bounds)


def grant_for(event: Event, most: int) -> Grant:
    """A grant for one cell that one patient changes by ``most``."""
    query = Query("bench", "one", Scope("bench", "statistics", "bench"), event, ContributionBounds(1, most))
    grant = new_ledger(1e9).reserve(query)
    assert isinstance(grant, Grant)
    return grant
