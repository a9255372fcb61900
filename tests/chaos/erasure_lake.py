"""A lake of three fictional patients for tests of erasure: real stages on real Spark, and rows in every other table.

Two patients share a sentence that the model is asked about; the first one's other strings are found nowhere else.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ppsehr_spark.domain.identity import keyed_hash, load_key
from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.dead_letters import give_up
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.runtime import run_job

ERASED, OTHERS = "HZ0000101", ("HZ0000102", "HZ0000103")
#: Under which the visit of the erased person came, before the hospital merged the two ids.
MERGED = "HZ0000100"
SHARED = "午后温静出现咳嗽咳痰伴活动后气促乏力未见明显好转。"
OWN = (
    "姓名：欧阳金丝雀,女,33岁,电话13900001234,住上海市徐汇区金丝雀路77号3幢502室。",
    "午后温静出现胸闷伴右侧腰背部酸胀不适。",
    "既往于二〇〇三年在外院行左侧甲状腺次全切除术。",
)
KEPT = (
    "姓名：司马留存,男,61岁,电话13700005678,住杭州市西湖区留存路12号1幢101室。",
    "自诉近三日夜间盗汗伴低热不退未予处理。",
)
NOTES = {
    f"N{ERASED}-1": (ERASED, "".join(OWN)),
    f"N{ERASED}-2": (ERASED, f"今日查房。{SHARED}"),
    f"N{OTHERS[0]}-1": (OTHERS[0], f"{KEPT[0]}{SHARED}"),
    f"N{OTHERS[1]}-1": (OTHERS[1], KEPT[1]),
}
#: What must be nowhere afterwards, as plain strings.
GONE = (ERASED, "欧阳金丝雀", "13900001234", "金丝雀路77号", "右侧腰背部酸胀不适", "甲状腺次全切除术")


def run(stage: str, arguments: list[str]) -> int:
    """One stage in this process, on the shared session."""
    return run_job(importlib.import_module(f"jobs.{stage}").STAGE, arguments)


def write_source(root: Path) -> None:
    """Patients, visits, notes and gold of all three."""
    for name in ("patients", "encounters", "notes", "gold", "merges"):
        (root / name).mkdir(parents=True)
    people = "patient_id,sex,birth_date,death_date,marital_status,region,city"
    rows = [f"{patient},女,1990-01-0{i + 1},,已婚,," for i, patient in enumerate((ERASED, *OTHERS))]
    (root / "patients" / "a.csv").write_text("\r\n".join([people, *rows]) + "\r\n", encoding="utf-8-sig")
    columns = (
        "encounter_id,patient_id,encounter_type,department,admitted_at,discharged_at,diagnosis_codes,is_deceased,ward"
    )
    stays = "住院,心血管内科,2023-04-01 08:00:00,2023-04-10 08:00:00,I21.900,0,"
    merge = f"old_patient_id,surviving_patient_id\r\n{MERGED},{ERASED}\r\n"
    (root / "merges" / "a.csv").write_text(merge, encoding="utf-8-sig")
    owners = {ERASED: MERGED, **{patient: patient for patient in OTHERS}}
    visits = [f"E{patient},{owner},{stays}" for patient, owner in owners.items()]
    (root / "encounters" / "a.csv").write_text("\r\n".join([columns, *visits]) + "\r\n", encoding="gb18030")
    notes = [
        {"note_id": note, "patient_id": patient, "encounter_id": f"E{patient}", "note_type": "日常病程记录",
         "department": "内科", "noted_at": "2023-05-02", "text": text}
        for note, (patient, text) in NOTES.items()
    ]  # fmt: skip
    gold = [{"note_id": note, "spans": []} for note in NOTES]
    for name, lines in (("notes", notes), ("gold", gold)):
        text = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines) + "\n"
        (root / name / "a.jsonl").write_text(text, encoding="utf-8")
    (root / "notes" / f"late_{ERASED}.jsonl").write_text("{torn\n", encoding="utf-8")  # a reject with an id in its name


def fill_lake(lake: Lake, common: list[str], source: Path, key_file: str) -> None:
    """Ingest to publish, with answers, corrections, dead letters, scores, lessons and sketches of all patients."""
    for stage in ("ingest", "partition"):
        more = ["--source", str(source)] if stage == "ingest" else []
        assert run(stage, [*common, *more]) == 0
    _append_people(lake, load_key(key_file))
    for stage in ("tier", "protect", "publish"):
        assert run(stage, common) == 0


def key_of(key_file: str, kind: str, source_id: str) -> str:
    """The key that ingest mints."""
    return keyed_hash(load_key(key_file), kind, "simulated", source_id)


def segments_of(lake: Lake) -> dict[str, str]:
    """Segment key -> text."""
    return {row["segment_key"]: row["text"] for row in lake.read(schemas.SEGMENTS).to_pylist()}


def read_files(root: Path) -> Iterator[tuple[Path, str]]:
    """Every file below a folder: its bytes as text and, of Parquet, its values."""
    for path in sorted(root.rglob("*")):
        if path.is_file():
            text = path.read_bytes().decode("utf-8", "replace")
            values = str(pq.ParquetFile(path).read().to_pydict()) if path.suffix == ".parquet" else ""
            yield path.relative_to(root), text + values


def _append_people(lake: Lake, key: bytes) -> None:
    """What Ray, people and training would have written."""
    segments = lake.read(schemas.SEGMENTS, ["segment_key"])["segment_key"].to_pylist()
    answers = [{"segment_key": s, "unit_id": "u", "outcome": "ok", "prompts": ["judge:NAME:1"]} for s in segments]
    _write(lake, schemas.SEGMENT_ANNOTATIONS, answers)
    about = {"unit_id": "u", "error_code": "X", "attempts": 2, "engine": "e", "run_id": "r"}
    give_up(lake, [{"segment_key": s, **about} for s in segments])
    notes = lake.read(schemas.NOTES, ["note_key", "text_hash", "patient_key"]).to_pylist()
    said = {
        "start": 0,
        "end": 2,
        "category": "NAME",
        "action": "remove",
        "author": "dr.lin",
        "made_at": datetime.now(UTC),
    }
    for row in notes:
        keys = {name: row[name] for name in ("note_key", "text_hash")}
        _write(lake, schemas.CORRECTIONS, [{**keys, **said, "correction_key": keyed_hash(key, row["note_key"])}])
    people = sorted({row["patient_key"] for row in notes})
    scores = [{"checkpoint_id": "c1", "patient_key": patient, "is_member": True, "loss": 1.0} for patient in people]
    _write(lake, schemas.MEMBERSHIP_SCORES, scores)
    _write(lake, schemas.CHECKPOINTS, [{"checkpoint_id": "c1", "path": "protected/checkpoint_files/c1"}])
    _write(lake, schemas.DRIFT_SKETCHES, [{"sketch_key": "s", "measure": "note_chars", "centroids": "[]"}])
    entry = {"entry_id": "e", "kind": "term", "text": "词", "note_keys": [row["note_key"] for row in notes]}
    _write(lake, schemas.KNOWLEDGE, [{"sequence": 1, "action": "refusal", "version": 0, "trials": [entry]}])


def _write(lake: Lake, spec: schemas.TableSpec, rows: list[dict[str, Any]]) -> None:
    required = {field.name: "r0" for field in spec.schema if not field.nullable and pa.types.is_string(field.type)}
    optional = dict.fromkeys(spec.schema.names)
    lake.append(spec, pa.Table.from_pylist([{**optional, **required, **row} for row in rows], schema=spec.schema))
