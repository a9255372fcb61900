"""A small lake written by deltalake, also the tables that the JVM writes in production."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from ppsehr_spark.config import Settings, load_settings
from ppsehr_spark.lake.evaluations import evaluate_lake
from ppsehr_spark.lake.schemas import TABLES, TableSpec
from ppsehr_spark.lake.tables import Lake
from tests.lake.dp_lake import RUN_ID, fill_privacy_half
from tests.lake.note_release import publish_notes
from tests.lake.worked_release import build_rows, spend_budget
from tests.lake.worked_rows import WORKED_ROWS

Fill = Callable[[TableSpec, Sequence[Mapping[str, Any]]], None]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


@pytest.fixture(scope="session")
def settings() -> Settings:
    return load_settings()


@pytest.fixture
def fill(lake: Lake) -> Fill:
    """Overwrite one table with rows; missing columns are null."""
    return lambda spec, rows: _write(lake, spec, rows)


@pytest.fixture(scope="session")
def _worked_folder(tmp_path_factory: pytest.TempPathFactory, settings: Settings) -> Path:
    folder = tmp_path_factory.mktemp("worked")
    for name, rows in WORKED_ROWS.items():
        _write(Lake(str(folder)), TABLES[name], rows)
    publish_notes(Lake(str(folder)), settings, run_id="r1")
    return folder


@pytest.fixture(scope="session")
def _published_folder(tmp_path_factory: pytest.TempPathFactory, _worked_folder: Path, settings: Settings) -> Path:
    folder = tmp_path_factory.mktemp("published") / "lake"
    shutil.copytree(_worked_folder, folder)
    lake = Lake(str(folder))
    for name, rows in build_rows(spend_budget(lake, settings)).items():
        spec = TABLES[name]
        known = [{column: row.get(column) for column in spec.schema.names} for row in rows]
        lake.append(spec, pa.Table.from_pylist(known, schema=spec.schema))
    return folder


@pytest.fixture
def published_lake(lake: Lake, _published_folder: Path) -> Lake:
    """The worked lake with its second half: statistics, synthetic patients, figures, and what was published of them."""
    shutil.copytree(_published_folder, lake.uri)
    return lake


@pytest.fixture(scope="session")
def _dp_folder(tmp_path_factory: pytest.TempPathFactory, settings: Settings) -> Path:
    folder = tmp_path_factory.mktemp("dp") / "lake"
    fill_privacy_half(Lake(str(folder)), settings)
    evaluate_lake(Lake(str(folder)), settings, run_id=RUN_ID)
    return folder


@pytest.fixture
def dp_lake(lake: Lake, _dp_folder: Path) -> Lake:
    """The privacy half by the real ledger and noise, evaluated; no notes and nothing published."""
    shutil.copytree(_dp_folder, lake.uri)
    return lake


@pytest.fixture
def worked_lake(lake: Lake, _worked_folder: Path) -> Lake:
    """Four notes of two patients as a whole pipeline run leaves them, small enough to check by hand."""
    shutil.copytree(_worked_folder, lake.uri)
    return lake


def _write(lake: Lake, spec: TableSpec, rows: Sequence[Mapping[str, Any]]) -> None:
    table = pa.Table.from_pylist([dict(row) for row in rows], schema=spec.schema)
    write_deltalake(lake.table_uri(spec), table, mode="overwrite", description=spec.description)
