"""Fixtures of this room: an empty lake, and the one vLLM engine of the test run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ppsehr_spark.config import load_settings
from ppsehr_spark.lake.tables import Lake
from ray_actors.engine import load_engine

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty lake."""
    return Lake(str(tmp_path / "lake"))


@pytest.fixture(scope="session")
def qwen() -> Iterator[Any]:
    """Real Qwen2.5-Coder-1.5B-Instruct under vLLM, loaded once (about a minute on two cores)."""
    options = dict(load_settings("laptop").engine["vllm"])
    folder = ROOT / options["model"]
    if not (folder / "config.json").is_file():
        pytest.fail(f"{options['model']} is missing; `make setup` builds it (scripts/fetch_model.py)", pytrace=False)
    engine = load_engine("vllm", {**options, "model": str(folder), "kv_cache_gib": 0.5})
    yield engine
    engine.close()
