"""A lake on an object store, as far as deltalake and Arrow go; Spark's side is in docs/operations.md.

Runs against a server that speaks S3 where PPSEHR_TEST_S3 names one (an address such as http://127.0.0.1:5000, any key
pair in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY); the bucket ``ppsehr-test`` must exist.
"""

from __future__ import annotations

import os
import secrets
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import fs

from ppsehr_spark.errors import ConfigurationError
from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.audit_log import append_entry, verify_chain
from ppsehr_spark.lake.checkpoint_store import fetch_folder, locate, store_checkpoint
from ppsehr_spark.lake.locations import open_file_system
from ppsehr_spark.lake.release_files import read_release_file, write_release_file
from ppsehr_spark.lake.tables import Lake

ENDPOINT = os.environ.get("PPSEHR_TEST_S3", "")
needs_server = pytest.mark.skipif(not ENDPOINT, reason="PPSEHR_TEST_S3 names no server that speaks S3")


@pytest.fixture
def lake(monkeypatch: pytest.MonkeyPatch) -> Lake:
    variables = {
        "AWS_ENDPOINT_URL": ENDPOINT,
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": os.environ.get("AWS_ACCESS_KEY_ID", "test"),
        "AWS_SECRET_ACCESS_KEY": os.environ.get("AWS_SECRET_ACCESS_KEY", "test"),
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return Lake(f"s3a://ppsehr-test/{secrets.token_hex(4)}")


def test_a_scheme_is_translated_in_one_place() -> None:
    system, path = open_file_system("s3a://bucket/lake/?region=us-east-1")  # else Arrow asks the store
    assert isinstance(system, fs.S3FileSystem) and path == "bucket/lake"
    local, here = open_file_system("lake")
    assert isinstance(local, fs.LocalFileSystem) and here == os.path.abspath("lake")
    with pytest.raises(ConfigurationError, match="LAKE_SCHEME scheme=ftp"):
        open_file_system("ftp://host/lake")


@needs_server
def test_append_read_and_transactions(lake: Lake) -> None:
    assert lake.version(schemas.RUNS) is None
    rows = pa.Table.from_pylist([{"run_id": "r", "stage": "s"}], schema=schemas.RUNS.schema)
    assert [lake.append(schemas.RUNS, rows, app_id="a", app_version=1) for _ in range(2)] == [True, False]
    assert lake.read(schemas.RUNS, ["stage"]).to_pylist() == [{"stage": "s"}]


def _append_ten(uri: str) -> None:
    for n in range(10):
        append_entry(Lake(uri), actor="a", action="test", target="t", run_id=str(os.getpid()), details={"n": n})


@needs_server
def test_three_processes_make_one_whole_chain(lake: Lake) -> None:
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as pool:
        list(pool.map(_append_ten, [lake.uri] * 3))
    assert lake.read(schemas.AUDIT_LOG).num_rows == 30
    assert verify_chain(lake).is_whole


@needs_server
def test_files_beside_tables(lake: Lake, tmp_path: Path) -> None:
    write_release_file(lake, "claim_x.json", '{"名": 1}')
    assert read_release_file(lake, "claim_x.json") == '{"名": 1}'
    made, back = tmp_path / "made", tmp_path / "back"
    made.mkdir()
    back.mkdir()
    (made / "weights").write_bytes(b"abc")
    store_checkpoint(lake, made, checkpoint_id="c1")
    assert (fetch_folder(locate(lake, "protected/checkpoint_files/c1"), back) / "weights").read_bytes() == b"abc"
