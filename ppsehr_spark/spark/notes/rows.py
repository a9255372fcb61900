"""Between Arrow rows and domain values: notes, spans, segments.

Knows: the column names of ``lake.schemas`` and the attributes of ``domain.notes``. Must not know: Spark.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from ppsehr_spark.domain.notes import Note, Span

NOTE_COLUMNS = ("note_key", "text", "note_type", "sex", "age_years")
_BATCH_ROWS = 256


def note_of(row: Mapping[str, Any]) -> Note:
    """The Note of a phi.notes row."""
    return Note(row["note_key"], row["text"], row["note_type"] or "", row["sex"] or "", row["age_years"])


def span_of(row: Mapping[str, Any]) -> Span:
    """The Span of a SPAN struct; missing attributes take their defaults."""
    confidence = row.get("confidence")
    return Span(
        row["start"],
        row["end"],
        row["category"],
        row.get("tier"),
        row.get("source") or "rule",
        1.0 if confidence is None else confidence,
        row.get("rule") or "",
        row.get("tier_rule") or "",
    )


def span_row(span: Span) -> dict[str, Any]:
    """The SPAN struct of a Span."""
    return {
        "start": span.start,
        "end": span.end,
        "category": span.category,
        "tier": span.tier,
        "source": span.source,
        "confidence": span.confidence,
        "rule": span.rule,
        "tier_rule": span.tier_rule,
    }


def pack_rows(rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Arrow batches of at most 256 rows."""
    held: list[Mapping[str, Any]] = []
    for row in rows:
        held.append(row)
        if len(held) >= _BATCH_ROWS:
            yield pa.RecordBatch.from_pylist(held, schema=schema)
            held = []
    if held:
        yield pa.RecordBatch.from_pylist(held, schema=schema)
