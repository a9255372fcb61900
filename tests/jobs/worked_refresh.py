"""A hospital of six notes and what it delivers the night after; the stages that follow it, in this process."""

from __future__ import annotations

import importlib
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa

from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.schemas import TableSpec
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.runtime import run_job

CANARIES = ("欧阳金丝雀", "13900001234")
DOUBT = "午后温静出现咳嗽。"
TEXTS = {
    "n1": ("p1", f"姓名：{CANARIES[0]},女,33岁,电话{CANARIES[1]}。否认梅毒病史。"),
    "n2": ("p1", DOUBT),
    "n3": ("p2", DOUBT),
    "n4": ("p2", "患者王建国今日出院,电话13900005555。"),
    "n5": ("p3", "患者李小红,女,住院号20230501,一般情况可。"),
    "n6": ("p3", "今日查房,病情平稳。"),
}
#: The night after: one note new, one corrected twice (the last word counts), one gone, p3 is p1.
CHANGES = (
    ("修改", "n4", "p2", "写错了,下一行才对。"),
    ("修改", "n4", "p2", "患者王建国今日出院,电话13900006666,联系人赵铁柱。"),
    ("新增", "n7", "p4", DOUBT),
    ("删除", "n6", "", ""),
)
DERIVED = (schemas.RULE_ANNOTATIONS, schemas.ANNOTATIONS, schemas.PROTECTED_NOTES)
DERIVING = ("partition", "tier", "protect")


def write_first_night(root: Path, *, without: tuple[str, ...] = ()) -> None:
    """A full export."""
    for name in ("patients", "encounters", "notes", "gold"):
        (root / name).mkdir(parents=True)
    header = "patient_id,sex,birth_date,death_date,marital_status,region,city\n"
    patients = "".join(f"{p},女,1990-06-15,,,,\n" for p in ("p1", "p2", "p3", "p4"))
    (root / "patients" / "a.csv").write_text(header + patients, encoding="utf-8-sig")
    columns = (
        "encounter_id,patient_id,encounter_type,department,admitted_at,discharged_at,diagnosis_codes,is_deceased,ward"
    )
    stay = "e3,p3,inpatient,内科,2023-05-01 08:00:00,2023-05-09 10:00:00,I10,0,"
    (root / "encounters" / "a.csv").write_text(f"{columns}\n{stay}\n", encoding="gb18030")
    _write_lines(root / "notes" / "a.jsonl", [_note(k, *v) for k, v in TEXTS.items() if k not in without])
    gold = [{"note_id": key, "spans": []} for key in ("n1", "n6")]
    _write_lines(root / "gold" / "a.jsonl", gold)


def write_second_night(root: Path) -> None:
    """Changes only."""
    for name in ("patients", "encounters", "notes", "gold", "note_changes", "merges"):
        (root / name).mkdir(parents=True)
    lines = [{"operation": "删除", "note_id": n} if o == "删除" else {"operation": o, **_note(n, p, t)}
             for o, n, p, t in CHANGES]  # fmt: skip
    _write_lines(root / "note_changes" / "a.jsonl", lines)
    merges = "old_patient_id,surviving_patient_id\np3,p1\n"
    (root / "merges" / "a.csv").write_text(merges, encoding="utf-8-sig")


def write_third_night(root: Path) -> None:
    """One correction, in changes only."""
    for name in ("patients", "encounters", "notes", "gold", "note_changes"):
        (root / name).mkdir(parents=True)
    note = _note("n5", "p3", "患者李晓明,女,出院带药。")
    _write_lines(root / "note_changes" / "a.jsonl", [{"operation": "修改", **note}])


def _note(note_id: str, patient: str, text: str) -> dict[str, Any]:
    return {
        "note_id": note_id, "patient_id": patient, "encounter_id": "", "note_type": "日常病程记录",
        "department": "内科", "noted_at": "2023-05-01T08:00:00+08:00", "text": text,
    }  # fmt: skip


def _write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def run(stage: str, lake: Lake, key_file: str, *extra: str) -> int:
    """One stage as the command line would run it."""
    arguments = ["--lake", lake.uri, "--profile", "ci", "--set", f'identity.key_file="{key_file}"']
    arguments += ["--set", 'partition.tagger="none"', *extra]
    return run_job(importlib.import_module(f"jobs.{stage}").STAGE, arguments)


def run_all(lake: Lake, key_file: str, *extra: str) -> None:
    """The stages after ingest; each must end well."""
    assert [run(stage, lake, key_file, *extra) for stage in DERIVING] == [0, 0, 0]


def counts_of(lake: Lake, stage: str) -> dict[str, int]:
    """What the newest run of a stage recorded."""
    runs = [row for row in lake.read(schemas.RUNS).to_pylist() if row["stage"] == stage]
    found: dict[str, int] = json.loads(max(runs, key=lambda row: row["started_at"])["counts"])
    return found


def copy_lake(lake: Lake, to: Path, *, without: tuple[TableSpec, ...] = ()) -> Lake:
    """The same lake elsewhere, some tables left out."""
    shutil.copytree(lake.uri, to)
    for spec in without:
        shutil.rmtree(to / spec.path)
    return Lake(str(to))


def rows_of(lake: Lake, spec: TableSpec) -> list[dict[str, Any]]:
    """All rows without the run that wrote them, by key."""
    rows = lake.read(spec, [name for name in spec.schema.names if name != "run_id"])
    return rows.sort_by([(key, "ascending") for key in spec.keys]).to_pylist()


def by_id(lake: Lake, spec: TableSpec) -> dict[str, dict[str, Any]]:
    """Source note id -> row."""
    ids = {r["note_key"]: r["source_note_id"] for r in lake.read(schemas.NOTES).to_pylist()}
    return {ids.get(r["note_key"], "?"): r for r in lake.read(spec).to_pylist()}


def versions_of(lake: Lake) -> dict[str, int | None]:
    """Every table's version but those of the control zone."""
    return {name: lake.version(spec) for name, spec in schemas.TABLES.items() if spec.zone != "control"}


def answer_doubt(lake: Lake, *, is_accepted: bool, run_id: str) -> None:
    """Store the model's answer to the one doubtful sentence, as the annotate job would."""
    (segment,) = (row for row in lake.read(schemas.SEGMENTS).to_pylist() if row["text"] == DOUBT)
    (candidate,) = segment["candidates"]
    place = {name: candidate[name] for name in ("start", "end", "category")}
    verdict = {**place, "is_accepted": is_accepted, "log_odds": 1.0 if is_accepted else -1.0, "tier": None}
    row = {"segment_key": segment["segment_key"], "unit_id": "u", "outcome": "ok", "spans": [], "run_id": run_id}
    row |= {"verdicts": [verdict], "prompts": ["judge:NAME:0"]}
    table = pa.Table.from_pylist([row], schema=schemas.SEGMENT_ANNOTATIONS.schema)
    lake.append(schemas.SEGMENT_ANNOTATIONS, table, app_id="answers", app_version=int(run_id[1:]))
