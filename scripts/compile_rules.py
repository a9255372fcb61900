"""Compile what every note passes with mypyc into ``.cache/compiled``; without a C compiler it stays Python, and slower.

    python scripts/compile_rules.py            # set-up calls it; ends at once when the build is there
    python scripts/compile_rules.py --required # exit code 3 where nothing can be compiled

Knows: mypyc and setuptools. Must not know: what a module does; which ones they are says ``domain.acceleration``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ppsehr_spark.domain.acceleration import MODULES_FOLDER, SHARED_FOLDER, build_name, builds_folder, list_sources
from ppsehr_spark.errors import ExitCode, InfrastructureError

_HOME = Path(__file__).resolve().parent.parent
_PACKAGE = Path("ppsehr_spark") / "domain"
#: Builds of other sources that are kept: other checkouts may share the folder.
_KEPT = 4
_LOG_LINES = 5
_SETUP = """
import sys
from mypyc.build import mypycify
from setuptools import setup
build, objects, *sources = sys.argv[1:]
options = ["--config-file=", "--ignore-missing-imports", *sources]
extensions = mypycify(options, opt_level="2", debug_level="0", multi_file=True, target_dir=objects)
steps = ["build_ext", "--build-lib", build, "--build-temp", objects, "--parallel", "2"]
setup(name="recognisers", packages=[], ext_modules=extensions, script_args=steps)
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Compile unless the build is there; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--required", action="store_true", help="fail where there is no compiler")
    options = parser.parse_args(argv)
    folder = builds_folder()
    if folder is None or (folder / build_name()).is_dir():
        return int(ExitCode.OK)
    if not has_compiler():
        print("setup: no C compiler or no Python headers: recognisers and protection run as Python", file=sys.stderr)
        return int(ExitCode.CONFIGURATION if options.required else ExitCode.OK)
    print("setup: compiling recognisers and protection (a minute)", file=sys.stderr, flush=True)
    compile_into(folder)
    _forget_old(folder)
    return int(ExitCode.OK)


def compile_into(folder: Path) -> Path:
    """The build of the sources as they are; it appears whole or not at all.

    Raises:
        InfrastructureError: ``COMPILE_FAILED`` with the last lines of the compiler.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".build-") as scratch:
        built, objects, made = (Path(scratch) / name for name in ("lib", "objects", "made"))
        sources = [str(path.relative_to(_HOME)) for path in list_sources()]
        command = [sys.executable, "-c", _SETUP, str(built), str(objects), *sources]
        clean = {**os.environ, "PYTHONPATH": str(_HOME), "MYPYPATH": str(_HOME)}
        done = subprocess.run(command, cwd=_HOME, env=clean, capture_output=True, text=True, check=False)
        if done.returncode:
            raise InfrastructureError("COMPILE_FAILED", log=" | ".join(done.stderr.splitlines()[-_LOG_LINES:]))
        made.mkdir()
        shutil.move(built / _PACKAGE, made / MODULES_FOLDER)
        shutil.move(_gather_shared(built, Path(scratch)), made / SHARED_FOLDER)
        target = folder / build_name()
        if not target.is_dir():
            made.rename(target)
    return target


def _gather_shared(built: Path, scratch: Path) -> Path:
    """The library that all modules share lies beside the packages: alone in a folder, which goes on ``sys.path``."""
    shared = scratch / "shared"
    shared.mkdir()
    for library in built.glob("*.so"):
        shutil.move(library, shared / library.name)
    return shared


def has_compiler() -> bool:
    """True when a C compiler and the headers of this Python are there."""
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    headers = Path(sysconfig.get_paths()["include"]) / "Python.h"
    return shutil.which(compiler) is not None and headers.is_file()


def _forget_old(folder: Path) -> None:
    builds = sorted((p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")), key=_age, reverse=True)
    for build in builds[_KEPT:]:
        shutil.rmtree(build, ignore_errors=True)


def _age(build: Path) -> float:
    return build.stat().st_mtime


if __name__ == "__main__":
    sys.exit(main())
