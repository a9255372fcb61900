"""Deliveries that take away: operations, snapshots, merged patients; what cannot be is a reject with its reason."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ppsehr_spark.config import Settings, load_settings
from ppsehr_spark.domain.identity import keyed_hash, load_key
from ppsehr_spark.errors import QualityGateError
from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.erasures import ErasureOrder, add_tombstones, hash_person, read_tombstones
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.spark.ingest.landing import ingest_source
from ppsehr_spark.spark.ingest.mapping import load_mapping
from ppsehr_spark.spark.ingest.patient_merging import resolve_merges

pytestmark = pytest.mark.spark
SOURCE = """
[files.notes]
path = "notes"
format = "jsonl"
table = "notes"
is_optional = true
[files.notes.fields]
note_id = "id"
patient_id = "patient"
text = "text"
[files.changes]
path = "changes"
format = "jsonl"
table = "notes"
is_optional = true
[files.changes.fields]
operation = "op"
note_id = "id"
patient_id = "patient"
text = "text"
[files.changes.operations]
"改" = "upsert"
"删" = "delete"
[files.merges]
path = "merges"
format = "jsonl"
table = "merges"
is_optional = true
[files.merges.fields]
patient_id = "old"
surviving_id = "new"
"""
Line = dict[str, Any] | str


@pytest.fixture(scope="module")
def settings(key_file: str) -> Settings:
    plain = load_settings("ci", [f'identity.key_file="{key_file}"', "ingest.max_reject_share=0.9"])
    return replace(plain, files={**plain.files, "sources/changes.toml": SOURCE})


def _deliver(
    spark: Any, lake: Lake, root: Path, settings: Settings, *, is_snapshot: bool = False, **folders: list[Line]
) -> dict[str, int]:
    for name, lines in folders.items():
        (root / name).mkdir(parents=True)
        said = [line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) for line in lines]
        (root / name / "a.jsonl").write_text("\n".join(said) + "\n", encoding="utf-8")
    mapping = load_mapping(settings.files, "changes")
    return ingest_source(
        spark, lake, mapping=mapping, root=str(root), settings=settings, run_id="r1", is_snapshot=is_snapshot
    )


def _notes(lake: Lake) -> dict[str, str]:
    return {row["source_note_id"]: row["text"] for row in lake.read(schemas.NOTES).to_pylist()}


def _note(note_id: str, text: str = "甲", patient: str = "p1") -> Line:
    return {"id": note_id, "patient": patient, "text": text}


def test_snapshots_delete_what_is_absent_unless_absence_cannot_be_known(
    spark: Any, settings: Settings, tmp_path: Path
) -> None:
    lake = Lake(str(tmp_path / "lake"))
    _deliver(spark, lake, tmp_path / "1", settings, notes=[_note(str(i)) for i in range(20)])
    with pytest.raises(QualityGateError, match="TOO_MANY_DELETIONS notes=20 absent=15"):
        _deliver(spark, lake, tmp_path / "2", settings, is_snapshot=True, notes=[_note(str(i)) for i in range(5)])
    assert len(_notes(lake)) == 20
    # a rejected row still says that its note is there; one that cannot be read at all says nothing
    kept: list[Line] = [*(_note(str(i)) for i in range(18)), {"id": "18", "patient": "p1", "text": ""}]
    counts = _deliver(spark, lake, tmp_path / "3", settings, is_snapshot=True, notes=[*kept, "{不是"])
    assert counts["deletions_withheld"] == 1 and len(_notes(lake)) == 20
    counts = _deliver(spark, lake, tmp_path / "4", settings, is_snapshot=True, notes=kept)
    assert (counts["notes_deleted"], counts["deletions_withheld"]) == (1, 0)
    assert set(_notes(lake)) == {str(i) for i in range(19)}


def test_operations_are_followed_in_order_and_unknown_ones_refused(
    spark: Any, settings: Settings, tmp_path: Path
) -> None:
    lake = Lake(str(tmp_path / "lake"))
    changes: list[Line] = [{"op": "改", **_note(i)} for i in ("1", "2", "3")]  # type: ignore[dict-item]
    changes += [
        {"op": "删", "id": "1"},
        {"op": "删", "id": "2"},
        {"op": "改", "id": "2", "patient": "p1", "text": "乙"},
    ]
    changes += [{"op": "移", "id": "3"}, {"op": "删"}, {"op": "删", "id": "9"}]
    counts = _deliver(spark, lake, tmp_path / "1", settings, changes=changes)
    assert _notes(lake) == {"2": "乙", "3": "甲"}
    assert (counts["notes_inserted"], counts["notes_deleted"]) == (2, 0)
    rejects = {(r["row"], r["field"], r["reason"]) for r in lake.read(schemas.REJECTS).to_pylist()}
    assert rejects == {(7, "operation", "UNKNOWN_OPERATION"), (8, "note_id", "MISSING_FIELD")}


def test_merges_lead_to_the_last_survivor_and_circles_are_refused(
    spark: Any, settings: Settings, tmp_path: Path
) -> None:
    lake, key = Lake(str(tmp_path / "lake")), load_key(settings.identity.key_file)
    person = {keyed_hash(key, "patient", "changes", p): p for p in "abcdefghxyz"}

    def merge(old: str, new: str) -> Line:
        return {"old": old, "new": new}

    def standing() -> dict[str, str]:
        rows = lake.read(schemas.PATIENT_MERGES).to_pylist()
        return {person[row["patient_key"]]: person[row["surviving_key"]] for row in rows}

    notes = [_note(p, patient=p) for p in "abcdefgh"]
    first = [merge("a", "b"), merge("b", "c"), merge("c", "d"), merge("x", "y"), merge("y", "x"), merge("z", "z")]
    _deliver(spark, lake, tmp_path / "1", settings, notes=notes, merges=first)
    assert standing() == dict.fromkeys("abc", "d")
    reasons = sorted(r["reason"] for r in lake.read(schemas.REJECTS).to_pylist())
    assert reasons == ["MERGE_CYCLE", "MERGE_CYCLE", "MERGE_INTO_ITSELF"]
    # the survivor is merged in its turn; what was said before is no news; a second survivor is a contradiction
    second = [merge("d", "e"), merge("a", "b"), merge("e", "a"), merge("b", "f")]
    counts = _deliver(spark, lake, tmp_path / "2", settings, notes=notes[:1], merges=second[:1])
    assert counts["patients_merged"] == 4 and standing() == dict.fromkeys("abcd", "e")
    counts = _deliver(spark, lake, tmp_path / "3", settings, merges=second[1:])
    assert counts["patients_merged"] == 0 and standing() == dict.fromkeys("abcd", "e")
    assert {r["reason"] for r in lake.read(schemas.REJECTS).to_pylist()} > {"MERGE_CONFLICT"}
    owners = {r["source_note_id"]: person[r["patient_key"]] for r in lake.read(schemas.NOTES).to_pylist()}
    assert owners == {**dict.fromkeys("abcde", "e"), **{p: p for p in "fgh"}}


def test_whoever_is_merged_into_an_erased_person_leaves_and_stays_away(
    spark: Any, settings: Settings, tmp_path: Path
) -> None:
    lake, key = Lake(str(tmp_path / "lake")), load_key(settings.identity.key_file)
    hashed = {p: hash_person(key, keyed_hash(key, "patient", "changes", p)) for p in "abcdef"}
    order = ErasureOrder("e-1", "PIPL-47-3", "dpo", "2026-01-01T00:00:00+00:00", 1)
    add_tombstones(lake, order, [hashed["a"]], run_id="r0")
    notes = [_note(p, patient=p) for p in "abcd"]
    counts = _deliver(spark, lake, tmp_path / "1", settings, notes=notes, merges=[{"old": "c", "new": "b"}])
    assert set(_notes(lake)) == set("bcd") and "patients_forgotten" not in counts
    # b is a, it turns out; c became b before, and e leads to b: all of them were erased
    merges: list[Line] = [{"old": "b", "new": "a"}, {"old": "e", "new": "b"}]
    more = [_note("b2", patient="b"), _note("e", patient="e"), _note("f", patient="f")]
    counts = _deliver(spark, lake, tmp_path / "2", settings, notes=more, merges=merges)
    assert counts["patients_forgotten"] == 3 and set(_notes(lake)) == set("df")
    assert lake.read(schemas.PATIENT_MERGES).num_rows == 0
    assert read_tombstones(lake) == {hashed[p] for p in "abce"}
    told = {(row["reason"], row["requested_by"]) for row in lake.read(schemas.ERASURES).to_pylist()}
    assert told == {("PIPL-47-3", "dpo"), ("MERGED_INTO_ERASED", "job:ingest")}
    counts = _deliver(spark, lake, tmp_path / "3", settings, notes=[*notes, *more], merges=merges)
    assert set(_notes(lake)) == set("df") and "patients_forgotten" not in counts
    assert read_tombstones(lake) == {hashed[p] for p in "abce"}


def test_a_long_chain_is_followed_in_few_rounds(spark: Any, tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    rows = [(f"k{i:03}", f"k{i + 1:03}", "s", "f", i) for i in range(40)]
    schema = "patient_key string, surviving_key string, source string, _file string, _row long"
    resolved = resolve_merges(spark, lake, spark.createDataFrame(rows, schema))
    assert {row["surviving_key"] for row in resolved.changed.collect()} == {"k040"}
    assert resolved.changed.count() == 40 and resolved.refused.count() == 0
