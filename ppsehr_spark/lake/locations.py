"""Where a URI points: the one place that knows what Arrow calls a file system that Hadoop and Delta name otherwise.

Knows: schemes. Must not know: keys of a store; AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL and their like are read by the
libraries themselves. deltalake takes ``s3a`` as it is.
"""

from __future__ import annotations

import os

import pyarrow as pa
from pyarrow import fs

from ppsehr_spark.errors import ConfigurationError

#: Hadoop's name of a scheme -> Arrow's.
_SCHEMES = {"s3a": "s3", "s3n": "s3", "abfss": "abfs", "gs": "gcs"}


def open_file_system(place: str) -> tuple[fs.FileSystem, str]:
    """File system and path of a URI or local path, without a slash at its end.

    Raises:
        ConfigurationError: ``LAKE_SCHEME`` when Arrow knows no such file system.
    """
    scheme, separator, rest = place.partition("://")
    if not separator:
        return fs.LocalFileSystem(), os.path.abspath(place).rstrip("/")
    try:
        filesystem, path = fs.FileSystem.from_uri(f"{_SCHEMES.get(scheme, scheme)}://{rest}")
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise ConfigurationError("LAKE_SCHEME", scheme=scheme, error=type(error).__name__) from None
    return filesystem, path.rstrip("/")
