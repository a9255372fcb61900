"""The lake's contract: one writer per table, releases only by publish, comments everywhere, no PHI in statistics."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from jobs.pipeline import STAGES
from ppsehr_spark.lake.schemas import TABLES, ZONES, TableSpec

HOME = Path(__file__).resolve().parents[2]
#: Writers that are no job: people through the console, and the shared control tables.
PEOPLE, ANY = "people", "any"
#: Later stages of the main job read only what an earlier one wrote.
ORDER = tuple(stage.name for stage in STAGES)
#: Column names whose minimum or maximum would be text or an identifier of somebody.
PHI_WORDS = ("text", "name", "spans", "phone", "address", "source_id", "birth", "snippet", "value", "details")
ENGINE_OF = {"partition": "spark", "ingest": "spark", "tier": "spark", "protect": "spark"}

specs = pytest.mark.parametrize("spec", TABLES.values(), ids=lambda spec: spec.full_name)


@specs
def test_writer_is_a_job(spec: TableSpec) -> None:
    if spec.writer == ANY:
        assert spec.zone == "control"
    elif spec.writer == PEOPLE:
        assert spec.full_name == "phi.corrections"
    else:
        assert (HOME / "jobs" / f"{spec.writer}.py").is_file()


@specs
def test_zone_is_known_and_only_publish_writes_releases(spec: TableSpec) -> None:
    assert spec.zone in ZONES
    assert (spec.zone == "release") == (spec.writer == "publish")
    assert spec.path.split("/")[0] == spec.zone


@specs
def test_every_column_has_a_comment_and_the_table_two_languages(spec: TableSpec) -> None:
    assert [field.name for field in spec.schema if not (field.metadata or {}).get(b"comment")] == []
    english, bar, chinese = spec.description.partition(" | ")
    assert english
    assert bar
    assert any("\u4e00" <= char <= "\u9fff" for char in chinese)


@specs
def test_keys_exist(spec: TableSpec) -> None:
    assert spec.keys
    assert set(spec.keys) | set(spec.clustering) | set(spec.stats_columns) <= set(spec.schema.names)


@specs
def test_statistics_and_clustering_hold_no_phi(spec: TableSpec) -> None:
    exposed = {*spec.stats_columns, *spec.clustering}
    telling = {name for name in exposed for word in PHI_WORDS if word in name}
    assert not telling
    for name in exposed:
        assert not pa.types.is_nested(spec.schema.field(name).type)


@specs
def test_one_engine_writes_and_release_stays_plain(spec: TableSpec) -> None:
    assert spec.engine in ("spark", "deltalake")
    assert spec.engine == ENGINE_OF.get(spec.writer, spec.engine)
    if spec.engine == "deltalake" or spec.zone == "release":
        assert not spec.has_deletion_vectors


@specs
def test_timestamps_carry_utc(spec: TableSpec) -> None:
    naive = [f.name for f in spec.schema if pa.types.is_timestamp(f.type) and f.type.tz != "UTC"]
    assert not naive


def test_names_are_unique_and_keyed_by_full_name() -> None:
    assert all(name == spec.full_name for name, spec in TABLES.items())


def test_no_job_reads_a_later_jobs_table() -> None:
    """Inputs are named in the job's Stage; corrections come from people and may be read by all."""
    import importlib

    for position, job in enumerate(ORDER):
        module = importlib.import_module(f"jobs.{job}")
        later = {spec.full_name for spec in TABLES.values() if spec.writer in ORDER[position:]}
        assert not later & {spec.full_name for spec in module.STAGE.inputs}, job
