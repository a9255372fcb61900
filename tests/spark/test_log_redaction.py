"""Spark's own log configuration keeps cell values out, whatever a component puts into its message."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parents[2]
#: Opens the JVM that spark-submit would open, with its class path and log configuration, but no Spark context.
LOG_CANARIES = """
from pyspark.java_gateway import launch_gateway
jvm = launch_gateway().jvm
log = jvm.org.apache.logging.log4j.LogManager.getLogger("org.apache.spark.scheduler.TaskSetManager")
log.warn("SparkNumberFormatException: The value 'CANARY-QUOTED' of the type \\\\"CANARY-DOUBLE\\\\" cannot be cast")
log.warn("患者张三丰 was here")
log.warn("row 310101199001011234 rejected in stage 12")
log.error("Lost task 0.0 in stage 3.0\\\\nTraceback: CANARY-SECOND-LINE")
log.error("Exception in task", jvm.java.lang.IllegalStateException("CANARY-THROWABLE"))
log.warn("x" * 5000 + "CANARY-FAR")
log.info("CANARY-INFO")
generator = "org.apache.spark.sql.catalyst.expressions.codegen.CodeGenerator"
jvm.org.apache.logging.log4j.LogManager.getLogger(generator).error("CANARY_CODE")
jvm.System.err.flush()
"""


def _log(form: str = "text") -> str:
    environment = {
        **os.environ,
        "SPARK_CONF_DIR": str(HOME / "conf" / "spark"),
        "PYSPARK_PYTHON": sys.executable,
        "PPSEHR_LOG": form,
        "PYSPARK_SUBMIT_ARGS": "--master local[1] pyspark-shell",
    }
    done = subprocess.run(
        [sys.executable, "-c", LOG_CANARIES.replace("\\\\", "\\")],
        env=environment, capture_output=True, text=True, check=False, timeout=180,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout + done.stderr


@pytest.mark.spark
def test_values_are_masked_and_the_event_stays_readable() -> None:
    log = _log()
    assert "CANARY" not in log
    assert "张三丰" not in log
    assert "310101199001011234" not in log
    assert "WARN TaskSetManager: SparkNumberFormatException: The value * of the type * cannot be cast" in log
    assert "row * rejected in stage 12" in log
    assert "ERROR TaskSetManager: Lost task 0.0 in stage 3.0" in log
    assert "ERROR TaskSetManager: Exception in task java.lang.IllegalStateException" in log
    assert max(map(len, log.splitlines())) < 400


@pytest.mark.spark
def test_as_json_every_line_is_an_object_with_the_same_cuts() -> None:
    log = _log("json")
    assert "CANARY" not in log and "张三丰" not in log and "310101199001011234" not in log
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert {"time", "level", "event", "logger", "message", "error"} == set(lines[0])
    said = {(line["level"], line["logger"], line["message"], line["error"]) for line in lines}
    assert ("ERROR", "TaskSetManager", "Exception in task", "java.lang.IllegalStateException") in said
    assert ("WARN", "TaskSetManager", "row * rejected in stage 12", "") in said
