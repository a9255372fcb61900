"""Trained models in the lake: a folder of files below the lake root and one row about each.

Knows: where the folder lies, on any file system that Arrow opens, and how the row is written once. Must not know: how a
model is trained or loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import fs

from ppsehr_spark.errors import InfrastructureError
from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.locations import open_file_system
from ppsehr_spark.lake.tables import Lake

_FOLDER = "protected/checkpoint_files"
#: Where a training keeps what it could resume from; gone when it has ended.
_RUNS_FOLDER = f"{_FOLDER}/.runs"


@dataclass(frozen=True)
class Place:
    """A folder on a file system."""

    filesystem: fs.FileSystem
    path: str


def checkpoint_path(checkpoint_id: str) -> str:
    """Folder of a checkpoint, below the lake root."""
    return f"{_FOLDER}/{checkpoint_id}"


def run_place(lake: Lake, name: str) -> Place:
    """Folder in which the training of this name keeps its resumable states."""
    return locate(lake, f"{_RUNS_FOLDER}/{name}")


def locate(lake: Lake, path: str) -> Place:
    """A folder below the lake root.

    Raises:
        ConfigurationError: ``LAKE_SCHEME`` when Arrow knows no such file system.
    """
    filesystem, base = open_file_system(lake.uri)
    return Place(filesystem, f"{base}/{path}")


def store_checkpoint(lake: Lake, folder: Path, *, checkpoint_id: str) -> None:
    """Copy a folder of this machine to where checkpoints lie; what a killed copy left there is replaced.

    Raises:
        InfrastructureError: ``CHECKPOINT_COPY``.
    """
    target = locate(lake, checkpoint_path(checkpoint_id))
    _remove(target)
    _copy(Place(fs.LocalFileSystem(), str(folder)), target)


def fetch_folder(place: Place, folder: Path) -> Path:
    """Copy a folder from wherever it lies into an existing one of this machine, and return that.

    Raises:
        InfrastructureError: ``CHECKPOINT_COPY``.
    """
    _copy(place, Place(fs.LocalFileSystem(), str(folder)))
    return folder


def remove_run(lake: Lake, name: str) -> None:
    """Delete the resumable states of a training."""
    _remove(run_place(lake, name))


def write_checkpoint_row(lake: Lake, row: Mapping[str, Any]) -> bool:
    """One row of protected.checkpoints, once for ever; False when it stood there."""
    table = pa.Table.from_pylist([dict(row)], schema=schemas.CHECKPOINTS.schema)
    return lake.append(schemas.CHECKPOINTS, table, app_id=f"train.checkpoint.{row['checkpoint_id']}", app_version=1)


def write_membership_scores(lake: Lake, rows: list[dict[str, Any]], *, checkpoint_id: str) -> bool:
    """All scores of one checkpoint, once for ever; False when they stood there."""
    table = pa.Table.from_pylist(rows, schema=schemas.MEMBERSHIP_SCORES.schema)
    app_id = f"train.membership.{checkpoint_id}"
    return lake.append(schemas.MEMBERSHIP_SCORES, table, app_id=app_id, app_version=1)


def has_membership_scores(lake: Lake, *, checkpoint_id: str) -> bool:
    """True when the scores of this checkpoint are there."""
    return checkpoint_id in lake.read(schemas.MEMBERSHIP_SCORES, ["checkpoint_id"]).column(0).to_pylist()


def _remove(place: Place) -> None:
    if place.filesystem.get_file_info(place.path).type == fs.FileType.Directory:
        place.filesystem.delete_dir(place.path)


def _copy(source: Place, target: Place) -> None:
    target.filesystem.create_dir(target.path, recursive=True)
    try:
        fs.copy_files(
            source.path, target.path, source_filesystem=source.filesystem, destination_filesystem=target.filesystem
        )
    except OSError as error:
        raise InfrastructureError("CHECKPOINT_COPY", error=type(error).__name__) from None
