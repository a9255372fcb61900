"""The small protocol between the annotator and whatever serves the model.

Knows: prompts in, replies out, tokens counted. Must not know: notes, tables, Ray, a vendor.
Engines are named in conf (``annotate.engine``) and loaded by string, so a laptop without a model
imports none of them.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ppsehr_spark.errors import ConfigurationError


@dataclass(frozen=True)
class Prompt:
    """One request.

    Attributes:
        prefix: text shared by many prompts (instructions, worked examples); engines cache it.
        body: the text that differs.
        choices: when given, the reply is one of these one-token answers and ``Reply.scores`` holds the
            log-probability of each; nothing is generated beyond it.
        json_schema: when given, the reply must follow this JSON schema.
        max_tokens: output bound, in tokens.
        temperature: 0 for the likeliest answer; above it, tokens are drawn, each engine cutting off the
            unlikely tail in the way that is cheap for it.
        seed: of the draws; ``None`` leaves it to the engine.
    """

    prefix: str
    body: str
    choices: tuple[str, ...] | None = None
    json_schema: Mapping[str, Any] | None = None
    max_tokens: int = 256
    temperature: float = 0.0
    seed: int | None = None


@dataclass(frozen=True)
class Reply:
    """The answer to one Prompt.

    Attributes:
        text: generated text (the best choice for a choice prompt); empty on error.
        scores: natural-log probability per choice, ``None`` for free text.
        prompt_tokens: tokens of prefix and body with chat template.
        cached_tokens: those of them served from the prefix cache.
        output_tokens: tokens generated.
        error_code: upper-case reason when the engine failed on this prompt, else ``""``.
    """

    text: str = ""
    scores: Mapping[str, float] | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    error_code: str = ""


@dataclass(frozen=True)
class EngineInfo:
    """What served a run, for provenance columns: engine name, model name, dtype, weight fingerprint."""

    engine: str
    model: str
    dtype: str = ""
    fingerprint: str = ""
    details: Mapping[str, str] = field(default_factory=dict)


class Engine(Protocol):
    """One loaded model. ``generate`` keeps order and never raises for a single bad prompt."""

    info: EngineInfo

    def generate(self, prompts: Sequence[Prompt]) -> list[Reply]:
        """Answer every prompt, in order; a failed one carries ``error_code``."""
        ...

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens per text by the model's own tokenizer, without chat template."""
        ...

    def close(self) -> None:
        """Free memory and end child processes; safe to call twice."""
        ...


#: Engine name in conf -> "module:factory". A factory takes the ``[engine]`` settings and returns an Engine.
ENGINES: dict[str, str] = {
    "vllm": "ray_actors.vllm_engine:load_engine",
    "transformers": "ray_actors.hf_engine:load_engine",
    "openai": "ray_actors.http_engine:load_engine",
    "checkpoint": "ray_actors.checkpoint_engine:load_engine",
    "rules": "ray_actors.rules_engine:load_engine",
    "fault": "ray_actors.fault_engine:load_engine",
}


def load_engine(name: str, options: Mapping[str, Any]) -> Engine:
    """Import and start the engine called ``name``.

    Raises:
        ConfigurationError: ``UNKNOWN_ENGINE`` when no such engine exists.
    """
    if name not in ENGINES:
        raise ConfigurationError("UNKNOWN_ENGINE", engine=name, hint=f"one of {', '.join(ENGINES)}")
    module_name, factory = ENGINES[name].split(":")
    engine: Engine = getattr(importlib.import_module(module_name), factory)(options)
    return engine
