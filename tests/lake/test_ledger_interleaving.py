"""Two drivers on one ledger, the second at every commit point of the first; the fence alone decides (no turns)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest

from ppsehr_spark.errors import BudgetRefusedError
from ppsehr_spark.lake import ledger_store, turns
from ppsehr_spark.lake.ledger_store import open_ledger, read_entries
from ppsehr_spark.lake.row_chain import verify_rows
from ppsehr_spark.lake.schemas import PRIVACY_LEDGER
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.privacy.accounting import compute_epsilon
from ppsehr_spark.privacy.book import read_book
from ppsehr_spark.privacy.events import ZeroConcentrated
from ppsehr_spark.privacy.grants import Grant, redeem_grant
from ppsehr_spark.privacy.ledger import Ledger
from ppsehr_spark.privacy.verification import verify_entries
from tests.privacy.small_ledger import DELTA, make_policy, make_query

STEPS = ("reserve", "commit", "release")
POINTS = tuple(f"ledger.{when}_{step}" for when, step in product(("before", "after"), STEPS))
CHANGE = {"reserve": 1, "commit": 0, "release": -1}


class Died(BaseException):
    """A driver that is gone: nothing of its own code runs on."""


def _open(lake: Lake, n_affordable: int) -> Ledger:
    return open_ledger(lake, make_policy(compute_epsilon([ZeroConcentrated(0.01)] * n_affordable, delta=DELTA)))


def _prepare(ledger: Ledger, step: str, who: str) -> Callable[[], bool]:
    """A step of one driver, ready to go; false when the budget refuses it."""
    query = make_query("q", run_id=who)
    if step == "reserve":

        def reserve() -> bool:
            try:
                return isinstance(ledger.reserve(query), Grant)
            except BudgetRefusedError:
                return False

        return reserve
    grant = ledger.reserve(query)
    assert isinstance(grant, Grant)
    if step == "release":
        return lambda: ledger.release(grant) is None
    redeem_grant(grant)
    return lambda: ledger.commit(grant, [7]).grant_id == grant.grant_id


@pytest.mark.parametrize("is_fatal", [False, True], ids=["goes on", "dies"])
@pytest.mark.parametrize(("point", "rival_step"), list(product(POINTS, STEPS)))
def test_every_commit_point_against_every_step(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, point: str, rival_step: str, is_fatal: bool
) -> None:
    """Room is left for one reservation, whoever is first; what a driver was told, and only that, stands in the rows."""
    monkeypatch.setattr(turns, "LONGEST_WAIT_S", 0.0)
    step, when = point.rpartition("_")[2], point[len("ledger.") :].partition("_")[0]
    n_held = sum(each != "reserve" for each in (step, rival_step))
    n_affordable = n_held + 1
    ours = _prepare(_open(lake, n_affordable), step, "ours")
    theirs = _prepare(_open(lake, n_affordable), rival_step, "theirs")
    answers: list[bool] = []

    def at(name: str) -> None:
        if name == point and not answers:
            answers.append(False)  # the rival passes its own points undisturbed
            answers[0] = theirs()
            if is_fatal:
                raise Died

    monkeypatch.setattr(ledger_store, "crash_point", at)
    try:
        is_done = ours()
    except Died:
        is_done = when == "after"
    is_second = step == rival_step == "reserve"
    assert is_done == (not is_fatal and not is_second if when == "before" else True)
    assert answers == [not (is_second and when == "after")]
    entries = read_entries(lake)
    n_expected = n_held + CHANGE[step] * is_done + CHANGE[rival_step] * answers[0]
    assert len(read_book(entries).spent) == n_expected <= n_affordable
    assert len(entries) == n_held + is_done + answers[0]
    assert verify_rows(lake, PRIVACY_LEDGER).is_whole and not verify_entries(entries).faults
