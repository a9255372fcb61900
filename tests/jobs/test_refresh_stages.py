"""The night after: stages follow change feeds, and end in the rows of a lake compared in full or made anew."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

import jobs.partition
from ppsehr_spark.domain.identity import keyed_hash, load_key
from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.tables import Lake
from tests.jobs.worked_refresh import (
    CANARIES,
    DERIVED,
    DOUBT,
    answer_doubt,
    by_id,
    copy_lake,
    counts_of,
    rows_of,
    run,
    run_all,
    versions_of,
    write_first_night,
    write_second_night,
    write_third_night,
)

pytestmark = pytest.mark.spark
#: The second night dies here and is started again; tier and protect have no point of their own between two commits.
CRASH_POINTS = (("ingest", "ingest.after_moving_notes"), ("partition", "partition.after_rules"))


class KilledError(BaseException):
    """Stands for SIGKILL inside this process: no ``except Exception`` of the product may catch it."""


@pytest.fixture(scope="module")
def nights(spark: Any, tmp_path_factory: pytest.TempPathFactory, key_file: str) -> tuple[Lake, Lake, Path]:
    """The lake after the second night's stages, the same lake before them, and a folder."""
    base = tmp_path_factory.mktemp("nights")
    write_first_night(base / "first")
    write_second_night(base / "second")
    lake = Lake(str(base / "lake"))
    assert run("ingest", lake, key_file, "--source", str(base / "first")) == 0
    run_all(lake, key_file)
    copy_lake(lake, base / "evening")
    assert run("ingest", lake, key_file, "--source", str(base / "second")) == 0
    before = copy_lake(lake, base / "before")
    run_all(lake, key_file)
    return lake, before, base


def counts(**given: int) -> dict[str, int]:
    """A stage's counts, the usual ones left out."""
    return {"inserted": 0, "updated": 0, "deleted": 0, "computed": 0, "followed_changes": 1, **given}


def test_only_what_changed_is_computed(nights: tuple[Lake, Lake, Path]) -> None:
    lake = nights[0]
    assert counts_of(lake, "ingest") == {
        "rejects": 0, "computed": 5, "patients_merged": 1, "notes_inserted": 1, "notes_updated": 1, "notes_deleted": 1,
    }  # fmt: skip
    partition = counts_of(lake, "partition")
    assert partition == {"notes": 2, "deleted": 1, "computed": 2, "segments": 0, "units": 0, "followed_changes": 1}
    assert counts_of(lake, "tier") == counts(inserted=1, updated=1, deleted=1, computed=2)
    # and the note of the merged patient, whose surrogates are the survivor's now
    assert counts_of(lake, "protect") == counts(inserted=1, updated=2, deleted=1, computed=3)


def test_a_merged_patient_and_a_deleted_note_are_gone_everywhere(
    nights: tuple[Lake, Lake, Path], key_file: str
) -> None:
    lake, key = nights[0], load_key(key_file)
    old, survivor = (keyed_hash(key, "patient", "simulated", p) for p in ("p3", "p1"))
    for spec in (schemas.PATIENTS, schemas.ENCOUNTERS, schemas.NOTES, schemas.PROTECTED_NOTES):
        keys = [row["patient_key"] for row in lake.read(spec).to_pylist()]
        assert survivor in keys and old not in keys, spec.full_name
    assert rows_of(lake, schemas.PATIENT_MERGES) == [
        {"patient_key": old, "surviving_key": survivor, "source": "simulated"}
    ]
    deleted = keyed_hash(key, "note", "simulated", "n6")
    for spec in (schemas.NOTES, schemas.GOLD, *DERIVED):
        assert deleted not in [row["note_key"] for row in lake.read(spec).to_pylist()], spec.full_name
    assert lake.read(schemas.GOLD).num_rows == 1
    assert "联系人" in by_id(lake, schemas.NOTES)["n4"]["text"], "of a journal the last row counts"


def test_a_new_lake_has_the_same_rows(nights: tuple[Lake, Lake, Path], key_file: str) -> None:
    lake, before, base = nights
    fresh = copy_lake(before, base / "fresh", without=(*DERIVED, schemas.RUNS))
    run_all(fresh, key_file)
    for spec in DERIVED:
        rows = rows_of(lake, spec)
        assert len(rows) == 6
        assert rows_of(fresh, spec) == rows, spec.full_name


@pytest.mark.exhaustive
def test_a_full_comparison_has_the_same_rows(nights: tuple[Lake, Lake, Path], key_file: str) -> None:
    """In short: test_a_feed_without_its_start compares in full, with the first of the stages."""
    lake, before, base = nights
    compared = copy_lake(before, base / "compared")
    run_all(compared, key_file, "--full")
    assert counts_of(compared, "protect") == counts(inserted=1, updated=2, deleted=1, computed=3, followed_changes=0)
    for spec in DERIVED:
        assert rows_of(compared, spec) == rows_of(lake, spec), spec.full_name


def test_the_same_delivery_again_makes_no_version(nights: tuple[Lake, Lake, Path], key_file: str) -> None:
    lake, _, base = nights
    again = copy_lake(lake, base / "again")
    before = versions_of(again)
    assert run("ingest", again, key_file, "--source", str(base / "second"), "--force") == 0
    run_all(again, key_file)
    assert versions_of(again) == before


@pytest.fixture(scope="module")
def answered(nights: tuple[Lake, Lake, Path], key_file: str) -> Lake:
    """The model has answered, and the stages have run."""
    lake, _, base = nights
    answered = copy_lake(lake, base / "answered")
    answer_doubt(answered, is_accepted=True, run_id="r1")
    run_all(answered, key_file)
    return answered


def test_an_answer_reaches_every_note_that_holds_its_segment(nights: tuple[Lake, Lake, Path], answered: Lake) -> None:
    assert counts_of(answered, "tier") == counts(updated=3, computed=3)
    assert counts_of(answered, "protect") == counts(updated=3, computed=3)
    assert answered.version(schemas.RULE_ANNOTATIONS) == nights[0].version(schemas.RULE_ANNOTATIONS)
    notes = by_id(answered, schemas.ANNOTATIONS)
    assert [notes[n]["n_open_segments"] for n in ("n2", "n3", "n7")] == [0, 0, 0]
    assert [s["source"] for s in notes["n2"]["spans"]] == ["rule+qwen"]
    assert DOUBT not in by_id(answered, schemas.PROTECTED_NOTES)["n3"]["text"]


@pytest.mark.exhaustive
def test_the_full_comparison_finds_nothing_to_add(answered: Lake, key_file: str) -> None:
    versions = versions_of(answered)
    run_all(answered, key_file, "--full", "--force")
    assert versions_of(answered) == versions


def test_nothing_of_a_note_stands_in_a_log(nights: tuple[Lake, Lake, Path], event_log_folder: Path) -> None:
    lake = nights[0]
    logs = [p for p in Path(lake.uri).rglob("*") if p.is_file() and "_delta_log" in p.parts]
    logs += [p for p in event_log_folder.rglob("*") if p.is_file()]
    keys = [row["note_key"] for row in lake.read(schemas.NOTES).to_pylist()]
    assert len(logs) > 20
    for log in logs:
        said = log.read_bytes()
        assert not [canary for canary in CANARIES if canary.encode() in said], log.name
        for info in (line for line in said.splitlines() if b'"commitInfo"' in line):
            assert not [key for key in keys if key.encode() in info], log.name


def test_what_changes_during_the_run_waits_for_the_next(
    nights: tuple[Lake, Lake, Path], key_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, before, base = nights
    lake = copy_lake(before, base / "moving")
    opened = jobs.partition.open_session

    def open_late(name: str) -> Any:
        spark = opened(name)
        write_third_night(base / "third")  # the run has begun: its versions are pinned
        assert run("ingest", lake, key_file, "--source", str(base / "third")) == 0
        return spark

    monkeypatch.setattr(jobs.partition, "open_session", open_late)
    assert run("partition", lake, key_file) == 0
    assert rows_of(lake, schemas.RULE_ANNOTATIONS) == rows_of(nights[0], schemas.RULE_ANNOTATIONS)
    monkeypatch.undo()
    assert run("partition", lake, key_file) == 0
    partition = counts_of(lake, "partition")
    assert (partition["computed"], partition["followed_changes"]) == (1, 1)
    hashes = [by_id(lake, spec)["n5"]["text_hash"] for spec in (schemas.NOTES, schemas.RULE_ANNOTATIONS)]
    assert hashes[0] == hashes[1]


@pytest.mark.full_chaos
def test_a_night_that_is_killed_everywhere_ends_in_the_same_rows(
    nights: tuple[Lake, Lake, Path], key_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(code: int) -> None:
        raise KilledError(code)

    oracle, _, base = nights
    lake, source = copy_lake(Lake(str(base / "evening")), base / "killed"), str(base / "second")
    monkeypatch.setattr(os, "_exit", die)
    for stage, point in CRASH_POINTS:
        extra = ("--source", source) if stage == "ingest" else ()
        monkeypatch.setenv("PPSEHR_CRASH_AT", point)
        with pytest.raises(KilledError):
            run(stage, lake, key_file, *extra)
        monkeypatch.delenv("PPSEHR_CRASH_AT")
        assert run(stage, lake, key_file, *extra) == 0
    assert counts_of(lake, "partition")["followed_changes"] == 0, "what a killed run left is compared"
    assert [run(stage, lake, key_file) for stage in ("tier", "protect")] == [0, 0]
    for spec in (schemas.NOTES, schemas.PATIENTS, schemas.ENCOUNTERS, schemas.PATIENT_MERGES, *DERIVED):
        assert rows_of(lake, spec) == rows_of(oracle, spec), spec.full_name


def test_a_feed_without_its_start_stops_the_stage(
    nights: tuple[Lake, Lake, Path], key_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _, before, base = nights
    lake = copy_lake(before, base / "cleaned")
    DeltaTable(lake.table_uri(schemas.NOTES)).create_checkpoint()
    for version in (0, 1, 2):
        (Path(lake.uri) / schemas.NOTES.path / "_delta_log" / f"{version:020}.json").unlink()
    assert run("partition", lake, key_file) == 3
    assert "CHANGE_FEED_GONE table=phi.notes" in capsys.readouterr().err
    assert run("partition", lake, key_file, "--full") == 0
    assert rows_of(lake, schemas.RULE_ANNOTATIONS) == rows_of(nights[0], schemas.RULE_ANNOTATIONS)
