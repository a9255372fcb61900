"""An engine that answers plausibly and breaks where its script says so; for tests and drills.

Knows: the faults a served model shows. Must not know: what a right answer is; without faults its answers are
deterministic functions of the prompt, so a killed and resumed run can be compared row by row.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from ppsehr_spark.errors import ConfigurationError, InfrastructureError
from ray_actors.engine import Engine, EngineInfo, Prompt, Reply
from ray_actors.engine import load_engine as load_named_engine
from ray_actors.options import read_options

#: What may happen to a call that holds a prompt it hits, and to the reply of such a prompt.
CALL_FAULTS = ("exception", "hang", "slow", "crash", "sigkill", "oom")
REPLY_FAULTS = ("bad_json", "wrong_quote", "error_reply", "too_long")
FAULTS = (*CALL_FAULTS, *REPLY_FAULTS)
_SPARE_BYTES, _BLOCK_BYTES = 256 * 2**20, 32 * 2**20


@dataclass(frozen=True)
class FaultOptions:
    """The script.

    Attributes:
        inner: engine that answers where no fault strikes; ``scripted`` answers from a hash of the prompt.
        fault: one of ``FAULTS``, or ``""`` for none.
        trigger: only prompts whose body holds this text are hit; ``""`` hits every prompt.
        seed: varies the scripted answers.
        delay_s: how long ``slow`` and ``hang`` sleep, in seconds.
        times: the fault strikes this often, then never again; 0 means always.
        marker: a file that remembers for all processes that the fault has struck; it strikes once then.
        child_tag: start a process with this argument that does nothing, as an engine starts its workers.
        fail_start: raise while loading instead, as a missing model would.
        inner_options: options of the inner engine.
    """

    inner: str = "scripted"
    fault: str = ""
    trigger: str = ""
    seed: int = 0
    delay_s: float = 0.05
    times: int = 0
    marker: str = ""
    child_tag: str = ""
    fail_start: bool = False
    inner_options: dict[str, Any] = field(default_factory=dict)


class ScriptedEngine:
    """Deterministic answers: choices by hash of the prompt, JSON with no findings."""

    info = EngineInfo(engine="fault", model="scripted", fingerprint="0")

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._seen_prefixes: set[str] = set()

    def generate(self, prompts: Sequence[Prompt]) -> list[Reply]:
        """One reply per prompt; token counts follow the text length."""
        return [self._answer(prompt) for prompt in prompts]

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """One token per code point."""
        return [len(text) for text in texts]

    def close(self) -> None:
        """Nothing to free."""

    def _answer(self, prompt: Prompt) -> Reply:
        n_tokens = len(prompt.prefix) + len(prompt.body)
        n_cached = len(prompt.prefix) if prompt.prefix in self._seen_prefixes else 0
        self._seen_prefixes.add(prompt.prefix)
        if not prompt.choices:
            empty = {name: [] for name in (prompt.json_schema or {}).get("required", ())}
            return Reply(json.dumps(empty), prompt_tokens=n_tokens, cached_tokens=n_cached, output_tokens=2)
        digest = hashlib.sha256(f"{self._seed}|{prompt.body}".encode()).digest()
        best = prompt.choices[digest[0] % len(prompt.choices)]
        scores = {choice: -0.1 if choice == best else -2.5 for choice in prompt.choices}
        return Reply(best, scores, prompt_tokens=n_tokens, cached_tokens=n_cached, output_tokens=1)


class FaultEngine:
    """Passes prompts to the inner engine, except where the script strikes."""

    def __init__(self, inner: Engine, *, options: FaultOptions) -> None:
        self._inner = inner
        self._options = options
        self._left = options.times or -1
        self._child = _start_child(options.child_tag) if options.child_tag else None
        self.info = inner.info

    def generate(self, prompts: Sequence[Prompt]) -> list[Reply]:
        """Inner replies with the scripted fault laid over the prompts it hits."""
        is_hit = [self._options.trigger in prompt.body for prompt in prompts]
        if not self._options.fault or self._left == 0 or not any(is_hit) or not self._is_first():
            return self._inner.generate(prompts)
        self._left -= 1
        self._strike_call()
        replies = self._inner.generate(prompts)
        return [
            self._strike_reply(reply, prompt) if hit else reply
            for reply, prompt, hit in zip(replies, prompts, is_hit, strict=True)
        ]

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """As the inner engine counts."""
        return self._inner.count_tokens(texts)

    def close(self) -> None:
        """Close the inner engine."""
        self._inner.close()
        if self._child is not None:
            self._child.kill()
            self._child.wait()

    def _is_first(self) -> bool:
        """False where the marker says that the fault has struck before."""
        try:
            if self._options.marker:
                Path(self._options.marker).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def _strike_call(self) -> None:
        fault = self._options.fault
        if fault == "exception":
            raise InfrastructureError("ENGINE_BROKE", engine="fault")
        if fault == "crash":
            os._exit(23)
        if fault == "sigkill":
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "oom":
            _exhaust_memory()
        if fault in ("slow", "hang"):
            time.sleep(self._options.delay_s)

    def _strike_reply(self, reply: Reply, prompt: Prompt) -> Reply:
        fault = self._options.fault
        if fault == "error_reply":
            return Reply(error_code="ENGINE_ERROR", prompt_tokens=reply.prompt_tokens)
        if fault == "too_long":
            return Reply(error_code="PROMPT_TOO_LONG")
        if fault == "bad_json" and not prompt.choices:
            return Reply('{"', prompt_tokens=reply.prompt_tokens, output_tokens=1)
        if fault == "bad_json":
            return Reply("", {}, prompt_tokens=reply.prompt_tokens, output_tokens=1)
        if fault == "wrong_quote" and prompt.json_schema:
            text = json.dumps(_invent(prompt.json_schema), ensure_ascii=False)
            return Reply(text, prompt_tokens=reply.prompt_tokens, output_tokens=len(text))
        return reply


def _invent(schema: Mapping[str, Any]) -> Any:
    """A value that follows the schema and quotes what stands in no text."""
    kind = schema.get("type")
    if "enum" in schema:
        return schema["enum"][0]
    if kind == "object":
        return {name: _invent(part) for name, part in schema.get("properties", {}).items()}
    if kind == "array":
        return [_invent(schema["items"])]
    return "此句不在原文之中" if kind == "string" else 1


def _exhaust_memory() -> None:
    """Take memory up to a limit just above what is in use, until Python has none to give."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + _SPARE_BYTES, before[1]))
    taken: list[bytearray] = []
    try:
        while True:
            taken.append(bytearray(_BLOCK_BYTES))
    finally:
        taken.clear()
        resource.setrlimit(resource.RLIMIT_AS, before)


def _start_child(tag: str) -> subprocess.Popen[bytes]:
    """A process that outlives this one when nobody ends it."""
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)", tag])


def load_engine(options: Mapping[str, Any]) -> FaultEngine:
    """Factory named in ``engine.ENGINES``.

    Raises:
        ConfigurationError: ``ENGINE_OPTION`` for an unknown fault.
        InfrastructureError: ``ENGINE_START`` when the script says that the engine fails to start.
    """
    script = read_options(FaultOptions, options, engine="fault")
    if script.fault and script.fault not in FAULTS:
        raise ConfigurationError("ENGINE_OPTION", engine="fault", key="fault", hint=f"one of {', '.join(FAULTS)}")
    if script.fail_start:
        raise InfrastructureError("ENGINE_START", engine="fault")
    inner: Engine = (
        ScriptedEngine(script.seed)
        if script.inner == "scripted"
        else load_named_engine(script.inner, script.inner_options)
    )
    return FaultEngine(inner, options=script)
