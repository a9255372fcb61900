"""Segments that were given up: they are asked again only after somebody said so.

Knows: phi.dead_letters, whose newest row per segment says whether it is given up or open again. Must not know: why an
engine failed, text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from ppsehr_spark.lake.fenced_commits import Fence, commit_fenced
from ppsehr_spark.lake.schemas import DEAD_LETTERS
from ppsehr_spark.lake.tables import Lake

_COLUMNS = ("sequence", "segment_key", "unit_id", "is_replay", "error_code")


def read_dead(lake: Lake, *, error_code: str = "", version: int | None = None) -> dict[str, dict[str, Any]]:
    """Segments given up and not opened since: key -> unit and error code.

    Args:
        error_code: only those that failed with it; all by default.
    """
    newest: dict[str, dict[str, Any]] = {}
    for row in lake.read(DEAD_LETTERS, _COLUMNS, version=version).sort_by("sequence").to_pylist():
        newest[row["segment_key"]] = row
    return {key: row for key, row in newest.items() if not row["is_replay"] and error_code in ("", row["error_code"])}


def count_dead(lake: Lake, *, error_code: str = "") -> dict[str, int]:
    """Error code -> segments given up with it."""
    return dict(sorted(Counter(row["error_code"] for row in read_dead(lake, error_code=error_code).values()).items()))


def give_up(lake: Lake, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write dead letters (``segment_key``, ``unit_id``, ``error_code``, ``attempts``, ``engine``, ``run_id``).

    A segment that is given up already gets no second letter, so a repeated commit and a second driver add nothing.
    """

    def attempt(fence: Fence) -> None:
        known = read_dead(lake, version=fence.table.version())
        _append(fence, [{**row, "is_replay": False} for row in rows if row["segment_key"] not in known])

    commit_fenced(lake, DEAD_LETTERS, attempt)


def reopen(lake: Lake, *, error_code: str = "", run_id: str) -> list[str]:
    """Open segments again, all or those of one error code; returns their keys."""

    def attempt(fence: Fence) -> list[str]:
        dead = read_dead(lake, error_code=error_code, version=fence.table.version())
        about = {"attempts": 0, "engine": "", "run_id": run_id, "is_replay": True}
        _append(fence, [{**row, **about} for row in dead.values()])
        return list(dead)

    return commit_fenced(lake, DEAD_LETTERS, attempt)


def _append(fence: Fence, rows: Iterable[Mapping[str, Any]]) -> None:
    content = [{**row, "sequence": fence.sequence} for row in rows]
    if content:
        fence.append(pa.Table.from_pylist(content, schema=DEAD_LETTERS.schema))
