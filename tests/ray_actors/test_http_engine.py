"""The OpenAI protocol against a server on the loopback that speaks it, well and badly."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from ppsehr_spark.errors import ConfigurationError, InfrastructureError
from ray_actors.engine import Engine, Prompt, load_engine

CHOICE = Prompt("前缀", "李伟是姓名吗？", choices=("是", "否"), max_tokens=1)
SCHEMA = {"type": "object", "properties": {"items": {"type": "array"}}, "required": ["items"]}
JSON = Prompt("前缀", "片段", json_schema=SCHEMA, max_tokens=64)
Answer = Callable[[dict[str, Any]], tuple[int, Any]]


class Server:
    """Answers ``/v1/models`` and ``/v1/chat/completions`` by a function; keeps what it was asked."""

    def __init__(self) -> None:
        self.answer: Answer = lambda body: (200, completion("{}"))
        self.models = ["qwen"]
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._send(200, {"data": [{"id": name} for name in outer.models]})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.requests.append(body)
                outer.keys.append(self.headers.get("Authorization"))
                self._send(*outer.answer(body))

            def _send(self, status: int, payload: Any) -> None:
                data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                with contextlib.suppress(OSError):  # a client that gave up is part of these tests
                    self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"


def completion(text: str, *, top: dict[str, float] | None = None) -> dict[str, Any]:
    choice: dict[str, Any] = {"message": {"content": text}}
    if top is not None:
        entries = [{"token": token, "logprob": value} for token, value in top.items()]
        choice["logprobs"] = {"content": [{"token": text, "top_logprobs": entries}]}
    usage = {"prompt_tokens": 40, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 32}}
    return {"choices": [choice], "usage": usage}


@pytest.fixture
def server() -> Iterator[Server]:
    served = Server()
    thread = threading.Thread(target=served.http.serve_forever, daemon=True)
    thread.start()
    yield served
    served.http.shutdown()
    served.http.server_close()


def connect(server: Server, **options: Any) -> Engine:
    fixed = {"base_url": server.url, "model": "qwen", "backoff_s": 0.01, "timeout_s": 5.0, "max_retries": 1}
    return load_engine("openai", {**fixed, **options})


def test_choice_scores_and_tokens(server: Server) -> None:
    server.answer = lambda body: (200, completion("是", top={"是": -0.1, "否": -2.4, "不": -3.0}))
    (reply,) = connect(server).generate([CHOICE])
    assert (reply.text, reply.scores) == ("是", {"是": -0.1, "否": -2.4})
    assert (reply.prompt_tokens, reply.cached_tokens, reply.output_tokens) == (40, 32, 1)
    (sent,) = server.requests
    assert sent["logprobs"] is True and sent["max_tokens"] == 1 and sent["temperature"] == 0
    assert [message["role"] for message in sent["messages"]] == ["system", "user"]


def test_choice_that_is_not_reported_scores_below_all_that_are(server: Server) -> None:
    server.answer = lambda body: (200, completion("是", top={"是": -0.1, "不": -3.0}))
    (reply,) = connect(server).generate([CHOICE])
    assert reply.scores is not None and reply.scores["否"] < -3.0


def test_schema_travels_and_text_comes_back_in_order(server: Server) -> None:
    server.answer = lambda body: (200, completion(body["messages"][1]["content"]))
    prompts = [Prompt("前缀", f"片段{i}", json_schema=SCHEMA) for i in range(9)]
    replies = connect(server, extra_body={"guided": 1}).generate(prompts)
    assert [reply.text for reply in replies] == [f"片段{i}" for i in range(9)]
    assert all(r["response_format"]["json_schema"]["schema"] == SCHEMA for r in server.requests)
    assert all(r["guided"] == 1 for r in server.requests)


def test_key_comes_from_the_environment(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOSPITAL_KEY", "s3cret")
    connect(server, api_key_env="HOSPITAL_KEY").generate([JSON])
    assert server.keys == ["Bearer s3cret"]


def test_temporary_failure_is_retried(server: Server) -> None:
    answers = iter([(503, b"overloaded"), (200, completion("{}"))])
    server.answer = lambda body: next(answers)
    (reply,) = connect(server).generate([JSON])
    assert (reply.text, reply.error_code) == ("{}", "")


def test_lasting_failure_names_no_text(server: Server) -> None:
    engine = connect(server)
    server.answer = lambda body: (500, json.dumps(body).encode())
    with pytest.raises(InfrastructureError, match=r"ENDPOINT_DOWN .*status=500") as caught:
        engine.generate([CHOICE])
    assert "李伟" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "payload", "code"),
    [
        (400, {"message": "This model's maximum context length is 2048 tokens"}, "PROMPT_TOO_LONG"),
        (400, {"message": "no such field"}, "HTTP_400"),
        (413, b"", "PROMPT_TOO_LONG"),
        (404, b"", "HTTP_404"),
        (200, b"<html>", "BAD_REPLY"),
        (200, {"choices": []}, "BAD_REPLY"),
        (200, completion("是"), "BAD_REPLY"),
        (200, completion("hm", top={"hm": -0.1}), "BAD_REPLY"),
        (200, [], "BAD_REPLY"),
    ],
)
def test_bad_replies_become_codes(server: Server, status: int, payload: Any, code: str) -> None:
    server.answer = lambda body: (status, payload)
    (reply,) = connect(server).generate([CHOICE])
    assert (reply.error_code, reply.scores) == (code, None)


def test_wrong_key_and_wrong_model_are_configuration_errors(server: Server) -> None:
    engine = connect(server)
    server.answer = lambda body: (401, b"")
    with pytest.raises(ConfigurationError, match="ENDPOINT_REFUSED"):
        engine.generate([CHOICE])
    server.models = ["another"]
    with pytest.raises(ConfigurationError, match="MODEL_MISSING"):
        connect(server)


def test_hanging_endpoint_ends_in_time(server: Server) -> None:
    engine = connect(server, timeout_s=0.3, max_retries=0)
    server.answer = lambda body: (time.sleep(1.0), (200, b""))[1]
    started = time.monotonic()
    with pytest.raises(InfrastructureError, match="ENDPOINT_DOWN"):
        engine.generate([CHOICE])
    assert time.monotonic() - started < 5
    engine.close()
    engine.close()


def test_closed_port_is_reported() -> None:
    with pytest.raises(InfrastructureError, match=r"ENDPOINT_DOWN .*ConnectError"):
        load_engine("openai", {"base_url": "http://127.0.0.1:9/v1", "max_retries": 0})
