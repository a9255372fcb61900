"""A chat endpoint on the loopback that writes note sections from the prompt alone, and misbehaves where a test says so.

Equal prompts get equal replies, so a killed and resumed run can be compared with an undisturbed one.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PROMPT_TOKENS, OUTPUT_TOKENS = 60, 40
_ASKED = re.compile(r"表现([^，。]+)")


@dataclass
class ProseServer:
    """What it was asked, and what it answers.

    Attributes:
        url: up to and including ``/v1``.
        planted: text in a prompt -> text that the reply to it ends with.
        statuses: text in a prompt -> HTTP status instead of a reply.
        delay_s: before each reply.
        bodies: user messages in order of arrival.
        requests: whole requests.
    """

    url: str = ""
    planted: dict[str, str] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    delay_s: float = 0.0
    bodies: list[str] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)

    @property
    def options(self) -> dict[str, Any]:
        """``[engine.openai]`` for this server."""
        return {"base_url": self.url, "model": "prose", "max_retries": 0, "timeout_s": 30.0}

    def answer(self, request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Status and payload."""
        body = request["messages"][-1]["content"]
        self.bodies.append(body)
        self.requests.append(request)
        status = next((code for text, code in self.statuses.items() if text in body), 200)
        reply = write_sections(body) + "".join(more for text, more in self.planted.items() if text in body)
        usage = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": OUTPUT_TOKENS}
        return status, {"choices": [{"message": {"content": reply}}], "usage": usage}


def write_sections(body: str) -> str:
    """The sections that a prompt asks for, out of the findings it names."""
    signs = found[1] if (found := _ASKED.search(body)) else "不适"
    names = body.rpartition("栏目：")[2].strip().split("、")
    died = "，抢救无效死亡" if "抢救无效死亡" in body else ""
    texts = [f"{signs}3天。", f"{signs}逐渐加重，前来诊治{died}。"]
    return "\n".join(f"{name}：{text}" for name, text in zip(names, texts, strict=True))


@contextlib.contextmanager
def serve_prose() -> Iterator[ProseServer]:
    """A running server."""
    served = ProseServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send(200, {"data": [{"id": "prose"}]})

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            time.sleep(served.delay_s)
            self._send(*served.answer(request))

        def _send(self, status: int, payload: Any) -> None:
            data = json.dumps(payload).encode()
            with contextlib.suppress(OSError):  # a killed client is part of these tests
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        served.url = f"http://127.0.0.1:{http.server_address[1]}/v1"
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield served
        http.shutdown()
