"""The working folder of an unfinished erasure, and the files of finished ones.

Knows: where the list of keys, the strings to search for and the marks of finished steps lie. Must not know: what a
step does. Once rows are gone nobody can derive the list again, so it is written down first and stays until the
certificate stands: an erasure that is killed anywhere goes on from its marks. The folder is in the ``phi`` zone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from ppsehr_spark.lake.checkpoint_store import Place, locate
from ppsehr_spark.lake.tables import Lake

FOLDER = "phi/erasure_work"
CERTIFICATES = "control/erasure_certificates"


@dataclass(frozen=True)
class ErasureWork:
    """The folder of one erasure."""

    lake: Lake
    erasure_id: str

    @property
    def path(self) -> str:
        """Below the lake root."""
        return f"{FOLDER}/{self.erasure_id}"

    @property
    def place(self) -> Place:
        """For Arrow; made when it is missing."""
        place = locate(self.lake, self.path)
        place.filesystem.create_dir(place.path, recursive=True)
        return place

    def keys_uri(self, kind: str) -> str:
        """For Spark: folder with one column ``key``."""
        root = self.lake.uri.rstrip("/") if "://" in self.lake.uri else f"file://{self._local_root()}"
        return f"{root}/{self.path}/{kind}"

    def write_keys(self, kind: str, keys: Iterable[str]) -> None:
        """A small list of keys, from this process."""
        place = self.place
        place.filesystem.create_dir(f"{place.path}/{kind}", recursive=True)
        table = pa.table({"key": pa.array(sorted(set(keys)), pa.string())})
        pq.write_table(table, f"{place.path}/{kind}/keys.parquet", filesystem=place.filesystem)

    def read_rows(self, kind: str) -> pa.Table:
        """All rows of a list, whoever wrote it."""
        place = self.place
        return pq.read_table(f"{place.path}/{kind}", filesystem=place.filesystem)

    def read_keys(self, kind: str) -> pa.Array:
        """The keys of a list."""
        keys: pa.Array = self.read_rows(kind)["key"].combine_chunks()
        return keys

    def mark(self, step: str, told: Mapping[str, Any] | None = None) -> None:
        """Note down that a step is done, with what it came to."""
        write_text(self.place, f"{step}.json", json.dumps(told or {}, ensure_ascii=False, sort_keys=True))

    def done(self, step: str) -> dict[str, Any] | None:
        """What a step came to; ``None`` when it has not been done."""
        text = read_text(self.place, f"{step}.json")
        return None if text is None else dict(json.loads(text))

    def unmark(self, *prefixes: str) -> None:
        """Forget that steps are done, so that the next run does them again."""
        place = self.place
        for info in place.filesystem.get_file_info(fs.FileSelector(place.path)):
            if info.base_name.startswith(prefixes) and info.base_name.endswith(".json"):
                place.filesystem.delete_file(info.path)

    def remove(self) -> None:
        """Delete the folder: the last step."""
        place = self.place
        place.filesystem.delete_dir(place.path)

    def _local_root(self) -> str:
        return locate(self.lake, "").path.rstrip("/")


def list_open(lake: Lake) -> list[ErasureWork]:
    """Erasures whose folder is still there, by id."""
    place = locate(lake, FOLDER)
    found = place.filesystem.get_file_info(fs.FileSelector(place.path, allow_not_found=True))
    return [ErasureWork(lake, info.base_name) for info in sorted(found, key=lambda info: str(info.base_name))]


def write_certificate(lake: Lake, erasure_id: str, *, json_text: str, zh_text: str) -> str:
    """Both forms of a certificate; returns the path of the JSON file below the lake root."""
    place = locate(lake, CERTIFICATES)
    place.filesystem.create_dir(place.path, recursive=True)
    write_text(place, f"{erasure_id}.zh.txt", zh_text)
    write_text(place, f"{erasure_id}.json", json_text)
    return f"{CERTIFICATES}/{erasure_id}.json"


def write_text(place: Place, name: str, text: str) -> None:
    """Put a file there, whole or not at all."""
    path = f"{place.path}/{name}"
    with place.filesystem.open_output_stream(f"{path}.part") as stream:
        stream.write(text.encode())
    place.filesystem.move(f"{path}.part", path)


def read_text(place: Place, name: str) -> str | None:
    """A file's text, ``None`` when it is not there."""
    path = f"{place.path}/{name}"
    if place.filesystem.get_file_info(path).type != fs.FileType.File:
        return None
    with place.filesystem.open_input_stream(path) as stream:
        return bytes(stream.read()).decode()
