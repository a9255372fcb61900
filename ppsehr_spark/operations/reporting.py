"""What a command says on stderr: a line for people, or one JSON object per line for a log collector.

Knows: the two formats and what a foreign library's line is cut down to. Must not know: notes, tables; its fields are
those that an error or a run record may show anyway. Reference: RFC 3339 (times).
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ppsehr_spark.errors import ConfigurationError, PpsehrError

FORMATS = ("text", "json")
#: As the layout of Spark's log (decision 0004): later lines, quoted values, Hanzi and long digit runs are cut.
_VALUES = re.compile(r"(?s)[\r\n].*|'[^']*'|\"[^\"]*\"|[^\x00-\x7f]+|\d{6,}")
_LONGEST = 300
#: An error of ours quoted inside a foreign one (Spark and Ray repeat the worker's traceback); its fields are safe.
_WORKER_ERROR = re.compile(r"ppsehr_spark\.errors\.\w+: ([A-Z][A-Z_]+(?: [a-z_]+=[\w.:+-]+)*)")


@dataclass(frozen=True)
class Reporter:
    """Where a command's lines go.

    Attributes:
        stage: job or command, the start of every line.
        run_id: empty before there is one.
        is_json: one JSON object per line.
    """

    stage: str
    run_id: str = ""
    is_json: bool = False

    def say(self, event: str, text: str, *, level: str = "info", **fields: object) -> None:
        """Print one line.

        Args:
            event: name of what happened, the same in every language.
            text: what a person reads instead.
            fields: names, counts and codes that may be shown anywhere.
        """
        print(self._render(event, text, level, fields), file=sys.stderr, flush=True)

    def say_error(self, error: PpsehrError) -> None:
        """An error of ours: its code is the event."""
        hint = {"hint": error.hint} if error.hint else {}
        self.say(error.code, str(error), level="error", **{**error.fields, **hint})

    @contextmanager
    def tolerate(self, event: str) -> Iterator[None]:
        """What an operator would like to know must not change how a run ends: a failure in here is a warning."""
        try:
            yield
        except Exception as error:
            said = describe_exception(error)
            self.say(event, f"{event} {said}", level="warning", error=said)

    def _render(self, event: str, text: str, level: str, fields: dict[str, object]) -> str:
        if not self.is_json:
            return f"{self.stage}: {text}"
        line = {**fields, **_frame(level, event), "stage": self.stage, "run_id": self.run_id}
        return json.dumps(line, ensure_ascii=False, default=str)


def wants_json(wanted: str = "text") -> bool:
    """What ``PPSEHR_LOG`` says, else ``log.format``.

    Raises:
        ConfigurationError: ``LOG_FORMAT`` for another word.
    """
    chosen = os.environ.get("PPSEHR_LOG") or wanted
    if chosen not in FORMATS:
        raise ConfigurationError("LOG_FORMAT", hint="log.format and PPSEHR_LOG are text or json")
    return chosen == "json"


def is_json_by_environment() -> bool:
    """For what is said before any conf is read; a wrong word is reported when it is."""
    return os.environ.get("PPSEHR_LOG") == "json"


def route_libraries() -> None:
    """Send warnings and what libraries say through ``logging`` down the same road: one redacted JSON line each."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.captureWarnings(True)


def redact(message: str) -> str:
    """The part of a foreign message that cannot hold a cell value."""
    return _VALUES.sub("*", message)[:_LONGEST]


def describe_exception(error: BaseException) -> str:
    """Class and innermost place of an exception, never its message; our own errors say their code."""
    if isinstance(error, PpsehrError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    at = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
    condition = getattr(error, "getCondition", lambda: None)()  # Spark's error class, a constant of Spark
    worker = _WORKER_ERROR.search(str(error))
    said = [f"error={type(error).__name__} at={at}", f"condition={condition}" if condition else ""]
    return " ".join(part for part in (*said, f"worker: {worker[1]}" if worker else "") if part)


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {**_frame(record.levelname.lower(), "library"), "logger": record.name}
        kind = {"error": record.exc_info[0].__name__} if record.exc_info and record.exc_info[0] else {}
        return json.dumps({**line, **kind, "message": redact(record.getMessage())})


def _frame(level: str, event: str) -> dict[str, str]:
    return {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "level": level, "event": event}
