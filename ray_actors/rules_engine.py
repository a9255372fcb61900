"""The engine without a model: every prompt comes back with NO_MODEL, so the rules' own decision stands.

Knows: nothing. Must not know: anything; it is what a site runs before it has a model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ray_actors.engine import EngineInfo, Prompt, Reply
from ray_actors.options import read_options

NO_MODEL = "NO_MODEL"


@dataclass(frozen=True)
class RulesOptions:
    """Takes no options; a table with any key is a mistake worth reporting."""


class RulesEngine:
    """Answers nothing and costs nothing."""

    info = EngineInfo(engine="rules", model="")

    def generate(self, prompts: Sequence[Prompt]) -> list[Reply]:
        """One ``NO_MODEL`` reply per prompt."""
        return [Reply(error_code=NO_MODEL) for _ in prompts]

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """An upper estimate: one token per code point."""
        return [len(text) for text in texts]

    def close(self) -> None:
        """Nothing to free."""


def load_engine(options: Mapping[str, Any]) -> RulesEngine:
    """Factory named in ``engine.ENGINES``."""
    read_options(RulesOptions, options, engine="rules")
    return RulesEngine()
