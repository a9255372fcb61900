"""A small lake with open units, and settings that need no model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import write_deltalake

from ppsehr_spark.config import Settings, load_settings, settings_from_json
from ppsehr_spark.domain.notes import Span
from ppsehr_spark.domain.segments import segment_key
from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.tables import Lake

KEY = bytes(range(32))
SENTENCE = "第{n}日查房，李伟诉胸闷，王主任看过病人。"


def segment_row(n: int, *, task: str = "judge", text: str = "", category: str = "NAME") -> dict[str, Any]:
    """A phi.segments row; ``judge`` and ``tier`` have one candidate at the name."""
    text = text or SENTENCE.format(n=n)
    at = text.find("李伟")
    candidates = () if task == "extract" else (Span(at, at + 2, category, confidence=0.5, rule=f"{category}.test"),)
    return {
        "segment_key": segment_key(KEY, task=task, text=text, note_type="查房记录", candidates=candidates),
        "task": task,
        "text": text,
        "note_type": "查房记录",
        "candidates": [
            {"start": c.start, "end": c.end, "category": c.category, "confidence": c.confidence, "rule": c.rule}
            for c in candidates
        ],
        "n_chars": len(text),
        "estimated_tokens": len(text),
        "run_id": "r0",
    }


def make_settings(engine: str = "fault", *, options: dict[str, Any] | None = None, **annotate: Any) -> Settings:
    """The ci profile with another engine, its options and other annotate keys."""
    values = json.loads(load_settings("ci").to_json())
    values["annotate"].update({"engine": engine, "token_budget": 10_000_000, **annotate})
    if options is not None:
        values["engine"][engine] = options
    return settings_from_json(json.dumps(values))


def write_units(lake: Lake, rows: list[dict[str, Any]], *, per_unit: int) -> None:
    """Write phi.segments and phi.work_units as the partition job leaves them."""
    units = [
        {
            "unit_id": f"unit-{i:04d}",
            "position": i,
            "segment_keys": [row["segment_key"] for row in rows[i : i + per_unit]],
            "n_segments": len(rows[i : i + per_unit]),
            "estimated_tokens": 100,
            "run_id": "r0",
        }
        for i in range(0, len(rows), per_unit)
    ]
    for spec, content in ((schemas.SEGMENTS, rows), (schemas.WORK_UNITS, units)):
        Path(lake.table_uri(spec)).mkdir(parents=True, exist_ok=True)
        write_deltalake(lake.table_uri(spec), pa.Table.from_pylist(content, schema=spec.schema), mode="append")
