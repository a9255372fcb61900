"""Keyed identity: HMAC keys that join rows without saying who they are.

Knows: how a key file is read and how parts become one opaque key (RFC 2104 HMAC, SHA-256, FIPS 198-1).
Must not know: tables. The key is read inside each process that needs it; it never travels in a plan,
a closure or a log.
"""

from __future__ import annotations

import hmac
import os
import secrets
from functools import lru_cache
from pathlib import Path

from ppsehr_spark.errors import ConfigurationError

_MIN_KEY_BYTES = 16


def create_key(key_file: str) -> None:
    """Write a new random 256-bit key (hex) readable by its owner only; an existing file is left as it is."""
    path = Path(key_file)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(handle, "w", encoding="ascii") as stream:
        stream.write(secrets.token_hex(32))


@lru_cache(maxsize=8)
def load_key(key_file: str) -> bytes:
    """Read the identity key; ``env:NAME`` reads the environment variable NAME instead of a file.

    Raises:
        ConfigurationError: ``IDENTITY_KEY`` when it is missing, not hexadecimal or shorter than 128 bits.
    """
    try:
        text = os.environ[key_file[4:]] if key_file.startswith("env:") else Path(key_file).read_text(encoding="ascii")
        key = bytes.fromhex(text.strip())
    except (OSError, KeyError, ValueError):
        hint = "identity.key_file must name a readable file (or env:NAME) that holds a hexadecimal key"
        raise ConfigurationError("IDENTITY_KEY", hint=hint) from None
    if len(key) < _MIN_KEY_BYTES:
        raise ConfigurationError("IDENTITY_KEY", hint="the identity key must have at least 128 bits")
    return key


def keyed_hash(key: bytes, *parts: str) -> str:
    """HMAC-SHA256 over the parts joined by U+001F, first 32 hex digits (128 bits)."""
    message = "\x1f".join(parts).encode("utf-8", "surrogatepass")
    return hmac.digest(key, message, "sha256").hex()[:32]  # one call of the library, no object in between


def key_fingerprint(key: bytes) -> str:
    """Tells two keys apart without revealing either; stored in the lake so that a changed key is refused."""
    return keyed_hash(key, "ppsehr identity key fingerprint")[:16]
