"""The fit stage as it is run: paid once, written once, the same after a crash; a model comes back out of the lake."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from jobs import fit
from ppsehr_spark.config import SimulateSettings, load_settings
from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.ledger_store import read_entries
from ppsehr_spark.lake.record_model_store import read_record_model
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.privacy.book import COMMIT, RESERVE
from ppsehr_spark.privacy.verification import verify_entries
from ppsehr_spark.runtime import run_job
from ppsehr_spark.synthesis.records import count_cells, parse_record_plan
from ppsehr_spark.synthesis.simulator import simulate_record
from tests.synthesis.plain_rows import make_tables


class KilledError(BaseException):
    """Stands for SIGKILL inside this process."""


def _write(lake: Lake, n_patients: int) -> None:
    visits, people = make_tables([simulate_record(index, SimulateSettings()) for index in range(n_patients)])
    for spec, rows in ((schemas.ENCOUNTERS, visits), (schemas.PATIENTS, people)):
        table = pa.Table.from_pylist(rows, schema=spec.schema)
        write_deltalake(lake.table_uri(spec), table, mode="append")


def _arguments(lake: Lake, key_file: str, *more: str) -> list[str]:
    return ["--lake", lake.uri, "--profile", "ci", "--set", f'identity.key_file="{key_file}"', *more]


def _rows(lake: Lake) -> dict[tuple[str, str], Any]:
    rows = lake.read(schemas.RECORD_MODEL).to_pylist()
    found = {(row["model_id"], row["marginal"]): (row["counts"], row["grant_id"], row["run_id"]) for row in rows}
    assert len(found) == len(rows), "no marginal stands twice"
    return found


def _reservations(lake: Lake) -> int:
    entries = read_entries(lake)
    assert not verify_entries(entries).faults
    assert {entry.purpose for entry in entries} <= {"record_model"}
    return sum(entry.kind == RESERVE for entry in entries)


def _no_spark(_: str) -> Any:
    raise AssertionError("Spark was started")


@pytest.fixture(scope="module")
def first(spark: Any, tmp_path_factory: pytest.TempPathFactory, key_file: str) -> Lake:
    """A lake on which the stage has run once."""
    lake = Lake(str(tmp_path_factory.mktemp("fit") / "lake"))
    _write(lake, 40)
    assert run_job(fit.STAGE, _arguments(lake, key_file)) == 0
    return lake


@pytest.fixture
def lake(first: Lake, tmp_path: Path) -> Lake:
    shutil.copytree(first.uri, tmp_path / "lake")
    return Lake(str(tmp_path / "lake"))


@pytest.mark.spark
def test_every_marginal_stands_with_what_the_ledger_released(first: Lake) -> None:
    plan = parse_record_plan(load_settings("ci").files, delta=1e-7)
    stored = read_record_model(first)
    assert stored.domain == plan.domain
    assert {m.name for m in stored.marginals} == {m.name for m in plan.marginals}
    released = {e.query: json.loads(e.released or "") for e in read_entries(first) if e.kind == COMMIT}
    for marginal in stored.marginals:
        assert marginal.counts.tolist() == released[marginal.name]
        assert len(marginal.counts) == count_cells(marginal, stored.domain)
        assert marginal.noise_scale > 1
    assert _reservations(first) == len(plan.marginals)


@pytest.mark.spark
def test_a_retry_gives_what_was_released_without_spark(
    lake: Lake, key_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, reserved = _rows(lake), _reservations(lake)
    monkeypatch.setattr(fit, "open_session", _no_spark)
    assert run_job(fit.STAGE, _arguments(lake, key_file, "--force")) == 0
    shutil.rmtree(Path(lake.uri) / schemas.RECORD_MODEL.path)
    assert run_job(fit.STAGE, _arguments(lake, key_file, "--force")) == 0
    after = _rows(lake)
    assert {key: row[:2] for key, row in after.items()} == {key: row[:2] for key, row in before.items()}
    assert _reservations(lake) == reserved


@pytest.mark.spark
@pytest.mark.parametrize(
    ("point", "n_lost"), [("fit.after_collect", 1), ("fit.before_write", 0), ("fit.after_write", 0)]
)
def test_killed_and_run_again_nothing_is_paid_or_written_twice(
    spark: Any, tmp_path: Path, key_file: str, monkeypatch: pytest.MonkeyPatch, point: str, n_lost: int
) -> None:
    """A reservation in whose reading the process died stays spent: one marginal, not the whole fit."""
    lake = Lake(str(tmp_path / "lake"))
    _write(lake, 12)

    def die(name: str) -> None:
        if name == point:
            raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr("ppsehr_spark.spark.record_model.crash_point", die)
        with pytest.raises(KilledError):
            run_job(fit.STAGE, _arguments(lake, key_file))
    written = _rows(lake)
    assert run_job(fit.STAGE, _arguments(lake, key_file)) == 0
    assert _reservations(lake) == len(_rows(lake)) + n_lost
    assert written.items() <= _rows(lake).items()


@pytest.mark.spark
def test_a_refresh_does_not_forget_what_was_spent(
    lake: Lake, key_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The shipped budget and cap hold a first release and one refresh, and no second one."""
    codes = []
    for _ in range(2):
        _write(lake, 5)
        codes.append(run_job(fit.STAGE, _arguments(lake, key_file)))
    assert codes == [0, 5]
    said = capsys.readouterr().err
    assert "PRIVACY_BUDGET cap=record_model" in said
    assert len({model for model, _ in _rows(lake)}) == 2


def test_a_lake_without_visits_is_told_so(tmp_path: Path, key_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    lake = Lake(str(tmp_path / "lake"))
    assert run_job(fit.STAGE, _arguments(lake, key_file)) == 4
    assert "NO_ENCOUNTERS" in capsys.readouterr().err
    assert not read_entries(lake)


def test_the_plan_shows_cost_and_noise_without_a_lake(
    tmp_path: Path, key_file: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "open_session", _no_spark)
    assert run_job(fit.STAGE, _arguments(Lake(str(tmp_path / "none")), key_file, "--dry-run")) == 0
    planned = json.loads(capsys.readouterr().out)
    assert sum(each["rho"] for each in planned["marginals"]) == pytest.approx(planned["budget"]["rho"], rel=1e-3)
    assert all(each["noise_sd"] == pytest.approx((2 * each["rho"]) ** -0.5, rel=1e-2) for each in planned["marginals"])
