"""Causal language models of Qwen2 architecture: real weights, adapters on them, or small ones from scratch.

Knows: how each is made, loaded and saved; the only file that imports transformers and peft. Must not know: notes,
tables, Ray, gradients. Foreign errors are reported by class: their messages may quote paths and tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ppsehr_spark.errors import InfrastructureError

#: Initial weights follow from this public number; they are not trained on anything.
INITIAL_SEED = 20_240_601
_HEAD_SIZE = 32
_MAX_POSITIONS = 1_024
#: Every projection of a decoder layer.
_ADAPTED = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def load_tokenizer(folder: Path, **options: Any) -> Any:
    """The tokenizer of a local model folder."""
    from transformers import AutoTokenizer

    with _named_errors():
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, **options)


def load_causal_lm(folder: Path, *, dtype: str) -> Any:
    """The weights of a local model folder, on the CPU, in evaluation mode.

    Args:
        dtype: a torch dtype by name, such as ``float32``.

    Raises:
        InfrastructureError: ``ENGINE_START`` with the class of the library's own error.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()  # a stage shows one bar, its own
    with _named_errors():
        model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, dtype=getattr(torch, dtype))
        return model.eval()


def build_small_qwen2(*, vocab_size: int, hidden_size: int, n_layers: int, has_tied_embeddings: bool = True) -> Any:
    """A Qwen2 of this size with fresh weights, the same ones each time.

    Args:
        hidden_size: a multiple of 32.
    """
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    n_heads = max(1, hidden_size // _HEAD_SIZE)
    config = Qwen2Config(
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        intermediate_size=2 * hidden_size,
        num_hidden_layers=n_layers,
        num_attention_heads=n_heads,
        num_key_value_heads=1,
        max_position_embeddings=_MAX_POSITIONS,
        tie_word_embeddings=has_tied_embeddings,
        use_cache=False,
        bos_token_id=None,
        eos_token_id=None,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(INITIAL_SEED)
        return Qwen2ForCausalLM(config)


def add_adapters(model: Any, *, rank: int) -> Any:
    """LoRA adapters of this rank on every projection; nothing else is left to train. No dropout."""
    import torch
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=list(_ADAPTED), task_type="CAUSAL_LM"
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(INITIAL_SEED)
        return get_peft_model(model, config)


def save_model(model: Any, folder: Path) -> None:
    """Write what was trained: all weights of a small model, or the adapters alone."""
    model.save_pretrained(folder, safe_serialization=True)
    (folder / "README.md").unlink(missing_ok=True)  # a model card about a machine's paths


def load_small_model(folder: Path) -> Any:
    """A small model that ``save_model`` wrote; from then on this process computes on one core.

    Its passes are too short to share: on two busy cores, threads that wait for each other take eight times as long.
    """
    import torch

    torch.set_num_threads(1)
    return load_causal_lm(folder, dtype="float32")


def load_adapters(model: Any, folder: Path, *, is_trainable: bool = False) -> Any:
    """Public weights with the adapters that ``save_model`` wrote."""
    from peft import PeftModel

    with _named_errors():
        return PeftModel.from_pretrained(model, folder, is_trainable=is_trainable)


class SubwordCodec:
    """A model's own tokenizer with the few methods that training and sampling need (see ``CharVocabulary``)."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.end_id: int = tokenizer.eos_token_id
        self.pad_id: int = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id

    @property
    def n_tokens(self) -> int:
        """Size of the vocabulary."""
        return len(self._tokenizer)

    def encode(self, text: str) -> list[int]:
        """Token ids without control marks: what looks like one in the text is read as plain characters."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
        return ids

    def encode_header(self, text: str) -> list[int]:
        """The ids that condition a note on its record: the header as a line of its own."""
        return self.encode(f"{text}\n")

    def decode(self, ids: Sequence[int]) -> str:
        """Text up to the first end mark."""
        kept = list(ids)
        with suppress(ValueError):
            kept = kept[: kept.index(self.end_id)]
        text: str = self._tokenizer.decode(kept, skip_special_tokens=True)
        return text


class _named_errors:
    """Context that reports a foreign error by its class."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and issubclass(kind, Exception):
            raise InfrastructureError("ENGINE_START", engine="transformers", error=kind.__name__) from None
