"""A model folder on disk: is it complete, which weights are they, which number format does this machine want.

Knows: file names of a safetensors model and CPU flags. Must not know: vllm, transformers, torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path

from ppsehr_spark.errors import ConfigurationError

#: Without one of these a CPU emulates bfloat16 and is about ten times slower than with float32.
_BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16", "avx_ne_convert"})
_SAMPLE_BYTES = 2**20
_N_SAMPLES = 16


def check_model_folder(model: str, *, engine: str) -> Path:
    """The folder, if it holds configuration, tokenizer and weights.

    Raises:
        ConfigurationError: ``MODEL_MISSING`` with the engine and the file that is not there.
    """
    folder = Path(model)
    has_weights = any(folder.glob("*.safetensors"))
    for name, is_there in (
        ("config.json", (folder / "config.json").is_file()),
        ("tokenizer.json", (folder / "tokenizer.json").is_file()),
        ("*.safetensors", has_weights),
    ):
        if not is_there:
            hint = "make setup (scripts/fetch_model.py) puts it there, or name another folder in [engine] model"
            raise ConfigurationError("MODEL_MISSING", engine=engine, folder=model, file=name, hint=hint)
    return folder


def fingerprint_weights(folder: Path) -> str:
    """SHA-256 (12 hex digits) over configuration, tokenizer, and evenly spaced samples of each weights file.

    Samples keep it below a second for any size; exact digests are checked where the weights are fetched.
    """
    digest = hashlib.sha256()
    for path in sorted([folder / "config.json", folder / "tokenizer.json", *folder.glob("*.safetensors")]):
        size = path.stat().st_size
        digest.update(f"{path.name}:{size}".encode())
        with path.open("rb") as stream:
            for i in range(_N_SAMPLES):
                stream.seek(size * i // _N_SAMPLES)
                digest.update(stream.read(_SAMPLE_BYTES))
    return digest.hexdigest()[:12]


def choose_dtype(wanted: str, *, cpu_flags: Collection[str], has_gpu: bool) -> str:
    """``auto`` becomes bfloat16 on GPUs and on CPUs that compute in it, float32 elsewhere."""
    if wanted != "auto":
        return wanted
    return "bfloat16" if has_gpu or _BFLOAT16_FLAGS & set(cpu_flags) else "float32"


def read_cpu_flags(path: str = "/proc/cpuinfo") -> frozenset[str]:
    """Feature flags of the first CPU; empty where the system does not tell."""
    try:
        lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    named = (line.partition(":") for line in lines)
    return next((frozenset(v.split()) for k, _, v in named if k.strip() in ("flags", "Features")), frozenset())
