"""Ledgers for the privacy tests."""

from __future__ import annotations

import math

import pytest

from ppsehr_spark.privacy.ledger import Ledger
from tests.privacy.small_ledger import make_ledger


@pytest.fixture
def ledger() -> Ledger:
    """A total cap of epsilon 2 at delta 1e-6."""
    return make_ledger(2.0)


@pytest.fixture
def open_ended() -> Ledger:
    """A cap of infinite epsilon, as only tests may have."""
    return make_ledger(math.inf)
