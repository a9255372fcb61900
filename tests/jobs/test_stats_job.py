"""The stats stage as it is run: paid once, drawn once, written once, refused before data are read."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs import stats
from ppsehr_spark.config import load_settings
from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.claim_store import read_ledger
from ppsehr_spark.lake.ledger_store import read_entries
from ppsehr_spark.lake.statistics_gates import judge_statistics
from ppsehr_spark.lake.statistics_store import read_statistics
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.privacy.accounting import compute_epsilon
from ppsehr_spark.privacy.book import read_book
from ppsehr_spark.privacy.events import decode_event, flatten_event
from ppsehr_spark.privacy.verification import verify_entries
from ppsehr_spark.runtime import run_job
from ppsehr_spark.spark.statistics import facts, releasing, sketches
from tests.spark.worked_visits import make_patients, write_lake

ROOT = Path(__file__).resolve().parent.parent.parent
Run = Callable[..., int]


def _no_spark(_: str) -> Any:
    raise AssertionError("Spark was started")


def _arguments(lake: Lake, key_file: str, *more: str) -> list[str]:
    return ["--lake", lake.uri, "--profile", "ci", "--set", f'identity.key_file="{key_file}"', *more]


def _values(lake: Lake) -> dict[tuple[str, str, int], tuple[float, str]]:
    rows = lake.read(schemas.DP_STATISTICS).to_pylist()
    found = {(row["ask_id"], row["query"], row["cell"]): (row["value"], row["grant_id"]) for row in rows}
    assert len(found) == len(rows), "no cell stands twice"
    return found


def _spent(lake: Lake) -> float:
    entries = read_entries(lake)
    assert not verify_entries(entries).faults
    events = [decode_event(entry.event) for entry in read_book(entries).spent.values()]
    return compute_epsilon(events, delta=1e-7)


def _make_lake(folder: Path, *, seed: int = 1, n: int = 30) -> Lake:
    lake = Lake(str(folder))
    write_lake(lake, make_patients(n, seed=seed))
    return lake


@pytest.fixture(scope="module")
def first(spark: Any, tmp_path_factory: pytest.TempPathFactory, key_file: str) -> Lake:
    """A lake on which the stage has run once."""
    lake = _make_lake(tmp_path_factory.mktemp("stats") / "lake")
    assert run_job(stats.STAGE, _arguments(lake, key_file)) == 0
    return lake


@pytest.fixture
def lake(first: Lake, tmp_path: Path) -> Lake:
    shutil.copytree(first.uri, tmp_path / "lake")
    return Lake(str(tmp_path / "lake"))


@pytest.mark.spark
def test_every_release_of_the_catalogue_stands_with_its_price(first: Lake) -> None:
    rows = read_statistics(first).to_pylist()
    planned, _ = releasing.plan_stage(load_settings("ci"))
    chosen = [each.release.id for each in planned if each.n_rows is None]  # no code passes the threshold: 30 patients
    assert {row["query"] for row in rows} == {each.release.id for each in planned} - set(chosen)
    assert len(rows) == sum(each.n_rows or 0 for each in planned)
    grants = {row["grant_id"] for row in rows}
    committed = read_book(read_entries(first)).finished
    assert grants == {entry.grant_id for (_, query), entry in committed.items() if query not in chosen}
    assert len(committed) == len(grants) + len(chosen)
    assert judge_statistics(rows, read_ledger(first), load_settings("ci").files) is None, "the gate computes the same"
    assert 1.49 < _spent(first) <= 1.5
    simple = {each.release.id for each in planned if each.has_counts}
    assert all(row["value"] == int(row["value"]) for row in rows if row["query"] in simple)
    noised = [row for row in rows if row["kind"] != "quantile"]
    assert all(row["low"] <= row["value"] <= row["high"] and row["low"] < row["high"] for row in noised)
    assert all(row["low"] is None and row["high"] is None for row in rows if row["kind"] == "quantile")
    spans = [json.loads(row["table_versions"]) for row in rows if row["kind"] == "spans"]
    assert all(set(versions) == {"phi.notes", "phi.annotations"} for versions in spans)
    assert first.read(schemas.DRIFT_SKETCHES).num_rows == 2


@pytest.mark.spark
def test_no_key_and_no_count_of_the_data_stands_in_what_is_released(first: Lake) -> None:
    text = json.dumps(read_statistics(first).to_pylist(), ensure_ascii=False, default=str)
    assert make_patients(2)[1].key not in text and "not listed" not in text


def _assert_unchanged(lake: Lake, before: Lake) -> None:
    assert _spent(lake) == _spent(before)
    assert _values(lake) == _values(before)


@pytest.mark.spark
def test_a_retry_gives_what_was_released_without_spark(
    lake: Lake, first: Lake, key_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stats, "open_session", _no_spark)
    assert run_job(stats.STAGE, _arguments(lake, key_file, "--force")) == 0
    _assert_unchanged(lake, first)


@pytest.mark.spark
def test_a_retry_that_draws_again_is_caught(
    lake: Lake, first: Lake, key_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mistake: questions named after the run, so that a retry asks a new one."""
    monkeypatch.setattr(releasing, "make_ask_id", lambda stage, **_: f"{stage}-of-this-run")
    assert run_job(stats.STAGE, _arguments(lake, key_file, "--force")) == 0
    with pytest.raises(AssertionError):
        _assert_unchanged(lake, first)


@pytest.mark.spark
def test_rows_lost_between_ledger_and_table_come_back_unchanged(
    lake: Lake, key_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _values(lake)
    shutil.rmtree(Path(lake.uri) / schemas.DP_STATISTICS.path)
    monkeypatch.setattr(stats, "open_session", _no_spark)
    assert run_job(stats.STAGE, _arguments(lake, key_file, "--force")) == 0
    assert _values(lake) == before


@pytest.mark.spark
def test_lost_sketches_come_back_and_spark_is_started_before_it_is_spoken_to(
    spark: Any, lake: Lake, first: Lake, key_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that finds every release in the ledger has no session yet when it comes to its sketches."""
    started: list[str] = []

    def measure(name: str) -> Any:
        assert started, "no session yet"
        return facts.measure_of(name)

    monkeypatch.setattr(stats, "open_session", lambda name: started.append(name) or spark)
    monkeypatch.setattr(sketches, "measure_of", measure)
    shutil.rmtree(Path(lake.uri) / schemas.DRIFT_SKETCHES.path)
    assert run_job(stats.STAGE, _arguments(lake, key_file, "--force")) == 0
    again, before = (
        {row["measure"]: (row["n_rows"], row["centroids"]) for row in each.read(schemas.DRIFT_SKETCHES).to_pylist()}
        for each in (lake, first)
    )
    assert again == before and set(again) == {"length_of_stay_days", "note_chars"}


@pytest.mark.spark
def test_a_refresh_pays_again_for_what_it_reads_anew_and_for_nothing_else(lake: Lake, key_file: str) -> None:
    before, rho = _values(lake), {row["query"]: row["rho"] for row in read_statistics(lake).to_pylist()}
    rows = lake.read(schemas.ANNOTATIONS)
    from deltalake import write_deltalake

    write_deltalake(lake.table_uri(schemas.ANNOTATIONS), rows, mode="overwrite")  # tiers were assigned again
    assert run_job(stats.STAGE, _arguments(lake, key_file)) == 0
    after = _values(lake)
    bought = {query for ask, query, _ in after if (ask, query) not in {key[:2] for key in before}}
    marked = {"patients_by_span", "marked_kinds_per_patient"}
    assert bought == marked and before.items() <= after.items()
    events = [decode_event(entry.event) for entry in read_book(read_entries(lake)).spent.values()]
    together = sum(getattr(part, "rho", 0.0) for event in events for part in flatten_event(event))
    planned, _ = releasing.plan_stage(load_settings("ci"))
    assert together == pytest.approx(sum(each.rho for each in planned) + sum(rho[name] for name in marked))
    assert _spent(lake) > 1.5, "the refresh composes with what was spent before"
    current = read_statistics(lake).to_pylist()
    assert len(current) == len(before), "the newest release of each query"
    newest = {row["ask_id"] for row in current if row["query"] in marked}
    assert len(newest) == 2 and not newest & {ask for ask, _, _ in before}


def _run_refused(folder: Path, key_file: str, capsys: pytest.CaptureFixture[str], *, seed: int, n: int) -> str:
    lake = _make_lake(folder / "lake", seed=seed, n=n)
    for spec in (schemas.ENCOUNTERS, schemas.NOTES, schemas.ANNOTATIONS):
        for file in (Path(lake.uri) / spec.path).glob("*.parquet"):
            file.unlink()  # whoever read the data now would fail
    conf = folder / "conf"
    shutil.copytree(ROOT / "conf", conf)
    caps = (conf / "privacy.toml").read_text(encoding="utf-8").replace("epsilon = 3.0", "epsilon = 1.2")
    (conf / "privacy.toml").write_text(caps, encoding="utf-8")
    capsys.readouterr()
    assert run_job(stats.STAGE, _arguments(lake, key_file, "--conf", str(conf))) == 5
    assert _spent(lake) == 0.0, "the reservations that fitted were given back"
    assert lake.version(schemas.DP_STATISTICS) is None
    return capsys.readouterr().err


def test_a_refusal_comes_before_the_data_and_says_nothing_about_them(
    tmp_path: Path, key_file: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stats, "open_session", _no_spark)
    said = [
        _run_refused(tmp_path / name, key_file, capsys, seed=seed, n=n) for name, seed, n in (("a", 1, 3), ("b", 2, 40))
    ]
    assert said[0] == said[1] and "PRIVACY_BUDGET cap=statistics" in said[0]


def test_the_plan_shows_cost_and_noise_without_a_lake(
    tmp_path: Path, key_file: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stats, "open_session", _no_spark)
    assert run_job(stats.STAGE, _arguments(Lake(str(tmp_path / "none")), key_file, "--dry-run")) == 0
    releases = {each["id"]: each for each in json.loads(capsys.readouterr().out)["releases"]}
    counted = releases["patients_by_department"]
    assert counted["noise_sd"] == pytest.approx(math.sqrt(2 / (2 * counted["rho"])), rel=1e-2)
    assert releases["length_of_stay_quantiles"]["noise_sd"] is None
