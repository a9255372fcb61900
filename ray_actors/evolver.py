"""One model that proposes knowledge and judges candidates under changed prompts.

Knows: how questions and segments reach an engine, and token limits. Must not know: Ray, tables, what a proposal is
worth (``domain.knowledge``). A plain class; ``ray_actors.cluster`` makes it an actor.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ppsehr_spark.config import settings_from_json
from ppsehr_spark.domain.prompting import Question
from ray_actors.annotator import Annotator, UnitResult
from ray_actors.engine import Engine, Prompt, load_engine
from ray_actors.usage import FRAME_TOKENS, Usage


@dataclass
class Replies:
    """Reply per question, in order; ``None`` where none came (engine error, or the token limit was reached)."""

    texts: list[str | None] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)


class Evolver:
    """Holds one loaded engine for as long as it lives."""

    def __init__(self, settings_json: str) -> None:
        """Load the engine that ``evolve.engine`` names.

        Raises:
            ConfigurationError: settings or engine options are wrong.
            InfrastructureError: the engine does not start.
        """
        self._settings = settings_from_json(settings_json)
        name = self._settings.evolve.engine
        self._engine: Engine = load_engine(name, self._settings.engine.get(name, {}))

    def describe(self) -> dict[str, str]:
        """Engine and model with fingerprint, for provenance."""
        info = self._engine.info
        model = f"{info.model}@{info.fingerprint}" if info.fingerprint else info.model
        return {"engine": info.engine, "model": model}

    def propose(self, questions: Sequence[Question], token_limit: int) -> Replies:
        """Answer the first questions that surely stay within the limit, one batch after another."""
        replies = Replies()
        size = max(1, self._settings.annotate.batch_prompts)
        for at in range(0, len(questions), size):
            batch = questions[at : at + size]
            if replies.usage.charged + self._bound(batch, is_first=at == 0) > token_limit:
                break
            prompts = [Prompt(q.prefix, q.body, q.choices, q.json_schema, q.max_tokens) for q in batch]
            for reply in self._engine.generate(prompts):
                replies.texts.append(None if reply.error_code else reply.text)
                replies.usage += Usage(reply.prompt_tokens, reply.cached_tokens, reply.output_tokens)
        replies.texts += [None] * (len(questions) - len(replies.texts))
        return replies

    def annotate(self, files: Mapping[str, str], rows: Sequence[Mapping[str, Any]], token_limit: int) -> UnitResult:
        """Rows of phi.segments answered under the prompts of these conf files."""
        changed = dataclasses.replace(self._settings, files=dict(files))
        return Annotator(changed.to_json(), engine=self._engine).annotate_unit(rows, token_limit)

    def close(self) -> None:
        """Free the engine; safe to call twice."""
        self._engine.close()

    def _bound(self, questions: Sequence[Question], *, is_first: bool) -> int:
        """Tokens that the questions may cost at most; their one prefix is computed once."""
        bodies = self._engine.count_tokens([q.body for q in questions])
        prefix = sum(self._engine.count_tokens([questions[0].prefix])) if is_first else 0
        return prefix + sum(n + FRAME_TOKENS + q.max_tokens for n, q in zip(bodies, questions, strict=True))
