"""A category file with more in it: read, added to, written again as TOML.

Knows: the value types of ``conf/categories/*.toml``. Must not know: what a key means. Comments do not survive, so the
result is for engines; files that people edit are never rewritten. Reference: TOML 1.0.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from typing import Any


def read_category(text: str) -> dict[str, Any]:
    """The values of a category file."""
    return tomllib.loads(text)


def write_category(values: Mapping[str, Any]) -> str:
    """TOML that ``read_category`` reads back to equal values: plain keys, then tables, then arrays of tables."""
    plain = {k: v for k, v in values.items() if not _is_table(v) and not _is_tables(v)}
    tables = {k: v for k, v in values.items() if _is_table(v)}
    lists = {k: v for k, v in values.items() if _is_tables(v)}
    parts = [_assignments(plain), *(f"[{name}]\n{_assignments(table)}" for name, table in tables.items())]
    parts += [f"[[{name}]]\n{_assignments(table)}" for name, rows in lists.items() for table in rows]
    return "\n".join(parts)


def _assignments(values: Mapping[str, Any]) -> str:
    return "".join(f"{name} = {_literal(value)}\n" for name, value in values.items())


def _literal(value: Any) -> str:
    """JSON's strings, numbers, booleans and lists are TOML's; DEL alone must be escaped besides."""
    if isinstance(value, list):
        return "[" + ", ".join(_literal(item) for item in value) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(k)} = {_literal(v)}" for k, v in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping)


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, Mapping) for item in value)
