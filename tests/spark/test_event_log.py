"""The event log as conf/spark asks for it: written, without a secret, and with plans whose literals are masked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parents[2]
SECRETS = {
    "spark.hadoop.fs.s3a.secret.key": "CANARY-S3",
    "spark.ppsehr.identity.key": "CANARY-IDENTITY",
    "spark.ppsehr.hmac": "CANARY-HMAC",
    "spark.ppsehr.pepper": "CANARY-PEPPER",
    "spark.ppsehr.kek": "CANARY-KEK",
    "spark.ppsehr.salt": "CANARY-SALT",
}
QUERY = """
from pyspark.sql import SparkSession
spark = SparkSession.builder.appName("events").getOrCreate()
frame = spark.range(1).selectExpr("'欧阳金丝雀' AS a", "'310101199001011234' AS b").where("a != '张三丰'")
print(frame.collect()[0].b[:6])
spark.stop()
"""


@pytest.mark.spark
@pytest.mark.slow
def test_no_secret_and_no_literal_in_the_event_log(tmp_path: Path) -> None:
    properties = HOME / "conf" / "spark"
    lines = (properties / "eventlog.conf").read_text(encoding="utf-8").splitlines()
    pairs = dict(line.split(None, 1) for line in lines if line and not line.startswith("#"))
    pairs |= {"spark.eventLog.dir": f"file://{tmp_path}", **SECRETS}
    given = [word for name, value in pairs.items() for word in ("--conf", f"{name}={value.strip()}")]
    command = ["--properties-file", str(properties / "ci.conf"), "--load-spark-defaults", *given, "pyspark-shell"]
    environment = {
        **os.environ,
        "SPARK_CONF_DIR": str(properties),
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_SUBMIT_ARGS": " ".join(command),
    }
    done = subprocess.run(
        [sys.executable, "-c", QUERY],
        cwd=HOME,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    assert done.returncode == 0 and "310101" in done.stdout, done.stderr[-1500:]
    log = "".join(path.read_text(encoding="utf-8") for path in tmp_path.rglob("events_*"))
    assert "SparkListenerJobEnd" in log
    assert [value for value in SECRETS.values() if value in log] == []
    assert "*********(redacted)" in log
    # Spark redacts the plan's text, not its tree (sparkPlanInfo): so no plan of ours holds a literal taken from data,
    # which tests/jobs/test_stages.py looks for.
    events = [json.loads(line) for line in log.splitlines()]
    plans = [event["physicalPlanDescription"] for event in events if "physicalPlanDescription" in event]
    assert plans and "(redacted)" in "".join(plans)
    assert [word for word in ("欧阳金丝雀", "张三丰", "310101199001011234") if word in "".join(plans)] == []
