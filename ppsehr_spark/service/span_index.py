"""Span lines by note id, so that notes and spans may stand in different order.

Knows: ids and raw lines. Must not know: what a span means.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ppsehr_spark.errors import InputError
from ppsehr_spark.service.line_files import open_lines
from ppsehr_spark.service.line_work import RawLine

_MAX_SPAN_LINE_BYTES = 1 << 28


@dataclass(frozen=True)
class SpanIndex:
    """Raw span lines waiting for their notes; where an id repeats, the n-th note takes the n-th line."""

    lines: dict[str, deque[bytes]]

    def attach(self, raw_lines: Iterable[RawLine]) -> Iterator[RawLine]:
        """Put the span line of each note beside it; without one the note will be refused."""
        for line in raw_lines:
            waiting = self.lines.get(_note_id(line.raw) or "")
            yield RawLine(line.number, line.raw, waiting.popleft() if waiting else None)


def load_span_index(path: str) -> SpanIndex:
    """Read a span file; lines without a usable id are left out, so that their notes are refused.

    Raises:
        UsageError: the file cannot be opened.
        InputError: ``TORN_GZIP``: a span file that ends early must not pass for a short one.
    """
    lines: dict[str, deque[bytes]] = {}
    with open_lines(path, max_line_bytes=_MAX_SPAN_LINE_BYTES) as source:
        for raw in source:
            note_id = _note_id(raw)
            if raw is not None and note_id:
                lines.setdefault(note_id, deque()).append(raw)
    if source.is_torn:
        raise InputError("TORN_GZIP", path=path, hint="the span file ends in the middle; nothing was written")
    return SpanIndex(lines)


def _note_id(raw: bytes | None) -> str | None:
    try:
        note_id = json.loads(raw.removeprefix(b"\xef\xbb\xbf"))["note_id"] if raw else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return str(note_id) if isinstance(note_id, str | int) else None
