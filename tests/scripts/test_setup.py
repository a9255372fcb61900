"""Set-up: idempotent, says what is missing, keeps to pinned jars; the environment file names this checkout."""

from __future__ import annotations

import hashlib
import importlib
import os
import shutil
import subprocess
import time
from pathlib import Path
from types import ModuleType

import pytest

HOME = Path(__file__).resolve().parents[2]


@pytest.fixture
def jars(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(HOME / "scripts"))
    return importlib.import_module("fetch_jars")


def _run(command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **variables}
    return subprocess.run(
        ["bash", "-c", command], cwd=HOME, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.slow
def test_second_setup_takes_seconds() -> None:
    assert _run("scripts/bootstrap.sh").returncode == 0
    started = time.monotonic()
    done = _run("scripts/bootstrap.sh")
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - started < 15
    assert "installing" not in done.stderr
    assert "fetching" not in done.stderr


def test_missing_python_and_java_are_named_with_their_package(tmp_path: Path) -> None:
    for tool in ("bash", "dirname", "sed", "head", "id", "mkdir", "chmod", "cat", "sha256sum", "cut"):
        (tmp_path / tool).symlink_to(shutil.which(tool) or tool)
    # Without apt-get on the path nothing can be installed, so set-up has to say what is missing.
    without_python = _run("scripts/bootstrap.sh", PATH=str(tmp_path))
    assert without_python.returncode == 3
    assert "python3.11" in without_python.stderr
    without_java = _run("scripts/bootstrap.sh", PATH=str(tmp_path), PPSEHR_PYTHON=str(HOME / ".venv/bin/python"))
    assert without_java.returncode == 3
    assert "openjdk-17-jre-headless" in without_java.stderr


def test_env_file_names_this_checkout_from_anywhere(tmp_path: Path) -> None:
    done = _run(f"cd {tmp_path} && source {HOME}/scripts/env.sh && echo $SPARK_HOME $SPARK_CONF_DIR $PYSPARK_PYTHON")
    spark_home, conf_dir, python = done.stdout.split()
    assert (Path(spark_home) / "bin" / "spark-submit").is_file()
    assert Path(conf_dir) == HOME / "conf" / "spark"
    assert Path(python) == HOME / ".venv" / "bin" / "python"
    assert (Path(conf_dir) / "spark-defaults.conf").resolve() == HOME / "spark-defaults.conf"


def test_env_file_keeps_libraries_off_the_network() -> None:
    done = _run("env -i PATH=$PATH bash -c 'source scripts/env.sh && env'")
    for line in ("HF_HUB_OFFLINE=1", "VLLM_NO_USAGE_STATS=1", "RAY_USAGE_STATS_ENABLED=0", "DO_NOT_TRACK=1"):
        assert line in done.stdout.splitlines()


def test_pinned_jars_lie_in_the_cache(jars: ModuleType) -> None:
    pins = jars.read_pins(jars.PINS)
    assert len(pins) == 4
    assert jars.find_faulty_jars(jars.JARS, pins) == []


def test_altered_and_missing_jars_are_found_and_old_versions_dropped(jars: ModuleType, tmp_path: Path) -> None:
    good = hashlib.sha256(b"good").hexdigest()
    pins = {"io.delta_a-2.jar": good, "io.delta_b-2.jar": good, "io.delta_c-2.jar": good}
    for name, content in {"io.delta_a-2.jar": b"good", "io.delta_b-2.jar": b"bad", "io.delta_a-1.jar": b"old"}.items():
        (tmp_path / name).write_bytes(content)
    assert jars.find_faulty_jars(tmp_path, pins) == ["io.delta_b-2.jar", "io.delta_c-2.jar"]
    jars.drop_strangers(tmp_path, pins)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["io.delta_a-2.jar", "io.delta_b-2.jar"]


def test_setup_jars_and_pins_agree_with_the_locked_wheel(jars: ModuleType) -> None:
    lock = (HOME / "requirements" / "lock.txt").read_text(encoding="utf-8")
    version = jars._coordinates(jars.DELTA, jars.read_pins(jars.PINS)).rpartition(":")[2]
    assert f"delta-spark=={version} " in lock
