"""Real Qwen under vLLM: engine and driver are killed in mid-run, and the run that goes on ends as one that nobody
disturbed: no answer lost, none twice.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from ppsehr_spark.lake.schemas import SEGMENT_ANNOTATIONS
from ppsehr_spark.lake.tables import Lake
from tests.chaos.annotated_lake import (
    KEYS,
    N_SEGMENTS,
    NO_CONTENT,
    ROOT,
    annotate,
    answered,
    dead,
    make_lake,
    start_driver,
    tagged,
)

pytestmark = [
    pytest.mark.ray, pytest.mark.model, pytest.mark.chaos, pytest.mark.full_chaos, pytest.mark.timeout(1_500),
]  # fmt: skip
#: The smaller of the two models that set-up builds: the engine is the same, and it is loaded three times here.
MODEL = ROOT / ".cache" / "models" / "Qwen2.5-Coder-0.5B-Instruct"
#: In bfloat16 a score depends on how many prompts share a step, by more than this.
ENGINE = {"model": str(MODEL), "dtype": "float32", "kv_cache_gib": 0.5, "max_num_seqs": 4}
SCORE_ERROR = 1e-3


def _content(lake: Lake) -> tuple[str, list[float]]:
    """Hash of all answers as a set of rows, each there once, and apart from it their scores by key and place.

    A sum of floats depends on whether the prefix was computed or cached, so scores are compared as numbers.
    """
    rows = sorted(lake.read(SEGMENT_ANNOTATIONS).to_pylist(), key=lambda row: str(row["segment_key"]))
    keys = [(row["segment_key"], tuple(row["prompts"])) for row in rows]
    assert len(set(keys)) == len(keys), "a row is there twice"
    scores = [verdict.pop("log_odds") for row in rows for verdict in row["verdicts"]]
    lines = [json.dumps({k: v for k, v in row.items() if k not in NO_CONTENT}, sort_keys=True) for row in rows]
    return hashlib.sha256("\n".join([str(len(lines)), *lines]).encode()).hexdigest(), scores


def _wait_for_some(lake: Lake, driver: Any, *, seconds: float = 600.0) -> None:
    deadline = time.monotonic() + seconds
    while len(answered(lake)) < N_SEGMENTS // 3:
        assert time.monotonic() < deadline and driver.poll() is None, "the driver makes no progress"
        time.sleep(0.1)


def test_real_engine_and_driver_killed_in_mid_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not (MODEL / "config.json").is_file():
        pytest.fail(f"{MODEL.name} is missing; `make setup` builds it (scripts/fetch_model.py)", pytrace=False)
    monkeypatch.setenv("PPSEHR_ENGINE_FOLDER", str(tmp_path / "engines"))
    oracle, lake, tag = make_lake(tmp_path / "oracle"), make_lake(tmp_path), f"ppsehr-test-{tmp_path.name}"
    real = {"inner": "vllm", "inner_options": ENGINE}
    assert annotate(oracle, options=real).n_open_after == 0

    inner = ", ".join(f"{name}={json.dumps(value)}" for name, value in ENGINE.items())
    slow = f'inner="vllm", inner_options={{{inner}}}, fault="slow", delay_s=1.0, child_tag="{tag}"'
    driver = start_driver(lake, "--run-id", "r0", options=slow, lease_s=3_600.0)
    _wait_for_some(lake, driver)
    (child,) = tagged(tag)
    engine = psutil.Process(child.ppid())
    engine.kill()
    os.kill(driver.pid, signal.SIGKILL)
    _, stderr = driver.communicate()
    assert driver.returncode == -signal.SIGKILL and "李伟" not in stderr
    n_before = len(answered(lake))
    assert 0 < n_before < N_SEGMENTS

    counts = annotate(lake, options=real)
    assert counts.n_open_before == N_SEGMENTS - n_before, "what was committed is asked again"
    assert answered(lake) == set(KEYS) and dead(lake) == []
    (content, scores), (expected, expected_scores) = _content(lake), _content(oracle)
    assert content == expected
    assert scores == pytest.approx(expected_scores, abs=SCORE_ERROR)
    assert not engine.is_running() and list(tagged(tag)) == [], "a killed engine left something behind"
