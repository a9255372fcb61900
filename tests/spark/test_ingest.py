"""Ingest on real Spark and Delta: good rows land once, bad ones are listed, nothing shows a cell."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from ppsehr_spark.config import Settings, load_settings
from ppsehr_spark.errors import InputError, QualityGateError
from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.tables import Lake, list_missing
from ppsehr_spark.spark.frames import merge_rows, read_table, spark_schema
from ppsehr_spark.spark.ingest.landing import ingest_source
from ppsehr_spark.spark.ingest.mapping import load_mapping

pytestmark = pytest.mark.spark
CANARY = "欧阳金丝雀"
#: Key of a patient who was there before.
OLDER = "0" * 32


def _note(note_id: str, text: str, patient: str = "p1") -> dict[str, Any]:
    return {
        "note_id": note_id, "patient_id": patient, "encounter_id": "e1", "note_type": "入院记录", "department": "内科",
        "noted_at": "2023-05-01T08:00:00+08:00", "text": text,
    }  # fmt: skip


def _write_source(root: Path) -> None:
    for name in ("patients", "encounters", "notes", "gold"):
        (root / name).mkdir(parents=True)
    patient_header = "patient_id,sex,birth_date,death_date,marital_status,name,id_number,phone,address,region,city\n"
    patients = patient_header + f"p1,女,1990-06-15,,未婚,{CANARY},,,,浙江,杭州\np2,男,不详,,,,,,,,\n"
    (root / "patients" / "a.csv").write_text(patients, encoding="utf-8-sig")
    header = (
        "encounter_id,patient_id,encounter_type,department,admitted_at,discharged_at,diagnosis_codes,is_deceased,ward\n"
    )
    stay = "e1,p1,inpatient,内科,2023-05-01T08:00:00+08:00,2023-05-09 10:00:00,I10|E11.9,0,内科一病区\n"
    (root / "encounters" / "a.csv").write_text(header + stay, encoding="gb18030")
    lines = [_note("1", f"患者{CANARY},一般情况可。"), _note("2", "无特殊。"), _note("1", "同一编号再来一次。")]
    lines += [_note("3", "甲\x00乙"), _note("4", "长" * 3_000), _note("5", "1" * 10_000, "p9"), {"note_id": "6"}]
    text = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
    (root / "notes" / "a.jsonl").write_text(text + "\n", encoding="utf-8")
    (root / "notes" / "empty.jsonl").write_bytes(b"")
    (root / "notes" / "gbk.jsonl").write_bytes(json.dumps(_note("7", "编码不对"), ensure_ascii=False).encode("gbk"))
    rest = "\n".join(json.dumps(_note(f"t{i}", f"第{i * 7919}段")) for i in range(3_000)).encode()
    (root / "notes" / "torn.jsonl.gz").write_bytes(gzip.compress(rest)[:-40_00])
    gold = {"note_id": "1", "spans": [{"start": 2, "end": 7, "category": "NAME", "tier": None}]}
    (root / "gold" / "a.jsonl").write_text(json.dumps(gold) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def landed(spark: Any, tmp_path_factory: pytest.TempPathFactory, key_file: str) -> tuple[Lake, Path, Settings]:
    base = tmp_path_factory.mktemp("ingest")
    _write_source(base / "source")
    overrides = [f'identity.key_file="{key_file}"', "ingest.max_note_chars=12000", "ingest.max_reject_share=0.5"]
    settings = load_settings("ci", overrides)
    lake = Lake(str(base / "lake"))
    _make_older_patients(spark, lake)
    _ingest(spark, lake, base / "source", settings)
    return lake, base / "source", settings


def _ingest(spark: Any, lake: Lake, root: Path, settings: Settings) -> dict[str, int]:
    mapping = load_mapping(settings.files, "simulated")
    return ingest_source(spark, lake, mapping=mapping, root=str(root), settings=settings, run_id="r1")


def _make_older_patients(spark: Any, lake: Lake) -> None:
    """A table of patients from before region and city were columns, with one patient."""
    kept = [field for field in schemas.PATIENTS.schema if field.name not in ("region", "city")]
    older = replace(schemas.PATIENTS, schema=pa.schema(kept))
    row = {field.name: None if field.nullable else OLDER for field in kept}
    merge_rows(spark, lake, older, spark.createDataFrame([row], spark_schema(older.schema)))


def test_a_table_without_new_columns_reads_as_null_and_gains_them_with_the_next_write(
    spark: Any, landed: tuple[Lake, Path, Settings]
) -> None:
    lake = landed[0]
    homes = {row["patient_key"]: (row["region"], row["city"]) for row in lake.read(schemas.PATIENTS).to_pylist()}
    assert homes.pop(OLDER) == (None, None) and list(homes.values()) == [("浙江省", "杭州市")]
    newest, before = (lake.open(schemas.PATIENTS, version=version) for version in (None, 1))
    assert newest and before and not list_missing(newest, schemas.PATIENTS)
    assert [field.name for field in list_missing(before, schemas.PATIENTS)] == ["region", "city"]
    assert lake.read(schemas.PATIENTS, ["patient_key", "city"], version=1).to_pylist() == [
        {"patient_key": OLDER, "city": None}
    ]
    pinned = read_table(spark, lake, schemas.PATIENTS, version=1)
    assert pinned.schema["city"].dataType.simpleString() == "string"
    assert [(row["patient_key"], row["city"]) for row in pinned.collect()] == [(OLDER, None)]
    added = read_table(spark, lake, schemas.PATIENTS).schema["region"]
    assert added.metadata["comment"] == schemas.PATIENTS.schema.field("region").metadata[b"comment"].decode()


def test_good_rows_land_with_context_from_the_patient(landed: tuple[Lake, Path, Settings]) -> None:
    notes = {row["source_note_id"]: row for row in landed[0].read(schemas.NOTES).to_pylist()}
    assert {"1", "2", "4", "5"} <= set(notes) and len(notes) > 1_000
    assert (notes["1"]["sex"], notes["1"]["age_years"]) == ("F", 32)
    assert (notes["5"]["sex"], notes["5"]["age_years"], notes["5"]["n_chars"]) == ("", None, 10_000)
    assert notes["1"]["noted_at"].isoformat() == "2023-05-01T00:00:00+00:00"
    (stay,) = landed[0].read(schemas.ENCOUNTERS).to_pylist()
    assert stay["diagnosis_codes"] == ["I10", "E11.9"] and stay["ward"] == "内科一病区"
    assert stay["patient_key"] == notes["1"]["patient_key"]
    (gold,) = landed[0].read(schemas.GOLD).to_pylist()
    assert gold["note_key"] == notes["1"]["note_key"]


def test_every_bad_row_is_listed_with_file_row_field_and_reason(landed: tuple[Lake, Path, Settings]) -> None:
    rejects = landed[0].read(schemas.REJECTS).to_pylist()
    found = {(r["file"], r["row"], r["field"], r["reason"]) for r in rejects if "torn" not in r["file"]}
    assert found == {
        ("patients/a.csv", 3, "birth_date", "BAD_DATE"),
        ("notes/a.jsonl", 3, "", "DUPLICATE_KEY"),
        ("notes/a.jsonl", 4, "text", "NULL_BYTE"),
        ("notes/a.jsonl", 7, "patient_id", "MISSING_FIELD"),
        ("notes/empty.jsonl", 0, "", "EMPTY_FILE"),
        ("notes/gbk.jsonl", 1, "", "INVALID_ENCODING"),
    }
    assert [r["reason"] for r in rejects if "torn" in r["file"]] == ["TORN_GZIP"]


def test_a_second_ingest_changes_nothing(spark: Any, landed: tuple[Lake, Path, Settings]) -> None:
    before = landed[0].read(schemas.NOTES).num_rows
    counts = _ingest(spark, landed[0], landed[1], landed[2])
    assert counts.pop("computed") > before  # every row was read again
    assert not any(counts.values()) and landed[0].read(schemas.NOTES).num_rows == before


def test_the_delta_log_holds_no_cell(landed: tuple[Lake, Path, Settings]) -> None:
    logs = list(Path(landed[0].uri).rglob("_delta_log/*"))
    assert logs
    for log in (log for log in logs if log.is_file()):
        assert CANARY.encode() not in log.read_bytes() and b'"p1"' not in log.read_bytes()


def test_too_many_rejects_stop_the_run_and_still_list_them(
    spark: Any, landed: tuple[Lake, Path, Settings], tmp_path: Path
) -> None:
    (tmp_path / "notes").mkdir()
    for name in ("patients", "encounters", "gold"):
        (tmp_path / name).mkdir()
    (tmp_path / "notes" / "a.jsonl").write_bytes(b"nonsense\nmore nonsense\n")
    lake = Lake(str(tmp_path / "lake"))
    with pytest.raises(QualityGateError, match="TOO_MANY_REJECTS"):
        _ingest(spark, lake, tmp_path, landed[2])
    assert lake.read(schemas.REJECTS).num_rows == 2 and lake.read(schemas.NOTES).num_rows == 0


def test_a_source_that_is_not_there_is_said_so(spark: Any, landed: tuple[Lake, Path, Settings], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="SOURCE_MISSING"):
        _ingest(spark, Lake(str(tmp_path / "lake")), tmp_path / "nowhere", landed[2])
