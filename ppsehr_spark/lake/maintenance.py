"""What maintenance would do to each table, and why it keeps what it keeps.

Knows: file counts, versions, retention, watermarks, releases. Must not know: engines that rewrite files. Three things
hold history back beyond the retention: a stage whose watermark is older (its change feed starts there), a release that
is still current (its version stays readable from the day it was released), and the lack of a checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

import pyarrow as pa
from deltalake import DeltaTable, QueryBuilder

from ppsehr_spark.config import MaintainSettings
from ppsehr_spark.errors import ConfigurationError
from ppsehr_spark.lake.schemas import RELEASES, TABLES, TableSpec
from ppsehr_spark.lake.table_log import TableLog, list_data_files, prunable_entries, read_log
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.lake.watermarks import Watermark, oldest_needed, read_watermarks

KEEP, REFUSE = "keep", "refuse"
#: A commit's change files are older than the commit, by as long as its job ran.
_MARGIN_HOURS = 12
_MIB = 1 << 20


@dataclass(frozen=True)
class TablePlan:
    """What maintenance finds in one table and would do to it.

    Attributes:
        n_small_files: files below half the target size.
        n_deleted_rows: rows that deletion vectors hide, still in their files.
        n_stale_files, stale_bytes: files on disk that the newest version does not hold.
        keep_version: oldest version that stays readable.
        retention_hours: what VACUUM is told.
        n_log_entries: log files that can go today; a new checkpoint may free more.
        held_back_by: stage or ``release`` that needs more than the retention, empty for none.
        is_feed_cut: a stage has yet to read changes whose log is gone already.
    """

    table: str
    engine: str
    version: int
    n_files: int
    n_bytes: int
    n_small_files: int
    n_deleted_rows: int
    n_stale_files: int
    stale_bytes: int
    keep_version: int
    retention_hours: int
    n_log_entries: int
    held_back_by: str
    is_feed_cut: bool
    is_compacted: bool
    is_purged: bool

    @property
    def spec(self) -> TableSpec:
        """The table's contract."""
        return TABLES[self.table]

    def to_plain(self) -> dict[str, object]:
        """Fields as names and figures, for ``--dry-run``."""
        return asdict(self)


def check_retention(chosen: MaintainSettings) -> None:
    """Refuse settings under which a refresh could lose the start of its feed.

    Raises:
        ConfigurationError: ``RETENTION_TOO_SHORT`` or ``LATE_CONSUMER``.
    """
    if chosen.late_consumer not in (KEEP, REFUSE):
        raise ConfigurationError("LATE_CONSUMER", hint=f"maintain.late_consumer is {KEEP} or {REFUSE}")
    if chosen.retention_hours <= chosen.feed_lag_hours:
        hint = "maintain.retention_hours must be longer than maintain.feed_lag_hours"
        raise ConfigurationError(
            "RETENTION_TOO_SHORT",
            retention_hours=chosen.retention_hours,
            feed_lag_hours=chosen.feed_lag_hours,
            hint=hint,
        )


def plan_tables(lake: Lake, chosen: MaintainSettings, *, now: datetime | None = None) -> list[TablePlan]:
    """One plan per table of the lake that exists.

    Raises:
        ConfigurationError: ``RETENTION_TOO_SHORT``, ``LATE_CONSUMER``, or ``FEED_IN_USE`` where ``late_consumer`` is
            ``refuse`` and a stage has read less than the retention leaves.
    """
    check_retention(chosen)
    moment = now or datetime.now(UTC)
    marks, released = read_watermarks(lake), _released_since(lake)
    plans = []
    for spec in TABLES.values():
        table = lake.open(spec)
        if table is not None:
            mark, since = oldest_needed(marks, spec), released.get(spec.full_name)
            plans.append(_plan(lake, spec, table, chosen, now=moment, mark=mark, since=since))
    return plans


def _plan(
    lake: Lake,
    spec: TableSpec,
    table: DeltaTable,
    chosen: MaintainSettings,
    *,
    now: datetime,
    mark: Watermark | None,
    since: datetime | None,
) -> TablePlan:
    log, version = read_log(lake, spec), table.version()
    sizes, n_records = _read_files(table)
    small = [size for size in sizes.values() if size < chosen.target_file_mib * _MIB // 2]
    n_deleted = max(0, n_records - _count_rows(table)) if spec.has_deletion_vectors else 0
    on_disk = list_data_files(lake, spec)
    stale = {name: size for name, size in on_disk.items() if name not in sizes}
    keep_version, held_back_by = _keep(log, version, spec, chosen, now=now, mark=mark, since=since)
    return TablePlan(
        table=spec.full_name,
        engine=spec.engine,
        version=version,
        n_files=len(sizes),
        n_bytes=sum(sizes.values()),
        n_small_files=len(small),
        n_deleted_rows=n_deleted,
        n_stale_files=len(stale),
        stale_bytes=sum(stale.values()),
        keep_version=keep_version,
        retention_hours=_vacuum_hours(log, version, keep_version, chosen, now=now, is_held=bool(held_back_by)),
        n_log_entries=len(prunable_entries(log, keep_version=keep_version)),
        held_back_by=held_back_by,
        is_feed_cut=mark is not None and mark.version < version and mark.version + 1 < (log.oldest or 0),
        is_compacted=len(small) >= max(2, chosen.min_small_files),
        is_purged=bool(n_records) and n_deleted / n_records > chosen.max_deleted_share,
    )


def _keep(
    log: TableLog,
    version: int,
    spec: TableSpec,
    chosen: MaintainSettings,
    *,
    now: datetime,
    mark: Watermark | None,
    since: datetime | None,
) -> tuple[int, str]:
    """Oldest version to keep, and who holds it below what the retention alone would leave."""
    plain = log.version_at(now - timedelta(hours=chosen.retention_hours))
    keep, held_back_by = (version if plain is None else plain), ""
    if mark is not None and mark.version < keep:
        if chosen.late_consumer == REFUSE:
            hint = "run that stage first, or set maintain.late_consumer to keep"
            raise ConfigurationError(
                "FEED_IN_USE", table=spec.full_name, stage=mark.stage, version=mark.version, hint=hint
            )
        keep, held_back_by = mark.version, mark.stage
    first = None if since is None else log.version_at(since)
    return (first, "release") if first is not None and first < keep else (keep, held_back_by)


def _vacuum_hours(
    log: TableLog, version: int, keep_version: int, chosen: MaintainSettings, *, now: datetime, is_held: bool
) -> int:
    """Hours that VACUUM must leave so that ``keep_version`` and every change after it can be read."""
    written = log.commits.get(keep_version)
    if not is_held or keep_version >= version:
        return chosen.retention_hours
    if written is None:  # older than the log: whatever still lies there must stay
        written = min(log.commits.values(), default=now)
    age = math.ceil((now - written).total_seconds() / 3600)
    return max(chosen.retention_hours, age + _MARGIN_HOURS)


def _released_since(lake: Lake) -> Mapping[str, datetime]:
    """Released table -> when its current release became current."""
    rows = lake.read(RELEASES, ["table", "released_at"]).to_pylist()
    newest: dict[str, datetime] = {}
    for row in rows:
        newest[row["table"]] = max(row["released_at"], newest.get(row["table"], row["released_at"]))
    return newest


def _read_files(table: DeltaTable) -> tuple[dict[str, int], int]:
    """Live file -> bytes, and the rows in them before deletion vectors."""
    actions = table.get_add_actions(flatten=True)
    paths, sizes = actions.column("path").to_pylist(), actions.column("size_bytes").to_pylist()
    n_records = sum(number or 0 for number in actions.column("num_records").to_pylist())
    return dict(zip(paths, sizes, strict=True)), n_records


def _count_rows(table: DeltaTable) -> int:
    return int(pa.table(QueryBuilder().register("t", table).execute("SELECT count(*) AS n FROM t"))["n"][0].as_py())
