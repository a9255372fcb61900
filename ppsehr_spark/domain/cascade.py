"""The cascade over notes in memory: rules propose, somebody judges what is in doubt, rules finalise.

Knows: how recognisers, segments and answers compose for a handful of notes. Must not know: who judges (a function is
handed in), tables, files. The large-scale form of the same steps lies in the partition, annotate and tier jobs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ppsehr_spark.domain.notes import Note, Span
from ppsehr_spark.domain.rules import RuleEngine
from ppsehr_spark.domain.segments import Segment, SegmentResult, SegmentSettings, apply_results, plan_segments
from ppsehr_spark.domain.tagging import Tagger
from ppsehr_spark.errors import ConfigurationError

INTERNAL_ERROR = "INTERNAL_ERROR"
_Plan = tuple[tuple[Span, ...], list[Segment]]


@dataclass(frozen=True, slots=True)
class Annotated:
    """Spans of one note, how many segments nobody answered, or the error code that stopped this note alone."""

    spans: tuple[Span, ...] = ()
    n_open_segments: int = 0
    error: str = ""


@dataclass
class NoteCascade:
    """Annotates notes; equal segments are asked once in its lifetime.

    Attributes:
        rules: the recognisers.
        settings: what is asked about and how text is cut.
        hmac_key: of the segment keys.
        tagger: reads every note beside the rules; ``None``: rules and model alone.
        versions: of tagger, model and prompts, as ``describe`` repeats them.
        ask: answers rows shaped like phi.segments with rows shaped like phi.segment_annotations; what it leaves out
            stays with the rules. What it raises is not caught here.
        answers: segment key -> row, so far.
    """

    rules: RuleEngine
    settings: SegmentSettings
    hmac_key: bytes
    ask: Callable[[list[dict[str, Any]]], Sequence[Mapping[str, Any]]]
    tagger: Tagger | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    answers: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def annotate(self, notes: Sequence[Note]) -> list[Annotated]:
        """One answer per note, in order; a defect that one note meets costs that note alone."""
        self.rules.prepare(notes, self.tagger)
        plans = [self._plan(note) for note in notes]
        new = {s.key: s for plan in plans if plan for s in plan[1] if s.key not in self.answers}
        if new:
            rows = self.ask([_row(segment) for segment in new.values()])
            self.answers.update((str(row["segment_key"]), row) for row in rows)
        return [self._finish(note, plan) for note, plan in zip(notes, plans, strict=True)]

    def describe(self) -> dict[str, str]:
        """Versions of everything that has a say."""
        return {"knowledge_version": self.rules.knowledge_version, **self.versions}

    def _plan(self, note: Note) -> _Plan | None:
        try:
            spans = self.rules.propose(note, self.tagger)
            categories, settings = self.rules.categories, self.settings
            return spans, plan_segments(note, spans, categories=categories, settings=settings, hmac_key=self.hmac_key)
        except ConfigurationError:
            raise
        except Exception:  # the message could quote the note
            return None

    def _finish(self, note: Note, plan: _Plan | None) -> Annotated:
        if plan is None:
            return Annotated(error=INTERNAL_ERROR)
        spans, segments = plan
        try:
            results = [_result(s, self.answers[s.key]) for s in segments if s.key in self.answers]
            final = self.rules.finalise(note, apply_results(note, spans, results))
        except Exception:  # as above
            return Annotated(error=INTERNAL_ERROR)
        return Annotated(final, len(segments) - len(results))


def _row(segment: Segment) -> dict[str, Any]:
    """The segment as phi.segments holds it."""
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
