"""What is asked about a segment, and what the replies are worth.

Knows: the order of questions per task and when a reply counts. Must not know: engines, budgets, tables, Ray.
A reply counts only where it can be read and its quote stands in the text. One bad reply spoils its segment: the row
carries the reason code and the rules' own decision stays in force.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ppsehr_spark.domain.grounding import ground_quote, ground_quotes
from ppsehr_spark.domain.notes import Span, resolve_overlaps
from ppsehr_spark.domain.prompting import (
    PromptBook,
    Question,
    evidence_question,
    extract_question,
    judge_question,
    read_evidence,
    read_items,
    read_log_odds,
    read_tier,
    tier_question,
)
from ppsehr_spark.domain.segments import EXTRACT, JUDGE, OK, Segment, Verdict
from ray_actors.engine import Reply

#: A grounded extraction is a proposal above every ``accept_at`` in use, below what a checksum or a person says.
EXTRACT_CONFIDENCE = 0.8
UNPARSABLE, UNGROUNDED, NO_PROMPT = "UNPARSABLE", "UNGROUNDED", "NO_PROMPT"


@dataclass(frozen=True)
class Answer:
    """What one segment came to.

    Attributes:
        verdicts, spans: as in phi.segment_annotations, offsets in the segment; empty unless ``outcome`` is ``ok``.
        outcome: ``ok`` or the reason code.
        n_ungrounded: extracted quotes that do not stand in the text.
    """

    verdicts: tuple[Verdict, ...] = ()
    spans: tuple[Span, ...] = ()
    outcome: str = OK
    n_ungrounded: int = 0


def segment_of(row: Mapping[str, Any]) -> Segment:
    """The Segment of a phi.segments row."""
    candidates = tuple(
        Span(c["start"], c["end"], c["category"], confidence=c.get("confidence") or 0.0, rule=c.get("rule") or "")
        for c in row["candidates"] or ()
    )
    text = row["text"]
    return Segment(row["segment_key"], row["task"], text, row["note_type"] or "", candidates, 0, len(text))


def first_questions(book: PromptBook, segment: Segment) -> list[Question] | None:
    """The opening questions, one per candidate (one in all for ``extract``); ``None`` where no prompt exists."""
    if segment.task == EXTRACT:
        return [extract_question(book, text=segment.text, note_type=segment.note_type)]
    ask = judge_question if segment.task == JUDGE else evidence_question
    asked = [ask(book, text=segment.text, candidate=candidate) for candidate in segment.candidates]
    questions = [question for question in asked if question is not None]
    return questions if questions and len(questions) == len(asked) else None


def second_questions(book: PromptBook, segment: Segment, replies: Sequence[Reply]) -> list[Question] | str:
    """Tier questions that build on grounded evidence, or the reason code why there are none."""
    questions: list[Question] = []
    for candidate, reply in zip(segment.candidates, replies, strict=True):
        evidence = read_evidence(reply.text)
        if evidence is None:
            return UNPARSABLE
        places = ground_quote(segment.text, evidence)
        if not places:
            return UNGROUNDED
        quote = segment.text[places[0][0] : places[0][1]]
        questions.append(tier_question(book, text=segment.text, candidate=candidate, evidence=quote))
    return questions


def read_judgements(segment: Segment, replies: Sequence[Reply], *, accept_logits: Mapping[str, float]) -> Answer:
    """One verdict per candidate: accepted from the threshold of its category (log-odds) on."""
    odds = [read_log_odds(reply.scores) for reply in replies]
    if any(value is None for value in odds):
        return Answer(outcome=UNPARSABLE)
    verdicts = tuple(
        Verdict(c.start, c.end, c.category, value >= accept_logits[c.category], value)
        for c, value in zip(segment.candidates, odds, strict=True)
        if value is not None
    )
    return Answer(verdicts)


def read_tiers(segment: Segment, replies: Sequence[Reply]) -> Answer:
    """One tier per candidate."""
    tiers = [read_tier(reply.scores) for reply in replies]
    if any(tier is None for tier in tiers):
        return Answer(outcome=UNPARSABLE)
    pairs = zip(segment.candidates, tiers, strict=True)
    return Answer(tuple(Verdict(c.start, c.end, c.category, tier=tier) for c, tier in pairs))


def read_extraction(book: PromptBook, segment: Segment, reply: Reply, *, priority: Mapping[str, int]) -> Answer:
    """Grounded spans without overlaps; ``UNGROUNDED`` where not one of the quotes stands in the text."""
    items = read_items(book, reply.text)
    if items is None:
        return Answer(outcome=UNPARSABLE)
    places, n_ungrounded = ground_quotes(segment.text, items)
    if items and not places:
        return Answer(outcome=UNGROUNDED, n_ungrounded=n_ungrounded)
    template = Span(0, 1, "", source="qwen", confidence=EXTRACT_CONFIDENCE, rule="qwen.extract")
    spans = [replace(template, start=start, end=end, category=category) for start, end, category in places]
    return Answer(spans=resolve_overlaps(spans, dict(priority)), n_ungrounded=n_ungrounded)
