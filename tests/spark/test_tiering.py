"""Notes that the recognisers settled pass the tier stage as they are; nothing tells the two ways apart afterwards."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from pyspark.sql import functions as F

from ppsehr_spark.config import IdentitySettings, Settings, load_settings
from ppsehr_spark.domain.rules import compile_rules
from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.spark.notes import tiering
from ppsehr_spark.spark.notes.recognition import recognise_notes

pytestmark = pytest.mark.spark
TEXTS = {
    "plain": "患者一般情况可，饮食睡眠正常。",
    "settled": "姓名：王建国，电话：13812345678，否认梅毒病史。",
    "doubtful": "今日查房，云飞诉胸闷，家住幸福里，孕检待查。",
    "corrected": "姓名：李小红，住杭州市西湖区文三路12号。",
    "changed": "姓名：赵明。",
}


@pytest.fixture
def settings(key_file: str) -> Settings:
    loaded = load_settings("ci")
    return Settings(files=loaded.files, identity=IdentitySettings(key_file), partition=loaded.partition)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(str(tmp_path / "lake"))
    write_notes(lake, TEXTS, mode="error")
    correction = {
        "correction_key": "c1", "note_key": "corrected", "text_hash": "h-corrected", "start": 3, "end": 6,
        "category": "NAME", "action": "remove", "made_at": datetime(2026, 1, 1, tzinfo=UTC),
    }  # fmt: skip
    rows = pa.Table.from_pylist([correction], schema=schemas.CORRECTIONS.schema)
    write_deltalake(lake.table_uri(schemas.CORRECTIONS), rows)
    return lake


def write_notes(lake: Lake, texts: dict[str, str], *, mode: Any) -> None:
    rows = [
        {"note_key": key, "patient_key": "p", "text_hash": f"h-{key}", "text": text, "n_chars": len(text)}
        for key, text in texts.items()
    ]
    write_deltalake(lake.table_uri(schemas.NOTES), pa.Table.from_pylist(rows, schema=schemas.NOTES.schema), mode=mode)


def annotations(lake: Lake) -> list[dict[str, Any]]:
    return sorted(lake.read(schemas.ANNOTATIONS).to_pylist(), key=lambda row: row["note_key"])


def test_both_ways_write_the_same_rows(
    spark: Any, lake: Lake, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    recognise_notes(spark, lake, settings=settings, run_id="r")
    version = compile_rules(settings.files).knowledge_version
    rules = spark.read.format("delta").load(lake.table_uri(schemas.RULE_ANNOTATIONS))
    told = rules.withColumns({"found_under": F.col("knowledge_version"), "corrections": F.lit(None).cast("string")})
    settled = told.where(tiering._is_settled(settings, version, ())).select("note_key").collect()
    assert {row[0] for row in settled} == TEXTS.keys() - {"doubtful"}
    assert told.where(tiering._is_settled(settings, "another", ())).count() == 0
    write_notes(lake, {key: text for key, text in TEXTS.items() if key != "changed"}, mode="overwrite")
    assert tiering.tier_notes(spark, lake, settings=settings, run_id="r")["inserted"] == 4
    quick = annotations(lake)
    assert tiering.tier_notes(spark, lake, settings=settings, run_id="r")["computed"] == 0
    by_key = {row["note_key"]: row for row in quick}
    assert by_key.keys() == TEXTS.keys() - {"changed"}, "its text is not the one that was recognised"
    assert "NAME" not in {span["category"] for span in by_key["corrected"]["spans"]}
    assert by_key["settled"]["spans"] and by_key["plain"]["spans"] == []
    monkeypatch.setattr(tiering, "_is_settled", lambda *_: F.lit(False))
    assert tiering.tier_notes(spark, lake, settings=settings, run_id="r")["computed"] == 0, "same input_hash"
    other = Lake(f"{lake.uri}-other")
    for spec in (schemas.NOTES, schemas.RULE_ANNOTATIONS, schemas.CORRECTIONS):
        write_deltalake(other.table_uri(spec), lake.read(spec))
    tiering.tier_notes(spark, other, settings=settings, run_id="r")
    assert annotations(other) == quick
