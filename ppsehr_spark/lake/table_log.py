"""The commit log of a Delta table as files: which versions can be read, and the clean-up of those nobody needs.

Knows: the names of log files. Must not know: what a commit says. Reference: Delta protocol, "Delta Log Entries",
"Checkpoints" and "Metadata Cleanup": entries before a checkpoint may go once no reader needs a version before it.
Both engines clean their logs by whole days and by table properties alone; here the caller says from which version on
a table must stay readable, and nothing at or after the checkpoint before it is touched.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pyarrow import fs

from ppsehr_spark.errors import InfrastructureError
from ppsehr_spark.lake.checkpoint_store import Place, locate
from ppsehr_spark.lake.table_spec import TableSpec
from ppsehr_spark.lake.tables import Lake

_LOG = "_delta_log"
#: ``<version>.json|crc|compacted.json|checkpoint...``; everything else in the folder is not an entry.
_ENTRY = re.compile(r"(\d{20})\.(?:(json|crc)|(checkpoint)\..*parquet|(checkpoint)\..*json|(\d{20})\.compacted\.json)")


@dataclass(frozen=True)
class TableLog:
    """What lies in the log folder of one table.

    Attributes:
        commits: version -> when its entry was written (the clock of the file system, which VACUUM goes by).
        checkpoints: versions with a checkpoint.
        entries: path -> version, over all kinds of entries.
    """

    commits: Mapping[int, datetime] = field(default_factory=dict)
    checkpoints: frozenset[int] = frozenset()
    entries: Mapping[str, int] = field(default_factory=dict)

    @property
    def oldest(self) -> int | None:
        """Oldest commit that is still there, ``None`` without a log."""
        return min(self.commits, default=None)

    def version_at(self, at: datetime) -> int | None:
        """The version that was current at a moment; the oldest one when the log does not reach back so far."""
        before = [version for version, written in self.commits.items() if written <= at]
        return max(before, default=self.oldest)


def read_log(lake: Lake, spec: TableSpec) -> TableLog:
    """List the log folder of a table; an empty log when there is none."""
    place = locate(lake, f"{spec.path}/{_LOG}")
    commits: dict[int, datetime] = {}
    checkpoints: set[int] = set()
    entries: dict[str, int] = {}
    for info in place.filesystem.get_file_info(fs.FileSelector(place.path, allow_not_found=True)):
        name = info.base_name
        is_checksum = name.startswith(".") and name.endswith(".crc")  # Hadoop's own, beside each file on a local disk
        match = _ENTRY.fullmatch(name[1:-4] if is_checksum else name)
        if match is None or info.type != fs.FileType.File:
            continue
        version = int(match[1])
        entries[info.path] = version
        if is_checksum:
            continue
        if match[2] == "json":
            commits[version] = info.mtime or datetime.now(UTC)
        if match[3] or match[4]:
            checkpoints.add(version)
    return TableLog(commits, frozenset(checkpoints), entries)


def prunable_entries(log: TableLog, *, keep_version: int) -> list[str]:
    """Log files that go when every version from ``keep_version`` on must stay readable, oldest first."""
    borders = [version for version in log.checkpoints if version <= keep_version]
    if not borders:
        return []
    border = max(borders)
    return sorted((path for path, version in log.entries.items() if version < border), key=lambda p: log.entries[p])


def prune_log(lake: Lake, spec: TableSpec, *, keep_version: int) -> list[str]:
    """Delete the entries that ``prunable_entries`` names; returns their file names.

    Oldest first: a clean-up that is killed leaves a log without a gap.

    Raises:
        InfrastructureError: ``LOG_CLEANUP`` when a file cannot be deleted.
    """
    place = locate(lake, f"{spec.path}/{_LOG}")
    gone = prunable_entries(read_log(lake, spec), keep_version=keep_version)
    for path in gone:
        _delete(place, path, spec)
    return [path.rsplit("/", 1)[-1] for path in gone]


def read_commits(lake: Lake, spec: TableSpec, *, until: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Version and commitInfo of each commit up to ``until``, newest first.

    Read from the files themselves: ``DeltaTable.history`` counts down from the version of its snapshot, which mislabels
    every commit as soon as a newer one is there.
    """
    place = locate(lake, f"{spec.path}/{_LOG}")
    for version in sorted(read_log(lake, spec).commits, reverse=True):
        if version <= until:
            with place.filesystem.open_input_stream(f"{place.path}/{version:020d}.json") as stream:
                lines = bytes(stream.read()).splitlines()
            told = (json.loads(line).get("commitInfo") for line in lines if b"commitInfo" in line)
            yield version, next((info for info in told if info), {})


def list_data_files(lake: Lake, spec: TableSpec) -> dict[str, int]:
    """Path below the table -> bytes of every data file on disk, change files included, live or not.

    Deletion vectors, the log and checksum files that Hadoop hides are left out.
    """
    place = locate(lake, spec.path)
    selector = fs.FileSelector(place.path, recursive=True, allow_not_found=True)
    prefix = place.path.rstrip("/") + "/"
    return {
        name: info.size or 0
        for info in place.filesystem.get_file_info(selector)
        if info.type == fs.FileType.File
        and not (name := info.path.removeprefix(prefix)).startswith(_LOG)
        and not info.base_name.startswith((".", "deletion_vector_"))
    }


def _delete(place: Place, path: str, spec: TableSpec) -> None:
    try:
        place.filesystem.delete_file(path)
    except FileNotFoundError:
        return  # the other engine's own clean-up was first
    except OSError as error:
        raise InfrastructureError("LOG_CLEANUP", table=spec.full_name, error=type(error).__name__) from None
