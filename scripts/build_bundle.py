"""One folder with everything that a hospital without internet needs: ``make bundle``.

Knows: what a new host lacks, and where set-up put it. Must not know: how it is installed there (``install_bundle.sh``,
which travels as ``install.sh``). The folder appears by one rename; ``SHA256SUMS`` covers every file in it.

    python scripts/build_bundle.py                    # packages, jars, the default model
    python scripts/build_bundle.py --without-model    # for sites with a Qwen endpoint of their own, or rules alone
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from build_dist import build_dist
from fetch_jars import JARS, PINS, find_faulty_jars, read_pins
from fetch_model import MODELS, check_disk, read_fingerprint, read_models
from wheelhouse import Pin, fetch_files, fill_wheelhouse, hash_file, link_or_copy, read_lock, write_requirements

from ppsehr_spark import __version__
from ppsehr_spark.errors import ConfigurationError, PpsehrError
from ppsehr_spark.lake.schemas import SCHEMA_VERSION
from ppsehr_spark.tagging import tagger_version

HOME = Path(__file__).resolve().parent.parent
_SUMS = "SHA256SUMS"
#: Wheels twice (fetched, bundled) where hard links do not work, and the model.
_NEEDED_GIB = 14.0


@dataclass(frozen=True)
class Contents:
    """What goes in.

    Attributes:
        lock: requirements with hashes.
        downloads: folder of fetched files, used again by the next build.
        models: sizes of ``requirements/models.toml``.
    """

    lock: Path
    downloads: Path
    models: tuple[str, ...]


def main(argv: Sequence[str] | None = None) -> int:
    """Build; returns an exit code of ``errors.ExitCode``."""
    options = _parser().parse_args(argv)
    models = () if options.without_model else tuple(options.models.split(","))
    try:
        target = build_bundle(options.to, Contents(options.lock, options.downloads, models))
    except PpsehrError as error:
        print(f"bundle: {error}", file=sys.stderr)
        return int(error.exit_code)
    n_bytes = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    print(f"{target} {n_bytes / (1 << 30):.2f} GiB")
    return 0


def build_bundle(target: Path, contents: Contents) -> Path:
    """Fill a temporary neighbour of ``target``, sum it up, rename it over an older one.

    Raises:
        PpsehrError: ``DISK_SPACE``, ``JARS_MISSING``, ``MODEL_MISSING`` or what the wheelhouse says.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if contents.models:
        check_disk(target.parent, _NEEDED_GIB)
    building = target.with_name(f".{target.name}.building")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir()
    pins = read_lock(contents.lock)
    _add_packages(building, pins, contents)
    _add_jars(building)
    _add_models(building, contents.models)
    _add_site_files(building)
    _write_manifest(building, pins)
    write_sums(building)
    shutil.rmtree(target, ignore_errors=True)
    os.replace(building, target)
    return target


def write_sums(folder: Path) -> None:
    """``SHA256SUMS`` over every file, in the format that ``sha256sum --check`` reads."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != _SUMS)
    lines = [f"{hash_file(path)}  {path.relative_to(folder)}\n" for path in files]
    (folder / _SUMS).write_text("".join(lines), encoding="utf-8")


def _add_packages(folder: Path, pins: Sequence[Pin], contents: Contents) -> None:
    print(f"bundle: {len(pins)} packages", file=sys.stderr)
    wheels = folder / "wheels"
    fill_wheelhouse(fetch_files(pins, contents.lock, folder=contents.downloads), target=wheels)
    wheel, archive = build_dist(folder / "product")
    product = Pin("ppsehr-spark", __version__, frozenset({hash_file(wheel)}))
    os.replace(wheel, wheels / wheel.name)
    archive.unlink()  # spark-submit --py-files takes the wheel under another name: a copy for nothing
    (folder / "product").rmdir()
    write_requirements(wheels, [*pins, product], folder / "requirements.txt")


def _add_jars(folder: Path) -> None:
    pins = read_pins(PINS)
    faulty = find_faulty_jars(JARS, pins)
    if faulty:
        raise ConfigurationError("JARS_MISSING", jars=",".join(faulty), hint="make setup fetches them")
    (folder / "jars").mkdir()
    for name in pins:
        link_or_copy(JARS / name, folder / "jars" / name)


def _add_models(folder: Path, sizes: Sequence[str]) -> None:
    known = read_models()
    for size in sizes:
        source = MODELS / known[size].name if size in known else MODELS / size
        if not read_fingerprint(source):
            hint = "make setup fetches 1.5B and 0.5B, scripts/fetch_model.py takes others; or --without-model"
            raise ConfigurationError("MODEL_MISSING", model=source.name, hint=hint)
        target = folder / "models" / source.name
        target.mkdir(parents=True)
        for path in (path for path in source.iterdir() if path.is_file()):
            link_or_copy(path, target / path.name)


def _add_site_files(folder: Path) -> None:
    """What an operator edits or reads: conf, environment file, defaults of Spark, deploy examples, documents."""
    for name in ("conf", "deploy", "docs"):
        shutil.copytree(HOME / name, folder / name, symlinks=False)
    for name in ("spark-defaults.conf", "README.md", "CHANGELOG.md", "requirements/jars.sha256", "scripts/env.sh"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(HOME / name, folder / name)
    shutil.copyfile(HOME / "scripts" / "install_bundle.sh", folder / "install.sh")
    (folder / "install.sh").chmod(0o755)


def _write_manifest(folder: Path, pins: Sequence[Pin]) -> None:
    models = {path.name: dict(read_fingerprint(path)) for path in sorted(folder.glob("models/*"))}
    manifest = {
        "product": "ppsehr-spark",
        "version": __version__,
        "commit": _commit(),
        "python": "3.11",
        "platform": f"{platform.system()} {platform.machine()} {' '.join(platform.libc_ver())}".lower(),
        "lake_schema": SCHEMA_VERSION,
        "packages": {pin.name: pin.version for pin in pins},
        "jars": sorted(path.name for path in folder.glob("jars/*")),
        "models": {name: record["fingerprint"] for name, record in models.items()},
        "tagger": tagger_version("crf"),
        "needs": ["Python 3.11", "Java 17 (Debian 12: openjdk-17-jre-headless)"],
    }
    (folder / "MANIFEST.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def _commit() -> str:
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=HOME, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Build the folder that a hospital without internet installs from.")
    parser.add_argument("--to", type=Path, default=HOME / "dist" / f"ppsehr-bundle-{__version__}", metavar="FOLDER")
    parser.add_argument("--models", default="1.5B", metavar="SIZES", help="comma-separated sizes or folder names")
    parser.add_argument("--without-model", action="store_true", help="no weights: 3.5 GB less")
    parser.add_argument(
        "--lock", type=Path, default=HOME / "requirements" / "lock.txt", help="requirements with hashes"
    )
    downloads = HOME / ".cache" / "wheels"
    parser.add_argument("--downloads", type=Path, default=downloads, metavar="FOLDER", help="fetched files, kept")
    return parser


if __name__ == "__main__":
    sys.exit(main())
