"""A whole file through the work on its lines: output, rejects, summary, exit code.

Knows: one output line per input line, in order. Must not know: what the work does, argument parsing.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ppsehr_spark.config import Settings
from ppsehr_spark.errors import ExitCode
from ppsehr_spark.service.line_files import STDIO, LineSource, open_lines, refuse_same_file, write_lines
from ppsehr_spark.service.line_pool import map_in_order
from ppsehr_spark.service.line_work import LineResult, RawLine, Work
from ppsehr_spark.service.note_lines import Refusal

#: A character of JSON takes at most 12 bytes (two escaped surrogates); the rest is room for the other fields.
_MAX_BYTES_PER_CHAR, _FIELD_BYTES = 12, 65_536
TORN_GZIP, EMPTY_FILE = "TORN_GZIP", "EMPTY_FILE"


@dataclass(frozen=True)
class FileTask:
    """What one command does with a file.

    Attributes:
        name: of the command, for messages.
        source: input path or ``-``.
        target: output path or ``-``.
        settings: of the run.
        open_work: module-level factory, called once per process with ``arguments``.
        arguments: picklable.
        left: what ``LineResult.n_left`` counts, for the summary.
        attach: puts further input beside each line.
        rejects: path of the rejects file; empty: beside the output, none beside standard output.
        n_processes: at most so many.
    """

    name: str
    source: str
    target: str
    settings: Settings
    open_work: Callable[..., Work]
    arguments: tuple[Any, ...]
    left: str
    attach: Callable[[Iterable[RawLine]], Iterator[RawLine]] | None = None
    rejects: str = ""
    n_processes: int = 1


@dataclass
class Tally:
    """Counts of one run; rejects by line, field and reason, never id or text."""

    n_lines: int = 0
    n_spans: int = 0
    n_left: int = 0
    rejects: list[dict[str, Any]] = field(default_factory=list)

    def add(self, result: LineResult) -> None:
        """Count one line."""
        self.n_lines += 1
        self.n_spans += result.n_spans
        self.n_left += result.n_left
        if result.refusal:
            self.add_reject(result.number, result.refusal)

    def add_reject(self, number: int, refusal: Refusal) -> None:
        """Remember where and why."""
        self.rejects.append({"line": number, "field": refusal.field, "reason": refusal.reason})


def run_file(task: FileTask) -> int:
    """Work through the file; the output appears whole, with every complete line of a torn input.

    Returns:
        0, or 4 when the input is empty or torn or the share of rejected lines exceeds ``ingest.max_reject_share``.

    Raises:
        PpsehrError: the file cannot be opened, conf is wrong, or the engine failed as a whole; no output then.
    """
    refuse_same_file(task.source, task.target)
    started = time.monotonic()
    tally = Tally()
    limit = task.settings.ingest.max_note_chars * _MAX_BYTES_PER_CHAR + _FIELD_BYTES
    with open_lines(task.source, max_line_bytes=limit) as source, write_lines(task.target) as out:
        lines = task.attach(_number(source)) if task.attach else _number(source)
        results = map_in_order(lines, task.open_work, task.arguments, n_processes=task.n_processes)
        for result in tqdm(results, unit="note", desc=task.name, file=sys.stderr, disable=None):
            tally.add(result)
            out.write(f"{result.output}\n")
    if source.is_torn:
        tally.add_reject(tally.n_lines + 1, Refusal(TORN_GZIP))
    elif not tally.n_lines:
        tally.add_reject(0, Refusal(EMPTY_FILE))
    _write_rejects(task, tally)
    print(_summary(task, tally, time.monotonic() - started), file=sys.stderr)
    return _judge(task, tally)


def _number(source: LineSource) -> Iterator[RawLine]:
    return (RawLine(number, raw) for number, raw in enumerate(source, 1))


def _write_rejects(task: FileTask, tally: Tally) -> None:
    """A file only when there is something in it; one of an earlier run does not outlive its reasons."""
    path = task.rejects or ("" if task.target == STDIO else f"{task.target}.rejects.jsonl")
    if tally.rejects and path:
        with write_lines(path) as out:
            out.writelines(f"{json.dumps(reject)}\n" for reject in tally.rejects)
    elif path and Path(path).is_file():
        Path(path).unlink()


def _summary(task: FileTask, tally: Tally, elapsed_s: float) -> str:
    rate = tally.n_lines / elapsed_s if elapsed_s > 0 else 0.0
    parts = [f"{task.name}: {tally.n_lines} lines, {tally.n_spans} spans, {elapsed_s:.1f} s ({rate:.0f} lines/s)"]
    if tally.rejects:
        reasons = Counter(reject["reason"] for reject in tally.rejects)
        listed = ", ".join(f"{reason} {n}" for reason, n in sorted(reasons.items()))
        parts.append(f"{len(tally.rejects)} rejected ({listed})")
    if tally.n_left:
        parts.append(f"{tally.n_left} {task.left}")
    return "; ".join(parts)


def _judge(task: FileTask, tally: Tally) -> int:
    reasons = {reject["reason"] for reject in tally.rejects}
    share = len(tally.rejects) / max(1, tally.n_lines)
    is_refused = reasons & {TORN_GZIP, EMPTY_FILE} or share > task.settings.ingest.max_reject_share
    if not is_refused:
        return int(ExitCode.OK)
    allowed = task.settings.ingest.max_reject_share
    figures = f"rejected={share:.3f} allowed={allowed:.3f}"
    print(f"{task.name}: REJECT_GATE {figures} (ingest.max_reject_share)", file=sys.stderr)
    return int(ExitCode.QUALITY_GATE)
