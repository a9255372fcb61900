"""What changed prompts score on reviewed notes: the whole cascade, with somebody who answers.

Knows: the cascade in memory, and that an example or a sentence changes the questions of its own category only. Must not
know: engines, tokens (a function answers), tables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ppsehr_spark.domain.cascade import NoteCascade
from ppsehr_spark.domain.knowledge.applying import apply_entries
from ppsehr_spark.domain.knowledge.entries import RULE_KINDS, KnowledgeEntry
from ppsehr_spark.domain.knowledge.gate import Figures
from ppsehr_spark.domain.knowledge.mistakes import ReviewedNote
from ppsehr_spark.domain.rules import compile_rules
from ppsehr_spark.domain.segments import SegmentSettings
from ppsehr_spark.domain.taxonomy import ConfFiles
from ppsehr_spark.errors import BudgetRefusedError
from ppsehr_spark.evaluation.knowledge_scores import count_note, sum_figures

#: Answers rows of phi.segments under the prompts of the given files; what it leaves out stays unanswered.
Answer = Callable[[ConfFiles, list[dict[str, Any]]], Sequence[Mapping[str, Any]]]


@dataclass
class PromptMeasure:
    """Figures of entries under the cascade; equal questions are asked once in its lifetime.

    Attributes:
        files: conf without entries.
        reviewed: notes that are scored.
        settings: what is asked about and how text is cut.
        hmac_key: of the segment keys.
        answer: who answers.
    """

    files: ConfFiles
    reviewed: Sequence[ReviewedNote]
    settings: SegmentSettings
    hmac_key: bytes
    answer: Answer
    _known: dict[tuple[tuple[str, ...], str], Mapping[str, Any]] = field(default_factory=dict)

    def __call__(self, entries: Sequence[KnowledgeEntry]) -> Figures:
        """Annotate the reviewed notes with these entries.

        Raises:
            BudgetRefusedError: ``TOKEN_BUDGET`` when a question stays open: figures with holes decide nothing.
        """
        files = apply_entries(self.files, entries)
        prompted = [(entry.category, entry.entry_id) for entry in entries if entry.kind not in RULE_KINDS]
        cascade = NoteCascade(
            compile_rules(files), self.settings, self.hmac_key, lambda rows: self._ask(files, rows, prompted)
        )
        done = cascade.annotate([item.note for item in self.reviewed])
        tallies = {
            item.note.note_key: count_note(item, annotated.spans)
            for item, annotated in zip(self.reviewed, done, strict=True)
        }
        return sum_figures(tallies, {item.note.note_key: item.source for item in self.reviewed})

    def _ask(
        self, files: ConfFiles, rows: list[dict[str, Any]], prompted: Sequence[tuple[str, str]]
    ) -> Sequence[Mapping[str, Any]]:
        keys = [(_signature(row, prompted), str(row["segment_key"])) for row in rows]
        new = [row for row, key in zip(rows, keys, strict=True) if key not in self._known]
        if new:
            signed = {str(row["segment_key"]): _signature(row, prompted) for row in new}
            for row in self.answer(files, new):
                name = str(row["segment_key"])
                self._known[signed[name], name] = row
        if any(key not in self._known for key in keys):
            raise BudgetRefusedError("TOKEN_BUDGET", n_open=sum(key not in self._known for key in keys))
        return [self._known[key] for key in keys]


def _signature(row: Mapping[str, Any], prompted: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Ids of the entries that the question of this segment shows."""
    categories = {candidate["category"] for candidate in row["candidates"]}
    return tuple(entry_id for category, entry_id in prompted if not categories or category in categories)
