"""A folder of wheels that holds a lock, every file by its hash.

Knows: the lock's format and how pip fetches. Must not know: what the wheels are for. What a source distribution gives
is built here, once, and gets a hash of its own in the requirements that travel with the wheels.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ppsehr_spark.errors import InfrastructureError

_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)((?:\s*\\\n\s+--hash=sha256:[0-9a-f]{64})*)", re.MULTILINE)


@dataclass(frozen=True)
class Pin:
    """One package of the lock and the hashes of the files that may provide it."""

    name: str
    version: str
    hashes: frozenset[str]


def read_lock(path: Path) -> list[Pin]:
    """Every pin of a lock with hashes.

    Raises:
        InfrastructureError: ``LOCK_WITHOUT_HASHES``.
    """
    found = _PIN.findall(path.read_text(encoding="utf-8"))
    pins = [
        Pin(normalise(name), version, frozenset(re.findall(r"[0-9a-f]{64}", rest))) for name, version, rest in found
    ]
    if not pins or any(not pin.hashes for pin in pins):
        raise InfrastructureError("LOCK_WITHOUT_HASHES", lock=path.name, hint="make lock writes one with hashes")
    return pins


def fetch_files(pins: Iterable[Pin], lock: Path, *, folder: Path) -> dict[str, Path]:
    """Package -> its file in ``folder``; pip fetches once what is missing there, and takes no file without its hash.

    Raises:
        InfrastructureError: ``WHEELS_NOT_FETCHED``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = list(pins)
    if set(_match(wanted, folder)) != {pin.name for pin in wanted}:
        _download(lock, folder)
    found = _match(wanted, folder)
    missing = sorted({pin.name for pin in wanted} - set(found))
    if missing:
        raise InfrastructureError("WHEELS_NOT_FETCHED", missing=",".join(missing[:5]), n_missing=len(missing))
    return found


def fill_wheelhouse(files: Mapping[str, Path], *, target: Path) -> None:
    """Wheels as they are; source distributions built into wheels once, beside the fetched files."""
    target.mkdir(parents=True, exist_ok=True)
    for path in files.values():
        wheel = path if path.suffix == ".whl" else _build(path)
        link_or_copy(wheel, target / wheel.name)


def write_requirements(wheels: Path, pins: Iterable[Pin], path: Path) -> None:
    """The lock of these very files: one hash per package.

    Raises:
        InfrastructureError: ``WHEEL_MISSING``.
    """
    there = {_name_of(wheel): wheel for wheel in wheels.glob("*.whl")}
    lines = []
    for pin in pins:
        wheel = there.get((pin.name, pin.version))
        if wheel is None:
            raise InfrastructureError("WHEEL_MISSING", package=pin.name, version=pin.version)
        lines.append(f"{pin.name}=={pin.version} \\\n    --hash=sha256:{hash_file(wheel)}\n")
    path.write_text("".join(lines), encoding="utf-8")


def normalise(name: str) -> str:
    """A package name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def hash_file(path: Path) -> str:
    """SHA-256 of a file, hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def link_or_copy(source: Path, target: Path) -> None:
    """A second name for the same bytes where the file system allows it."""
    target.unlink(missing_ok=True)
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)


def _match(pins: Iterable[Pin], folder: Path) -> dict[str, Path]:
    """Package -> file whose name and hash fit; a wheel before a source distribution."""
    files = sorted((p for p in folder.iterdir() if p.is_file()), key=lambda p: p.suffix == ".whl")
    by_name = [(path, _name_of(path)) for path in files]
    found = {}
    for pin in pins:
        for path, (name, version) in by_name:
            if (name, version) == (pin.name, pin.version) and hash_file(path) in pin.hashes:
                found[pin.name] = path
    return found


def _name_of(path: Path) -> tuple[str, str]:
    """Name and version that a wheel's or source distribution's file name states (local versions keep their ``+``)."""
    if path.suffix == ".whl":
        name, version = path.name.split("-")[:2]
    else:
        name, _, version = re.sub(r"\.(tar\.gz|zip|tgz)$", "", path.name).rpartition("-")
    return normalise(name), version


def _download(lock: Path, folder: Path) -> None:
    print("bundle: fetching packages", file=sys.stderr)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--require-hashes", "--no-cache-dir", "--dest", str(folder), "-r", str(lock)]
    done = subprocess.run(command, check=False)
    if done.returncode:
        hint = "the package index did not serve the lock; run again, files that came stay"
        raise InfrastructureError("WHEELS_NOT_FETCHED", exit_status=done.returncode, hint=hint)


def _build(source: Path) -> Path:
    """The wheel of a source distribution; its build tools come from the index, so it is kept for the next bundle."""
    folder = source.parent / "built" / hash_file(source)[:16]
    if not list(folder.glob("*.whl")):
        print(f"bundle: building {source.name}", file=sys.stderr)
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
        done = subprocess.run([*command, "--no-cache-dir", "--wheel-dir", str(folder), str(source)], check=False)
        if done.returncode:
            raise InfrastructureError("WHEEL_NOT_BUILT", file=source.name, exit_status=done.returncode)
    (wheel,) = folder.glob("*.whl")
    return wheel
