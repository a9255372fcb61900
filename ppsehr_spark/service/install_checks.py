"""Checks of the installation: packages, jars, weights, environment, conf, identity key.

Knows: where set-up puts things. Must not know: how set-up fetches them.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import stat
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ppsehr_spark.config import Settings
from ppsehr_spark.domain.acceleration import is_compiled
from ppsehr_spark.service.diagnosis import Finding, Verdict

_SETUP = "make setup"
_ENV = "source scripts/env.sh"
_OFFLINE = ("HF_HUB_OFFLINE", "VLLM_NO_USAGE_STATS", "RAY_USAGE_STATS_ENABLED")


def check_python() -> Finding:
    """The interpreter that runs us."""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] != (3, 11):
        return Finding("python", Verdict.FAIL, version, "use Python 3.11: make setup builds .venv with it")
    return Finding("python", Verdict.OK, f"{version} {sys.executable}")


def check_packages(lock: Path) -> Finding:
    """Installed versions against the lock."""
    if not lock.is_file():
        return Finding("packages", Verdict.WARN, "no lock beside this installation", "compare with the site's own lock")
    pins = dict(re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", lock.read_text(encoding="utf-8"), re.MULTILINE))
    wrong = [f"{name} {found or 'missing'}" for name, pin in pins.items() if (found := _installed(name)) != pin]
    if wrong:
        return Finding("packages", Verdict.FAIL, f"{len(wrong)} differ from the lock: {', '.join(wrong[:4])}", _SETUP)
    return Finding("packages", Verdict.OK, f"{len(pins)} as locked")


def check_recognisers() -> Finding:
    """Whether the recognisers run as machine code."""
    if is_compiled():
        return Finding("recognisers", Verdict.OK, "compiled")
    remedy = "install a C compiler and Python's headers, then make setup"
    return Finding("recognisers", Verdict.WARN, "run as Python, about a third slower", remedy)


def check_environment(environment: Mapping[str, str] = os.environ) -> Finding:
    """Spark's variables and the switches that keep libraries off the network."""
    worker = environment.get("PYSPARK_PYTHON", "")
    if not worker or not environment.get("SPARK_HOME"):
        detail = "SPARK_HOME or PYSPARK_PYTHON not set; spark-submit by hand would take another Spark or Python"
        return Finding("environment", Verdict.WARN, detail, _ENV)
    if Path(worker).absolute() != Path(sys.executable).absolute():
        return Finding("environment", Verdict.FAIL, f"PYSPARK_PYTHON={worker} is not this Python", _ENV)
    if not (Path(environment["SPARK_HOME"]) / "bin" / "spark-submit").is_file():
        return Finding("environment", Verdict.FAIL, "SPARK_HOME holds no bin/spark-submit", _ENV)
    talkative = [name for name in _OFFLINE if name not in environment]
    if talkative:
        return Finding("environment", Verdict.WARN, f"not set: {', '.join(talkative)}", _ENV)
    return Finding("environment", Verdict.OK, "SPARK_HOME, PYSPARK_PYTHON, offline switches")


def check_jars(folder: Path, pins: Path) -> Finding:
    """The Delta jars, by SHA-256."""
    if not pins.is_file():
        return Finding("jars", Verdict.WARN, "no pins beside this installation", "the cluster's own image brings Delta")
    rows = [line.split() for line in pins.read_text(encoding="utf-8").splitlines() if line.strip()]
    wrong = [name for digest, name in rows if not (folder / name).is_file() or _hash_file(folder / name) != digest]
    strangers = sorted({path.name for path in folder.glob("*.jar")} - {name for _, name in rows})
    if wrong:
        return Finding("jars", Verdict.FAIL, f"missing or altered: {', '.join(wrong)}", _SETUP)
    if strangers:
        return Finding(
            "jars", Verdict.WARN, f"not pinned, but loaded: {', '.join(strangers)}", f"rm them from {folder}"
        )
    return Finding("jars", Verdict.OK, f"{len(rows)} with their hashes")


def check_model(settings: Settings) -> Finding:
    """What the chosen engine needs: a complete folder, an endpoint that listens, or nothing."""
    engine = settings.annotate.engine
    options = settings.engine.get(engine, {})
    if engine == "openai":
        return _check_endpoint(str(options.get("base_url", "")))
    if "model" not in options:
        return Finding("model", Verdict.OK, f"engine {engine} needs none")
    return _check_model_folder(Path(str(options["model"])))


def check_identity_key(key_file: Path) -> Finding:
    """The key that hides identities must be readable by its owner only."""
    if not key_file.exists():
        return Finding("identity key", Verdict.OK, f"{key_file} will be made by the first run")
    mode = stat.S_IMODE(key_file.stat().st_mode)
    if mode & 0o077:
        return Finding("identity key", Verdict.FAIL, f"{key_file} has mode {mode:04o}", f"chmod 600 {key_file}")
    return Finding("identity key", Verdict.OK, f"{key_file} mode {mode:04o}")


def _check_model_folder(folder: Path) -> Finding:
    needed = ("config.json", "tokenizer_config.json")
    weights = list(folder.glob("*.safetensors"))
    missing = [name for name in needed if not (folder / name).is_file()] + ([] if weights else ["*.safetensors"])
    mend = "make setup, or python scripts/fetch_model.py --from FOLDER, or --set annotate.engine=rules"
    if missing:
        return Finding("model", Verdict.FAIL, f"{folder} lacks {', '.join(missing)}", mend)
    record = folder / "fingerprint.json"
    if not record.is_file():
        detail = f"{folder} has no fingerprint.json; nobody verified it"
        return Finding(
            "model", Verdict.WARN, detail, f"python scripts/fetch_model.py --from {folder} --to OTHER_FOLDER"
        )
    content: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
    gib = sum(path.stat().st_size for path in weights) / (1 << 30)
    return Finding("model", Verdict.OK, f"{content['name']} {content['fingerprint']} {gib:.1f} GiB")


def _check_endpoint(base_url: str) -> Finding:
    address = urlsplit(base_url)
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        with socket.create_connection((address.hostname or "", port), timeout=3):
            return Finding("model", Verdict.OK, f"{address.hostname}:{port} listens")
    except OSError:
        mend = "start the endpoint, or --set engine.openai.base_url=URL"
        return Finding("model", Verdict.FAIL, f"{address.hostname}:{port} does not listen", mend)


def _installed(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _hash_file(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
