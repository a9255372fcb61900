"""Counts of made-up visits on a Spark that runs slow tasks a second time beside the first; prints JSON.

A program of its own: speculation needs executors on different hosts, which neither ``local`` nor ``local-cluster``
has, so a master and two workers, each with a loopback address of its own, run in this program's JVM. The first try of
one task sleeps between its rows; its copy does not, and overtakes it. Says what Spark's own event log tells.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: Spark puts no copy on the host where the task runs already.
_MASTER_HOST, _WORKER_HOSTS = "127.0.0.1", ("127.0.0.2", "127.0.0.3")
_WORKER_MB = 1024
#: The task that sleeps, and for how long; a copy that overtakes it ends the sleep.
SLOW_PARTITION, SLEEP_S = 3, 60.0
_SETTINGS = {
    "spark.speculation": "true", "spark.speculation.interval": "100ms", "spark.speculation.multiplier": "1.1",
    "spark.speculation.quantile": "0.5", "spark.speculation.minTaskRuntime": "100ms",
    "spark.executor.memory": "700m", "spark.ui.enabled": "false", "spark.sql.shuffle.partitions": "3",
    "spark.sql.adaptive.enabled": "false", "spark.eventLog.enabled": "true", "spark.eventLog.compress": "false",
    "spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1",
}  # fmt: skip


def main(folder: str) -> None:
    """``undisturbed`` and ``speculative``: release -> counts; ``tries``: every task."""
    from pyspark.sql import SparkSession

    log = Path(folder) / "events"
    log.mkdir()
    builder = SparkSession.builder.master(_start_cluster(folder)).appName("proofs")
    for name, value in {**_SETTINGS, "spark.eventLog.dir": log.as_uri()}.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("OFF")
    from tests.proofs.interrupted_visits import count_visits
    from tests.spark.worked_visits import make_patients

    patients = make_patients(80)
    answers: dict[str, Any] = {
        "undisturbed": count_visits(spark, patients),
        "speculative": count_visits(spark, patients, _dawdle),
    }
    _await_end_of_slow_try(spark, log)
    spark.stop()
    print(json.dumps({**answers, "tries": list(_list_tries(log))}))


def _start_cluster(folder: str) -> str:
    """The address of a standalone master with two workers of one core, all in the JVM that the session will use."""
    from pyspark import SparkContext

    SparkContext._ensure_initialized()
    gateway, jvm = SparkContext._gateway, SparkContext._jvm
    assert gateway is not None and jvm is not None
    conf, deploy, none = jvm.org.apache.spark.SparkConf(), jvm.org.apache.spark.deploy, jvm.scala.Option.empty()
    started = deploy.master.Master.startRpcEnvAndEndpoint(_MASTER_HOST, 0, 0, conf)
    masters = gateway.new_array(gateway.jvm.java.lang.String, 1)
    masters[0] = f"spark://{_MASTER_HOST}:{started._1().address().port()}"
    for number, host in enumerate(_WORKER_HOSTS):
        work = f"{folder}/worker-{number}"
        deploy.worker.Worker.startRpcEnvAndEndpoint(host, 0, 0, 1, _WORKER_MB, masters, work, none, conf, none)
    return str(masters[0])


def _dawdle(batches: Iterator[Any]) -> Iterator[Any]:
    import pyspark

    context = pyspark.TaskContext.get()
    is_slow = context.partitionId() == SLOW_PARTITION and context.attemptNumber() == 0
    for batch in batches:
        yield batch.slice(0, 3)
        if is_slow:
            time.sleep(SLEEP_S)
        yield batch.slice(3)


def _await_end_of_slow_try(spark: Any, log: Path) -> None:
    """A try that is ended for its copy says so after the job is done."""
    for _ in range(60):
        spark.range(1).count()  # events are held back until a job ends
        if any(told[:3] == (SLOW_PARTITION, 0, False) for told in _list_tries(log)):
            return
        time.sleep(1.0)


def _list_tries(log: Path) -> Iterator[tuple[int, int, bool, str]]:
    """Partition, number of the try, whether it is a speculative copy, and how it ended, of every task."""
    for file in sorted(path for path in log.rglob("*") if path.is_file()):
        for line in file.read_text(encoding="utf-8").splitlines():
            event = json.loads(line) if line.startswith('{"Event":"SparkListenerTaskEnd"') else None
            if event:
                told = event["Task Info"]
                yield told["Index"], told["Attempt"], told["Speculative"], event["Task End Reason"]["Reason"]


if __name__ == "__main__":
    main(sys.argv[1])
