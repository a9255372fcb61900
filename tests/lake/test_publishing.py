"""Publishing on a small lake: once, complete, fail closed, and whole again after a crash at every step."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ppsehr_spark.config import PublishSettings, Settings, settings_from_json
from ppsehr_spark.errors import QualityGateError
from ppsehr_spark.lake.audit_log import Anchor, verify_chain
from ppsehr_spark.lake.note_publishing import bucket_conditions, read_canaries
from ppsehr_spark.lake.schemas import ANNOTATIONS, AUDIT_LOG, NOTES, PROTECTED_NOTES, RELEASED_NOTES, RELEASES
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.synthesis.simulator import PHI_CANARIES
from tests.lake.note_release import publish_notes

_NAME_FILE = """
id = "NAME"
name = "姓名"
is_direct_identifier = true
[[pattern]]
id = "title"
regex = "(?P<span>[王李])主任"
confidence = 0.9
"""
_ROOT = Path(__file__).resolve().parents[2]
_PUBLISH_ONCE = """
import sys
from ppsehr_spark.config import settings_from_json
from ppsehr_spark.lake.publishing import publish_products
from ppsehr_spark.lake.tables import Lake
publish_products(Lake(sys.argv[1]), settings_from_json(open(sys.argv[2], encoding="utf-8").read()), run_id="r0")
"""


@pytest.fixture
def conf(settings: Settings) -> Settings:
    claim = {path: text for path, text in settings.files.items() if path.startswith("claim/")}
    return Settings(files={"categories/NAME.toml": _NAME_FILE, **claim})


def _note(number: int, **changes: Any) -> dict[str, Any]:
    text = f"患者周若彤第{number}次就诊，王主任查房。"
    note = {"note_key": f"{number:032x}", "patient_key": "p1", "text": text, "text_hash": f"h{number}"}
    return {**note, "note_type": "病程", **changes}


def _protected(number: int, **changes: Any) -> dict[str, Any]:
    text = f"患者林一凡第{number}次就诊，李主任查房。"
    row = {"note_key": f"{number:032x}", "patient_key": "p1", "text": text, "note_type": "病程", "run_id": "r0"}
    return {
        **row,
        "department": "内科",
        "noted_month": "2023-05",
        "policy": "research",
        "n_open_segments": 0,
        **changes,
    }


def _annotation(number: int, **changes: Any) -> dict[str, Any]:
    at = 3 + len(f"第{number}次就诊，") + 2
    spans = [{"start": 2, "end": 5, "category": "NAME"}, {"start": at, "end": at + 1, "category": "NAME"}]
    return {"note_key": f"{number:032x}", "text_hash": f"h{number}", "spans": spans, "run_id": "r0", **changes}


def _fill_lake(fill: Any, n_notes: int = 4, changed: Mapping[int, Mapping[str, Any]] | None = None) -> None:
    numbers = range(1, n_notes + 1)
    fill(NOTES, [_note(number) for number in numbers])
    fill(ANNOTATIONS, [_annotation(number) for number in numbers])
    fill(PROTECTED_NOTES, [_protected(number, **(changed or {}).get(number, {})) for number in numbers])


def _released(lake: Lake) -> list[dict[str, Any]]:
    return sorted(lake.read(RELEASED_NOTES).to_pylist(), key=lambda row: (row["release_id"], row["note_key"]))


def _state(lake: Lake) -> list[Any]:
    manifests = sorted(path.name for path in Path(lake.uri, "release").glob("manifest_*"))
    versions = [lake.version(spec) for spec in (RELEASED_NOTES, RELEASES, AUDIT_LOG)]
    return [versions, manifests]


def test_a_release_holds_the_protected_rows_and_says_what_was_checked(lake: Lake, fill: Any, conf: Settings) -> None:
    _fill_lake(fill)
    release = publish_notes(lake, conf, run_id="r1", canaries=["周若彤"])
    assert (release.n_rows, release.n_withheld, release.is_new) == (4, 0, True)
    rows = _released(lake)
    assert [row["text"] for row in rows] == [_protected(number)["text"] for number in range(1, 5)]
    assert {row["release_id"] for row in rows} == {release.release_id}
    catalogue = lake.read(RELEASES).to_pylist()
    assert len(catalogue) == 1 and catalogue[0]["n_rows"] == 4 and catalogue[0]["policy"] == "research"
    assert json.loads(catalogue[0]["gates"])["canary"] == {"n_canaries": 1, "n_notes_with_one": 0}


def test_the_manifest_anchors_the_release_in_the_audit_log(lake: Lake, fill: Any, conf: Settings) -> None:
    _fill_lake(fill)
    release = publish_notes(lake, conf, run_id="r1")
    path = Path(lake.uri, "release", f"manifest_{release.release_id}.json")
    claim = json.loads(path.read_text(encoding="utf-8"))
    assert claim["n_rows"] == 4 and claim["gates"]["residual"]["residual"] == 0
    report = verify_chain(lake, anchors=[Anchor(**claim["audit"])])
    assert report.is_whole and report.n_rows == 1


def test_publishing_the_same_content_twice_writes_nothing(lake: Lake, fill: Any, conf: Settings) -> None:
    _fill_lake(fill)
    first = publish_notes(lake, conf, run_id="r1")
    before = _state(lake)
    fill(PROTECTED_NOTES, [_protected(number, run_id="r9") for number in (4, 2, 3, 1)])
    second = publish_notes(lake, conf, run_id="r2")
    assert second.release_id == first.release_id and not second.is_new
    assert _state(lake) == before


def test_new_content_is_appended_and_the_old_release_stays(lake: Lake, fill: Any, conf: Settings) -> None:
    _fill_lake(fill)
    first = publish_notes(lake, conf, run_id="r1")
    _fill_lake(fill, 5)
    second = publish_notes(lake, conf, run_id="r2")
    by_release = [row["release_id"] for row in _released(lake)]
    assert by_release.count(first.release_id) == 4 and by_release.count(second.release_id) == 5


def test_content_that_comes_back_is_current_again_without_a_second_copy(lake: Lake, fill: Any, conf: Settings) -> None:
    ids = []
    for n_notes in (4, 5, 4, 4, 5):
        _fill_lake(fill, n_notes)
        ids.append(publish_notes(lake, conf, run_id="r1").release_id)
        newest = lake.query("SELECT release_id FROM r ORDER BY released_at DESC LIMIT 1", r=RELEASES)
        assert newest["release_id"].to_pylist() == ids[-1:]
    assert ids[0] == ids[2] == ids[3] != ids[1] == ids[4]
    assert len(_released(lake)) == 4 + 5
    assert lake.read(RELEASES)["release_id"].to_pylist().count(ids[0]) == 2
    actions = [entry["action"] for entry in sorted(lake.read(AUDIT_LOG).to_pylist(), key=lambda e: e["sequence"])]
    assert actions == ["release", "release", "reinstate_release", "reinstate_release"]
    assert verify_chain(lake).is_whole


def test_notes_that_leak_or_cannot_be_checked_are_withheld_and_counted(lake: Lake, fill: Any, conf: Settings) -> None:
    _fill_lake(fill, 6, {2: {"text": "家属代周 若彤签字"}, 3: {"text": "王主任查房"}})
    fill(NOTES, [_note(number, **({"text_hash": "new"} if number == 4 else {})) for number in range(1, 7)])
    fill(ANNOTATIONS, [_annotation(number) for number in range(1, 6)])
    release = publish_notes(lake, conf, run_id="r1")
    assert (release.n_rows, release.n_withheld) == (2, 4)
    assert [int(row["note_key"], 16) for row in _released(lake)] == [1, 5]
    assert release.gates["residual"] == {"residual": 2, "stale": 1, "unannotated": 1, "max_share": 1.0}


@pytest.mark.parametrize(
    ("changed", "canaries", "limits", "code"),
    [
        ({1: {"policy": None}}, [], {}, "POLICY_GATE"),
        ({1: {"policy": "strict"}}, [], {}, "POLICY_GATE"),
        ({}, ["林一凡"], {}, "CANARY_GATE"),
        ({1: {"n_open_segments": 2}}, [], {"max_open_share": 0.2}, "OPEN_GATE"),
        ({1: {"text": "周若彤"}}, [], {"max_note_leak_share": 0.2}, "RESIDUAL_GATE"),
    ],
)
def test_a_refused_release_writes_nothing_but_an_audit_entry(
    lake: Lake, fill: Any, conf: Settings, changed: Any, canaries: list[str], limits: dict[str, float], code: str
) -> None:
    _fill_lake(fill, changed=changed)
    with pytest.raises(QualityGateError, match=code) as caught:
        publish_notes(lake, replace(conf, publish=PublishSettings(**limits)), run_id="r1", canaries=canaries)
    assert int(caught.value.exit_code) == 4
    assert lake.version(RELEASED_NOTES) is None and lake.version(RELEASES) is None
    entries = lake.read(AUDIT_LOG).to_pylist()
    assert [entry["action"] for entry in entries] == ["refuse_release"]
    for secret in ("周若彤", "林一凡"):
        assert secret not in str(caught.value) and secret not in entries[0]["details"]


def test_canaries_come_from_conf_too(lake: Lake, fill: Any, conf: Settings) -> None:
    _fill_lake(fill)
    files = {**conf.files, "canaries.tsv": "# planted\n林 一凡\tnote\n"}
    with pytest.raises(QualityGateError, match="CANARY_GATE"):
        publish_notes(lake, replace(conf, files=files), run_id="r1")


def test_conf_lists_every_planted_identifier_of_the_simulator(settings: Settings) -> None:
    lines = settings.files["canaries.tsv"].splitlines()
    assert {line.split("\t")[0] for line in lines if not line.startswith("#")} >= set(PHI_CANARIES)


def test_an_unreadable_canary_file_opens_no_gate(tmp_path: Path) -> None:
    (tmp_path / "bad").write_bytes(b"\xff\xfe\xff")
    for name in ("absent", "bad"):
        with pytest.raises(QualityGateError, match="CANARY_FILE"):
            read_canaries(str(tmp_path / name))
    (tmp_path / "good").write_text("\ufeffone\n\n two \n", encoding="utf-8")
    assert read_canaries(str(tmp_path / "good")) == ["one", "two"]


def test_an_empty_lake_has_nothing_to_publish(lake: Lake, conf: Settings) -> None:
    with pytest.raises(QualityGateError, match="NOTHING_TO_PUBLISH"):
        publish_notes(lake, conf, run_id="r1")


@pytest.mark.chaos
@pytest.mark.parametrize("point", ["publish.after_notes", "publish.after_catalogue", "publish.after_audit"])
def test_a_crash_between_two_writes_is_repaired_by_running_again(
    lake: Lake, fill: Any, conf: Settings, tmp_path: Path, point: str
) -> None:
    _fill_lake(fill)
    (tmp_path / "settings.json").write_text(conf.to_json(), encoding="utf-8")
    assert settings_from_json(conf.to_json()).conf_hash == conf.conf_hash
    environment = {**os.environ, "PYTHONPATH": str(_ROOT), "PPSEHR_CRASH_AT": point}
    command = [sys.executable, "-c", _PUBLISH_ONCE, lake.uri, str(tmp_path / "settings.json")]
    crashed = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert crashed.returncode == 137, crashed.stderr[-2000:]
    assert not list(Path(lake.uri, "release").glob("manifest_*"))
    release = publish_notes(lake, conf, run_id="r1")
    assert release.n_rows == 4 and len(_released(lake)) == 4
    assert lake.read(RELEASES)["release_id"].to_pylist() == [release.release_id]
    assert len(list(Path(lake.uri, "release").glob(f"manifest_{release.release_id}.json"))) == 1
    assert verify_chain(lake).is_whole


def test_buckets_cover_every_key_once() -> None:
    assert bucket_conditions(200_000) == ("",)
    conditions = bucket_conditions(200_001)
    assert len(conditions) == 16 and len(bucket_conditions(16 * 200_000 + 1)) == 256
    assert conditions[0] == "WHERE note_key < '1'" and conditions[-1] == "WHERE note_key >= 'f'"


def test_a_bucketed_release_is_the_same_release(
    lake: Lake, fill: Any, conf: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {number: {"note_key": f"{number * 16**31 // 4:032x}"} for number in range(1, 40)}
    fill(NOTES, [_note(number, **keys) for number, keys in rows.items()])
    fill(ANNOTATIONS, [_annotation(number, **keys) for number, keys in rows.items()])
    fill(PROTECTED_NOTES, [_protected(number, **keys) for number, keys in rows.items()])
    whole = publish_notes(lake, conf, run_id="r1")
    monkeypatch.setattr("ppsehr_spark.lake.note_publishing.BUCKET_ROWS", 5)
    cut = publish_notes(lake, conf, run_id="r2")
    assert whole.n_rows == 39 and cut.release_id == whole.release_id and not cut.is_new
