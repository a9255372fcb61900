"""A lake with protected notes, the clear notes they came from, and visits; every text carries a canary."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import write_deltalake

from ppsehr_spark.config import Settings, load_settings, settings_from_json
from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.table_spec import TableSpec
from ppsehr_spark.lake.tables import Lake

CANARY = "哨兵甲乙丙"


def key(kind: str, *parts: int) -> str:
    return hashlib.sha256(f"{kind}{parts}".encode()).hexdigest()[:32]


def note_rows(n_patients: int, n_notes: int) -> list[dict[str, Any]]:
    """One dictionary per note, with the columns of all three tables."""
    return [
        {
            "note_key": key("n", p, n),
            "patient_key": key("p", p),
            "encounter_key": key("e", p),
            "note_type": "出院记录",
            "department": "神经内科",
            "sex": "M" if p % 2 else "F",
            "age_years": 40 + p,
            "diagnosis_codes": ["G20.x00"],
            "text": f"{CANARY}{p}号第{n}份，诊断帕金森病，住院{n + 2}天。",
            "run_id": "r0",
        }
        for p in range(n_patients)
        for n in range(n_notes)
    ]


def write_notes(lake: Lake, rows: list[dict[str, Any]]) -> None:
    """As protect and ingest leave them."""
    visits = list({row["encounter_key"]: row for row in rows}.values())
    for spec, content in ((schemas.PROTECTED_NOTES, rows), (schemas.NOTES, rows), (schemas.ENCOUNTERS, visits)):
        _write(lake, spec, content)


def _write(lake: Lake, spec: TableSpec, rows: list[dict[str, Any]]) -> None:
    needed = [{**dict.fromkeys(spec.schema.names), "text_hash": "", **row} for row in rows]
    picked = [{name: row[name] for name in spec.schema.names} for row in needed]
    place = lake.table_uri(spec)
    if "://" not in place:
        Path(place).mkdir(parents=True, exist_ok=True)
    write_deltalake(place, pa.Table.from_pylist(picked, schema=spec.schema), mode="append")


def training_settings(**train: Any) -> Settings:
    """The ci profile with a model of two kilobytes a layer."""
    values = json.loads(load_settings("ci").to_json())
    small = {"hidden_size": 32, "n_layers": 1, "n_steps": 6, "checkpoint_every_steps": 2, "max_note_tokens": 16}
    values["train"].update({**small, **train})
    return settings_from_json(json.dumps(values))
