"""Recognisers, tiers and protection as machine code where this machine has compiled them; else the same as Python.

Knows: which modules are compiled, and under which name a build of exactly these sources is kept. Must not know: what
a module does, how it is compiled (``scripts/compile_rules.py``). Reference: mypyc, which turns typed Python into an
extension module of the same meaning.

A build is found by the hash of its sources: after an edit of any of them there is none, and Python runs until the next
build. So no process can ever run code that differs from the files beside it.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

#: Below this folder a build has one of its own; ``off`` turns builds off.
FOLDER_VARIABLE = "PPSEHR_COMPILED"
#: Inside a build: extension modules by package, and what they share.
MODULES_FOLDER, SHARED_FOLDER = "modules", "shared"
_ROOM = Path(__file__).resolve().parent
#: ``grammars`` holds protocols that are asked at run time, which mypyc cannot compile.
_NOT_COMPILED = ("__init__.py", "grammars.py")
_PACKAGES = ("rules", "protection")
#: Spans, notes and segments travel between processes; a compiled frozen dataclass cannot be unpickled.
_BESIDE = ("first_characters", "offsets", "sentences", "tier_cues", "tiering")


def list_sources() -> list[Path]:
    """Files that are compiled, sorted."""
    inside = (path for package in _PACKAGES for path in (_ROOM / package).glob("*.py"))
    compiled = (path for path in inside if path.name not in _NOT_COMPILED)
    return sorted([*compiled, *(_ROOM / f"{name}.py" for name in _BESIDE)])


@lru_cache(maxsize=1)
def builds_folder() -> Path | None:
    """Where builds are kept: ``PPSEHR_COMPILED``, by default ``.cache/compiled`` of the checkout; ``None`` for off."""
    named = os.environ.get(FOLDER_VARIABLE, "")
    if named == "off":
        return None
    return Path(named) if named else _ROOM.parent.parent / ".cache" / "compiled"


@lru_cache(maxsize=1)
def build_name() -> str:
    """16 hex digits over interpreter, machine and all sources."""
    digest = hashlib.sha256(f"{sys.implementation.cache_tag}|{sys.platform}|{platform.machine()}".encode())
    for path in list_sources():
        digest.update(f"|{path.name}|".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def is_compiled() -> bool:
    """True when this process runs recognisers, tiers and protection as machine code."""
    return _find_build() is not None


def find_modules(package: str, beside: Sequence[str]) -> list[str]:
    """Folders in which a package looks for its modules: the build's first, where there is one.

    Args:
        package: ``rules``, ``protection`` or ``""``, for the package of this module.
        beside: its ``__path__`` so far.
    """
    build = _find_build()
    if build is None:
        return list(beside)
    shared = str(build / SHARED_FOLDER)
    if shared not in sys.path:
        sys.path.append(shared)
    return [str(build / MODULES_FOLDER / package), *beside]


@lru_cache(maxsize=1)
def _find_build() -> Path | None:
    folder = builds_folder()
    if folder is None or not (folder.is_dir() and _ROOM.is_dir()):  # imported out of a zip, there are no files to hash
        return None
    build = folder / build_name()
    return build if build.is_dir() else None
