"""One model and the segments put to it: rows of phi.segments in, rows for phi.segment_annotations out.

Knows: batches, token limits and which engine errors are worth another run. Must not know: Ray, tables, how units are
dispatched, what a reply means (``ray_actors.answers``). A plain class; ``ray_actors.cluster`` makes it an actor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ppsehr_spark.config import settings_from_json
from ppsehr_spark.domain.prompting import PromptBook, Question, compile_prompts
from ppsehr_spark.domain.segments import EXTRACT, JUDGE, TIER, Segment
from ppsehr_spark.domain.taxonomy import category_priority, load_categories
from ray_actors.answers import (
    NO_PROMPT,
    Answer,
    first_questions,
    read_extraction,
    read_judgements,
    read_tiers,
    second_questions,
    segment_of,
)
from ray_actors.engine import Engine, Prompt, Reply, load_engine
from ray_actors.usage import FRAME_TOKENS, Usage

#: Engine errors that the same prompt would meet again: a row is written. Any other one leaves the segment open.
PERMANENT_ERRORS = frozenset({"PROMPT_TOO_LONG"})


@dataclass
class UnitResult:
    """What became of the segments of one unit.

    Attributes:
        rows: for phi.segment_annotations, without unit and run.
        dead: segment key -> error code, where the engine gave no reply.
        open_keys: segments not asked because the token limit was reached.
        usage: tokens spent.
        n_ungrounded: extracted quotes that do not stand in their segment.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    dead: dict[str, str] = field(default_factory=dict)
    open_keys: list[str] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    n_ungrounded: int = 0


_Ask = tuple[Segment, list[Question] | None]


class Annotator:
    """Holds one loaded engine for as long as it lives."""

    def __init__(self, settings_json: str, *, engine: Engine | None = None) -> None:
        """Load the engine that ``annotate.engine`` names, or use one that is loaded already.

        Raises:
            ConfigurationError: settings, prompts or engine options are wrong.
            InfrastructureError: the engine does not start.
        """
        settings = settings_from_json(settings_json)
        categories = load_categories(settings.files)
        self._batch_prompts = max(1, settings.annotate.batch_prompts)
        self._book: PromptBook = compile_prompts(settings.files, categories)
        default = settings.annotate.judge_accept_logit
        self._accept_logits = {name: self._book.accept_logits.get(name, default) for name in self._book.names}
        self._priority = category_priority(categories)
        name = settings.annotate.engine
        self._engine: Engine = engine or load_engine(name, settings.engine.get(name, {}))
        self._known_prefixes: set[str] = set()

    def describe(self) -> dict[str, str]:
        """Engine, model with fingerprint, dtype and prompt version: the provenance of every row."""
        info = self._engine.info
        model = f"{info.model}@{info.fingerprint}" if info.fingerprint else info.model
        return {"engine": info.engine, "model": model, "dtype": info.dtype, "prompt_version": self._book.version}

    def annotate_unit(self, segments: Sequence[Mapping[str, Any]], token_limit: int | None = None) -> UnitResult:
        """Ask about every segment, batch by batch.

        Args:
            segments: rows of phi.segments (``segment_key``, ``task``, ``text``, ``note_type``, ``candidates``).
            token_limit: what may still be spent; a batch that might exceed it is halved until it fits, and from the
                first segment that does not fit by itself all that follow are left open.

        Raises:
            Exception: whatever the engine raises when it fails as a whole; the caller retries or divides the unit.
        """
        result = UnitResult()
        ordered = sorted((segment_of(row) for row in segments), key=_prefix_order)
        is_spent = False
        for batch in self._batches(ordered):
            rest = batch
            while rest and not is_spent:
                n_fitting = self._count_fitting(rest, token_limit, result.usage)
                self._annotate_batch(rest[:n_fitting], result)
                rest, is_spent = rest[n_fitting:], n_fitting == 0
            result.open_keys += [segment.key for segment, _ in rest]
        return result

    def close(self) -> None:
        """Free the engine; safe to call twice."""
        self._engine.close()

    def _batches(self, segments: Sequence[Segment]) -> Iterator[list[_Ask]]:
        """Whole segments, together at most ``batch_prompts`` questions (a larger segment stands alone)."""
        batch: list[_Ask] = []
        n_questions = 0
        for segment in segments:
            questions = first_questions(self._book, segment)
            n_new = len(questions or ())
            if batch and n_questions + n_new > self._batch_prompts:
                yield batch
                batch, n_questions = [], 0
            batch.append((segment, questions))
            n_questions += n_new
        if batch:
            yield batch

    def _count_fitting(self, batch: Sequence[_Ask], token_limit: int | None, usage: Usage) -> int:
        """How many of the first asks surely stay within the limit: all, a half, a quarter ... or none."""
        n_asks = len(batch)
        while token_limit is not None and n_asks and usage.charged + self._bound(batch[:n_asks]) > token_limit:
            n_asks //= 2
        return n_asks

    def _bound(self, batch: Sequence[_Ask]) -> int:
        """Tokens the batch may cost at most, given the prefixes that the cache already holds."""
        questions = [(q, 2 if s.task == TIER else 1) for s, asked in batch for q in asked or ()]
        bodies = self._engine.count_tokens([q.body for q, _ in questions])
        new = {q.prefix for q, _ in questions} - self._known_prefixes
        each = zip(questions, bodies, strict=True)
        return sum(self._engine.count_tokens(sorted(new))) + sum(
            rounds * (n_tokens + FRAME_TOKENS) + q.max_tokens + (rounds - 1) * q.max_tokens
            for (q, rounds), n_tokens in each
        )

    def _annotate_batch(self, batch: Sequence[_Ask], result: UnitResult) -> None:
        first = self._generate([questions or [] for _, questions in batch])
        follow_up = [
            second_questions(self._book, segment, replies)
            if segment.task == TIER and replies and not _error_of(replies)
            else []
            for (segment, _), replies in zip(batch, first, strict=True)
        ]
        second = self._generate([questions if isinstance(questions, list) else [] for questions in follow_up])
        for (segment, asked), opening, further, closing in zip(batch, first, follow_up, second, strict=True):
            replies = [*opening, *closing]
            usage = _usage_of(replies)
            result.usage += usage
            error = _error_of(replies)
            if error and error not in PERMANENT_ERRORS:
                result.dead[segment.key] = error
                continue
            reason = NO_PROMPT if asked is None else error or (further if isinstance(further, str) else "")
            answer = Answer(outcome=reason) if reason else self._read(segment, opening, closing)
            result.n_ungrounded += answer.n_ungrounded
            result.rows.append(self._row(segment, answer, usage))

    def _generate(self, asked: Sequence[Sequence[Question]]) -> list[list[Reply]]:
        """Replies in the shape of the questions, from one call of the engine."""
        flat = [question for questions in asked for question in questions]
        prompts = [Prompt(q.prefix, q.body, q.choices, q.json_schema, q.max_tokens) for q in flat]
        replies = iter(self._engine.generate(prompts) if prompts else [])
        self._known_prefixes.update(q.prefix for q in flat)
        return [[next(replies) for _ in questions] for questions in asked]

    def _read(self, segment: Segment, opening: Sequence[Reply], closing: Sequence[Reply]) -> Answer:
        if segment.task == EXTRACT:
            return read_extraction(self._book, segment, opening[0], priority=self._priority)
        if segment.task == JUDGE:
            return read_judgements(segment, opening, accept_logits=self._accept_logits)
        return read_tiers(segment, closing)

    def _row(self, segment: Segment, answer: Answer, usage: Usage) -> dict[str, Any]:
        about = self.describe()
        return {
            "segment_key": segment.key,
            "verdicts": [asdict(verdict) for verdict in answer.verdicts],
            "spans": [asdict(span) for span in answer.spans],
            "outcome": answer.outcome,
            "engine": about["engine"],
            "model": about["model"],
            "prompt_version": about["prompt_version"],
            "prompts": list(self._book.name_prompts(segment.task, (c.category for c in segment.candidates))),
            **asdict(usage),
        }


def _prefix_order(segment: Segment) -> tuple[str, str, str]:
    """Equal prefixes side by side, so that the engine's cache is warm for all but the first."""
    return segment.task, segment.candidates[0].category if segment.candidates else "", segment.key


def _usage_of(replies: Sequence[Reply]) -> Usage:
    return sum((Usage(r.prompt_tokens, r.cached_tokens, r.output_tokens) for r in replies), Usage())


def _error_of(replies: Sequence[Reply]) -> str:
    """The first error code; one that another run may mend goes before a permanent one."""
    codes = sorted((r.error_code for r in replies if r.error_code), key=lambda code: code in PERMANENT_ERRORS)
    return codes[0] if codes else ""
