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


@dataclass(frozen=True)
class RunStart:
    """What is known of a run before its body starts.

    Attributes:
        fingerprint: hash of input versions, conf and code; empty for a stage that never skips.
        conf_fingerprint: the same without inputs.
        input_versions: table -> version.
        work_rows: rows of the work ahead; ``None`` where nobody can say.
        resources: knowledge, prompts, model, tagger.
        clock: reading of this process's clock at the start; ``None`` where nobody knows how long the run took.
    """

    run_id: str
    stage: str
    fingerprint: str = ""
    conf_fingerprint: str = ""
    input_versions: Mapping[str, int | None] = field(default_factory=dict)
    work_rows: int | None = None
    resources: Mapping[str, object] = field(default_factory=dict)
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    clock: float | None = field(default_factory=time.monotonic)


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


def append_run(lake: Lake, settings: Settings, start: RunStart, end: RunEnd, *, app_id: str = "") -> dict[str, Any]:
    """Write the row and return it; under an ``app_id`` it is written once, however often it is tried."""
    seconds = None if start.clock is None else time.monotonic() - start.clock
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
        "cost": None if seconds is None else price_run(settings, stage=start.stage, tokens=tokens, seconds=seconds),
        "library_versions": json.dumps(library_versions(), sort_keys=True),
        "resource_versions": json.dumps(dict(start.resources), sort_keys=True),
        "conf_fingerprint": start.conf_fingerprint,
        "conf_hash": settings.conf_hash,
        "code_version": __version__,
        "started_at": start.started_at,
        "seconds": seconds,
    }
    rows = pa.Table.from_pylist([row], schema=schemas.RUNS.schema)
    lake.append(schemas.RUNS, rows, app_id=app_id, app_version=int(bool(app_id)))
    return row


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


def _token_columns(tokens: Tokens) -> dict[str, int | None]:
    return {"prompt_tokens": tokens.prompt, "cached_tokens": tokens.cached, "output_tokens": tokens.output}
