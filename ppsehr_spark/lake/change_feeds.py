"""From which versions a stage follows the change feeds of its inputs, and when it must compare whole tables instead.

Knows: ``control.runs`` and the commit histories of tables. Must not know: what a stage computes, Spark. A feed may be
followed only while everything it leads to is in the state that the last run of the same conf left; anything else is
compared in full, which ends in the same rows. Reference: Delta protocol, "Add CDC File" and "Commit Provenance".
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from ppsehr_spark.errors import ConfigurationError, InfrastructureError
from ppsehr_spark.lake.schemas import RUNS, TABLES, TableSpec
from ppsehr_spark.lake.table_log import read_commits, read_log
from ppsehr_spark.lake.tables import Lake

Versions = Mapping[str, int | None]
#: Commits that change no row: they neither hide nor undo what a stage has written.
_ROWLESS = frozenset(
    {
        "CREATE TABLE", "OPTIMIZE", "REORG", "VACUUM START", "VACUUM END", "SET TBLPROPERTIES", "UNSET TBLPROPERTIES",
        "UPGRADE PROTOCOL", "DROP FEATURE", "COMPUTE STATS", "CHANGE COLUMN",
    }
)  # fmt: skip
_GONE_HINT = (
    "changes can no longer be followed from the last run: run `ppsehr refresh --full`, or this stage with --full"
)


@dataclass(frozen=True)
class Pins:
    """What a run found when it started: table versions, the hash of its conf, and the name its commits carry."""

    stage: str = ""
    inputs: Versions = field(default_factory=dict)
    outputs: Versions = field(default_factory=dict)
    conf_fingerprint: str = ""
    writer: str = ""


@dataclass(frozen=True)
class Reading:
    """At which versions a stage reads its inputs.

    Attributes:
        versions: table -> version; ``None`` where the table is not there yet.
        since: table -> last version that is processed, -1 for none; ``None`` means: compare whole tables.
        outputs: table -> version that the stage found; what it appends is tied to it.
        reason: why changes are followed or not, for people.
    """

    versions: Versions
    since: Mapping[str, int] | None = None
    outputs: Versions = field(default_factory=dict)
    reason: str = ""

    @property
    def is_incremental(self) -> bool:
        """True when change feeds are followed."""
        return self.since is not None

    def span(self, spec: TableSpec) -> tuple[int, int] | None:
        """First and last version whose changes are new, or ``None`` when there are none."""
        end = self.versions.get(spec.full_name)
        if self.since is None or end is None:
            return None
        start = self.since[spec.full_name] + 1
        return (start, end) if start <= end else None

    def to_plan(self) -> dict[str, object]:
        """For ``--dry-run``: how the inputs would be read."""
        spans = {name: self.span(TABLES[name]) for name in self.versions}
        new = {name: list(span) for name, span in spans.items() if span}
        return {"reads": "changes" if self.is_incremental else "everything", "because": self.reason, "changes": new}


def read_newest(lake: Lake, specs: Sequence[TableSpec]) -> Reading:
    """Whole tables as they are now."""
    return Reading({spec.full_name: lake.version(spec) for spec in specs}, reason="whole tables asked for")


def plan_reading(lake: Lake, pins: Pins, *, is_full: bool = False) -> Reading:
    """Whether the stage may follow changes, and from where.

    Raises:
        ConfigurationError: ``CHANGE_FEED_GONE`` when they could be followed, had a log not been cleaned: a feed
            without its start silently skips.
    """
    if is_full:
        return Reading(pins.inputs, outputs=pins.outputs, reason="whole tables are compared: asked for")
    last = _last_run(lake, pins.stage)
    reason = _reason_against(lake, pins, last)
    if last is None or reason:
        return Reading(pins.inputs, outputs=pins.outputs, reason=f"whole tables are compared: {reason}")
    read = json.loads(last["input_versions"])
    since = {name: -1 if read[name] is None else int(read[name]) for name in pins.inputs}
    for name, version in pins.inputs.items():
        _check_feed(lake, TABLES[name], since=since[name], until=version)
    return Reading(pins.inputs, since, pins.outputs, f"follows changes since run {last['run_id']}")


def confirm_outputs(lake: Lake, pins: Pins) -> Versions:
    """The outputs' versions now, when nobody but this run changed rows in them since it started.

    Raises:
        InfrastructureError: ``STAGE_CONTENTION`` when another run of the stage wrote too: rows may be of either, so
            neither may vouch for the tables and the next run compares them in full.
    """
    versions = {name: lake.version(TABLES[name]) for name in pins.outputs}
    for name, version in versions.items():
        commits = _row_commits(lake, TABLES[name], since=pins.outputs[name], until=version)
        if any(commit.get("userMetadata") != pins.writer for commit in commits):
            hint = "two runs of one stage met; run it again when the other has ended"
            raise InfrastructureError("STAGE_CONTENTION", stage=pins.stage, table=name, hint=hint)
    return versions


def _last_run(lake: Lake, stage: str) -> dict[str, str] | None:
    """The last one that ended well; what a later one left that did not is seen in the versions of the outputs."""
    columns = ["run_id", "stage", "status", "input_versions", "output_versions", "conf_fingerprint", "started_at"]
    runs = [run for run in lake.read(RUNS, columns).to_pylist() if (run["stage"], run["status"]) == (stage, "ok")]
    return max(runs, key=lambda run: run["started_at"], default=None)


def _reason_against(lake: Lake, pins: Pins, last: Mapping[str, str] | None) -> str:
    """Why changes cannot be followed; empty when they can."""
    if last is None:
        return "no run of this stage ended well yet"
    if last["conf_fingerprint"] != pins.conf_fingerprint:
        return "conf, knowledge or code changed since the last run"
    if not set(pins.inputs) <= set(json.loads(last["input_versions"] or "{}")):
        return "the last run did not say what it had read"
    left: Versions = json.loads(last["output_versions"] or "{}")
    for name, version in pins.outputs.items():
        if name not in left or not _is_as_left(lake, TABLES[name], left=left[name], now=version):
            return f"{name} was written since the last recorded run"
    for name, version in pins.inputs.items():
        if version is not None and not _has_feed(lake, TABLES[name]):
            return f"{name} has no change feed"
    return ""


def _is_as_left(lake: Lake, spec: TableSpec, *, left: int | None, now: int | None) -> bool:
    if left == now:
        return True
    is_older = now is None or (left is not None and now < left)
    return not is_older and not _row_commits(lake, spec, since=left, until=now)


def _row_commits(lake: Lake, spec: TableSpec, *, since: int | None, until: int | None) -> list[dict[str, object]]:
    """Commits after ``since`` that may have changed rows; one whose log is gone counts as such."""
    if until is None or since == until:
        return []
    first = 0 if since is None else since + 1
    commits = dict(takewhile(lambda commit: commit[0] >= first, read_commits(lake, spec, until=until)))
    missing: dict[str, object] = {"operation": "?"}
    listed = (commits.get(version, missing) for version in range(first, until + 1))
    return [commit for commit in listed if commit.get("operation") not in _ROWLESS]


def _has_feed(lake: Lake, spec: TableSpec) -> bool:
    table = lake.open(spec)
    return table is not None and table.metadata().configuration.get("delta.enableChangeDataFeed") == "true"


def _check_feed(lake: Lake, spec: TableSpec, *, since: int, until: int | None) -> None:
    """The log entry of every version that is to be followed must be there, above all the first."""
    if until == since or (until is None and since < 0):
        return
    if until is None or until < since or not read_log(lake, spec).commits.keys() >= set(range(since + 1, until + 1)):
        raise feed_is_gone(spec, since=since)


def feed_is_gone(spec: TableSpec, *, since: int) -> ConfigurationError:
    """The error for a feed whose log is there but whose files are not (removed by VACUUM)."""
    return ConfigurationError("CHANGE_FEED_GONE", table=spec.full_name, since=since, hint=_GONE_HINT)
