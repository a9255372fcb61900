"""A Prompt as chat messages, the same for every engine.

Knows: the roles. Must not know: tokenizers, vendors.
"""

from __future__ import annotations

from ray_actors.engine import Prompt


def to_messages(prompt: Prompt) -> list[dict[str, str]]:
    """System message (the shared prefix), then one user message.

    Control marks of chat templates look like ``<|im_end|>``; note text that holds one could close its own message
    and speak as the system, so every ``<|`` in the body is taken apart.
    """
    body = prompt.body.replace("<|", "< |")
    return [{"role": "system", "content": prompt.prefix}, {"role": "user", "content": body}]
