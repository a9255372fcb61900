"""Tokens: what was spent and what counts against a budget.

Knows: prompt, cached and generated tokens. Must not know: engines, what the tokens were for.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Tokens a prompt costs beyond its body: chat template, and the part of the prefix beyond its last whole cache block.
FRAME_TOKENS = 64


@dataclass(frozen=True)
class Usage:
    """Tokens sent, those of them served from the prefix cache, and tokens generated."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0

    @property
    def charged(self) -> int:
        """What counts against the budget: prompt tokens that were computed, and output tokens."""
        return self.prompt_tokens - self.cached_tokens + self.output_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.cached_tokens + other.cached_tokens,
            self.output_tokens + other.output_tokens,
        )
