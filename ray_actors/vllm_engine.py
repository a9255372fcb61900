"""Qwen served by vLLM inside the actor, on CPU or GPU; the only file that imports vllm.

Knows: vLLM's options, its sampling parameters and its processes. Must not know: notes, tables, Ray.
On one device the engine runs inside this process, so that killing the process frees everything; only tensor
parallelism starts children, which ``close`` ends. Facts behind the defaults: pitfalls on CPU formats, KV blocks and
step length in ARCHITECTURE.md; Kwon et al. 2023 (paged KV cache), vLLM "Automatic Prefix Caching".
"""

from __future__ import annotations

import gc
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psutil

from ppsehr_spark.errors import ConfigurationError, InfrastructureError
from ray_actors.chat import to_messages
from ray_actors.engine import EngineInfo, Prompt, Reply
from ray_actors.options import read_options
from ray_actors.weights import check_model_folder, choose_dtype, fingerprint_weights, read_cpu_flags

PROMPT_TOO_LONG, NO_REPLY = "PROMPT_TOO_LONG", "NO_REPLY"
#: The CPU backend wants multiples of 32 and defaults to 128; a shared prefix is cached in whole blocks only.
_CPU_BLOCK_TOKENS = 32
_END_TIMEOUT_S = 5.0
#: Where sampling cuts off the tail. A nucleus (top_p) sorts 150,000 scores per token, which on CPU costs more than the
#: model itself.
_TOP_K = 20


@dataclass(frozen=True)
class VllmOptions:
    """``[engine.vllm]``.

    Attributes:
        model: local folder with configuration, tokenizer and safetensors.
        dtype: ``auto``, ``float32``, ``bfloat16`` or ``float16``.
        max_model_len: prompt and answer together, in tokens.
        kv_cache_gib: KV cache on CPU, in GiB.
        max_num_batched_tokens: tokens per scheduler step; small on CPU, where a step must end within 300 s.
        max_num_seqs: prompts per step.
        cpu_threads: ``auto`` for every core this process may use, or cores such as ``0-1`` or ``0,2``.
        enforce_eager: skip compilation; starts in half the time.
        gpu_memory_utilization: share of GPU memory, in (0, 1].
        tensor_parallel_size: GPUs per engine.
        start_timeout_s: read by the cluster, which gives up waiting after so long.
        seed: for sampling; answers are greedy, so it only fixes what vLLM draws inside.
    """

    model: str = ".cache/models/Qwen2.5-Coder-1.5B-Instruct"
    dtype: str = "auto"
    max_model_len: int = 2_048
    kv_cache_gib: float = 1.0
    max_num_batched_tokens: int = 512
    max_num_seqs: int = 16
    cpu_threads: str = "auto"
    enforce_eager: bool = True
    gpu_memory_utilization: float = 0.9
    tensor_parallel_size: int = 1
    start_timeout_s: float = 600.0
    seed: int = 0


class VllmEngine:
    """One loaded vLLM engine."""

    def __init__(self, options: VllmOptions) -> None:
        """Load the weights.

        Raises:
            ConfigurationError: ``MODEL_MISSING``, ``CPU_THREADS``.
            InfrastructureError: ``ENGINE_START`` with the class of vLLM's own error.
        """
        folder = check_model_folder(options.model, engine="vllm")
        _prepare_process(options)
        from vllm.platforms import current_platform  # reads the environment that was just prepared

        self._has_gpu = has_gpu = not current_platform.is_cpu()
        dtype = choose_dtype(options.dtype, cpu_flags=read_cpu_flags(), has_gpu=has_gpu)
        self._options = options
        before = _children()
        self._llm: Any = _start(options, dtype=dtype, has_gpu=has_gpu)
        self._children = _children() - before
        self._tokenizer = self._llm.get_tokenizer()
        details = {"device": "gpu" if has_gpu else "cpu"}
        self.info = EngineInfo("vllm", folder.name, dtype, fingerprint_weights(folder), details)

    def generate(self, prompts: Sequence[Prompt]) -> list[Reply]:
        """Answer every prompt, in order; one that does not fit the model carries ``PROMPT_TOO_LONG``.

        Raises:
            ConfigurationError: ``CHOICE_TOKENS`` for a choice that is not one token of this model.
        """
        ids = [self._encode(prompt) for prompt in prompts]
        fits = [len(i) + p.max_tokens <= self._options.max_model_len for i, p in zip(ids, prompts, strict=True)]
        self._seed_batch(prompts)
        outputs = iter(
            self._llm.generate(
                [{"prompt_token_ids": i} for i, is_fit in zip(ids, fits, strict=True) if is_fit],
                [self._sampling(prompt) for prompt, is_fit in zip(prompts, fits, strict=True) if is_fit],
                use_tqdm=False,
            )
            if any(fits)
            else []
        )
        return [
            self._reply(prompt, next(outputs)) if is_fit else Reply(error_code=PROMPT_TOO_LONG)
            for prompt, is_fit in zip(prompts, fits, strict=True)
        ]

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens per text, without chat template."""
        return [len(self._tokenizer.encode(text, add_special_tokens=False)) for text in texts]

    def close(self) -> None:
        """Free the weights and end child processes."""
        if self._llm is None:
            return
        self._llm.llm_engine.engine_core.shutdown()
        self._llm = None
        gc.collect()
        _end_processes(self._children)

    def _encode(self, prompt: Prompt) -> list[int]:
        text = self._tokenizer.apply_chat_template(to_messages(prompt), tokenize=False, add_generation_prompt=True)
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False)
        return ids

    def _choice_ids(self, choices: Sequence[str]) -> list[int]:
        ids = [self._tokenizer.encode(choice, add_special_tokens=False) for choice in choices]
        if any(len(i) != 1 for i in ids):
            hint = "every choice must be one token of this model's tokenizer"
            raise ConfigurationError("CHOICE_TOKENS", engine="vllm", hint=hint)
        return [i[0] for i in ids]

    def _sampling(self, prompt: Prompt) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import StructuredOutputsParams

        if prompt.choices:
            allowed = self._choice_ids(prompt.choices)
            return SamplingParams(temperature=0.0, max_tokens=1, allowed_token_ids=allowed, logprobs=len(allowed))
        schema = StructuredOutputsParams(json=dict(prompt.json_schema)) if prompt.json_schema else None
        drawn: dict[str, Any] = {"top_k": _TOP_K} if prompt.temperature else {}
        if prompt.temperature and self._has_gpu:
            drawn["seed"] = prompt.seed
        return SamplingParams(
            temperature=prompt.temperature, max_tokens=prompt.max_tokens, structured_outputs=schema, **drawn
        )

    def _seed_batch(self, prompts: Sequence[Prompt]) -> None:
        """On CPU one seed for the whole call, made of the seeds of its prompts.

        There vLLM dies of a request's own seed as soon as a prompt is prefilled in two steps ("CPU Generator does not
        use offset"), and draws from torch's generator otherwise; so equal calls give equal text, not equal prompts.
        """
        seeds = [prompt.seed for prompt in prompts if prompt.temperature and prompt.seed is not None]
        if seeds and not self._has_gpu:
            import torch

            torch.manual_seed(int.from_bytes(hashlib.sha256(repr(seeds).encode()).digest()[:8]))

    def _reply(self, prompt: Prompt, output: Any) -> Reply:
        answer = output.outputs[0]
        tokens = {
            "prompt_tokens": len(output.prompt_token_ids),
            "cached_tokens": output.num_cached_tokens or 0,
            "output_tokens": len(answer.token_ids),
        }
        if not prompt.choices:
            return Reply(answer.text, **tokens)
        found = answer.logprobs[0] if answer.logprobs else {}
        ids = zip(prompt.choices, self._choice_ids(prompt.choices), strict=True)
        scores = {choice: float(found[i].logprob) for choice, i in ids if i in found}
        if len(scores) != len(prompt.choices):
            return Reply(error_code=NO_REPLY, **tokens)
        return Reply(max(scores, key=lambda choice: scores[choice]), scores, **tokens)


def load_engine(options: Mapping[str, Any]) -> VllmEngine:
    """Factory named in ``engine.ENGINES``."""
    return VllmEngine(read_options(VllmOptions, options, engine="vllm"))


def _prepare_process(options: VllmOptions) -> None:
    """Environment that vLLM and OpenMP read while they are imported; nothing here touches the network."""
    cores = _cores(options.cpu_threads)
    os.sched_setaffinity(0, cores)
    os.environ.update(
        VLLM_CPU_OMP_THREADS_BIND="auto",
        VLLM_NO_USAGE_STATS="1",
        HF_HUB_OFFLINE="1",
        # an actor framework sets this to the CPUs an actor reserves, which says nothing about the cores it may use
        OMP_NUM_THREADS=str(len(cores)),
    )
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    if options.tensor_parallel_size == 1:
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"


def _cores(cpu_threads: str) -> set[int]:
    """Cores named by ``0-1,4``; ``auto`` is every core this process may use."""
    allowed = os.sched_getaffinity(0)
    if cpu_threads == "auto":
        return allowed
    try:
        ranges = [part.partition("-") for part in cpu_threads.split(",")]
        cores = {core for first, _, last in ranges for core in range(int(first), int(last or first) + 1)}
    except ValueError:
        cores = set()
    if not cores or not cores <= allowed:
        hint = f"auto, or cores such as 0-1 out of {min(allowed)}-{max(allowed)}"
        raise ConfigurationError("CPU_THREADS", engine="vllm", hint=hint)
    return cores


def _start(options: VllmOptions, *, dtype: str, has_gpu: bool) -> Any:
    from vllm import LLM

    by_device: dict[str, Any] = (
        {"gpu_memory_utilization": options.gpu_memory_utilization}
        if has_gpu
        else {"kv_cache_memory_bytes": int(options.kv_cache_gib * 2**30), "block_size": _CPU_BLOCK_TOKENS}
    )
    try:
        return LLM(
            model=options.model,
            dtype=dtype,
            max_model_len=options.max_model_len,
            max_num_batched_tokens=options.max_num_batched_tokens,
            max_num_seqs=options.max_num_seqs,
            enforce_eager=options.enforce_eager,
            tensor_parallel_size=options.tensor_parallel_size,
            seed=options.seed,
            enable_prefix_caching=True,
            # scores are meant among the choices, so they are taken after the mask
            logprobs_mode="processed_logprobs",
            structured_outputs_config={"backend": "xgrammar", "disable_any_whitespace": True},
            disable_log_stats=True,
            **by_device,
        )
    except Exception as error:
        raise InfrastructureError("ENGINE_START", engine="vllm", error=type(error).__name__) from None


def _children() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))


def _end_processes(processes: set[psutil.Process]) -> None:
    """Ask, wait, kill."""
    alive = [process for process in processes if process.is_running()]
    for process in alive:
        process.terminate()
    _, stubborn = psutil.wait_procs(alive, timeout=_END_TIMEOUT_S)
    for process in stubborn:
        process.kill()
