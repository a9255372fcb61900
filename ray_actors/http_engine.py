"""Qwen behind an endpoint that speaks the OpenAI chat protocol, such as a hospital's own service.

Knows: HTTP, retries, the protocol's fields for log-probabilities and JSON schemas. Must not know: notes, tables, Ray.
The key comes from an environment variable and appears nowhere else; an error carries a status code, never a body,
because servers like to quote the prompt back.
"""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx

from ppsehr_spark.errors import ConfigurationError, InfrastructureError
from ray_actors.chat import to_messages
from ray_actors.engine import EngineInfo, Prompt, Reply
from ray_actors.options import read_options

PROMPT_TOO_LONG, BAD_REPLY = "PROMPT_TOO_LONG", "BAD_REPLY"
_RETRY_STATUS = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
_TOP_LOGPROBS = 20
#: The protocol's only way to cut off the tail when prose is sampled.
_TOP_P = 0.9
#: What a choice counts that is not among the reported log-probabilities: below every one that is.
_UNSEEN_GAP = 1.0


@dataclass(frozen=True)
class HttpOptions:
    """``[engine.openai]``.

    Attributes:
        base_url: up to and including ``/v1``.
        model: name that the endpoint knows.
        api_key_env: environment variable with the key; an unset one sends no key.
        timeout_s: per request, in seconds.
        max_retries: further attempts after connection errors and the usual temporary statuses.
        max_parallel: requests at a time.
        backoff_s: first pause before a retry, doubled each time.
        ca_file: certificate authority of an endpoint inside the hospital; empty for the system's own.
        extra_body: fields added to every request as they are, for what one server has and others have not.
        start_timeout_s: read by the cluster.
    """

    base_url: str = "http://127.0.0.1:8000/v1"
    model: str = "Qwen2.5-Coder-1.5B-Instruct"
    api_key_env: str = "PPSEHR_QWEN_API_KEY"
    timeout_s: float = 120.0
    max_retries: int = 3
    max_parallel: int = 4
    backoff_s: float = 0.5
    ca_file: str = ""
    extra_body: dict[str, Any] = field(default_factory=dict)
    start_timeout_s: float = 60.0


class HttpEngine:
    """A client with a connection pool; holds no weights."""

    def __init__(self, options: HttpOptions) -> None:
        """Connect and check that the endpoint serves the model.

        Raises:
            ConfigurationError: ``ENDPOINT_REFUSED`` when the key is not accepted, ``MODEL_MISSING`` when the endpoint
                lists its models and this is not one of them.
            InfrastructureError: ``ENDPOINT_DOWN``.
        """
        key = os.environ.get(options.api_key_env, "")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        trusted = ssl.create_default_context(cafile=options.ca_file or None)
        # a proxy from the environment must not see clinical text
        self._client = httpx.Client(timeout=options.timeout_s, headers=headers, verify=trusted, trust_env=False)
        self._options = options
        self._url = options.base_url.rstrip("/")
        self._check_model()
        self.info = EngineInfo("openai", options.model)

    def generate(self, prompts: Sequence[Prompt]) -> list[Reply]:
        """Answer every prompt, in order, a few at a time.

        Raises:
            InfrastructureError: ``ENDPOINT_DOWN`` when the endpoint cannot be reached or stays unavailable.
            ConfigurationError: ``ENDPOINT_REFUSED`` when it does not accept the key.
        """
        with ThreadPoolExecutor(max(1, self._options.max_parallel)) as pool:
            return list(pool.map(self._ask, prompts))

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """An upper estimate, since the tokenizer is on the other side: one token per code point."""
        return [len(text) for text in texts]

    def close(self) -> None:
        """Close the connections; safe to call twice."""
        self._client.close()

    def _check_model(self) -> None:
        response = self._send("GET", "/models", None)
        try:
            names = [entry["id"] for entry in response.json()["data"]] if response.status_code == httpx.codes.OK else []
        except (ValueError, KeyError, TypeError):
            names = []  # an endpoint may serve completions and no list
        if names and self._options.model not in names:
            hint = "the endpoint does not list this model"
            raise ConfigurationError("MODEL_MISSING", engine="openai", model=self._options.model, hint=hint)

    def _ask(self, prompt: Prompt) -> Reply:
        body: dict[str, Any] = {
            "model": self._options.model,
            "messages": to_messages(prompt),
            "temperature": prompt.temperature,
            "max_tokens": prompt.max_tokens,
            **self._options.extra_body,
        }
        if prompt.temperature:
            body["top_p"] = _TOP_P
        if prompt.seed is not None:
            body["seed"] = prompt.seed
        if prompt.choices:
            body |= {"logprobs": True, "top_logprobs": _TOP_LOGPROBS, "max_tokens": 1}
        if prompt.json_schema:
            form = {"name": "answer", "schema": dict(prompt.json_schema), "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        response = self._send("POST", "/chat/completions", body)
        if response.status_code in (400, 413, 422):
            # the protocol has no better sign for a prompt that the model has no room for
            return Reply(error_code=PROMPT_TOO_LONG if _is_too_long(response) else f"HTTP_{response.status_code}")
        if response.status_code != httpx.codes.OK:
            return Reply(error_code=f"HTTP_{response.status_code}")
        return _read_reply(prompt, response)

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None) -> httpx.Response:
        """One request with retries; temporary trouble that lasts becomes ``ENDPOINT_DOWN``."""
        status: object = ""
        for attempt in range(self._options.max_retries + 1):
            if attempt:
                time.sleep(self._options.backoff_s * 2 ** (attempt - 1))
            try:
                response = self._client.request(method, self._url + path, json=body)
            except httpx.HTTPError as error:
                status = type(error).__name__
                continue
            if response.status_code in (401, 403):
                hint = f"the endpoint does not accept the key in {self._options.api_key_env}"
                raise ConfigurationError("ENDPOINT_REFUSED", engine="openai", status=response.status_code, hint=hint)
            if response.status_code not in _RETRY_STATUS:
                return response
            status = response.status_code
        raise InfrastructureError("ENDPOINT_DOWN", engine="openai", status=status)


def load_engine(options: Mapping[str, Any]) -> HttpEngine:
    """Factory named in ``engine.ENGINES``."""
    return HttpEngine(read_options(HttpOptions, options, engine="openai"))


def _is_too_long(response: httpx.Response) -> bool:
    text = response.text.lower()
    return response.status_code == 413 or ("context" in text and "length" in text) or "maximum" in text


def _read_reply(prompt: Prompt, response: httpx.Response) -> Reply:
    """The Reply of a completion; ``BAD_REPLY`` where the protocol is not followed."""
    try:
        payload = response.json()
        choice = payload["choices"][0]
        usage = payload.get("usage") or {}
        cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
        tokens = {
            "prompt_tokens": int(usage.get("prompt_tokens") or 0),
            "cached_tokens": int(cached),
            "output_tokens": int(usage.get("completion_tokens") or 0),
        }
        if not prompt.choices:
            return Reply(str(choice["message"]["content"] or ""), **tokens)
        scores = _read_scores(prompt.choices, choice["logprobs"]["content"][0]["top_logprobs"])
    except (ValueError, KeyError, IndexError, TypeError):
        return Reply(error_code=BAD_REPLY)
    if scores is None:
        return Reply(error_code=BAD_REPLY, **tokens)
    return Reply(max(scores, key=lambda name: scores[name]), scores, **tokens)


def _read_scores(choices: Sequence[str], top: Sequence[Mapping[str, Any]]) -> dict[str, float] | None:
    """Log-probability per choice; one that is not reported lies below all that are. ``None`` when none is."""
    found: dict[str, float] = {}
    for entry in top:
        name = str(entry["token"]).strip()
        if name in choices:
            found[name] = max(found.get(name, float("-inf")), float(entry["logprob"]))
    if not found:
        return None
    floor = min(float(entry["logprob"]) for entry in top) - _UNSEEN_GAP
    return {choice: found.get(choice, floor) for choice in choices}
