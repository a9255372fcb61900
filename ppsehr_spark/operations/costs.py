"""What a run cost: tokens and GPU hours at the site's prices.

Knows: the prices of ``[cost]`` and how many GPUs a stage holds. Must not know: engines. A served prefix is free, as in
the token budget.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ppsehr_spark.config import Settings

_MILLION, _HOUR_S = 1_000_000, 3_600.0


@dataclass(frozen=True)
class Tokens:
    """Tokens sent, those of them served from the prefix cache, and tokens generated; ``None`` where none is counted."""

    prompt: int | None = None
    cached: int | None = None
    output: int | None = None


def read_tokens(counts: Mapping[str, int | float]) -> Tokens:
    """Tokens among the counts of a stage."""
    return Tokens(*(_whole(counts.get(f"{kind}_tokens")) for kind in ("prompt", "cached", "output")))


def price_run(settings: Settings, *, stage: str, tokens: Tokens, seconds: float) -> float | None:
    """Cost in the currency of the prices; ``None`` where the site named no price."""
    prices = settings.cost
    if not (prices.prompt_per_million or prices.output_per_million or prices.gpu_hour):
        return None
    computed = (tokens.prompt or 0) - (tokens.cached or 0)
    spent = (computed * prices.prompt_per_million + (tokens.output or 0) * prices.output_per_million) / _MILLION
    return spent + count_gpus(settings, stage) * seconds / _HOUR_S * prices.gpu_hour


def count_gpus(settings: Settings, stage: str) -> float:
    """GPUs that a stage holds from start to end."""
    section = getattr(settings, stage, None)
    actors = getattr(section, "n_actors", 0) * getattr(section, "gpus_per_actor", 0.0)
    return float(actors + getattr(section, "n_workers", 0) * getattr(section, "gpus_per_worker", 0.0))


def _whole(value: int | float | None) -> int | None:
    return None if value is None else int(value)
