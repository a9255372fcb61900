"""Protected notes on their way to a release, without Spark: pin versions, pass the gates, stream what leaves.

Knows: ``protected.notes`` and the originals that the gates compare with. Must not know: how notes are protected, how a
release is stored. Rows stream twice, first through the gates, then into one commit; what is held in memory is one
bucket of notes and the keys of withheld ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable, QueryBuilder
from pyarrow import compute

from ppsehr_spark.config import Settings
from ppsehr_spark.domain.notes import Span
from ppsehr_spark.domain.rules import compile_rules
from ppsehr_spark.errors import QualityGateError
from ppsehr_spark.lake.release_gates import (
    GateFindings,
    ProtectedRow,
    compile_canaries,
    inspect_rows,
    judge_findings,
)
from ppsehr_spark.lake.release_store import Release, ReleasedTable, fingerprint_rows, leaving_schema
from ppsehr_spark.lake.schemas import ANNOTATIONS, NOTES, PROTECTED_NOTES, RELEASED_NOTES
from ppsehr_spark.lake.tables import Lake

NOTES_PRODUCT = "notes"
#: Notes that are joined with their originals in memory at a time.
BUCKET_ROWS = 200_000
_HEX = "0123456789abcdef"
_RELEASED_SCHEMA = leaving_schema(RELEASED_NOTES)

_GATE_SQL = """
SELECT p.note_key, p.text, p.note_type, p.policy, p.n_open_segments, n.text AS original, a.spans,
       n.text_hash = a.text_hash AS is_current
FROM (SELECT * FROM protected_notes {where}) p
LEFT JOIN (SELECT note_key, text, text_hash FROM notes {where}) n ON n.note_key = p.note_key
LEFT JOIN (SELECT note_key, text_hash, spans FROM annotations {where}) a ON a.note_key = p.note_key
"""


@dataclass(frozen=True)
class _Source:
    """The three tables at pinned versions, so that both passes and a resumed run see the same rows."""

    tables: Mapping[str, DeltaTable]
    wheres: tuple[str, ...]

    def stream(self, sql: str) -> Iterator[pa.RecordBatch]:
        for where in self.wheres:
            builder = QueryBuilder()
            for name, table in self.tables.items():
                builder.register(name, table)
            yield from pa.RecordBatchReader.from_stream(builder.execute(sql.format(where=where)))


def offer_notes(
    lake: Lake, settings: Settings, *, canaries: Sequence[str], on_batch: Callable[[int], object] = lambda n_rows: None
) -> Release:
    """The protected notes that pass the gates, ready to be stored.

    Raises:
        QualityGateError: ``NOTHING_TO_PUBLISH``, ``POLICY_GATE``, ``CANARY_GATE``, ``OPEN_GATE`` or
            ``RESIDUAL_GATE``.
    """
    source = _pin_source(lake)
    findings = _inspect_source(source, settings, canaries, on_batch)
    refusal = judge_findings(
        findings,
        policy=settings.protect.policy,
        max_open_share=settings.publish.max_open_share,
        max_note_leak_share=settings.publish.max_note_leak_share,
    )
    if refusal is not None:
        raise refusal

    def open_batches() -> Iterator[pa.RecordBatch]:
        return _released_batches(source, findings)

    content, n_rows = fingerprint_rows(open_batches())
    table = ReleasedTable(RELEASED_NOTES, content, n_rows, len(findings.withheld), open_batches)
    gates = _describe_gates(findings, settings, len(set(canaries)))
    return Release(NOTES_PRODUCT, (table,), settings.protect.policy, gates, settings.conf_hash)


def read_canaries(path: str) -> list[str]:
    """Lines of a file (UTF-8), blank ones left out.

    Raises:
        QualityGateError: ``CANARY_FILE`` when it cannot be read; a gate that cannot look must not open.
    """
    try:
        with open(path, encoding="utf-8-sig") as stream:
            return [line.strip() for line in stream if line.strip()]
    except (OSError, UnicodeDecodeError):
        raise QualityGateError("CANARY_FILE", hint="--canaries must name a readable UTF-8 file") from None


def read_conf_canaries(settings: Settings) -> list[str]:
    """First column of ``conf/canaries.tsv``, comments left out."""
    lines = (line.split("\t")[0].strip() for line in settings.files.get("canaries.tsv", "").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _pin_source(lake: Lake) -> _Source:
    tables = {}
    for name, spec in (("protected_notes", PROTECTED_NOTES), ("notes", NOTES), ("annotations", ANNOTATIONS)):
        table = lake.open(spec)
        if table is None:
            raise QualityGateError("NOTHING_TO_PUBLISH", table=spec.full_name, hint="run the stages before publish")
        tables[name] = table
    return _Source(tables, bucket_conditions(tables["protected_notes"].count()))


def bucket_conditions(n_rows: int) -> tuple[str, ...]:
    """WHERE clauses that cut all note keys into ranges of about 200,000 (keys are evenly spread hex digests)."""
    n_digits, n_buckets = 0, 1
    while n_rows > BUCKET_ROWS * n_buckets:
        n_digits, n_buckets = n_digits + 1, n_buckets * len(_HEX)
    borders = [f"{number:0{n_digits}x}" for number in range(1, n_buckets)]
    if not borders:
        return ("",)
    first, last = f"WHERE note_key < '{borders[0]}'", f"WHERE note_key >= '{borders[-1]}'"
    middle = [f"WHERE note_key >= '{low}' AND note_key < '{high}'" for low, high in pairwise(borders)]
    return (first, *middle, last)


def _inspect_source(
    source: _Source, settings: Settings, canaries: Sequence[str], on_batch: Callable[[int], object]
) -> GateFindings:
    engine = compile_rules(settings.files)

    def rows() -> Iterator[ProtectedRow]:
        for batch in source.stream(_GATE_SQL):
            for row in batch.to_pylist():
                yield _protected_row(row)
            on_batch(batch.num_rows)

    has_canary = compile_canaries(canaries)
    return inspect_rows(rows(), categories=engine.categories, propose=engine.propose, has_canary=has_canary)


def _protected_row(row: Mapping[str, Any]) -> ProtectedRow:
    spans = None if row["spans"] is None else tuple(Span(**span) for span in row["spans"])
    return ProtectedRow(
        note_key=row["note_key"],
        text=row["text"] or "",
        note_type=row["note_type"] or "",
        policy=row["policy"] or "",
        n_open_segments=row["n_open_segments"] or 0,
        original=row["original"],
        spans=spans,
        is_current=bool(row["is_current"]),
    )


def _describe_gates(findings: GateFindings, settings: Settings, n_canaries: int) -> dict[str, dict[str, int | float]]:
    limits = settings.publish
    return {
        "policy": {"n_notes": findings.n_notes},
        "canary": {"n_canaries": n_canaries, "n_notes_with_one": findings.n_canary},
        "residual": {**findings.count_withheld(), "max_share": limits.max_note_leak_share},
        "open": {"n_notes_with_open_segments": findings.n_open, "max_share": limits.max_open_share},
    }


def _released_batches(source: _Source, findings: GateFindings) -> Iterator[pa.RecordBatch]:
    """The rows that leave, without their release id."""
    withheld = pa.array(sorted(findings.withheld), pa.string())
    for batch in source.stream(f"SELECT {', '.join(_RELEASED_SCHEMA.names)} FROM protected_notes {{where}}"):
        rows = batch.cast(_RELEASED_SCHEMA)
        yield rows.filter(compute.invert(compute.is_in(rows["note_key"], value_set=withheld)))
