"""Fixtures of this room: an empty lake."""

from __future__ import annotations

from pathlib import Path

import pytest

from ppsehr_spark.lake.tables import Lake


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty lake."""
    return Lake(str(tmp_path / "lake"))
