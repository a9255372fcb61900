"""The submit examples name files that exist, carry the product's defaults, and refuse what is not there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

HOME = Path(__file__).resolve().parents[2]
DEPLOY = HOME / "deploy"
TARGETS = ("yarn", "kubernetes")


@pytest.fixture(scope="module", autouse=True)
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts want a zip in ``dist/``; build one where a developer has not."""
    found = list((HOME / "dist").glob("ppsehr_spark-*.zip"))
    if not found:
        subprocess.run([sys.executable, "scripts/build_dist.py"], cwd=HOME, check=True, capture_output=True)
        found = list((HOME / "dist").glob("ppsehr_spark-*.zip"))
    return found[0]


def _dry_run(target: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PPSEHR_DRY_RUN": "1"}
    command = [str(DEPLOY / target / "submit.sh"), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("target", TARGETS)
def test_command_is_whole(target: str) -> None:
    done = _dry_run(target, "partition", "--lake", "s3a://bucket/lake")
    assert done.returncode == 0, done.stderr
    words = shlex.split(done.stdout)
    assert words[0] == "spark-submit"
    assert words[-5:] == [words[-5], "--profile", "cluster", "--lake", "s3a://bucket/lake"]
    assert words[-5].endswith("jobs/partition.py")
    assert words[words.index("--properties-file") + 1] == "conf/spark/cluster.conf"
    assert "--load-spark-defaults" in words


@pytest.mark.parametrize("target", TARGETS)
def test_every_product_default_is_carried_but_local_paths(target: str) -> None:
    words = shlex.split(_dry_run(target, "partition").stdout)
    given = {word.partition("=")[0]: word.partition("=")[2] for word in words if word.startswith("spark.")}
    lines = (HOME / "spark-defaults.conf").read_text(encoding="utf-8").splitlines()
    defaults = dict(re.split(r"\s+", line, maxsplit=1) for line in lines if line.strip() and not line.startswith("#"))
    defaults.pop("spark.jars")
    assert {name: given.get(name) for name in defaults} == defaults


def test_yarn_ships_the_four_jars_and_the_zip() -> None:
    words = shlex.split(_dry_run("yarn", "partition").stdout)
    assert len(words[words.index("--jars") + 1].split(",")) == 4
    assert (HOME / words[words.index("--py-files") + 1]).is_file()


@pytest.mark.parametrize("target", TARGETS)
def test_unknown_job_is_a_usage_error(target: str) -> None:
    done = _dry_run(target, "no_such_job")
    assert done.returncode == 2
    assert "no jobs/no_such_job.py" in done.stderr


def test_images_copy_files_that_exist() -> None:
    for path in (DEPLOY / "images").glob("Dockerfile.*"):
        for source in re.findall(r"^COPY (\S+) ", path.read_text(encoding="utf-8"), re.MULTILINE):
            assert list(HOME.glob(source.rstrip("/"))), f"{path.name}: {source}"


def test_ray_job_asks_for_the_locked_ray_and_an_existing_job() -> None:
    spec = yaml.safe_load((DEPLOY / "kubernetes" / "rayjob.yaml").read_text(encoding="utf-8"))["spec"]
    lock = (HOME / "requirements" / "lock.txt").read_text(encoding="utf-8")
    assert f"ray=={spec['rayClusterSpec']['rayVersion']} " in lock
    job = next(word for word in spec["entrypoint"].split() if word.endswith(".py"))
    assert (HOME / "jobs" / Path(job).name).is_file()
    (workers,) = spec["rayClusterSpec"]["workerGroupSpecs"]
    assert workers["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
