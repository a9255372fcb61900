"""One of three patients is erased: nothing of them is left in any byte of the lake, everything of the others is."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.audit_log import verify_chain
from ppsehr_spark.lake.erasure_certificate import hash_text
from ppsehr_spark.lake.erasure_work import CERTIFICATES, list_open
from ppsehr_spark.lake.release_files import has_release_file
from ppsehr_spark.lake.tables import Lake
from tests.chaos.erasure_lake import (
    ERASED,
    GONE,
    KEPT,
    MERGED,
    NOTES,
    OTHERS,
    SHARED,
    fill_lake,
    key_of,
    read_files,
    run,
    segments_of,
    write_source,
)

pytestmark = [pytest.mark.spark, pytest.mark.chaos]
EVERY_POINT = (
    "erase.after_tombstones", "erase.after_plan", "erase.after_successor", "erase.after_release",
    "erase.after_segments", "erase.after_rows", "erase.after_first_purge", "erase.after_purge", "erase.after_search",
    "erase.after_certificate", "erase.after_row",
)  # fmt: skip
#: `make chaos` kills everywhere, `make test` at three points.
POINTS = EVERY_POINT if os.environ.get("PPSEHR_CHAOS") == "full" else EVERY_POINT[1::4]
N_OTHERS = len(OTHERS)


class KilledError(BaseException):
    """Stands for SIGKILL inside this process: no ``except Exception`` of the product may catch it."""


def _settings(lake: Path, key_file: str) -> list[str]:
    chosen = [f'identity.key_file="{key_file}"', "ingest.max_reject_share=0.5"]
    return ["--lake", str(lake), "--profile", "ci", *(part for item in chosen for part in ("--set", item))]


def _erase(lake: Path, key_file: str, folder: Path, *more: str, patient: str = ERASED) -> int:
    file = folder / "persons.txt"
    file.write_text(f"{patient}\n", encoding="utf-8")
    told = ["--patients", str(file), "--reason", "PIPL-47-3", "--requested-by", "dpo.chen"]
    return run("erase", [*_settings(lake, key_file), *told, *more])


def _keys(lake: Lake, spec: schemas.TableSpec, column: str) -> set[str]:
    return set(lake.read(spec, [column])[column].to_pylist())


def _certificate(lake: Lake) -> dict[str, Any]:
    (row,) = [row for row in lake.read(schemas.ERASURES).to_pylist() if row["kind"] == "certificate"]
    text = (Path(lake.uri) / row["certificate"]).read_text(encoding="utf-8")
    assert hash_text(text) == row["certificate_hash"]
    return dict(json.loads(text))


@pytest.fixture(scope="module")
def filled(spark: Any, tmp_path_factory: pytest.TempPathFactory, key_file: str) -> Path:
    """The lake before; tests work on copies of it."""
    base = tmp_path_factory.mktemp("filled")
    write_source(base / "source")
    fill_lake(Lake(str(base / "lake")), _settings(base / "lake", key_file), base / "source", key_file)
    return base


@pytest.fixture(scope="module")
def erased(filled: Path, tmp_path_factory: pytest.TempPathFactory, key_file: str) -> Path:
    """The lake after an erasure that was killed at every point and run again; a file outside holds the id, too."""

    def die(code: int) -> None:
        raise KilledError(code)

    base = tmp_path_factory.mktemp("erased")
    shutil.copytree(filled / "lake", base / "lake")
    (base / "exported").mkdir()
    (base / "exported" / "sheet.csv").write_text(f"note,patient\n1,{ERASED}\n", encoding="utf-8")
    search = ("--search", str(base / "exported"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "_exit", die)
        for point in POINTS:
            patch.setenv("PPSEHR_CRASH_AT", point)
            with pytest.raises(KilledError):
                _erase(base / "lake", key_file, base, *search)
    assert _erase(base / "lake", key_file, base, *search) == 6, "done, but for a file that is not the lake's"
    return base


def _assert_gone(lake: Lake, before: Lake, key_file: str) -> None:
    """No byte of the erased person, everything of the others."""
    own_notes = [name for name, (patient, _) in NOTES.items() if patient == ERASED]
    keys = [
        *(key_of(key_file, "patient", name) for name in (ERASED, MERGED)),
        key_of(key_file, "encounter", f"E{ERASED}"),
    ]
    keys += [key_of(key_file, "note", name) for name in own_notes]
    keys += [segment for segment, text in segments_of(before).items() if SHARED not in text and _is_own(text)]
    holders = {
        str(path): needle for path, text in read_files(Path(lake.uri)) for needle in (*GONE, *keys) if needle in text
    }
    assert not holders
    kept = "".join(text for _, text in read_files(Path(lake.uri)))
    for needle in (*OTHERS, *KEPT, key_of(key_file, "patient", OTHERS[0])):
        assert needle in kept


def _is_own(text: str) -> bool:
    return any(text in note for patient, note in NOTES.values() if patient == ERASED)


def test_what_is_looked_for_is_there_before(filled: Path, key_file: str) -> None:
    texts = "".join(text for _, text in read_files(filled / "lake"))
    assert all(needle in texts for needle in GONE)
    segments = segments_of(Lake(str(filled / "lake"))).values()
    assert any(SHARED in text for text in segments)
    assert any(_is_own(text) and SHARED not in text for text in segments)


def test_nothing_of_the_person_and_everything_of_the_others_is_left(erased: Path, filled: Path, key_file: str) -> None:
    lake, before = Lake(str(erased / "lake")), Lake(str(filled / "lake"))
    _assert_gone(lake, before, key_file)
    patient = key_of(key_file, "patient", ERASED)
    others = {key_of(key_file, "note", name) for name, (owner, _) in NOTES.items() if owner != ERASED}
    for spec in (schemas.NOTES, schemas.RULE_ANNOTATIONS, schemas.ANNOTATIONS, schemas.GOLD, schemas.PROTECTED_NOTES,
                 schemas.CORRECTIONS, schemas.RELEASED_NOTES):  # fmt: skip
        assert _keys(lake, spec, "note_key") == others, spec.full_name
    for spec in (schemas.PATIENTS, schemas.ENCOUNTERS, schemas.MEMBERSHIP_SCORES):
        assert len(_keys(lake, spec, "patient_key") - {patient}) == N_OTHERS == lake.read(spec).num_rows
    living = {segment for segment, text in segments_of(before).items() if not _is_own(text) or SHARED in text}
    for spec in (schemas.SEGMENTS, schemas.SEGMENT_ANNOTATIONS, schemas.DEAD_LETTERS):
        assert _keys(lake, spec, "segment_key") == living, spec.full_name
    units = lake.read(schemas.WORK_UNITS).to_pylist()
    assert {key for unit in units for key in unit["segment_keys"]} == living
    assert all(unit["n_segments"] == len(unit["segment_keys"]) > 0 for unit in units)
    assert lake.read(schemas.REJECTS).num_rows == 0


def test_the_release_has_a_successor_and_the_old_one_is_withdrawn(erased: Path, filled: Path, key_file: str) -> None:
    lake, before = Lake(str(erased / "lake")), Lake(str(filled / "lake"))
    (old,) = _keys(before, schemas.RELEASED_NOTES, "release_id")
    (new,) = _keys(lake, schemas.RELEASED_NOTES, "release_id")
    assert new != old
    assert has_release_file(lake, f"manifest_{new}.json")
    assert has_release_file(lake, f"withdrawn_{old}.json")
    assert run("publish", _settings(erased / "lake", key_file)) == 0
    assert _keys(lake, schemas.RELEASED_NOTES, "release_id") == {new}, "publish makes the very same release"


def test_the_certificate_says_what_went_and_hangs_on_the_audit_chain(erased: Path) -> None:
    lake = Lake(str(erased / "lake"))
    told = _certificate(lake)
    assert (told["reason"], told["requested_by"], told["n_persons"]) == ("PIPL-47-3", "dpo.chen", 1)
    assert told["tables"]["phi.notes"]["rows_removed"] == 2
    assert told["tables"]["phi.patient_merges"]["rows_removed"] == 1
    assert told["tables"]["release.notes"]["rows_removed"] == 2
    assert told["tables"]["phi.notes"]["version_after"] > told["tables"]["phi.notes"]["version_before"]
    assert told["tables"]["phi.notes"]["files_removed"]
    assert told["segments"]["shared_and_kept"] == 1
    assert told["learnt_from_them"]["checkpoints"] == ["c1"]
    assert told["knowledge_rows_stripped"] == 1
    assert told["search"]["hits"] == {}
    assert [Path(path).name for path in told["search"]["hits_elsewhere"]] == ["sheet.csv"], "and no event log"
    assert min(told["search"]["n_looked_for"].values()) > 0
    entry = lake.read(schemas.AUDIT_LOG).sort_by("sequence").to_pylist()
    (erasing,) = [json.loads(row["details"]) for row in entry if row["action"] == "erase"]
    assert erasing["sha256"] in lake.read(schemas.ERASURES)["certificate_hash"].to_pylist()
    assert verify_chain(lake).is_whole
    (path,) = (Path(lake.uri) / CERTIFICATES).glob("*.zh.txt")
    chinese = path.read_text(encoding="utf-8")
    assert "第四十七条" in chinese
    assert list_open(lake) == []


def test_ingest_does_not_bring_the_person_back(erased: Path, filled: Path, key_file: str) -> None:
    lake = Lake(str(erased / "lake"))
    arguments = [*_settings(erased / "lake", key_file), "--source", str(filled / "source"), "--force"]
    assert run("ingest", arguments) == 0
    assert _keys(lake, schemas.PATIENTS, "source_patient_id") == set(OTHERS)
    assert _keys(lake, schemas.ENCOUNTERS, "source_encounter_id") == {f"E{patient}" for patient in OTHERS}
    assert lake.read(schemas.PATIENT_MERGES).num_rows == 0, "nor under the id that was merged"
    assert lake.read(schemas.NOTES).num_rows == lake.read(schemas.GOLD).num_rows == 2
    assert _erase(erased / "lake", key_file, erased) == 0
    assert _certificate(lake)["n_persons"] == 1, "asked again, there is nobody to erase"


def test_a_dry_run_counts_and_changes_nothing(filled: Path, key_file: str, tmp_path: Path, capsys: Any) -> None:
    lake = Lake(str(filled / "lake"))
    before = {spec.full_name: lake.version(spec) for spec in schemas.TABLES.values()}
    assert _erase(filled / "lake", key_file, tmp_path, "--dry-run") == 0
    printed = capsys.readouterr()
    plan = json.loads(printed.out)
    assert plan["rows"]["phi.notes"] == 2 == plan["rows"]["release.notes"]
    assert plan["known_patients"] == 1
    assert not any(needle in printed.out + printed.err for needle in GONE)
    assert {spec.full_name: lake.version(spec) for spec in schemas.TABLES.values()} == before
    assert not list_open(lake)
