"""The model of the evolve job behind one small door: questions and segments in, replies within a token budget out.

Knows: the pool of one Evolver, what is left of the budget. Must not know: what a proposal is. Neither Ray nor an engine
is touched where ``evolve.engine`` is ``none``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ppsehr_spark.config import Settings
from ppsehr_spark.domain.prompting import Question
from ppsehr_spark.errors import InfrastructureError
from ray_actors.evolver import Replies
from ray_actors.pool_plan import plan_pool

#: Values of ``evolve.engine`` under which nobody is asked.
NO_ENGINE = ("none", "rules")


@dataclass
class ModelDoor:
    """One loaded Evolver; a call that dies or overstays ends the run.

    Attributes:
        pool: ``cluster.ActorPool`` of one worker.
        tokens_left: of the run's budget.
    """

    pool: Any
    tokens_left: int
    n_failed: int = 0

    @property
    def about(self) -> dict[str, str]:
        """Engine and model."""
        return dict(self.pool.about)

    def propose(self, questions: Sequence[Question]) -> list[str | None]:
        """Reply per question; ``None`` where none came."""
        replies: Replies = self._call("propose", list(questions), self.tokens_left)
        self.tokens_left -= replies.usage.charged
        self.n_failed += sum(text is None for text in replies.texts)
        return replies.texts

    def answer(self, files: Mapping[str, str], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Rows for phi.segment_annotations under the prompts of these files; none beyond the budget."""
        if self.tokens_left <= 0:
            return []
        result = self._call("annotate", dict(files), rows, self.tokens_left)
        self.tokens_left -= result.usage.charged
        answered: list[dict[str, Any]] = result.rows
        return answered

    def _call(self, method: str, *arguments: Any) -> Any:
        self.pool.submit(method, method, *arguments)
        while not self.pool.stop.is_set():
            for _, outcome in self.pool.collect():
                if hasattr(outcome, "code"):  # cluster.Failed
                    raise InfrastructureError("MODEL_CALL_FAILED", reason=outcome.code)
                return outcome
        raise InfrastructureError("INTERRUPTED", hint="nothing was written; run again")


@contextmanager
def open_model(settings: Settings) -> Iterator[ModelDoor | None]:
    """The loaded model, or ``None`` where the settings name no engine."""
    wants = settings.evolve
    if wants.engine in NO_ENGINE or wants.token_budget <= 0:
        yield None
        return
    from ray_actors.cluster import actor_pool, ray_session, stop_on_sigterm  # Ray takes seconds to import

    plan = plan_pool(settings, wants, worker="ray_actors.evolver:Evolver", call_timeout_s=wants.call_timeout_s)
    with ray_session(plan.n_cpus), stop_on_sigterm() as stop, actor_pool(plan, stop) as pool:
        yield ModelDoor(pool, wants.token_budget)
