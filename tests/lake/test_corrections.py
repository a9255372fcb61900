"""The door for people's corrections: what it refuses, what it stores, what it writes down."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ppsehr_spark.config import IdentitySettings, Settings
from ppsehr_spark.domain.identity import create_key
from ppsehr_spark.errors import UsageError
from ppsehr_spark.lake.audit_log import verify_chain
from ppsehr_spark.lake.corrections import Correction, add_corrections
from ppsehr_spark.lake.schemas import AUDIT_LOG, CORRECTIONS, NOTES
from ppsehr_spark.lake.tables import Lake

_FILES = {
    "categories/NAME.toml": 'id = "NAME"\nname = "姓名"\n',
    "categories/STD.toml": 'id = "STD"\nname = "性病信息"\nis_tiered = true\n',
}
_NAME = Correction("n1", "h1", 2, 5, "NAME")
_STD = Correction("n1", "h1", 6, 8, "STD", tier=3)


@pytest.fixture
def conf(tmp_path: Path) -> Settings:
    key_file = str(tmp_path / "key")
    create_key(key_file)
    return Settings(files=_FILES, identity=IdentitySettings(key_file))


@pytest.fixture
def noted(lake: Lake, fill: Any) -> Lake:
    text = "患者周若彤，梅毒。"
    row = {"note_key": "n1", "patient_key": "p1", "text": text, "text_hash": "h1", "n_chars": len(text)}
    fill(NOTES, [row, {**row, "note_key": "n2"}])
    return lake


def _words(lake: Lake) -> list[tuple[str, str, int | None]]:
    rows = sorted(lake.read(CORRECTIONS).to_pylist(), key=lambda row: row["made_at"])
    return [(row["category"], row["action"], row["tier"]) for row in rows]


def test_corrections_are_stored_with_author_and_audited(noted: Lake, conf: Settings) -> None:
    assert add_corrections(noted, conf, [_NAME, _STD], author="dr.lin", run_id="r1") == 2
    rows = noted.read(CORRECTIONS).to_pylist()
    assert {row["author"] for row in rows} == {"dr.lin"} and len({row["correction_key"] for row in rows}) == 2
    assert _words(noted) == [("NAME", "add", None), ("STD", "add", 3)]
    entry = noted.read(AUDIT_LOG).to_pylist()[0]
    assert (entry["actor"], entry["action"], entry["target"]) == ("dr.lin", "correct", "phi.corrections")
    assert json.loads(entry["details"])["n_corrections"] == 2
    assert verify_chain(noted).is_whole


def test_a_repeated_correction_is_stored_once_and_a_change_of_mind_every_time(noted: Lake, conf: Settings) -> None:
    remove = replace(_NAME, action="remove")
    assert [add_corrections(noted, conf, [word], author="a") for word in (_NAME, _NAME, remove, remove, _NAME)] == [
        1, 0, 1, 0, 1,
    ]  # fmt: skip
    assert [word[1] for word in _words(noted)] == ["add", "remove", "add"]
    assert add_corrections(noted, conf, [_STD, replace(_STD, tier=2), _STD], author="a") == 3
    assert noted.version(AUDIT_LOG) == 4


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"note_key": "n9"}, "note_key"),
        ({"note_key": "n1' OR '1'='1"}, "note_key"),
        ({"text_hash": "old"}, "text_hash"),
        ({"start": -1}, "start"),
        ({"start": 5}, "start"),
        ({"end": 10}, "start"),
        ({"category": "NOPE"}, "category"),
        ({"action": "replace"}, "action"),
        ({"tier": 1}, "tier"),
        ({"category": "STD"}, "tier"),
        ({"category": "STD", "tier": 4}, "tier"),
        ({"category": "STD", "tier": 2, "action": "remove"}, "tier"),
    ],
)
def test_a_wrong_correction_stops_all_of_them(noted: Lake, conf: Settings, changes: Any, field: str) -> None:
    with pytest.raises(UsageError, match="CORRECTION") as caught:
        add_corrections(noted, conf, [_STD, replace(_NAME, **changes)], author="a")
    assert caught.value.fields == {"position": 1, "field": field}
    assert noted.version(CORRECTIONS) is None and noted.version(AUDIT_LOG) is None


def test_an_author_is_required_and_a_flood_refused(noted: Lake, conf: Settings) -> None:
    for author, words in (("", [_NAME]), ("a", [_NAME] * 1_001)):
        with pytest.raises(UsageError, match="CORRECTION"):
            add_corrections(noted, conf, words, author=author)


def test_no_corrections_write_nothing(noted: Lake, conf: Settings) -> None:
    assert add_corrections(noted, conf, [], author="a") == 0
    assert noted.version(CORRECTIONS) is None and noted.version(AUDIT_LOG) is None
