"""Rows of a small finished lake. Names, numbers and places are invented."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

_TEXTS = {
    "a1": "姓名：周若彤，女，电话13812345678。否认梅毒病史。",
    "a2": "患者周若彤今日复查，RPR 1:16，孕20周。",
    "b1": "姓名：林一凡，住云和市滨河路8号2楼。",
    "b2": "林一凡今日出院。",
}
_NAMES = {"a1": (3, 6), "a2": (2, 5), "b1": (3, 6), "b2": (0, 3)}


def _span(start: int, end: int, category: str, tier: int | None = None, **more: Any) -> dict[str, Any]:
    values = {"source": "rule", "confidence": 0.9, "rule": f"{category}.test", "tier_rule": ""}
    return {"start": start, "end": end, "category": category, "tier": tier, **values, **more}


_FINAL = {
    "a1": [_span(3, 6, "NAME"), _span(11, 22, "CONTACT"), _span(23, 29, "STD", 1)],
    "a2": [_span(2, 5, "NAME"), _span(10, 18, "STD", 3), _span(19, 23, "PREGNANCY", 2)],
    "b1": [_span(3, 6, "NAME"), _span(8, 18, "ADDRESS", 3, source="rule+qwen")],
    "b2": [_span(0, 3, "NAME", source="qwen")],
}
_GOLD = {note: [{k: span[k] for k in ("start", "end", "category", "tier")} for span in _FINAL[note]] for note in _TEXTS}
#: The recognisers alone: unsure of b2's name, sure of all else.
_RULES = {**_FINAL, "b2": [_span(0, 3, "NAME", confidence=0.4)]}
_PROTECTED = {
    "a1": "姓名：高子墨，女，电话13900000001。否认梅毒病史。",
    "a2": "患者高子墨今日复查，【略】，【略】。",
    "b1": "姓名：方宇，住【地址】。",
    "b2": "方宇今日出院。",
}
_RUN = {"run_id": "r1"}


def _key(note: str) -> dict[str, Any]:
    return {"note_key": note, "text_hash": f"hash-{note}", **_RUN}


def _note(note: str) -> dict[str, Any]:
    text = _TEXTS[note]
    more = {"note_type": "出院记录" if note == "b2" else "入院记录", "department": "内科", "sex": "F", "age_years": 34}
    return {**_key(note), "patient_key": note[0], "text": text, "n_chars": len(text), "source": "test", **more}


def _protected(note: str) -> dict[str, Any]:
    more = {"n_spans": len(_FINAL[note]), "n_open_segments": int(note == "a2"), "policy": "research"}
    row = {"note_key": note, "patient_key": note[0], "text": _PROTECTED[note], **_RUN, **more}
    return {**row, "note_type": _note(note)["note_type"], "department": "内科", "noted_month": "2023-05"}


def _answer(segment: str, outcome: str) -> dict[str, Any]:
    tokens = {"prompt_tokens": 100, "cached_tokens": 60, "output_tokens": 1}
    return {"segment_key": segment, "unit_id": "u1", "outcome": outcome, "engine": "test", **tokens, **_RUN}


WORKED_ROWS: dict[str, list[dict[str, Any]]] = {
    "phi.notes": [_note(note) for note in _TEXTS],
    "phi.gold": [{"note_key": note, "spans": _GOLD[note], "source": "test"} for note in _TEXTS],
    "phi.rule_annotations": [
        {
            **_key(note),
            "spans": _RULES[note],
            "segments": [{"segment_key": key, "start": 0, "end": 3} for key in keys],
            "knowledge_version": "k1",
        }
        for note, keys in {"a1": ["s1"], "a2": ["s1", "s3"], "b1": ["s2"], "b2": ["s2"]}.items()
    ],
    "phi.segments": [
        {"segment_key": key, "task": "judge", "text": "甲乙丙", "n_chars": 3, "estimated_tokens": 26, **_RUN}
        for key in ("s1", "s2", "s3")
    ],
    "phi.segment_annotations": [_answer("s1", "ok"), _answer("s2", "ok")],
    "phi.annotations": [{**_key(note), "spans": _FINAL[note], "n_open_segments": int(note == "a2")} for note in _TEXTS],
    "phi.rejects": [
        {"reject_key": f"x{number}", "file": "notes.csv", "row": number, "reason": reason, **_RUN}
        for number, reason in enumerate(["NULL_BYTE", "NULL_BYTE", "ENCODING"])
    ],
    "protected.notes": [_protected(note) for note in _TEXTS],
    "control.runs": [
        {
            "run_id": run_id,
            "stage": stage,
            "status": "ok",
            "exit_code": 0,
            "counts": "{}",
            "started_at": datetime(2024, 6, day, tzinfo=UTC),
            "seconds": 1.5,
        }
        for stage, run_id, day in (("ingest", "r0", 1), ("ingest", "r1", 2), ("tier", "r1", 2))
    ],
}
