"""File mode with a model: the rules propose, Qwen judges what is in doubt, in this one process and without Ray.

Knows: how recognisers, segments and the annotator compose for a handful of notes. Must not know: files, lakes,
prompts. The token budget holds for the whole file; what lies beyond it stays with the rules and is counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ppsehr_spark.config import settings_from_json
from ppsehr_spark.domain.identity import create_key, load_key
from ppsehr_spark.domain.notes import Note, Span
from ppsehr_spark.domain.rules import compile_rules
from ppsehr_spark.domain.segments import Segment, SegmentResult, apply_results, plan_segments
from ppsehr_spark.service.line_work import INTERNAL_ERROR, Annotated
from ray_actors.annotator import Annotator

_Plan = tuple[tuple[Span, ...], list[Segment]]


class CascadeAnnotator:
    """One loaded model for as long as a file lasts; equal segments are asked once."""

    def __init__(self, settings_json: str) -> None:
        """Load rules, key and the engine that ``annotate.engine`` names.

        Raises:
            ConfigurationError: settings, prompts or engine options are wrong.
            InfrastructureError: the engine does not start.
        """
        settings = settings_from_json(settings_json)
        self._rules = compile_rules(settings.files)
        self._partition = settings.partition
        if not settings.identity.key_file.startswith("env:"):
            create_key(settings.identity.key_file)
        self._key = load_key(settings.identity.key_file)
        self._annotator = Annotator(settings_json)
        self._tokens_left = settings.annotate.token_budget
        self._answers: dict[str, Mapping[str, Any]] = {}

    def annotate(self, notes: Sequence[Note]) -> list[Annotated]:
        """Propose, ask what is in doubt, finalise; a note that breaks a rule fails alone."""
        plans = [self._plan(note) for note in notes]
        self._ask([segment for plan in plans if plan for segment in plan[1]])
        return [
            self._finish(note, plan) if plan else Annotated(error=INTERNAL_ERROR)
            for note, plan in zip(notes, plans, strict=True)
        ]

    def _plan(self, note: Note) -> _Plan | None:
        try:
            spans = self._rules.propose(note)
            segments = plan_segments(
                note, spans, categories=self._rules.categories, settings=self._partition, hmac_key=self._key
            )
        except Exception:  # one note must not cost the file, and the message could quote the note
            return None
        return spans, segments

    def _ask(self, segments: Sequence[Segment]) -> None:
        new = {s.key: _row(s) for s in segments if s.key not in self._answers}
        if new and self._tokens_left > 0:
            result = self._annotator.annotate_unit(list(new.values()), self._tokens_left)
            self._tokens_left -= result.usage.charged
            self._answers.update((row["segment_key"], row) for row in result.rows)

    def _finish(self, note: Note, plan: _Plan) -> Annotated:
        spans, segments = plan
        results = [_result(s, self._answers[s.key]) for s in segments if s.key in self._answers]
        final = self._rules.finalise(note, apply_results(note, spans, results))
        return Annotated(final, len(segments) - len(results))


def _row(segment: Segment) -> dict[str, Any]:
    """The segment as ``phi.segments`` holds it."""
    return {
        "segment_key": segment.key,
        "task": segment.task,
        "text": segment.text,
        "note_type": segment.note_type,
        "candidates": [asdict(candidate) for candidate in segment.candidates],
    }


def _result(segment: Segment, row: Mapping[str, Any]) -> SegmentResult:
    spans = tuple(Span(**span) for span in row["spans"])
    return SegmentResult(segment.start, segment.end, tuple(row["verdicts"]), spans, row["outcome"])
