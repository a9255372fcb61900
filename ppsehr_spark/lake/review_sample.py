"""Notes of the lake drawn with their final spans, for people to read.

Knows: phi.annotations, phi.notes, and that a text may have changed since it was annotated. Must not know: the worksheet
as a file, how a rate is bounded. Who drew how many goes into the audit log; what was drawn does not.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyarrow import compute

from ppsehr_spark.domain.notes import Span
from ppsehr_spark.errors import InputError
from ppsehr_spark.evaluation.review_sheet import SheetNote
from ppsehr_spark.lake.audit_log import append_entry
from ppsehr_spark.lake.schemas import ANNOTATIONS, NOTES
from ppsehr_spark.lake.table_spec import TableSpec
from ppsehr_spark.lake.tables import Lake


@dataclass(frozen=True)
class DrawnNotes:
    """The sample, how many annotated notes it was drawn from, and how many drawn ones have another text by now."""

    notes: tuple[SheetNote, ...]
    n_notes: int
    n_stale: int


def draw_annotated(lake: Lake, *, n_sample: int, seed: int, author: str) -> DrawnNotes:
    """A uniform sample without replacement of the annotated notes, in memory for the sample only.

    The notes with the smallest hashes of seed and key are taken (bottom-k sampling), so the same seed and notes give
    the same sample however the tables lie in files. A drawn note whose text changed after it was annotated is left out.

    Args:
        author: role account of the person; goes into the audit log.

    Raises:
        InputError: ``EMPTY_TABLE`` when no note can be drawn.
    """
    ranks = _Ranks(lake, seed)
    chosen = {key: rank for rank, key in heapq.nsmallest(n_sample, ranks)}
    spans = {(row["note_key"], row["text_hash"]): row["spans"] for row in _rows(lake, ANNOTATIONS, chosen, "spans")}
    texts = {(row["note_key"], row["text_hash"]): row["text"] for row in _rows(lake, NOTES, chosen, "text")}
    fresh = sorted(spans.keys() & texts.keys(), key=lambda pair: chosen[pair[0]])
    if not fresh:
        raise InputError("EMPTY_TABLE", table=ANNOTATIONS.full_name, hint="run the pipeline up to tier first")
    details = {"n_notes": len(fresh), "n_annotated": ranks.n_seen, "seed": seed}
    append_entry(lake, actor=author, action="review", target=NOTES.full_name, run_id="", details=details)
    notes = tuple(SheetNote(pair[0], texts[pair], tuple(Span(**span) for span in spans[pair])) for pair in fresh)
    return DrawnNotes(notes, ranks.n_seen, len(chosen) - len(fresh))


class _Ranks:
    """Annotated notes as ``(rank, note_key)``, counted on the way."""

    def __init__(self, lake: Lake, seed: int) -> None:
        self._lake = lake
        self._seed = seed
        self.n_seen = 0

    def __iter__(self) -> Iterator[tuple[bytes, str]]:
        for batch in self._lake.stream(ANNOTATIONS, ["note_key"]):
            self.n_seen += batch.num_rows
            for key in batch.column(0).to_pylist():
                yield hashlib.sha256(f"{self._seed}|{key}".encode()).digest(), key


def _rows(lake: Lake, spec: TableSpec, keys: Collection[str], column: str) -> Iterator[dict[str, Any]]:
    """Rows of some notes; keys are compared here, never put into a query."""
    wanted = pa.array(sorted(keys), pa.string())
    for batch in lake.stream(spec, ["note_key", "text_hash", column]):
        yield from batch.filter(compute.is_in(batch["note_key"], value_set=wanted)).to_pylist()
