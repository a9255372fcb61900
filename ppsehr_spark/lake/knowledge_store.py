"""The knowledge base on Delta: versions, refusals and steps back in ``phi.knowledge``; the last row counts.

Knows: rows, numbering, how the version in force is laid over conf. Must not know: how an entry is proposed or scored.
Rows are only appended, each on the history that its writer saw, so two writers cannot both make the next version.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from ppsehr_spark.config import Settings
from ppsehr_spark.domain.knowledge.applying import apply_entries
from ppsehr_spark.domain.knowledge.entries import KnowledgeEntry, entry_from_plain, entry_to_plain
from ppsehr_spark.errors import InfrastructureError, UsageError
from ppsehr_spark.evaluation.knowledge_search import Trial
from ppsehr_spark.lake.schemas import KNOWLEDGE
from ppsehr_spark.lake.tables import Lake

VERSION, REFUSAL, ROLLBACK = "version", "refusal", "rollback"
_APP_ID = "phi.knowledge"


@dataclass(frozen=True)
class KnowledgeVersion:
    """What is in force after one row.

    Attributes:
        version: number; 0 is conf alone.
        entries: all of them, in order.
        sequence: the row; 0 before the first.
    """

    version: int = 0
    entries: tuple[KnowledgeEntry, ...] = ()
    sequence: int = 0


def read_history(lake: Lake) -> list[dict[str, Any]]:
    """All rows, the oldest first."""
    return sorted(lake.read(KNOWLEDGE).to_pylist(), key=lambda row: row["sequence"])


def read_current(lake: Lake) -> KnowledgeVersion:
    """The version in force."""
    rows = read_history(lake)
    return version_of(rows[-1]) if rows else KnowledgeVersion()


def find_version(lake: Lake, version: int) -> KnowledgeVersion:
    """A version by its number.

    Raises:
        UsageError: ``KNOWLEDGE_VERSION`` when there is none of that number.
    """
    rows = [row for row in read_history(lake) if row["version"] == version]
    if not rows and version != 0:
        raise UsageError("KNOWLEDGE_VERSION", version=version, hint="--list shows the versions there are")
    return version_of(rows[-1]) if rows else KnowledgeVersion()


def list_withdrawn(lake: Lake) -> frozenset[tuple[str, str]]:
    """(category, wording) of what a step back took out of force, in whatever role.

    It returns only by a step to a version that has it.
    """
    withdrawn: set[tuple[str, str]] = set()
    before: set[tuple[str, str]] = set()
    for row in read_history(lake):
        now = {(entry["category"], entry["text"]) for entry in row["entries"] or ()}
        withdrawn |= before - now if row["action"] == ROLLBACK else set()
        withdrawn -= now
        before = now
    return frozenset(withdrawn)


def version_of(row: Mapping[str, Any]) -> KnowledgeVersion:
    """The version in force after a row."""
    entries = tuple(entry_from_plain(entry) for entry in row["entries"] or ())
    return KnowledgeVersion(row["version"], entries, row["sequence"])


def with_knowledge(lake: Lake, settings: Settings) -> Settings:
    """Settings whose conf files hold the version in force; without one, the same settings.

    Raises:
        ConfigurationError: ``KNOWLEDGE_ENTRY`` when conf no longer has the file that an entry extends.
    """
    entries = read_current(lake).entries
    return dataclasses.replace(settings, files=apply_entries(settings.files, entries)) if entries else settings


def append_row(
    lake: Lake,
    before: KnowledgeVersion,
    *,
    action: str,
    entries: Sequence[KnowledgeEntry],
    version: int | None = None,
    trials: Sequence[Mapping[str, Any]] = (),
    values: Mapping[str, Any],
) -> int:
    """Append the row after ``before``.

    Args:
        before: what was in force when the decision was made.
        action: ``version`` takes the next free number, ``refusal`` keeps the one in force, ``rollback`` names one.
        values: the other columns; missing ones are null.

    Returns:
        Number of the version that is in force now.

    Raises:
        InfrastructureError: ``KNOWLEDGE_CHANGED`` when somebody else has written a row since.
    """
    now = datetime.now(UTC)
    numbers = [row["version"] for row in read_history(lake)]
    number = max(numbers, default=0) + 1 if action == VERSION else before.version if version is None else version
    row = {
        **{name: None for name in KNOWLEDGE.schema.names},
        **values,
        "sequence": before.sequence + 1,
        "action": action,
        "version": number,
        "entries": [_entry_row(entry, now) for entry in entries],
        "trials": list(trials),
        "made_at": now,
    }
    table = pa.Table.from_pylist([row], schema=KNOWLEDGE.schema)
    if not lake.append(KNOWLEDGE, table, app_id=_APP_ID, app_version=before.sequence + 1):
        raise InfrastructureError(
            "KNOWLEDGE_CHANGED", hint="another run was faster; run again to decide on its version"
        )
    return number


def trial_row(trial: Trial, run_id: str) -> dict[str, Any]:
    """A proposal with the gate's word on it, as phi.knowledge holds it."""
    return {
        **entry_to_plain(trial.entry),
        "run_id": run_id,
        "stage": trial.stage,
        "outcome": trial.verdict.outcome,
        "fallen": list(trial.verdict.fallen),
        "macro_before": trial.before.macro,
        "macro_after": trial.after.macro if trial.after else None,
        "figures_after": json.dumps(trial.after.f1, ensure_ascii=False, sort_keys=True) if trial.after else None,
    }


def _entry_row(entry: KnowledgeEntry, now: datetime) -> dict[str, Any]:
    plain = entry_to_plain(entry)
    return {**plain, "made_at": plain["made_at"] or now.isoformat(timespec="seconds")}
