"""Put the pinned Delta jars into ``.cache/jars``: Spark's own resolver fetches them once, hashes decide.

``--s3a`` puts the connector for S3 stores into ``.cache/jars-s3a`` instead (656 MB; conf/spark/s3a.conf names it).

Knows: ``requirements/jars*.sha256``. Must not know: any repository address; Spark's Ivy settings name it (a site
mirror goes into ``spark.jars.ivySettings`` through ``PPSEHR_IVY_SETTINGS``).
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ppsehr_spark.errors import InfrastructureError, PpsehrError

HOME = Path(__file__).resolve().parent.parent
PINS = HOME / "requirements" / "jars.sha256"
JARS = HOME / ".cache" / "jars"


@dataclass(frozen=True)
class JarSet:
    """Jars that belong together.

    Attributes:
        pins: file with their hashes.
        folder: where they lie.
        packages: Maven coordinates without version -> start of the pinned file's name, which holds the version.
        excludes: what Spark brings along already, or what is not used; Ivy takes globs.
    """

    pins: Path
    folder: Path
    packages: Mapping[str, str]
    excludes: str


DELTA = JarSet(
    PINS,
    JARS,
    {"io.delta:delta-spark_4.2_2.13": "io.delta_delta-spark_4.2_2.13-"},
    "org.*:*,com.*:*,javax.*:*,commons-*:*,io.airlift:*,io.unitycatalog:*",
)
#: Hadoop's version is that of the jars in pyspark; the SDK's is what that Hadoop was built with (hadoop-project's pom).
S3A = JarSet(
    PINS.with_name("jars-s3a.sha256"),
    JARS.with_name("jars-s3a"),
    {
        "org.apache.hadoop:hadoop-aws": "org.apache.hadoop_hadoop-aws-",
        "software.amazon.awssdk:bundle": "software.amazon.awssdk_bundle-",
        "software.amazon.s3.analyticsaccelerator:analyticsaccelerator-s3": (
            "software.amazon.s3.analyticsaccelerator_analyticsaccelerator-s3-"
        ),
    },
    "org.wildfly*:*,org.slf4j:*,com.*:*,javax.*:*,software.amazon.encryption*:*,org.reactivestreams:*",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Verify, fetch what is missing, verify again."""
    parser = argparse.ArgumentParser(description="Put pinned jars into .cache/jars (or .cache/jars-s3a).")
    parser.add_argument("--s3a", action="store_true", help="the connector for S3 stores, 656 MB")
    jars = S3A if parser.parse_args(argv).s3a else DELTA
    pins = read_pins(jars.pins)
    try:
        if find_faulty_jars(jars.folder, pins):
            fetch_jars(pins, jars)
        drop_strangers(JARS, read_pins(PINS))
    except PpsehrError as error:
        print(f"setup: {error}", file=sys.stderr)
        return int(error.exit_code)
    return 0


def read_pins(path: Path) -> dict[str, str]:
    """File name -> SHA-256, from the format of ``sha256sum``."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return {name: digest for digest, name in (line.split() for line in lines if line.strip())}


def find_faulty_jars(folder: Path, pins: Mapping[str, str]) -> list[str]:
    """Names of pinned jars that are missing or do not have their hash."""
    return [
        name for name, digest in pins.items() if not (folder / name).is_file() or hash_file(folder / name) != digest
    ]


def hash_file(path: Path) -> str:
    """SHA-256 of a file, hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def fetch_jars(pins: Mapping[str, str], jars: JarSet = DELTA) -> None:
    """Resolve into a temporary Ivy folder and move the pinned jars, one rename each.

    Raises:
        InfrastructureError: ``JARS_NOT_RESOLVED`` or ``JAR_HASH``.
    """
    print(f"setup: fetching {len(pins)} jars", file=sys.stderr)
    jars.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=jars.folder.parent) as ivy:
        _resolve(Path(ivy), jars, pins)
        faulty = find_faulty_jars(Path(ivy) / "jars", pins)
        if faulty:
            raise InfrastructureError(
                "JAR_HASH", jars=",".join(faulty), hint="not the pinned content; nothing was kept"
            )
        for name in pins:
            os.replace(Path(ivy) / "jars" / name, jars.folder / name)


def drop_strangers(folder: Path, pins: Mapping[str, str]) -> None:
    """Remove Delta jars of another version: ``spark.jars`` takes every jar of the folder."""
    for path in folder.glob("io.delta_*.jar"):
        if path.name not in pins:
            path.unlink()


def _coordinates(jars: JarSet, pins: Mapping[str, str]) -> str:
    """Coordinates with the versions that the pinned file names state."""
    found = []
    for package, start in jars.packages.items():
        (name,) = [name for name in pins if name.startswith(start)]
        found.append(f"{package}:{name.removeprefix(start).removesuffix('.jar')}")
    return ",".join(found)


def _resolve(ivy: Path, jars: JarSet, pins: Mapping[str, str]) -> None:
    """Let spark-submit resolve the package; the script it then runs is empty, so no Spark starts."""
    nothing = ivy / "nothing.py"
    nothing.write_text("", encoding="utf-8")
    submit = Path(sys.prefix) / "bin" / "spark-submit"
    settings = os.environ.get("PPSEHR_IVY_SETTINGS")
    command = [
        str(submit),
        "--master",
        "local[1]",
        "--packages",
        _coordinates(jars, pins),
        "--exclude-packages",
        jars.excludes,
    ]
    command += ["--conf", f"spark.jars.ivy={ivy}"]
    command += ["--conf", f"spark.jars.ivySettings={settings}"] if settings else []
    environment = {**os.environ, "PYSPARK_PYTHON": sys.executable, "PATH": f"{submit.parent}:{os.environ['PATH']}"}
    environment.pop("SPARK_CONF_DIR", None)
    log = HOME / ".cache" / "logs" / "jars.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as stream:
        done = subprocess.run(
            [*command, str(nothing)], env=environment, cwd=ivy, stdout=stream, stderr=stream, check=False
        )
    if done.returncode:
        hint = "see .cache/logs/jars.log; a site mirror goes into PPSEHR_IVY_SETTINGS (path of an Ivy settings file)"
        shutil.rmtree(ivy / "cache", ignore_errors=True)
        raise InfrastructureError("JARS_NOT_RESOLVED", exit_status=done.returncode, hint=hint)


if __name__ == "__main__":
    sys.exit(main())
