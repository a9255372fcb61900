"""Which identity key a lake was written with.

Knows: control.lake_info and the key's fingerprint. Must not know: what is hidden with the key. The key is read in this
process and goes nowhere.
"""

from __future__ import annotations

import pyarrow as pa

from ppsehr_spark.domain.identity import create_key, key_fingerprint, load_key
from ppsehr_spark.errors import ConfigurationError
from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.tables import Lake

_NAME = "identity_key_fingerprint"


def check_identity(lake: Lake, key_file: str) -> None:
    """Create the key of a new lake on its own machine; refuse a key that differs from the lake's.

    Raises:
        ConfigurationError: ``IDENTITY_KEY_CHANGED``, or what ``load_key`` says.
    """
    stored = [row["value"] for row in lake.read(schemas.LAKE_INFO).to_pylist() if row["name"] == _NAME]
    if not stored and not key_file.startswith("env:"):
        create_key(key_file)
    fingerprint = key_fingerprint(load_key(key_file))
    if not stored:
        row = pa.Table.from_pylist([{"name": _NAME, "value": fingerprint}], schema=schemas.LAKE_INFO.schema)
        lake.append(schemas.LAKE_INFO, row, app_id="lake_info.identity", app_version=1)
    elif fingerprint not in stored:
        raise ConfigurationError("IDENTITY_KEY_CHANGED", hint="this lake was written with another identity key")
