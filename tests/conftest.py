"""Fixtures every room shares: one Spark session for the whole run, an identity key, a lake in a fresh folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent


#: A test computes a handful of rows once: compiling each plan to Java and planning it again between its stages costs
#: twice what it saves. Jobs that are submitted (marker submit) run with the defaults, so both ways are proven.
INTERPRETED = {
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.adaptive.enabled": "false",
    "spark.databricks.delta.snapshotPartitions": "1",
}


@pytest.fixture(scope="session")
def event_log_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the shared session writes its event log, for the search for canaries."""
    return tmp_path_factory.mktemp("spark-events")


@pytest.fixture(scope="session")
def spark(event_log_folder: Path) -> Iterator[Any]:
    """The one JVM of the test run, configured as a spark-submit with profile ci, plans interpreted."""
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    os.environ["SPARK_CONF_DIR"] = str(ROOT / "conf" / "spark")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    properties = ROOT / "conf" / "spark" / "ci.conf"
    events = f"--conf spark.eventLog.enabled=true --conf spark.eventLog.dir=file://{event_log_folder}"
    events += " --conf spark.eventLog.compress=false"  # the default would hide a canary from a search of its bytes
    given = events + "".join(f" --conf {name}={value}" for name, value in INTERPRETED.items())
    os.environ["PYSPARK_SUBMIT_ARGS"] = f"--properties-file {properties} --load-spark-defaults {given} pyspark-shell"
    before = Path.cwd()
    os.chdir(ROOT)  # spark.jars is relative to the checkout
    from pyspark.sql import SparkSession

    session = SparkSession.builder.appName("ppsehr-tests").getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    os.chdir(before)
    yield session
    session.stop()


@pytest.fixture(scope="session")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A fixed identity key, so that keys in expected rows can be computed."""
    path = tmp_path_factory.mktemp("identity") / "identity.key"
    path.write_text("00112233445566778899aabbccddeeff" * 2, encoding="ascii")
    return str(path)
