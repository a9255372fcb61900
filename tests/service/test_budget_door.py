"""``ppsehr budget``: figures for people, budget for outside uses, and what it refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ppsehr_spark.errors import UsageError
from ppsehr_spark.lake.ledger_store import open_ledger, read_entries
from ppsehr_spark.lake.schemas import AUDIT_LOG, PRIVACY_LEDGER
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.privacy import noise
from ppsehr_spark.privacy.events import Gaussian, SampledGaussian
from ppsehr_spark.privacy.grants import Grant
from ppsehr_spark.privacy.ledger import answer_once
from ppsehr_spark.service.budget_door import main, parse_event
from tests.privacy.small_ledger import make_policy, make_query

CANARY = 8_675_309
OUTSIDE = ("--name", "手工评估", "--dataset", "encounters", "--purpose", "evaluation", "--by", "dr.lin")


@pytest.fixture
def lake(tmp_path: Any) -> Lake:
    return Lake(str(tmp_path / "lake"))


@pytest.fixture
def budget(lake: Lake, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run the command; (exit code, standard output, standard error)."""

    def run(command: str, *arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([command, *arguments, "--lake", lake.uri])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def _set_aside(budget: Any, event: str = "Gaussian:noise_multiplier=9") -> str:
    code, out, _ = budget("reserve", *OUTSIDE, "--event", event)
    assert code == 0
    return str(out.strip())


def _audited(lake: Lake) -> list[tuple[str, str, str]]:
    rows = lake.read(AUDIT_LOG).sort_by("sequence").to_pylist()
    return [(row["actor"], row["action"], row["target"]) for row in rows]


def test_budget_is_set_aside_shown_and_given_back(budget: Any, lake: Lake) -> None:
    grant_id = _set_aside(budget)
    code, out, _ = budget("show", "--json")
    total, statistics = json.loads(out)[:2]
    assert code == 0 and (total["n_events"], statistics["n_events"]) == (1, 0)
    assert 0 < total["pld_epsilon"] < total["epsilon_spent"] == pytest.approx(8.0 - total["epsilon_left"])
    assert budget("release", grant_id, "--by", "dr.lin", "--never-used")[0] == 0
    assert json.loads(budget("show", "--json")[1])[0]["epsilon_spent"] == 0
    assert budget("verify")[:2] == (0, budget("verify")[1]) and "ledger holds" in budget("verify")[1]
    target = PRIVACY_LEDGER.full_name
    assert _audited(lake) == [("dr.lin", "budget_reserve", target), ("dr.lin", "budget_release", target)]


def test_the_table_for_people_names_every_cap(budget: Any) -> None:
    _, out, _ = budget("show")
    assert [line.split()[0] for line in out.splitlines()[:3]] == ["cap", "total", "statistics"]


def test_only_the_account_that_set_it_aside_gives_it_back_and_once(budget: Any) -> None:
    grant_id = _set_aside(budget)
    code, _, err = budget("release", grant_id, "--by", "somebody", "--never-used")
    assert code == 2 and "ANOTHER_USER" in err
    with pytest.raises(SystemExit):
        budget("release", grant_id, "--by", "dr.lin")
    assert budget("release", grant_id, "--by", "dr.lin", "--never-used")[0] == 0
    code, _, err = budget("release", grant_id, "--by", "dr.lin", "--never-used")
    assert code == 2 and "NOT_RESERVED" in err


def test_what_a_run_reserved_stays_spent(budget: Any, lake: Lake) -> None:
    """Whether noise was drawn is known to the process alone, and that may have died."""
    grant = open_ledger(lake, make_policy(8.0)).reserve(make_query(user="dr.lin"))
    assert isinstance(grant, Grant)
    code, _, err = budget("release", grant.grant_id, "--by", "dr.lin", "--never-used")
    assert code == 2 and "GRANT_OF_A_RUN" in err
    assert [entry.kind for entry in read_entries(lake)] == ["reserve"]


def test_a_refusal_says_what_was_requested_and_remains(budget: Any, lake: Lake) -> None:
    answer_once(
        open_ledger(lake, make_policy(8.0)), make_query(), draw=lambda grant: noise.draw_counts([CANARY], grant=grant)
    )
    n_rows = len(read_entries(lake))
    for more in ((), ("--dry-run",)):
        code, out, err = budget("reserve", *OUTSIDE, "--event", "ZeroConcentrated:rho=9", *more)
        assert code == 5 and "epsilon_requested=" in err and "epsilon_remaining=" in err
        assert not out and str(CANARY)[:4] not in err
    assert len(read_entries(lake)) == n_rows and lake.version(AUDIT_LOG) is None


def test_a_dry_run_writes_nothing(budget: Any, lake: Lake) -> None:
    code, out, err = budget("reserve", *OUTSIDE, "--event", "Exact", "--dry-run")
    assert (code, out) == (5, "") and "epsilon_together=inf" in err
    code, out, _ = budget("reserve", *OUTSIDE, "--event", "Gaussian:noise_multiplier=9", "--dry-run")
    assert (code, out) == (0, "") and lake.version(PRIVACY_LEDGER) is None


def test_entries_are_listed_without_what_was_released(budget: Any, lake: Lake) -> None:
    ledger = open_ledger(lake, make_policy(8.0))
    answer_once(ledger, make_query("a"), draw=lambda grant: noise.draw_counts([CANARY, CANARY], grant=grant))
    value = str(ledger.reserve(make_query("a")).value[0])  # type: ignore[union-attr]
    code, out, _ = budget("ledger")
    assert code == 0 and "list of 2" in out and value not in out
    rows = json.loads(budget("ledger", "--last", "1", "--json")[1])
    assert [(row["row"], row["kind"], row["released"]) for row in rows] == [(2, "commit", "list of 2")]


def test_events_are_named_by_their_fields() -> None:
    expected = SampledGaussian(1.1, 0.01, 450)
    assert parse_event("SampledGaussian:noise_multiplier=1.1,sampling_rate=0.01,n_steps=450") == expected
    assert parse_event("Gaussian:noise_multiplier=9") == Gaussian(9)
    for wrong in (
        "Gaussian",
        "Gaussian:noise_multiplier=much",
        "Mystery:rho=1",
        "Gaussian:rho=1",
        "ZeroConcentrated:rho=-1",
    ):
        with pytest.raises(UsageError):
            parse_event(wrong)


def test_names_stay_short(budget: Any) -> None:
    arguments = [*OUTSIDE, "--event", "Gaussian:noise_multiplier=9"]
    arguments[1] = "长" * 101
    assert budget("reserve", *arguments)[0] == 2
