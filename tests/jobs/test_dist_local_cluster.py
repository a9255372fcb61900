"""The zip of ``make dist`` on executors of other hosts: empty folder, no checkout on any path, local-cluster."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pyspark
import pytest
from deltalake import DeltaTable

from ppsehr_spark.config import load_settings

HOME = Path(__file__).resolve().parents[2]
#: Runs in every Python of the test (driver and workers) before anything else: forgets the checkout, and notes from
#: where the product is imported. A worker is forked, so the note is written at import time.
SITE = """
import importlib.machinery, importlib.util, os, sys
home, notes = os.environ["TEST_CHECKOUT"], os.environ["TEST_NOTES"]
sys.path[:] = [p for p in sys.path if os.path.realpath(p or ".") != home]
class Note:
    def find_spec(self, name, path=None, target=None):
        if name == "ppsehr_spark":
            with open(os.path.join(notes, str(os.getpid())), "w", encoding="utf-8") as stream:
                stream.write("\\n".join(p for p in sys.path if os.path.realpath(p or ".") == home))
        return None
sys.meta_path.insert(0, Note())
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "scripts/build_dist.py", str(target)], cwd=HOME, check=True, capture_output=True)
    (path,) = target.glob("*.zip")
    return path


def test_zip_holds_code_conf_and_nothing_of_the_site(archive: Path) -> None:
    names = zipfile.ZipFile(archive).namelist()
    for wanted in ("ppsehr_spark/conf/pipeline.toml", "ppsehr_spark/conf/spark/cluster.conf", "jobs/ingest.py"):
        assert wanted in names
    assert [name for name in names if name.startswith("ppsehr_spark/conf/categories/")]
    assert not [name for name in names if name.startswith(("tests/", ".state", ".cache")) or name.endswith(".key")]


def test_conf_is_the_same_from_the_zip(archive: Path, tmp_path: Path) -> None:
    code = "from ppsehr_spark import config; print(config.__file__, config.load_settings('ci').conf_hash)"
    environment = {**os.environ, "PYTHONPATH": str(archive)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    where, conf_hash = done.stdout.split()
    assert where.startswith(str(archive))
    assert conf_hash == load_settings("ci").conf_hash


@pytest.fixture
def worker_folders() -> Iterator[None]:
    """local-cluster leaves its executors' folders inside Spark's own; what this test adds goes again."""
    work = Path(pyspark.__file__).parent / "work"
    before = set(work.glob("app-*"))
    yield
    for folder in set(work.glob("app-*")) - before:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.submit
@pytest.mark.slow
@pytest.mark.usefixtures("worker_folders")
def test_job_runs_on_executors_that_hold_only_the_zip(archive: Path, tmp_path: Path) -> None:
    site, notes, cwd = (tmp_path / name for name in ("site", "notes", "empty"))
    for folder in (site, notes, cwd):
        folder.mkdir()
    (site / "sitecustomize.py").write_text(SITE, encoding="utf-8")
    # What an operator copies to the submitting host: the job's file and the conf for Spark, from the archive.
    with zipfile.ZipFile(archive) as content:
        content.extract("jobs/simulate.py", tmp_path / "operator")
    log = _submit(archive, site=site, notes=notes, cwd=cwd, job=tmp_path / "operator" / "jobs" / "simulate.py")
    imported_by = {path.name: path.read_text(encoding="utf-8") for path in notes.iterdir()}
    assert len(imported_by) >= 2, log  # the driver and at least one worker on an executor
    assert not any(imported_by.values()), "the checkout was importable"
    assert (cwd / "source").is_dir()
    runs = DeltaTable(str(cwd / "lake" / "control" / "runs")).to_pyarrow_table().to_pylist()
    assert [(run["stage"], run["status"]) for run in runs] == [("simulate", "ok")]


def _submit(archive: Path, *, site: Path, notes: Path, cwd: Path, job: Path) -> str:
    jars = ",".join(str(path) for path in sorted((HOME / ".cache" / "jars").glob("*.jar")))
    command = [str(Path(sys.executable).parent / "spark-submit"), "--master", "local-cluster[2,1,1024]"]
    command += ["--properties-file", str(HOME / "conf/spark/ci.conf"), "--load-spark-defaults"]
    command += ["--py-files", str(archive), "--jars", jars, "--conf", "spark.executor.memory=700m"]
    command += [str(job), "--lake", str(cwd / "lake"), "--source", str(cwd / "source"), "--profile", "ci"]
    command += ["--set", f'identity.key_file="{cwd / "identity.key"}"']
    environment = {
        **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        "PYTHONPATH": str(site),
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
        "SPARK_CONF_DIR": str(HOME / "conf" / "spark"),
        "TEST_CHECKOUT": str(HOME),
        "TEST_NOTES": str(notes),
    }
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=400)
    log = (done.stdout + done.stderr)[-4000:]
    assert done.returncode == 0, log
    return log
