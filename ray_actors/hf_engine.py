"""Qwen under transformers, for machines without vLLM.

Knows: left padding, logits, choices (``hf_models`` loads weights). Must not know: notes, tables, Ray. There is no
prefix cache here and no grammar: a JSON answer is generated greedily and the reader decides whether it counts.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ppsehr_spark.errors import ConfigurationError
from ray_actors.chat import to_messages
from ray_actors.engine import EngineInfo, Prompt, Reply
from ray_actors.hf_models import load_causal_lm, load_tokenizer
from ray_actors.options import read_options
from ray_actors.weights import check_model_folder, choose_dtype, fingerprint_weights, read_cpu_flags

PROMPT_TOO_LONG = "PROMPT_TOO_LONG"


@dataclass(frozen=True)
class HfOptions:
    """``[engine.transformers]``; the keys mean what they mean for vLLM.

    Attributes:
        model: local folder with configuration, tokenizer and safetensors.
        dtype: ``auto``, ``float32``, ``bfloat16`` or ``float16``.
        max_model_len: prompt and answer together, in tokens.
        batch_size: prompts per forward pass.
        start_timeout_s: read by the cluster.
        seed: unused by greedy answers; accepted so that engines can be swapped by one word.
    """

    model: str = ".cache/models/Qwen2.5-Coder-1.5B-Instruct"
    dtype: str = "auto"
    max_model_len: int = 2_048
    batch_size: int = 4
    start_timeout_s: float = 600.0
    seed: int = 0


class HfEngine:
    """One loaded causal language model."""

    def __init__(self, options: HfOptions) -> None:
        """Load the weights.

        Raises:
            ConfigurationError: ``MODEL_MISSING``.
            InfrastructureError: ``ENGINE_START`` with the class of the library's own error.
        """
        folder = check_model_folder(options.model, engine="transformers")
        import torch

        has_gpu = torch.cuda.is_available()
        dtype = choose_dtype(options.dtype, cpu_flags=read_cpu_flags(), has_gpu=has_gpu)
        self._tokenizer: Any = load_tokenizer(folder, padding_side="left")
        model: Any = load_causal_lm(folder, dtype=dtype)
        self._torch: Any = torch
        self._model: Any = model.to("cuda" if has_gpu else "cpu").eval()
        self._options = options
        self.info = EngineInfo("transformers", folder.name, dtype, fingerprint_weights(folder))

    def generate(self, prompts: Sequence[Prompt]) -> list[Reply]:
        """Answer every prompt, in order; one that does not fit the model carries ``PROMPT_TOO_LONG``."""
        replies: dict[int, Reply] = {}
        texts = [self._render(prompt) for prompt in prompts]
        sizes = self.count_tokens(texts)
        for batch in self._batches(prompts, sizes):
            answer = self._score if prompts[batch[0]].choices else self._write
            with self._torch.inference_mode():
                replies.update(zip(batch, answer([prompts[i] for i in batch], [texts[i] for i in batch]), strict=True))
        too_long = Reply(error_code=PROMPT_TOO_LONG)
        return [replies.get(i, too_long) for i in range(len(prompts))]

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens per text, without chat template."""
        return [len(self._tokenizer.encode(text, add_special_tokens=False)) for text in texts]

    def close(self) -> None:
        """Free the weights."""
        self._model = None
        gc.collect()

    def _render(self, prompt: Prompt) -> str:
        text: str = self._tokenizer.apply_chat_template(to_messages(prompt), tokenize=False, add_generation_prompt=True)
        return text

    def _batches(self, prompts: Sequence[Prompt], sizes: Sequence[int]) -> Iterator[list[int]]:
        """Indices of prompts that fit, one kind and similar lengths together, to waste little on padding."""
        fits = [i for i, size in enumerate(sizes) if size + prompts[i].max_tokens <= self._options.max_model_len]
        for is_choice in (True, False):
            same = sorted((i for i in fits if bool(prompts[i].choices) is is_choice), key=lambda i: sizes[i])
            for at in range(0, len(same), self._options.batch_size):
                yield same[at : at + self._options.batch_size]

    def _tensors(self, texts: Sequence[str]) -> Any:
        inputs = self._tokenizer(list(texts), return_tensors="pt", padding=True, add_special_tokens=False)
        return inputs.to(self._model.device)

    def _score(self, prompts: Sequence[Prompt], texts: Sequence[str]) -> list[Reply]:
        """One forward pass; log-probabilities among the choices at the last position."""
        inputs = self._tensors(texts)
        logits = self._model(**inputs, logits_to_keep=1).logits[:, -1].float()
        replies = []
        for row, prompt in enumerate(prompts):
            choices = prompt.choices or ()
            values = logits[row, self._choice_ids(choices)].log_softmax(0).tolist()
            scores = dict(zip(choices, values, strict=True))
            best = max(scores, key=lambda choice: scores[choice])
            replies.append(Reply(best, scores, prompt_tokens=int(inputs.attention_mask[row].sum()), output_tokens=1))
        return replies

    def _write(self, prompts: Sequence[Prompt], texts: Sequence[str]) -> list[Reply]:
        """Greedy generation up to each prompt's own bound."""
        inputs = self._tensors(texts)
        longest = max(prompt.max_tokens for prompt in prompts)
        pad = self._tokenizer.pad_token_id
        written = self._model.generate(**inputs, max_new_tokens=longest, do_sample=False, pad_token_id=pad)
        replies = []
        for row, prompt in enumerate(prompts):
            ids = written[row, inputs.input_ids.shape[1] :][: prompt.max_tokens]
            n_output = int((ids != pad).sum())
            text = self._tokenizer.decode(ids, skip_special_tokens=True)
            n_prompt = int(inputs.attention_mask[row].sum())
            replies.append(Reply(text, prompt_tokens=n_prompt, output_tokens=n_output))
        return replies

    def _choice_ids(self, choices: Sequence[str]) -> list[int]:
        ids = [self._tokenizer.encode(choice, add_special_tokens=False) for choice in choices]
        if any(len(i) != 1 for i in ids):
            hint = "every choice must be one token of this model's tokenizer"
            raise ConfigurationError("CHOICE_TOKENS", engine="transformers", hint=hint)
        return [i[0] for i in ids]


def load_engine(options: Mapping[str, Any]) -> HfEngine:
    """Factory named in ``engine.ENGINES``."""
    return HfEngine(read_options(HfOptions, options, engine="transformers"))
