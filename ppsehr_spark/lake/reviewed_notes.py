"""Corrections as reviewed notes: what people said about spans, laid over what the engine finds today.

Knows: phi.corrections, who contradicts whom, texts that changed since. Must not know: how mistakes are learned from.
A correction speaks of one span. For the rest of its note the engine's own spans stand: a change that loses one of them
counts as a fall, and what it finds beside them counts as nothing, because nobody has looked there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import pyarrow as pa
from pyarrow import compute

from ppsehr_spark.domain.knowledge.mistakes import CORRECTIONS as CORRECTED
from ppsehr_spark.domain.knowledge.mistakes import ReviewedNote
from ppsehr_spark.domain.notes import Note, Span
from ppsehr_spark.lake.schemas import CORRECTIONS, NOTES
from ppsehr_spark.lake.tables import Lake

_NOTE_COLUMNS = ["note_key", "text_hash", "text", "note_type", "sex", "age_years"]


@dataclass(frozen=True)
class CorrectedNotes:
    """Reviewed notes, keys of contradicting corrections (not used), and how many speak of a text that has changed."""

    notes: tuple[ReviewedNote, ...]
    conflicts: tuple[str, ...] = ()
    n_stale: int = 0


def read_corrected(lake: Lake, annotate: Callable[[Note], Sequence[Span]]) -> CorrectedNotes:
    """Every corrected note under its current text.

    Args:
        annotate: final spans of the engine in force.
    """
    rows = sorted(lake.read(CORRECTIONS).to_pylist(), key=lambda row: (row["made_at"], row["correction_key"]))
    texts = _read_notes(lake, {(row["note_key"], row["text_hash"]) for row in rows})
    fresh = [row for row in rows if (row["note_key"], row["text_hash"]) in texts]
    words, conflicts = _settle(fresh)
    by_note: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in words:
        by_note.setdefault((row["note_key"], row["text_hash"]), []).append(row)
    notes = tuple(
        ReviewedNote(
            texts[key],
            _correct(annotate(texts[key]), said),
            CORRECTED,
            tuple(sorted({(row["start"], row["end"]) for row in said})),
        )
        for key, said in sorted(by_note.items())
    )
    return CorrectedNotes(notes, tuple(sorted(conflicts)), len(rows) - len(fresh))


def _read_notes(lake: Lake, wanted: set[tuple[str, str]]) -> dict[tuple[str, str], Note]:
    keys = pa.array(sorted({key for key, _ in wanted}), pa.string())
    found: dict[tuple[str, str], Note] = {}
    for batch in lake.stream(NOTES, _NOTE_COLUMNS) if wanted else ():
        for row in batch.filter(compute.is_in(batch["note_key"], value_set=keys)).to_pylist():
            place = (row["note_key"], row["text_hash"])
            if place in wanted:
                note_type, sex = row["note_type"] or "", row["sex"] or ""
                found[place] = Note(row["note_key"], row["text"], note_type, sex, row["age_years"])
    return found


def _settle(rows: Iterable[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], set[str]]:
    """The last word of every author per span, without those that contradict one another.

    Two authors contradict where one adds what the other removes, gives another tier, or adds another span over it.
    """
    last: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        last[(*_place(row), row["author"])] = dict(row)
    words = list(last.values())
    by_note: dict[str, list[dict[str, Any]]] = {}
    for row in words:
        by_note.setdefault(row["note_key"], []).append(row)
    conflicts = {
        row["correction_key"]
        for said in by_note.values()
        for pair in combinations(said, 2)
        if _contradict(*pair)
        for row in pair
    }
    return [row for row in words if row["correction_key"] not in conflicts], conflicts


def _contradict(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    if one["author"] == other["author"]:
        return False
    if _place(one) == _place(other):
        return (one["action"], one["tier"]) != (other["action"], other["tier"])
    overlap = one["start"] < other["end"] and other["start"] < one["end"]
    return overlap and one["action"] == other["action"] == "add"


def _place(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("note_key", "text_hash", "start", "end", "category"))


def _correct(spans: Sequence[Span], said: Sequence[Mapping[str, Any]]) -> tuple[Span, ...]:
    """The engine's spans with people's words over them."""
    places = {(row["start"], row["end"], row["category"]) for row in said}
    added = [row for row in said if row["action"] == "add"]
    kept = [
        span
        for span in spans
        if (span.start, span.end, span.category) not in places
        and not any(span.start < row["end"] and row["start"] < span.end for row in added)
    ]
    kept += [Span(row["start"], row["end"], row["category"], row["tier"], source="person") for row in added]
    return tuple(sorted(kept, key=lambda span: (span.start, span.end)))
