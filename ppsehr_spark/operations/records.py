"""``control.runs``: one row for every stage run that ended, well or not.

Knows: the columns and which row says that a stage is done. Must not know: what a stage does, Spark, Ray. A row of a
failed run holds the code of its error, never a message.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from ppsehr_spark import __version__
from ppsehr_spark.config import Settings
from ppsehr_spark.errors import ExitCode, PpsehrError
from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.operations.costs import Tokens, price_run, read_tokens
from ppsehr_spark.operations.versions import library_versions

OK, PARTIAL, FAILED, INTERRUPTED = "ok", "partial", "failed", "interrupted"
#: A stage process that ended without leaving a row: killed, out of memory, or at a crash point of a test.
PROCESS_DIED = "PROCESS_DIED"


@dataclass(frozen=True)
class RunStart:
    """What is known of a run before its body starts.

    Attributes:
        fingerprint: hash of input versions, conf and code; empty for a stage that never skips.
        conf_fingerprint: the same without inputs.
        input_versions: table -> version.
        work_rows: rows of the work ahead; ``None`` where nobody can say.
        resources: knowledge, prompts, model, tagger.
    """

    run_id: str
    stage: str
    fingerprint: str = ""
    conf_fingerprint: str = ""
    input_versions: Mapping[str, int | None] = field(default_factory=dict)
    work_rows: int | None = None
    resources: Mapping[str, object] = field(default_factory=dict)
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    clock: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class RunEnd:
    """How a run ended."""

    status: str
    exit_code: int
    error_code: str = ""
    counts: Mapping[str, int | float] = field(default_factory=dict)
    output_versions: Mapping[str, int | None] = field(default_factory=dict)


def end_of_error(error: BaseException) -> RunEnd:
    """The end that an exception makes; a foreign one is told by its class."""
    if isinstance(error, KeyboardInterrupt | SystemExit):
        return RunEnd(INTERRUPTED, int(ExitCode.INFRASTRUCTURE), "INTERRUPTED")
    if isinstance(error, PpsehrError):
        status = PARTIAL if error.exit_code == ExitCode.PARTIAL else FAILED
        return RunEnd(status, int(error.exit_code), error.code)
    return RunEnd(FAILED, int(ExitCode.INFRASTRUCTURE), f"UNEXPECTED.{type(error).__name__}")


def append_run(lake: Lake, settings: Settings, start: RunStart, end: RunEnd) -> dict[str, Any]:
    """Write the row and return it."""
    seconds = time.monotonic() - start.clock
    tokens = read_tokens(end.counts)
    row = {
        "run_id": start.run_id,
        "stage": start.stage,
        "fingerprint": start.fingerprint,
        "status": end.status,
        "exit_code": end.exit_code,
        "error_code": end.error_code or None,
        "counts": json.dumps(dict(end.counts), sort_keys=True),
        "input_versions": json.dumps(dict(start.input_versions), sort_keys=True),
        "output_versions": json.dumps(dict(end.output_versions), sort_keys=True),
        "work_rows": start.work_rows,
        **_token_columns(tokens),
        "cost": price_run(settings, stage=start.stage, tokens=tokens, seconds=seconds),
        "library_versions": json.dumps(library_versions(), sort_keys=True),
        "resource_versions": json.dumps(dict(start.resources), sort_keys=True),
        "conf_fingerprint": start.conf_fingerprint,
        "conf_hash": settings.conf_hash,
        "code_version": __version__,
        "started_at": start.started_at,
        "seconds": seconds,
    }
    lake.append(schemas.RUNS, pa.Table.from_pylist([row], schema=schemas.RUNS.schema))
    return row


def record_death(lake: Lake, settings: Settings, start: RunStart, *, exit_code: int, wait_s: float = 0.0) -> bool:
    """Write the row that a killed stage could not write; True when one was missing.

    Args:
        wait_s: how long the stage may still take to write its own: a Spark driver outlives its JVM for a moment.
    """
    deadline = time.monotonic() + wait_s
    while not (has_row := _has_row(lake, start)) and time.monotonic() < deadline:
        time.sleep(1.0)
    if not has_row:
        append_run(lake, settings, start, RunEnd(INTERRUPTED, exit_code, PROCESS_DIED))
    return not has_row


def read_runs(lake: Lake, stage: str = "") -> list[dict[str, Any]]:
    """Rows of one stage, or of all, the oldest first."""
    rows: list[dict[str, Any]] = lake.read(schemas.RUNS).to_pylist()
    return sorted((row for row in rows if stage in ("", row["stage"])), key=lambda row: row["started_at"])


def is_done(lake: Lake, stage: str, fingerprint: str) -> bool:
    """True when the stage's last run had the same inputs and ended well.

    What an older one wrote is written over, and a run that failed may have written before it did.
    """
    runs = read_runs(lake, stage)
    return bool(runs) and (runs[-1]["fingerprint"], runs[-1]["status"]) == (fingerprint, OK)


def _has_row(lake: Lake, start: RunStart) -> bool:
    """Whether this very run has its row: of the same run id, not older than the start (a run may be taken up again)."""
    runs = [run for run in read_runs(lake, start.stage) if run["run_id"] == start.run_id]
    return any(run["started_at"] >= start.started_at for run in runs)


def _token_columns(tokens: Tokens) -> dict[str, int | None]:
    return {"prompt_tokens": tokens.prompt, "cached_tokens": tokens.cached, "output_tokens": tokens.output}
