"""A model under training and its folder: weights, plan, executed steps; from scratch or adapters on public weights.

Knows: what stands in a checkpoint folder. Must not know: notes, gradients, Ray, the lake. No random state and no text
is ever written: noise that could be drawn again would not be noise.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ppsehr_spark.errors import ConfigurationError
from ppsehr_spark.privacy.training_plan import ExecutedSteps, TrainingPlan, executed_from_json, plan_from_json
from ray_actors.char_vocabulary import CharVocabulary
from ray_actors.hf_models import (
    SubwordCodec,
    add_adapters,
    build_small_qwen2,
    load_adapters,
    load_causal_lm,
    load_small_model,
    load_tokenizer,
    save_model,
)
from ray_actors.weights import check_model_folder, fingerprint_weights

PLAN_FILE, STATE_FILE, OPTIMIZER_FILE = "plan.json", "executed.json", "optimizer.pt"
_WEIGHT_FILES = ("model.safetensors", "adapter_model.safetensors")


class Codec(Protocol):
    """Text to token ids and back."""

    pad_id: int
    end_id: int

    def encode(self, text: str) -> list[int]: ...
    def encode_header(self, text: str) -> list[int]: ...
    def decode(self, ids: Sequence[int]) -> str: ...


@dataclass(frozen=True)
class TrainedModel:
    """A model with its tokens. ``model`` is a torch module whose parameters that require a gradient are trained."""

    model: Any
    codec: Codec


def make_model(plan: TrainingPlan, *, base_model: str) -> TrainedModel:
    """The model before its first step; every rank makes the same one.

    Args:
        base_model: folder of the public weights on this machine, empty for a small model.

    Raises:
        ConfigurationError: ``MODEL_MISSING``, or ``MODEL_CHANGED`` when the weights are not those of the plan.
    """
    if not plan.base_model:
        codec = CharVocabulary()
        small = build_small_qwen2(vocab_size=codec.n_tokens, hidden_size=plan.hidden_size, n_layers=plan.n_layers)
        return TrainedModel(small, codec)
    base = _load_base(plan, base_model)
    return TrainedModel(add_adapters(base.model, rank=plan.lora_rank), base.codec)


def save_checkpoint(folder: Path, *, model: Any, plan: TrainingPlan, executed: ExecutedSteps) -> None:
    """Write weights, plan and executed steps into an existing folder."""
    save_model(model, folder)
    (folder / PLAN_FILE).write_text(plan.to_json(), encoding="utf-8")
    (folder / STATE_FILE).write_text(executed.to_json(), encoding="utf-8")


def read_executed(folder: Path, *, plan: TrainingPlan) -> ExecutedSteps:
    """Executed steps of a checkpoint of exactly this plan.

    Raises:
        ConfigurationError: ``CHECKPOINT_PLAN`` when it was made under another plan.
    """
    if read_plan(folder) != plan:
        raise ConfigurationError("CHECKPOINT_PLAN", hint="this checkpoint belongs to another plan")
    return executed_from_json((folder / STATE_FILE).read_text(encoding="utf-8"))


def read_plan(folder: Path) -> TrainingPlan:
    """The plan of a checkpoint.

    Raises:
        ConfigurationError: ``CHECKPOINT_MISSING`` when the folder holds none.
    """
    try:
        return plan_from_json((folder / PLAN_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        hint = "the folder of a finished training holds a plan and weights"
        raise ConfigurationError("CHECKPOINT_MISSING", file=PLAN_FILE, hint=hint) from None


def load_checkpoint(folder: Path, *, base_model: str = "", is_trainable: bool = False) -> TrainedModel:
    """The model of a checkpoint folder.

    Raises:
        ConfigurationError: ``CHECKPOINT_MISSING``, or as for ``make_model``.
    """
    plan = read_plan(folder)
    if not plan.base_model:
        return TrainedModel(load_small_model(folder), CharVocabulary())
    base = _load_base(plan, base_model)
    return TrainedModel(load_adapters(base.model, folder, is_trainable=is_trainable), base.codec)


def hash_weights(folder: Path) -> str:
    """SHA-256 of the weights file, as hex."""
    for name in _WEIGHT_FILES:
        if (folder / name).is_file():
            with (folder / name).open("rb") as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest()
    raise ConfigurationError("CHECKPOINT_MISSING", file=_WEIGHT_FILES[0])


def fingerprint_base(base_model: str) -> str:
    """Hash of the public weights a training starts from, empty for none."""
    return fingerprint_weights(check_model_folder(base_model, engine="train")) if base_model else ""


def _load_base(plan: TrainingPlan, base_model: str) -> TrainedModel:
    folder = check_model_folder(base_model, engine="train")
    if fingerprint_weights(folder) != plan.base_fingerprint:
        hint = "train.base_model must name the weights that the plan names"
        raise ConfigurationError("MODEL_CHANGED", model=plan.base_model, hint=hint)
    return TrainedModel(load_causal_lm(folder, dtype="float32"), SubwordCodec(load_tokenizer(folder)))
