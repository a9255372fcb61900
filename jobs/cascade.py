"""File mode with a model: the cascade with Qwen in this one process, without Ray.

Knows: which annotator answers the cascade, and the token budget, which holds for the whole file. Must not know: files,
prompts, what a segment is.
"""

from __future__ import annotations

import atexit
from collections.abc import Mapping, Sequence
from typing import Any

from ppsehr_spark.config import settings_from_json
from ppsehr_spark.domain.cascade import NoteCascade
from ppsehr_spark.domain.identity import create_key, load_key
from ppsehr_spark.domain.rules import compile_rules
from ppsehr_spark.errors import InfrastructureError, PpsehrError
from ppsehr_spark.tagging import open_tagger, tagger_version
from ray_actors.annotator import Annotator


def open_cascade(settings_json: str) -> NoteCascade:
    """Load rules, key and the engine that ``annotate.engine`` names.

    Raises:
        ConfigurationError: settings, prompts or engine options are wrong.
        InfrastructureError: the engine does not start.
    """
    settings = settings_from_json(settings_json)
    key_file = settings.identity.key_file
    if not key_file.startswith("env:"):
        create_key(key_file)
    annotator = Annotator(settings_json)
    atexit.register(annotator.close)  # the engine may own processes that must not outlive this one
    budget = _Budget(annotator, settings.annotate.token_budget)
    rules, tagger = compile_rules(settings.files), open_tagger(settings.partition.tagger)
    versions = {"tagger": tagger_version(settings.partition.tagger), **annotator.describe()}
    return NoteCascade(rules, settings.partition, load_key(key_file), budget.ask, tagger, versions)


class _Budget:
    """Asks the annotator until the tokens are spent; what lies beyond stays with the rules and is counted."""

    def __init__(self, annotator: Annotator, tokens: int) -> None:
        self._annotator = annotator
        self._tokens_left = tokens

    def ask(self, rows: list[dict[str, Any]]) -> Sequence[Mapping[str, Any]]:
        if self._tokens_left <= 0:
            return []
        try:
            result = self._annotator.annotate_unit(rows, self._tokens_left)
        except PpsehrError:
            raise
        except Exception as error:  # an engine's message may quote its prompt
            raise InfrastructureError("ENGINE_FAILED", error=type(error).__name__) from None
        self._tokens_left -= result.usage.charged
        return result.rows
