"""The transformers engine on a tiny random Qwen2 with the real tokenizer: padding, scores, order, limits."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ppsehr_spark.errors import ConfigurationError
from ray_actors.engine import Prompt, load_engine

pytestmark = pytest.mark.model
ROOT = Path(__file__).resolve().parent.parent.parent
TOKENIZER = ROOT / ".cache" / "models" / "Qwen2.5-Coder-1.5B-Instruct"
CHOICES = [
    Prompt("前缀", body, choices=("是", "否"), max_tokens=1)
    for body in ("李伟是姓名吗？", "患者诉头痛三天，伴恶心呕吐，无发热。“头痛”是姓名吗？", "王是姓名吗？")
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights: the arithmetic is real, the opinions are not."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    if not (TOKENIZER / "tokenizer.json").is_file():
        pytest.fail("the tokenizer is missing; `make setup` builds the model folder", pytrace=False)
    target: Path = tmp_path_factory.mktemp("tiny-qwen")
    for path in TOKENIZER.iterdir():
        if path.suffix in (".json", ".jinja") and path.name not in ("config.json", "generation_config.json"):
            shutil.copy(path, target)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    config = Qwen2Config(vocab_size=151936, max_position_embeddings=512, tie_word_embeddings=True, **sizes, **heads)
    Qwen2ForCausalLM(config).save_pretrained(target)
    return target


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[Any]:
    # float32 whatever the CPU: the tolerance below is that of its arithmetic, bfloat16 rounds coarser.
    options = {"model": str(folder), "batch_size": 2, "max_model_len": 256, "dtype": "float32"}
    loaded = load_engine("transformers", options)
    yield loaded
    loaded.close()


def test_scores_do_not_depend_on_batch_or_padding(engine: Any) -> None:
    together = engine.generate(CHOICES)
    alone = [engine.generate([prompt])[0] for prompt in CHOICES]
    for one, other in zip(together, alone, strict=True):
        assert one.scores == pytest.approx(other.scores, abs=1e-4)
        assert sum(math.exp(score) for score in one.scores.values()) == pytest.approx(1.0, abs=1e-5)
        assert (one.prompt_tokens, one.output_tokens) == (other.prompt_tokens, 1)
    assert together[1].prompt_tokens > together[0].prompt_tokens


def test_kinds_mix_and_order_is_kept(engine: Any) -> None:
    free = Prompt("前缀", "片段", json_schema={"type": "object"}, max_tokens=5)
    replies = engine.generate([free, CHOICES[0], free])
    assert [reply.scores is not None for reply in replies] == [False, True, False]
    assert replies[0] == replies[2] and 0 < replies[0].output_tokens <= 5


def test_too_long_prompt_spoils_no_other(engine: Any) -> None:
    long = Prompt("前缀", "胸闷" * 400, choices=("是", "否"), max_tokens=1)
    assert [r.error_code for r in engine.generate([long, CHOICES[0]])] == ["PROMPT_TOO_LONG", ""]


def test_choice_of_several_tokens_is_refused(engine: Any) -> None:
    with pytest.raises(ConfigurationError, match="CHOICE_TOKENS"):
        engine.generate([Prompt("前缀", "正文", choices=("是的没错", "否"), max_tokens=1)])


def test_provenance_and_missing_model(engine: Any, folder: Path, tmp_path: Path) -> None:
    assert (engine.info.engine, engine.info.model, len(engine.info.fingerprint)) == ("transformers", folder.name, 12)
    with pytest.raises(ConfigurationError, match="MODEL_MISSING"):
        load_engine("transformers", {"model": str(tmp_path)})
