"""Opening the Spark session of a job.

Knows: the application name and what is checked before work starts. Must not know: master, memory, jars or JVM
options; those come from spark-defaults.conf and conf/spark/<profile>.conf through spark-submit.
"""

from __future__ import annotations

import sys

from pyspark.sql import SparkSession

from ppsehr_spark.errors import ConfigurationError


def open_session(app_name: str) -> SparkSession:
    """The session that spark-submit configured (or the active one, in tests).

    Raises:
        ConfigurationError: ``SPARK_WITHOUT_DELTA`` when the properties files were not given to spark-submit.
    """
    has_terminal = str(sys.stderr.isatty()).lower()  # Spark itself would draw its bar into a log file, too
    builder = SparkSession.builder.appName(f"ppsehr-{app_name}").config("spark.ui.showConsoleProgress", has_terminal)
    spark = SparkSession.getActiveSession() or builder.getOrCreate()
    if "DeltaSparkSessionExtension" not in (spark.conf.get("spark.sql.extensions", "") or ""):
        spark.stop()
        hint = "start the job by spark-submit with --properties-file conf/spark/<profile>.conf --load-spark-defaults"
        raise ConfigurationError("SPARK_WITHOUT_DELTA", hint=hint)
    describe(spark, f"{app_name}: look at tables")
    return spark


def sign_commits(spark: SparkSession, writer: str) -> None:
    """Let every Delta commit from here on say which run made it (a random name; never data)."""
    spark.conf.set("spark.databricks.delta.commitInfo.userMetadata", writer)


def describe(spark: SparkSession, step: str) -> None:
    """Name the Spark jobs that follow, for the Spark UI; never data."""
    spark.sparkContext.setJobDescription(step)
