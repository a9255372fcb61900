"""Turn a GGUF file into the folder that vLLM and transformers serve (bfloat16 safetensors, tokenizer, config).

Knows: transformers. Must not know: where the file came from. Imported lazily: it takes seconds.
"""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging


def convert_gguf(gguf: Path, folder: Path) -> None:
    """De-quantise ``gguf`` into ``folder``, which must exist.

    transformers refuses to save a model that carries a quantisation, so the weights move into a fresh model of the
    same shape first.
    """
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    torch.set_num_threads(1)
    source, name = str(gguf.parent), gguf.name
    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=name, local_files_only=True)
    quantised = AutoModelForCausalLM.from_pretrained(
        source, gguf_file=name, dtype=torch.bfloat16, local_files_only=True
    )
    config = quantised.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    with torch.device("meta"):
        plain = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    plain.load_state_dict(quantised.state_dict(), assign=True)
    plain.tie_weights()
    plain.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
