"""Reserve, grant, commit: admission, retries, refusals and the mistakes that each of them must catch."""

from __future__ import annotations

import copy
import dataclasses
import math
import os
import pickle
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ppsehr_spark.errors import BudgetRefusedError, ConfigurationError, ExitCode, QualityGateError, UsageError
from ppsehr_spark.privacy import ledger as ledger_module
from ppsehr_spark.privacy import noise
from ppsehr_spark.privacy.accounting import compute_epsilon
from ppsehr_spark.privacy.book import Book, Entry
from ppsehr_spark.privacy.calibration import calibrate_rho
from ppsehr_spark.privacy.events import Exact, Gaussian, KeyThreshold, SampledGaussian, ZeroConcentrated, decode_event
from ppsehr_spark.privacy.grants import Grant, redeem_grant
from ppsehr_spark.privacy.ledger import OUTSIDE_RUN, Ledger, Released, answer_once
from ppsehr_spark.privacy.policy import Cap, Policy, Scope, parse_policy
from ppsehr_spark.privacy.units import Budget, ContributionBounds
from ppsehr_spark.privacy.verification import verify_entries
from tests.privacy.small_ledger import DELTA, MemoryStore, make_ledger, make_query

ROOT = Path(__file__).resolve().parents[2]
HALF = ZeroConcentrated(calibrate_rho(Budget(2.0, DELTA)) * 0.6)


def _reserve(ledger: Ledger, *args: Any, **kwargs: Any) -> Grant:
    outcome = ledger.reserve(make_query(*args, **kwargs))
    assert isinstance(outcome, Grant)
    return outcome


def _rows(ledger: Ledger) -> list[Entry]:
    assert isinstance(ledger.store, MemoryStore)
    return ledger.store.rows


def test_a_release_is_reserved_drawn_and_committed(open_ended: Ledger) -> None:
    grant = _reserve(open_ended, event=Exact())
    released = open_ended.commit(grant, noise.draw_counts([3, 1, 4], grant=grant))
    assert released == Released(grant.grant_id, [3, 1, 4])
    assert [row.kind for row in _rows(open_ended)] == ["reserve", "commit"]
    assert _rows(open_ended)[-1].epsilon == math.inf


def test_exact_answers_need_an_infinite_cap(ledger: Ledger) -> None:
    with pytest.raises(BudgetRefusedError):
        ledger.reserve(make_query(event=Exact()))


def test_stated_figure_is_the_composition_of_every_row(ledger: Ledger) -> None:
    _reserve(ledger, "a")
    _reserve(ledger, "b", event=Gaussian(9.0))
    _reserve(ledger, "c", event=SampledGaussian(1.0, 0.001, 100))
    expected = [ZeroConcentrated(0.01), Gaussian(9.0), SampledGaussian(1.0, 0.001, 100)]
    assert [row.epsilon for row in _rows(ledger)] == [compute_epsilon(expected[: n + 1], delta=DELTA) for n in range(3)]


def test_caps_bind_in_their_scope_only() -> None:
    small = Budget(0.5, DELTA)
    ledger = make_ledger(5.0, Cap("stats", small, purpose="statistics"), Cap("u", small, user="u1", dataset="d1"))
    cheap, dear = ZeroConcentrated(0.001), ZeroConcentrated(0.05)
    _reserve(ledger, "a", event=cheap)
    _reserve(ledger, "b", event=dear, purpose="training")
    with pytest.raises(BudgetRefusedError, match="cap=stats"):
        ledger.reserve(make_query("c", event=dear))
    _reserve(ledger, "d", event=dear, purpose="training", user="u1", dataset="d2")
    with pytest.raises(BudgetRefusedError, match="cap=u "):
        ledger.reserve(make_query("e", event=dear, purpose="training", user="u1", dataset="d1"))
    balances = {balance.cap.name: balance for balance in ledger.balances()}
    assert {name: balance.n_events for name, balance in balances.items()} == {"total": 3, "stats": 1, "u": 0}
    assert balances["u"].epsilon_left == 0.5
    assert balances["stats"].epsilon_left == pytest.approx(0.5 - compute_epsilon([cheap], delta=DELTA))


def test_thresholds_count_against_the_delta_of_a_cap(ledger: Ledger) -> None:
    _reserve(ledger, "a", event=KeyThreshold(6e-7))
    with pytest.raises(BudgetRefusedError, match="epsilon_together=inf"):
        ledger.reserve(make_query("b", event=KeyThreshold(6e-7)))


def test_an_unused_reservation_can_be_given_back_once(ledger: Ledger) -> None:
    grant = _reserve(ledger, "a", event=HALF)
    ledger.release(grant)
    assert _rows(ledger)[-1].epsilon == 0
    _reserve(ledger, "b", event=HALF)
    for use in (ledger.release, redeem_grant):
        with pytest.raises(UsageError, match="GRANT_REDEEMED"):
            use(grant)


def test_a_used_reservation_stays_spent(ledger: Ledger) -> None:
    grant = _reserve(ledger, "a", event=HALF)
    noise.draw_counts([1], grant=grant)
    with pytest.raises(UsageError, match="GRANT_REDEEMED"):
        ledger.release(grant)
    with pytest.raises(BudgetRefusedError):
        ledger.reserve(make_query("b", event=HALF))


def test_nothing_is_committed_that_was_not_drawn(ledger: Ledger) -> None:
    with pytest.raises(UsageError, match="GRANT_UNUSED"):
        ledger.commit(_reserve(ledger), [1])


@pytest.mark.parametrize("value", [math.nan, math.inf, {1, 2}, object(), "x" * 4_000_001])
def test_only_plain_json_is_released(ledger: Ledger, value: object) -> None:
    grant = _reserve(ledger)
    redeem_grant(grant)
    with pytest.raises(UsageError, match="RELEASED_VALUE") as caught:
        ledger.commit(grant, value)
    assert "xxx" not in str(caught.value)


def test_a_draw_that_fails_stays_spent(ledger: Ledger) -> None:
    with pytest.raises(ZeroDivisionError):
        answer_once(ledger, make_query("a", event=HALF), draw=lambda _grant: 1 // 0)
    with pytest.raises(BudgetRefusedError):
        ledger.reserve(make_query("b", event=HALF))


def test_of_two_draws_for_one_question_the_first_committed_counts(ledger: Ledger) -> None:
    first, second = _reserve(ledger), _reserve(ledger)
    for grant in (first, second):
        redeem_grant(grant)
    assert ledger.commit(second, [7]) == ledger.commit(first, [8]) == Released(second.grant_id, [7])
    assert ledger.balances()[0].n_events == 2


def test_a_retry_costs_nothing_even_when_nothing_is_left() -> None:
    ledger = make_ledger(compute_epsilon([HALF], delta=DELTA))
    first = answer_once(ledger, make_query(event=HALF), draw=lambda grant: noise.draw_counts([1], grant=grant))
    assert ledger.reserve(make_query(event=HALF)) == first
    assert [row.kind for row in _rows(ledger)] == ["reserve", "commit"]


def test_a_finished_name_cannot_be_asked_differently(ledger: Ledger) -> None:
    answer_once(ledger, make_query(), draw=lambda grant: noise.draw_counts([1], grant=grant))
    for changed in ({"event": ZeroConcentrated(0.02)}, {"bounds": (2, 1)}, {"user": "another"}):
        with pytest.raises(UsageError, match="QUERY_CHANGED"):
            ledger.reserve(make_query(**changed))


def test_a_grant_cannot_be_made_copied_carried_or_used_twice(ledger: Ledger) -> None:
    grant = _reserve(ledger)
    for forge in (Grant, lambda: copy.copy(grant), lambda: copy.deepcopy(grant), lambda: pickle.dumps(grant)):
        with pytest.raises(UsageError, match=r"GRANT_FORGED|GRANT_COPIED"):
            forge()
    hollow = object.__new__(Grant)
    for name in ("grant_id", "query", "_is_redeemed", "_pid"):
        object.__setattr__(hollow, name, getattr(grant, name))
    for false in (hollow, object(), None, dataclasses.replace(grant.query)):
        with pytest.raises(UsageError, match="GRANT_FORGED"):
            noise.draw_counts([1], grant=false)  # type: ignore[arg-type]
    noise.draw_counts([1], grant=grant)
    with pytest.raises(UsageError, match="GRANT_REDEEMED"):
        noise.draw_counts([1], grant=grant)


def test_a_grant_allows_what_was_reserved(ledger: Ledger) -> None:
    grant = _reserve(ledger)
    for name, value in (("query", make_query(event=Exact())), ("_is_redeemed", False), ("extra", 1)):
        with pytest.raises(UsageError, match="GRANT_FORGED"):
            setattr(grant, name, value)
    with pytest.raises(dataclasses.FrozenInstanceError):
        grant.query.event = Exact()  # type: ignore[misc]
    noise.draw_counts([1], grant=grant)
    with pytest.raises(UsageError, match="GRANT_FORGED"):
        grant._is_redeemed = False


def test_a_forked_process_has_no_grant(ledger: Ledger) -> None:
    grant = _reserve(ledger)
    child = os.fork()
    if not child:
        try:
            redeem_grant(grant)
        except UsageError as error:
            os._exit(11 if error.code == "GRANT_COPIED" else 12)
        os._exit(13)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 11
    redeem_grant(grant)


def test_only_the_ledger_mints() -> None:
    files = [p for top in ("ppsehr_spark", "ray_actors", "jobs", "scripts") for p in (ROOT / top).rglob("*.py")]
    minting = {p.name for p in files if re.search(r"\bmint_grant\b|\b_MINTED\b", p.read_text(encoding="utf-8"))}
    assert minting == {"grants.py", "ledger.py"}


def test_unknown_events_never_reach_the_ledger(ledger: Ledger) -> None:
    with pytest.raises(UsageError, match="UNKNOWN_EVENT"):
        make_query(event=object())  # type: ignore[arg-type]
    assert not _rows(ledger)


def test_shipped_caps_are_read_and_bound() -> None:
    text = (ROOT / "conf" / "privacy.toml").read_text(encoding="utf-8")
    policy = parse_policy({"privacy.toml": text})
    assert policy.caps[0].name == "total"
    assert all(math.isfinite(cap.budget.epsilon) and cap.budget.delta < 1e-6 for cap in policy.caps)
    assert policy.caps[1].covers(Scope("any", "statistics", "any"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("epsilon = 8.0", "epsilon = inf"), ("epsilon = 8.0", "epsilon = nan"), ("epsilon = 8.0", "epsilon = -1"),
        ("epsilon = 8.0", "epsilon = 'lots'"), ("delta = 1e-7", "delta = 1e-6"), ("[total]", "[all]"),
        ("max_patients", "patients"), ('name = "training"', 'name = "statistics"'),
        ('purpose = "training"', 'puprose = "training"'), ("[total]", "[total"),
    ],
)  # fmt: skip
def test_wrong_caps_are_refused(old: str, new: str) -> None:
    text = (ROOT / "conf" / "privacy.toml").read_text(encoding="utf-8")
    assert old in text
    with pytest.raises(ConfigurationError):
        parse_policy({"privacy.toml": text.replace(old, new)})
    with pytest.raises(ConfigurationError, match="CONF_MISSING"):
        parse_policy({})


def test_a_scope_and_bounds_are_never_left_out() -> None:
    with pytest.raises(ConfigurationError, match="SCOPE"):
        Scope("d", " ", "u")
    with pytest.raises(UsageError, match="QUERY"):
        dataclasses.replace(make_query(), bounds=None)  # type: ignore[arg-type]
    assert make_query(bounds=(4, 3)).bounds == ContributionBounds(4, 3)


# Rows that something else has changed.


def _sample_rows() -> list[Entry]:
    ledger = make_ledger(2.0)
    answer_once(ledger, make_query("a"), draw=lambda grant: noise.draw_counts([5], grant=grant))
    _reserve(ledger, "b", event=Gaussian(9.0))
    ledger.release(_reserve(ledger, "c"))
    return list(_rows(ledger))


def test_an_honest_ledger_verifies() -> None:
    rows = _sample_rows()
    found = verify_entries(rows)
    assert (found.faults, found.n_rows, found.n_committed, found.n_open) == ((), 5, 1, 1)
    assert found.cost is not None and found.cost.stated.epsilon == rows[-1].epsilon
    assert verify_entries([]).cost is None


@pytest.mark.parametrize(
    ("position", "change", "reason"),
    [
        (0, {"epsilon": 0.2}, "EPSILON_DIFFERS"),
        (2, {"epsilon": math.inf}, "EPSILON_DIFFERS"),
        (0, {"delta": 1e-7}, "DELTA_DIFFERS"),
        (0, {"event": '{"event":"Mystery"}'}, "UNKNOWN_EVENT"),
        (0, {"event": '{"event":"ZeroConcentrated","rho":0.001}'}, "ANOTHER_QUESTION"),
        (0, {"caps": "[]"}, "PRIVACY_CAPS"),
        (0, {"kind": "refund"}, "UNKNOWN_KIND"),
        (0, {"dataset": ""}, "SCOPE"),
        (0, {"run_id": ""}, "NO_QUESTION"),
        (1, {"released": None}, "RELEASED_VALUE"),
        (1, {"grant_id": "another"}, "NOT_RESERVED"),
        (1, {"query": "z"}, "ANOTHER_QUESTION"),
        (4, {"grant_id": "another"}, "NOT_RESERVED"),
    ],
)
def test_a_changed_row_is_found(position: int, change: dict[str, Any], reason: str) -> None:
    rows = _sample_rows()
    rows[position] = dataclasses.replace(rows[position], **change)
    assert reason in {fault.reason for fault in verify_entries(rows).faults}


def test_an_overspent_ledger_is_found() -> None:
    rows = _sample_rows()
    caps = rows[0].caps.replace('"epsilon":2.0', '"epsilon":0.1')
    rows = [dataclasses.replace(row, caps=caps) for row in rows]
    assert {fault.reason for fault in verify_entries(rows).faults} == {"OVER_CAP"}


def test_nothing_is_admitted_on_an_impossible_ledger(ledger: Ledger) -> None:
    _rows(ledger).extend(_sample_rows()[1:])
    with pytest.raises(QualityGateError, match="NOT_RESERVED"):
        ledger.reserve(make_query("z"))


# Named mistakes of dp.md: each check holds for our ledger and fails on the planted mistake.


def _check_composition() -> None:
    ledger = make_ledger(2.0)
    _reserve(ledger, "a", event=HALF)
    with pytest.raises(BudgetRefusedError):
        ledger.reserve(make_query("b", event=HALF))


def _check_refresh_remembers() -> None:
    ledger = make_ledger(2.0)
    answer_once(ledger, make_query("a", event=HALF), draw=lambda grant: noise.draw_counts([5], grant=grant))
    with pytest.raises(BudgetRefusedError):
        ledger.reserve(make_query("a", run_id="the next night", event=HALF))


def _check_crash_stays_spent() -> None:
    """A process that died with a grant in hand may have drawn: its reservation counts."""
    ledger = make_ledger(2.0)
    _reserve(ledger, "a", event=HALF)
    survivor = Ledger(ledger.store, ledger.policy)
    with pytest.raises(BudgetRefusedError):
        survivor.reserve(make_query("a", event=HALF))


def _check_retry_returns_the_release() -> None:
    ledger = make_ledger(2.0)
    draws = []

    def draw(grant: Grant) -> list[int]:
        draws.append(noise.draw_counts([1_000_000], grant=grant))
        return draws[-1]

    event = ZeroConcentrated(1e-6)
    values = {str(ledger_module.answer_once(ledger, make_query(event=event), draw=draw).value) for _ in range(3)}
    assert len(draws) == 1 and values == {str(draws[0])}


def _check_refusal_comes_first_and_says_nothing() -> None:
    canary, reads = 8_675_309, []

    def draw(grant: Grant) -> list[int]:
        reads.append(canary)
        return noise.draw_counts([canary], grant=grant)

    ledger = make_ledger(0.1)
    with pytest.raises(BudgetRefusedError) as caught:
        ledger_module.answer_once(ledger, make_query(event=HALF), draw=draw)
    assert not reads and str(canary) not in str(caught.value)
    assert caught.value.exit_code == ExitCode.BUDGET_REFUSED
    assert {"epsilon_requested", "epsilon_remaining"} <= set(caught.value.fields)


CHECKS = (
    _check_composition, _check_refresh_remembers, _check_crash_stays_spent, _check_retry_returns_the_release,
    _check_refusal_comes_first_and_says_nothing,
)  # fmt: skip


@pytest.mark.parametrize("check", CHECKS)
def test_our_ledger_holds(check: Callable[[], None]) -> None:
    check()


def _forget_everything(book: Book, cap: Cap) -> Counter[Any]:
    return Counter()


def _forget_other_runs(book: Book, cap: Cap) -> Counter[Any]:
    return Counter(decode_event(e.event) for e in book.spent.values() if e.run_id == "the next night")


def _count_committed_only(book: Book, cap: Cap) -> Counter[Any]:
    return Counter(decode_event(e.event) for key, e in book.spent.items() if key in book.committed)


def _always_draw(ledger: Ledger, query: Any, *, draw: Callable[[Grant], Any]) -> Released:
    again = dataclasses.replace(query, name=f"{query.name} {len(ledger.store.entries())}")
    return answer_once(ledger, again, draw=draw)


def _read_first(ledger: Ledger, query: Any, *, draw: Callable[[Grant], Any]) -> Released:
    value = draw(_reserve(make_ledger(math.inf), event=Exact()))
    try:
        return answer_once(ledger, query, draw=draw)
    except BudgetRefusedError as error:
        raise BudgetRefusedError("PRIVACY_BUDGET", near_value=value[0], **error.fields) from None


@pytest.mark.parametrize(
    ("check", "place", "mistake"),
    [
        (_check_composition, (Book, "counts_under"), _forget_everything),
        (_check_refresh_remembers, (Book, "counts_under"), _forget_other_runs),
        (_check_crash_stays_spent, (Book, "counts_under"), _count_committed_only),
        (_check_retry_returns_the_release, (ledger_module, "answer_once"), _always_draw),
        (_check_refusal_comes_first_and_says_nothing, (ledger_module, "answer_once"), _read_first),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_planted_mistake_is_found(
    monkeypatch: pytest.MonkeyPatch, check: Callable[[], None], place: tuple[Any, str], mistake: object
) -> None:
    monkeypatch.setattr(*place, mistake)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        check()


def test_a_policy_has_one_total_first() -> None:
    total = Cap("total", Budget(1.0, DELTA))
    for caps in ((), (Cap("stats", Budget(1.0, DELTA)),), (total, total), (dataclasses.replace(total, user="u"),)):
        with pytest.raises(ConfigurationError, match="PRIVACY_CAPS"):
            Policy(caps)


# Uses outside this product.


def test_an_outside_use_is_spent_and_has_no_grant(ledger: Ledger) -> None:
    entry = ledger.set_aside(make_query(run_id=f"{OUTSIDE_RUN}1", event=HALF, user="dr.lin"))
    assert isinstance(entry, Entry) and ledger.balances()[0].n_events == 1
    with pytest.raises(BudgetRefusedError):
        ledger.set_aside(make_query(run_id=f"{OUTSIDE_RUN}2", event=HALF))
    ledger.give_back(entry.grant_id, user="dr.lin")
    assert ledger.balances()[0].epsilon_spent == 0 and not verify_entries(_rows(ledger)).faults


def test_runs_and_outside_uses_are_kept_apart(ledger: Ledger) -> None:
    with pytest.raises(UsageError, match="OUTSIDE_RUN"):
        ledger.reserve(make_query(run_id=f"{OUTSIDE_RUN}1"))
    with pytest.raises(UsageError, match="OUTSIDE_RUN"):
        ledger.set_aside(make_query())
    grant = _reserve(ledger, user="dr.lin")
    with pytest.raises(UsageError, match="GRANT_OF_A_RUN"):
        ledger.give_back(grant.grant_id, user="dr.lin")
    assert [row.kind for row in _rows(ledger)] == ["reserve"]
