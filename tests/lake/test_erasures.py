"""Tombstones, requests, log clean-up: the parts of erasure and maintenance that need no Spark."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from ppsehr_spark.config import IdentitySettings, Settings
from ppsehr_spark.domain.identity import create_key, keyed_hash, load_key
from ppsehr_spark.errors import UsageError
from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.erasure_request import read_request
from ppsehr_spark.lake.erasures import (
    ErasureOrder,
    add_certificate,
    add_tombstones,
    drop_erased,
    hash_person,
    name_erasure,
    read_tombstones,
)
from ppsehr_spark.lake.row_versions import row_versions
from ppsehr_spark.lake.table_care import checkpoint_table, compact_table, vacuum_table
from ppsehr_spark.lake.table_log import prune_log, read_log
from ppsehr_spark.lake.tables import Lake

KEY = b"k" * 32
ORDER = ErasureOrder("e-1", "PIPL-47-3", "dpo", "2026-01-01T00:00:00+00:00", 1)


@pytest.fixture
def conf(tmp_path: Path) -> Settings:
    create_key(str(tmp_path / "key"))
    return Settings(identity=IdentitySettings(str(tmp_path / "key")))


def test_a_tombstone_stands_once_and_keeps_rows_out(lake: Lake) -> None:
    hashes = [hash_person(KEY, "p1")]
    assert add_tombstones(lake, ORDER, hashes, run_id="r")
    assert not add_tombstones(lake, ORDER, hashes, run_id="r")
    assert lake.read(schemas.ERASURES).num_rows == 1
    rows = [{"patient_key": "p1"}, {"patient_key": "p2"}, {"_reason": "BAD"}]
    assert list(drop_erased(rows, key=KEY, tombstones=read_tombstones(lake))) == rows[1:]
    assert list(drop_erased(rows, key=KEY, tombstones=frozenset())) == rows


def test_an_erasure_keeps_its_name_until_it_is_certified(lake: Lake) -> None:
    first = name_erasure(lake, KEY, {"p1", "p2"})
    assert first == name_erasure(lake, KEY, {"p2", "p1"})
    assert first != name_erasure(lake, KEY, {"p1"})
    order = ErasureOrder(first, "x", "dpo", "", 2)
    told = {"rows_removed": {}, "versions": {}, "learnt": {}, "path": "p", "sha256": "s"}
    assert add_certificate(lake, order, told, run_id="r")
    assert not add_certificate(lake, order, told, run_id="r")
    assert name_erasure(lake, KEY, {"p1", "p2"}) == first.replace("-1", "-2")


def test_lines_become_keys_of_every_source_of_the_lake(lake: Lake, conf: Settings, tmp_path: Path) -> None:
    direct = "0f" * 16
    (tmp_path / "persons.txt").write_text(f"\ufeffHZ1\n\n {direct} \nHZ1\n", encoding="utf-8")
    asked = read_request(lake, conf, path=str(tmp_path / "persons.txt"), reason="x", requested_by="dpo.chen")
    key = load_key(conf.identity.key_file)
    assert asked.n_persons == 2
    assert {direct, keyed_hash(key, "patient", "simulated", "HZ1")} <= asked.patient_keys


@pytest.mark.parametrize("given", ["OLD", "NEW", "OLDER"])
def test_who_was_merged_is_one_person_under_every_id(lake: Lake, conf: Settings, tmp_path: Path, given: str) -> None:
    key = load_key(conf.identity.key_file)
    old, older, new, other = (keyed_hash(key, "patient", "simulated", i) for i in ("OLD", "OLDER", "NEW", "OTHER"))
    pairs = [(old, new), (older, new), (other, "f" * 32)]
    rows = [{"patient_key": a, "surviving_key": b, "source": "simulated"} for a, b in pairs]
    spec = schemas.PATIENT_MERGES
    write_deltalake(lake.table_uri(spec), pa.Table.from_pylist(rows, schema=spec.schema))
    (tmp_path / "persons.txt").write_text(given, encoding="utf-8")
    asked = read_request(lake, conf, path=str(tmp_path / "persons.txt"), reason="x", requested_by="dpo")
    assert asked.patient_keys == {old, older, new}


@pytest.mark.parametrize(("content", "reason"), [(None, "x"), ("\n\n", "x"), ("HZ1\n", "because of 张三 13800000000")])
def test_a_request_without_ids_or_with_a_sentence_for_a_reason_is_refused(
    lake: Lake, conf: Settings, tmp_path: Path, content: str | None, reason: str
) -> None:
    if content is not None:
        (tmp_path / "persons.txt").write_text(content, encoding="utf-8")
    with pytest.raises(UsageError) as refusal:
        read_request(lake, conf, path=str(tmp_path / "persons.txt"), reason=reason, requested_by="dpo")
    assert refusal.value.exit_code == 2
    assert "13800000000" not in str(refusal.value)


def test_log_entries_go_up_to_the_checkpoint_before_the_version_to_keep(lake: Lake) -> None:
    spec = schemas.LAKE_INFO
    for number in range(8):
        row = pa.Table.from_pylist([{"name": f"n{number}", "value": "v"}], schema=spec.schema)
        lake.append(spec, row, app_id=f"a{number}", app_version=1)
        if number in (2, 5):
            checkpoint_table(lake, spec)
    assert prune_log(lake, spec, keep_version=2) == [], "no checkpoint at or before it"
    gone = prune_log(lake, spec, keep_version=5)
    assert gone == [f"{version:020d}.json" for version in range(3)]
    assert read_log(lake, spec).oldest == 3
    assert DeltaTable(lake.table_uri(spec), version=5).count() == 5
    assert not lake.append(spec, lake.read(spec), app_id="a0", app_version=1), "transactions live on in the checkpoint"
    assert lake.read(spec).num_rows == 8


def test_a_compaction_is_no_new_version_of_the_rows(lake: Lake) -> None:
    spec = schemas.LAKE_INFO
    for number in range(3):
        row = pa.Table.from_pylist([{"name": f"n{number}", "value": "v"}], schema=spec.schema)
        lake.append(spec, row, app_id=f"a{number}", app_version=1)
    written = lake.version(spec)
    compact_table(lake, spec, target_bytes=1 << 27)
    vacuum_table(lake, spec, retention_hours=0)
    now = lake.version(spec)
    assert row_versions(lake, {spec.full_name: now, "phi.notes": None}) == {spec.full_name: written, "phi.notes": None}
    lake.append(spec, pa.Table.from_pylist([{"name": "n9", "value": "v"}], schema=spec.schema))
    newest = lake.version(spec)
    assert row_versions(lake, {spec.full_name: newest}) == {spec.full_name: newest}
    assert row_versions(lake, {spec.full_name: now}) == {spec.full_name: written}, "a pinned version is what it was"
