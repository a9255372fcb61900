"""How the ``[engine.<name>]`` table of conf becomes one frozen options value.

Knows: names and types. Must not know: what any engine does with them.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from ppsehr_spark.errors import ConfigurationError

_Options = TypeVar("_Options")


def read_options(kind: type[_Options], options: Mapping[str, Any], *, engine: str) -> _Options:
    """Build ``kind`` from conf values; whole numbers stand for floats.

    Raises:
        ConfigurationError: ``ENGINE_OPTION`` with engine and key for an unknown key or a wrong type.
    """
    hints = typing.get_type_hints(kind)
    values: dict[str, Any] = {}
    for key, value in options.items():
        if key not in hints:
            known = ", ".join(sorted(hints))
            raise ConfigurationError("ENGINE_OPTION", engine=engine, key=key, hint=f"unknown; one of {known}")
        values[key] = _check(hints[key], value, engine=engine, key=key)
    return kind(**values)


def _check(expected: Any, value: Any, *, engine: str, key: str) -> Any:
    if expected is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    plain = typing.get_origin(expected) or expected
    if not isinstance(value, plain) or (plain is not bool and isinstance(value, bool)):
        raise ConfigurationError("ENGINE_OPTION", engine=engine, key=key, hint=f"must be {plain.__name__}")
    return value
