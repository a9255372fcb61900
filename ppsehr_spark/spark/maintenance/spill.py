"""What Spark jobs leave on this machine beside the lake: spill folders of killed ones, and event logs.

Knows: ``spark.local.dir`` and the names that Spark gives to folders in it. Must not know: what was spilled (shuffle and
spill files are encrypted with a key that died with its job: spark.io.encryption in spark-defaults.conf). Executors on
other hosts clean their own folders with the container they ran in.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from pyspark.sql import SparkSession

_NAMES = ("blockmgr-", "spark-")


def list_spill(spark: SparkSession) -> list[Path]:
    """Folders of other jobs below ``spark.local.dir``, running or not."""
    own = {Path(folder).resolve() for folder in _own_folders(spark)}
    # where this session's own block folders lie: a cluster manager may have overridden spark.local.dir
    shared = Path(tempfile.gettempdir()).resolve()  # others' Spark may lie there: it is none of ours
    roots = sorted({folder.parent for folder in own if folder.name.startswith(_NAMES)} - {shared})
    found = [path for root in roots for path in sorted(root.glob("*")) if path.name.startswith(_NAMES)]
    return [path for path in found if path.is_dir() and not any(_holds(path.resolve(), mine) for mine in own)]


def remove_stale_spill(spark: SparkSession, *, hours: float) -> list[str]:
    """Delete the folders that nobody has touched for so long; returns their names."""
    border = time.time() - hours * 3600
    stale = [path for path in list_spill(spark) if _touched(path) < border]
    for path in stale:
        shutil.rmtree(path, ignore_errors=True)
    return [path.name for path in stale if not path.exists()]


def list_event_logs(spark: SparkSession) -> list[Path]:
    """The folder with event logs, where they are kept on this machine."""
    if spark.conf.get("spark.eventLog.enabled", "false") != "true":
        return []
    folder = urlsplit(spark.conf.get("spark.eventLog.dir", "") or "")
    return [Path(folder.path)] if folder.scheme in ("", "file") and Path(folder.path).is_dir() else []


def _own_folders(spark: SparkSession) -> Iterator[str]:
    environment = spark._jvm.org.apache.spark.SparkEnv.get()
    yield from map(str, environment.blockManager().diskBlockManager().localDirsString())
    if environment.driverTmpDir().isDefined():
        yield str(environment.driverTmpDir().get())


def _holds(folder: Path, inner: Path) -> bool:
    return folder == inner or folder in inner.parents


def _touched(path: Path) -> float:
    """Newest change anywhere in a folder, as seconds since 1970; a folder that goes meanwhile counts as new."""
    try:
        inside = (entry for folder, _, files in os.walk(path) for entry in (folder, *(f"{folder}/{f}" for f in files)))
        return max(os.stat(entry).st_mtime for entry in inside)
    except FileNotFoundError:
        return time.time()
