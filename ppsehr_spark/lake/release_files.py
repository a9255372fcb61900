"""Small text files beside the released tables: manifests and claim cards, on any file system.

Knows: where they lie and how one is replaced whole. Must not know: how a release comes to be.
"""

from __future__ import annotations

import json

from pyarrow import fs

from ppsehr_spark.lake.locations import open_file_system
from ppsehr_spark.lake.row_chain import Anchor
from ppsehr_spark.lake.schemas import RELEASES
from ppsehr_spark.lake.tables import Lake


def has_release_file(lake: Lake, name: str) -> bool:
    """True when the file lies beside the released tables."""
    system, path = _place(lake, name)
    return bool(system.get_file_info(path).type == fs.FileType.File)


def read_release_file(lake: Lake, name: str) -> str | None:
    """Its text (UTF-8), ``None`` when it is not there."""
    if not has_release_file(lake, name):
        return None
    system, path = _place(lake, name)
    with system.open_input_stream(path) as stream:
        return bytes(stream.read()).decode()


def write_release_file(lake: Lake, name: str, text: str) -> None:
    """Put the file there, whole or not at all: written under another name first, then moved."""
    system, path = _place(lake, name)
    with system.open_output_stream(f"{path}.part") as stream:
        stream.write(text.encode())
    system.move(f"{path}.part", path)


def locate_release_file(lake: Lake, name: str) -> str:
    """The file's path below the lake root, as people are told it."""
    return f"{lake.uri.rstrip('/')}/{RELEASES.zone}/{name}"


def read_anchors(lake: Lake) -> list[Anchor]:
    """Audit-log anchors out of every release manifest."""
    system, folder = _place(lake, "")
    files = system.get_file_info(fs.FileSelector(folder.rstrip("/"), allow_not_found=True))
    anchors = []
    for file in files:
        if file.base_name.startswith("manifest_") and file.base_name.endswith(".json"):
            with system.open_input_stream(file.path) as stream:
                anchors.append(Anchor(**json.loads(stream.read())["audit"]))
    return anchors


def _place(lake: Lake, name: str) -> tuple[fs.FileSystem, str]:
    system, root = open_file_system(lake.uri)
    return system, f"{root}/{RELEASES.zone}/{name}"
