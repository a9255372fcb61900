"""Free text from a model that was trained under the ledger: an Engine over a checkpoint folder.

Knows: sampling token by token. Must not know: records, tables, privacy: what comes out of a released model is
post-processing. A prompt's ``body`` is the header that conditions a note (``synthesis.note_header``); its ``prefix`` is
not read, because a model that was trained on headers never saw instructions.
"""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ppsehr_spark.errors import ConfigurationError
from ray_actors.engine import EngineInfo, Prompt, Reply
from ray_actors.options import read_options
from ray_actors.trained_model import hash_weights, load_checkpoint, read_plan

PROMPT_TOO_LONG, UNSUPPORTED_PROMPT = "PROMPT_TOO_LONG", "UNSUPPORTED_PROMPT"
_FINGERPRINT_DIGITS = 12
#: The small models know no more positions.
_MAX_TOKENS = 1_024


@dataclass(frozen=True)
class CheckpointOptions:
    """``[engine.checkpoint]``.

    Attributes:
        path: folder of a checkpoint, on this machine.
        base_model: folder of the public weights, for a checkpoint that holds adapters.
        batch_size: prompts per forward pass.
        seed: of the draws of prompts that name none.
    """

    path: str = ""
    base_model: str = ""
    batch_size: int = 16
    seed: int = 0


@dataclass(frozen=True)
class _Draft:
    """One reply in the making."""

    prompt: Prompt
    generator: Any
    tokens: list[int] = field(default_factory=list)


class CheckpointEngine:
    """One loaded checkpoint."""

    def __init__(self, options: CheckpointOptions) -> None:
        """Load the weights.

        Raises:
            ConfigurationError: ``CHECKPOINT_MISSING``, ``MODEL_MISSING`` or ``MODEL_CHANGED``.
        """
        import torch

        if not options.path:
            raise ConfigurationError("CHECKPOINT_MISSING", engine="checkpoint", hint="engine.checkpoint.path is empty")
        folder = Path(options.path)
        plan = read_plan(folder)
        trained = load_checkpoint(folder, base_model=options.base_model)
        self._torch: Any = torch
        self._model: Any = trained.model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
        self._codec = trained.codec
        self._options = options
        name = plan.base_model or f"qwen2-{plan.hidden_size}x{plan.n_layers}"
        self.info = EngineInfo("checkpoint", name, "float32", hash_weights(folder)[:_FINGERPRINT_DIGITS])

    def generate(self, prompts: Sequence[Prompt]) -> list[Reply]:
        """Continue every prompt's body, in order; choices and JSON schemas are refused prompt by prompt.

        With a temperature each reply follows from the prompt's own seed, whatever stands beside it in a batch.
        """
        headers = [self._codec.encode_header(prompt.body) for prompt in prompts]
        replies: dict[int, Reply] = {}
        for i, (prompt, header) in enumerate(zip(prompts, headers, strict=True)):
            if prompt.choices or prompt.json_schema:
                replies[i] = Reply(error_code=UNSUPPORTED_PROMPT)
            elif len(header) + prompt.max_tokens > _MAX_TOKENS:
                replies[i] = Reply(error_code=PROMPT_TOO_LONG)
        for batch in self._batches([i for i in range(len(prompts)) if i not in replies], headers):
            written = self._write([prompts[i] for i in batch], [headers[i] for i in batch])
            replies.update(zip(batch, written, strict=True))
        return [replies[i] for i in range(len(prompts))]

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens per text, without marks."""
        return [len(self._codec.encode(text)) for text in texts]

    def close(self) -> None:
        """Free the weights."""
        self._model = None
        gc.collect()

    def _batches(self, indices: Sequence[int], headers: Sequence[Sequence[int]]) -> Iterator[list[int]]:
        """Indices whose headers have one length together: such a batch needs no padding and no mask."""
        by_length: dict[int, list[int]] = {}
        for i in indices:
            by_length.setdefault(len(headers[i]), []).append(i)
        for same in by_length.values():
            for at in range(0, len(same), self._options.batch_size):
                yield same[at : at + self._options.batch_size]

    def _write(self, prompts: Sequence[Prompt], headers: Sequence[Sequence[int]]) -> list[Reply]:
        """Token by token with a key-value cache, until every draft has ended."""
        drafts = [self._start(prompt, header) for prompt, header in zip(prompts, headers, strict=True)]
        ids, cache = [list(header) for header in headers], None
        with self._torch.inference_mode():
            while any(self._is_open(draft) for draft in drafts):
                output = self._model(
                    input_ids=self._torch.tensor(ids, device=self._model.device),
                    past_key_values=cache,
                    use_cache=True,
                    logits_to_keep=1,
                )
                cache = output.past_key_values
                for draft, scores in zip(drafts, output.logits[:, -1].float().cpu(), strict=True):
                    if self._is_open(draft):
                        draft.tokens.append(self._choose(scores, draft))
                ids = [draft.tokens[-1:] for draft in drafts]  # what follows an ended draft is never looked at
        return [
            Reply(self._codec.decode(draft.tokens), prompt_tokens=len(header), output_tokens=len(draft.tokens))
            for draft, header in zip(drafts, headers, strict=True)
        ]

    def _is_open(self, draft: _Draft) -> bool:
        return len(draft.tokens) < draft.prompt.max_tokens and draft.tokens[-1:] != [self._codec.end_id]

    def _choose(self, scores: Any, draft: _Draft) -> int:
        """The likeliest token, or a drawn one."""
        temperature = draft.prompt.temperature
        if not temperature:
            return int(scores.argmax())
        return int(self._torch.multinomial((scores / temperature).softmax(0), 1, generator=draft.generator))

    def _start(self, prompt: Prompt, header: Sequence[int]) -> _Draft:
        """An empty draft whose draws follow from seed and header: what is released already needs no secret dice."""
        seed = self._options.seed if prompt.seed is None else prompt.seed
        digest = hashlib.sha256(f"{seed}|{list(header)}".encode()).digest()
        return _Draft(prompt, self._torch.Generator().manual_seed(int.from_bytes(digest[:4], "big")))


def load_engine(options: Mapping[str, Any]) -> CheckpointEngine:
    """Factory named in ``engine.ENGINES``."""
    return CheckpointEngine(read_options(CheckpointOptions, options, engine="checkpoint"))
