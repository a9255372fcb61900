"""Rules, then somebody who judges what is in doubt: what is asked, what an answer changes, what silence leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from ppsehr_spark.config import PartitionSettings
from ppsehr_spark.domain.cascade import NoteCascade
from ppsehr_spark.domain.notes import Note, Span
from ppsehr_spark.domain.rules import compile_rules
from ppsehr_spark.errors import ConfigurationError, InfrastructureError

FILES = {
    "categories/NAME.toml": """
id = "NAME"
name = "姓名"
accept_at = 0.5
doubt_from = 0.3
doubt_to = 0.7
[[pattern]]
id = "sure"
regex = "甲[一二三]"
confidence = 0.9
[[pattern]]
id = "doubtful"
regex = "乙[一二三]"
confidence = 0.4
"""
}
TEXT = "甲一来院，乙一陪同。"


@dataclass
class Judge:
    """Accepts or refuses every candidate; remembers what it was asked."""

    is_accepting: bool = True
    asked: list[str] = field(default_factory=list)

    def __call__(self, rows: list[dict[str, Any]]) -> Sequence[Mapping[str, Any]]:
        self.asked += [row["text"] for row in rows]
        return [self._answer(row) for row in rows]

    def _answer(self, row: Mapping[str, Any]) -> dict[str, Any]:
        verdict = {"is_accepted": self.is_accepting, "log_odds": 2.0, "tier": None}
        places = [{k: c[k] for k in ("start", "end", "category")} for c in row["candidates"]]
        verdicts = [{**place, **verdict} for place in places]
        return {"segment_key": row["segment_key"], "verdicts": verdicts, "spans": [], "outcome": "ok"}


def cascade_of(ask: Any, scope: str = "doubtful") -> NoteCascade:
    return NoteCascade(compile_rules(FILES), PartitionSettings(qwen_scope=scope), b"k" * 32, ask)


def quotes(note: Note, spans: Sequence[Span]) -> list[str]:
    return [note.text[span.start : span.end] for span in spans]


def test_an_accepted_candidate_joins_and_a_refused_one_goes() -> None:
    note = Note("n", TEXT)
    assert quotes(note, cascade_of(Judge()).annotate([note])[0].spans) == ["甲一", "乙一"]
    assert quotes(note, cascade_of(Judge(is_accepting=False)).annotate([note])[0].spans) == ["甲一"]


def test_equal_segments_are_asked_once_over_all_notes_and_calls() -> None:
    judge = Judge()
    cascade = cascade_of(judge)
    cascade.annotate([Note("a", TEXT), Note("b", TEXT)])
    cascade.annotate([Note("c", TEXT)])
    assert len(judge.asked) == 1


def test_what_nobody_answers_stays_with_the_rules_and_is_counted() -> None:
    note = Note("n", TEXT)
    annotated = cascade_of(lambda rows: []).annotate([note])[0]
    assert quotes(note, annotated.spans) == ["甲一"]
    assert annotated.n_open_segments == 1


def test_nothing_in_doubt_nothing_asked() -> None:
    judge = Judge()
    assert cascade_of(judge).annotate([Note("n", "甲一来院。"), Note("m", "")])[0].n_open_segments == 0
    assert cascade_of(judge, "none").annotate([Note("n", TEXT)])[0].n_open_segments == 0
    assert judge.asked == []


def test_a_malformed_answer_costs_one_note() -> None:
    def half_broken(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        answers = [dict(row) for row in Judge()(rows)]
        answers[0]["spans"] = [{"nonsense": 1}]
        return answers

    broken, fine = cascade_of(half_broken).annotate([Note("a", TEXT), Note("b", "乙二陪同。")])
    assert (broken.error, broken.spans) == ("INTERNAL_ERROR", ())
    assert len(fine.spans) == 1 and not fine.error


def test_a_failing_engine_and_a_wrong_setting_are_not_swallowed() -> None:
    def failing(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        raise InfrastructureError("ENGINE_FAILED")

    with pytest.raises(InfrastructureError):
        cascade_of(failing).annotate([Note("n", TEXT)])
    with pytest.raises(ConfigurationError):
        cascade_of(Judge(), "everything").annotate([Note("n", TEXT)])
