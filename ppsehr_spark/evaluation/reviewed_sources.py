"""Reviewed notes from files: a folder of ``*.gold.txt``, or JSON lines with text and spans; only one half of them.

Knows: both formats and the split by note id. Must not know: tables, engines. Errors name file and line, never text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ppsehr_spark.domain.knowledge.mistakes import ReviewedNote
from ppsehr_spark.domain.notes import Note, Span
from ppsehr_spark.errors import InputError
from ppsehr_spark.evaluation.gold_markup import read_gold, split_of


def read_reviewed(path: str, *, half: str = "dev") -> tuple[ReviewedNote, ...]:
    """Notes of one half, in the order of the files.

    Args:
        path: folder with ``*.gold.txt``, or a file of lines ``{"note_id", "text", "spans": [{"start", "end",
            "category", "tier"}]}`` with optional ``note_type``, ``sex``, ``age_years``.
        half: ``dev`` or ``test`` (``gold_markup.split_of``).

    Raises:
        InputError: ``NO_GOLD`` when there is nothing to read, ``BROKEN_GOLD`` with file and line.
    """
    place = Path(path)
    if place.is_dir():
        notes: Iterator[ReviewedNote] = (
            ReviewedNote(Note(g.note_id, g.text, g.note_type), g.spans) for g in read_gold(place)
        )
    elif place.is_file():
        notes = _read_lines(place)
    else:
        raise InputError("NO_GOLD", hint="--gold names a folder of .gold.txt files or a .jsonl file")
    chosen = tuple(item for item in notes if split_of(item.note.note_key) == half)
    if not chosen:
        raise InputError("NO_GOLD", half=half, hint="no reviewed note falls into this half")
    return chosen


def _read_lines(path: Path) -> Iterator[ReviewedNote]:
    seen: set[str] = set()
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        if not line.strip():
            continue
        try:
            item = _read_line(json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            item = None
        if item is None or item.note.note_key in seen:
            raise InputError(
                "BROKEN_GOLD", file=path.name, line=number, reason="not a reviewed note, or an id used twice"
            )
        seen.add(item.note.note_key)
        yield item


def _read_line(fields: Mapping[str, Any]) -> ReviewedNote | None:
    text, age = fields["text"], fields.get("age_years")
    spans = sorted((_read_span(span) for span in fields["spans"]), key=lambda s: (s.start, s.end))
    ends = [0, *(span.end for span in spans)]
    is_sound = isinstance(text, str) and all(before <= s.start for before, s in zip(ends, spans, strict=False))
    if not is_sound or ends[-1] > len(text) or not (age is None or isinstance(age, int)):
        return None
    note = Note(str(fields["note_id"]), text, str(fields.get("note_type") or ""), str(fields.get("sex") or ""), age)
    return ReviewedNote(note, tuple(spans))


def _read_span(fields: Mapping[str, Any]) -> Span:
    start, end, tier = fields["start"], fields["end"], fields.get("tier")
    if not (isinstance(start, int) and isinstance(end, int) and 0 <= start < end and tier in (None, 1, 2, 3)):
        raise ValueError
    return Span(start, end, str(fields["category"]), tier, source="gold")
