"""What ``annotate`` and ``protect`` do with one line: parse, find or rewrite spans, write one line.

Knows: the output shapes; that a note without usable spans is never passed through. Must not know: files, processes,
which engine finds spans.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ppsehr_spark.config import settings_from_json
from ppsehr_spark.domain.cascade import INTERNAL_ERROR, Annotated
from ppsehr_spark.domain.identity import load_key
from ppsehr_spark.domain.notes import Note
from ppsehr_spark.domain.protection import Protector, compile_protector
from ppsehr_spark.domain.rules import compile_rules
from ppsehr_spark.errors import InputError
from ppsehr_spark.service.note_lines import NoteLine, Refusal, read_note_line, read_span_line, span_fields

LINE_TOO_LONG, MISSING_SPANS = "LINE_TOO_LONG", "MISSING_SPANS"


@dataclass(frozen=True, slots=True)
class RawLine:
    """A numbered line (1-based), ``None`` where it was too long to read, and the span line that belongs to it."""

    number: int
    raw: bytes | None
    spans: bytes | None = None


@dataclass(frozen=True, slots=True)
class LineResult:
    """The output line and what is counted.

    Attributes:
        number: of the input line.
        output: JSON without line end.
        n_spans: found, or changed by ``protect``.
        n_left: segments no model answered (``annotate``), identifiers outside every span (``protect``).
        refusal: why the line was refused, if it was.
    """

    number: int
    output: str
    n_spans: int = 0
    n_left: int = 0
    refusal: Refusal | None = None


class NoteAnnotator(Protocol):
    """Finds spans. A failure of one note is an ``Annotated`` with an error, a failure of the engine is raised."""

    def annotate(self, notes: Sequence[Note]) -> list[Annotated]:
        """One answer per note, in order."""
        ...

    def describe(self) -> dict[str, str]:
        """Versions of what finds spans: knowledge, and tagger, model and prompts where there are any."""
        ...


Work = Callable[[list[RawLine]], list[LineResult]]


class RulesAnnotator:
    """The recognisers alone: no model, no network, no state."""

    def __init__(self, settings_json: str) -> None:
        self._engine = compile_rules(settings_from_json(settings_json).files)

    def annotate(self, notes: Sequence[Note]) -> list[Annotated]:
        """Propose and finalise note by note."""
        return [self._annotate_note(note) for note in notes]

    def describe(self) -> dict[str, str]:
        """The version of the knowledge."""
        return {"knowledge_version": self._engine.knowledge_version}

    def _annotate_note(self, note: Note) -> Annotated:
        try:
            return Annotated(self._engine.finalise(note, self._engine.propose(note)))
        except Exception:  # one note must not cost the file, and the message could quote the note
            return Annotated(error=INTERNAL_ERROR)


def open_annotation(settings_json: str, open_annotator: Callable[[str], NoteAnnotator], is_explained: bool) -> Work:
    """The work of ``annotate`` on a chunk of lines; ``is_explained`` adds reasons and versions."""
    annotator = open_annotator(settings_json)
    versions = annotator.describe() if is_explained else {}
    max_chars = settings_from_json(settings_json).ingest.max_note_chars

    def work(lines: list[RawLine]) -> list[LineResult]:
        parsed = [_parse(line, max_chars) for line in lines]
        found = iter(annotator.annotate([item.note for item in parsed if isinstance(item, NoteLine)]))
        return [
            _write_spans(line, item, next(found), versions)
            if isinstance(item, NoteLine)
            else _refuse(line, item, {"spans": []})
            for line, item in zip(lines, parsed, strict=True)
        ]

    return work


def open_protection(settings_json: str, policy: str, has_spans: bool) -> Work:
    """The work of ``protect`` on a chunk of lines; ``has_spans`` adds the spans in the protected text."""
    settings = settings_from_json(settings_json)
    protector = compile_protector(settings.files, policy, load_key(settings.identity.key_file))

    def work(lines: list[RawLine]) -> list[LineResult]:
        return [_protect_line(line, protector, settings.ingest.max_note_chars, has_spans) for line in lines]

    return work


def _parse(line: RawLine, max_chars: int) -> NoteLine | Refusal:
    return Refusal(LINE_TOO_LONG) if line.raw is None else read_note_line(line.raw, max_note_chars=max_chars)


def _write_spans(line: RawLine, item: NoteLine, found: Annotated, versions: Mapping[str, str]) -> LineResult:
    """Versions stand in a line only where spans are explained."""
    if found.error:
        return _refuse(line, Refusal(found.error, "", item.note_id), {"spans": []})
    spans = [span_fields(span, is_explained=bool(versions)) for span in found.spans]
    fields: dict[str, Any] = {"note_id": item.note_id, "spans": spans, **versions}
    if found.n_open_segments:
        fields["n_open_segments"] = found.n_open_segments
    return LineResult(line.number, _dump(fields), len(found.spans), found.n_open_segments)


def _protect_line(line: RawLine, protector: Protector, max_chars: int, has_spans: bool) -> LineResult:
    item = _parse(line, max_chars)
    if isinstance(item, Refusal):
        return _refuse(line, item, {"text": ""})
    spans = Refusal(MISSING_SPANS) if line.spans is None else read_span_line(line.spans)
    if isinstance(spans, Refusal):
        return _refuse(line, Refusal(spans.reason, spans.field or "spans", item.note_id), {"text": ""})
    try:
        protected = protector.protect(item.note, spans[1], item.patient_key)
    except InputError as error:
        where = f"spans[{error.fields['span']}]" if "span" in error.fields else "spans"
        return _refuse(line, Refusal(error.code, where, item.note_id), {"text": ""})
    except Exception:  # as above: neither the file nor a message may suffer from one note
        return _refuse(line, Refusal(INTERNAL_ERROR, "", item.note_id), {"text": ""})
    fields: dict[str, Any] = {"note_id": item.note_id, "text": protected.text, "n_spans": protected.n_spans}
    if has_spans:
        fields["spans"] = [span_fields(span) for span in protected.spans]
    return LineResult(line.number, _dump(fields), protected.n_spans, protected.n_residual)


def _refuse(line: RawLine, refusal: Refusal, empty: dict[str, Any]) -> LineResult:
    output = _dump({"note_id": refusal.note_id, **empty, "error": refusal.reason})
    return LineResult(line.number, output, refusal=refusal)


def _dump(fields: dict[str, Any]) -> str:
    return json.dumps(fields, ensure_ascii=False)
