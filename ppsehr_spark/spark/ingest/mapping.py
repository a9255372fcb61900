"""A source mapping: which files of a hospital's export hold which table, and what their columns are called.

Knows: the shape of ``conf/sources/<name>.toml``. Must not know: how files are read.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass

from ppsehr_spark.errors import ConfigurationError

#: Fields each target table understands: required ones, optional ones. ``operation`` stands apart (``FileGroup``).
TARGET_FIELDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "patients": (("patient_id",), ("sex", "birth_date", "death_date", "marital_status", "region", "city")),
    "encounters": (
        ("encounter_id", "patient_id"),
        ("encounter_type", "department", "admitted_at", "discharged_at", "diagnosis_codes", "is_deceased", "ward"),
    ),
    "notes": (
        ("note_id", "text"),
        ("patient_id", "encounter_id", "note_type", "department", "noted_at", "sex", "age_years"),
    ),
    "gold": (("note_id", "spans"), ()),
    "merges": (("patient_id", "surviving_id"), ()),
}
#: The field that says what a row wants, and what it may want.
OPERATION = "operation"
UPSERT, DELETE = "upsert", "delete"

#: Stands for "this source has no such id: number the rows of each file".
ROW_NUMBER = "@row"


@dataclass(frozen=True)
class FileGroup:
    """Files of one kind.

    Attributes:
        path: folder or file below the source root; ``""`` is the root.
        pattern: glob on the file name.
        format: ``csv`` or ``jsonl`` (``.gz`` is recognised by the file name).
        encoding: Python codec name.
        table: ``patients``, ``encounters``, ``notes``, ``gold``, or ``merges`` (patient ids that became others).
        fields: target field -> column name in the file, or ``@row``.
        delimiter: CSV delimiter.
        constants: target field -> fixed value.
        operations: value of the field ``operation`` in the file -> ``upsert`` or ``delete``. Such files are journals:
            where a key comes more than once, its last row counts.
        is_optional: a delivery may come without this folder.
    """

    path: str
    format: str
    encoding: str
    table: str
    fields: Mapping[str, str]
    pattern: str = "*"
    delimiter: str = ","
    constants: Mapping[str, str] = ()  # type: ignore[assignment]
    operations: Mapping[str, str] = ()  # type: ignore[assignment]
    is_optional: bool = False

    @property
    def is_journal(self) -> bool:
        """True when every row says what it wants."""
        return OPERATION in self.fields


@dataclass(frozen=True)
class SourceMapping:
    """A named source: the name goes into every key, so two hospitals never share one."""

    name: str
    groups: tuple[FileGroup, ...]


def load_mapping(files: Mapping[str, str], name: str) -> SourceMapping:
    """Read ``sources/<name>.toml``.

    Raises:
        ConfigurationError: ``SOURCE_MAPPING`` with file and key when it is missing or wrong.
    """
    path = f"sources/{name}.toml"
    if path not in files:
        known = ", ".join(sorted(p[8:-5] for p in files if p.startswith("sources/")))
        raise ConfigurationError("SOURCE_MAPPING", file=path, hint=f"no such source mapping; one of {known}")
    try:
        raw = tomllib.loads(files[path])
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError("SOURCE_MAPPING", file=path, hint=f"not valid TOML: {error}") from None
    groups = tuple(_load_group(path, key, value) for key, value in raw.get("files", {}).items())
    if not any(group.table == "notes" for group in groups):
        raise ConfigurationError("SOURCE_MAPPING", file=path, key="files", hint="no file group fills the table notes")
    return SourceMapping(name, groups)


def _load_group(path: str, key: str, value: Mapping[str, object]) -> FileGroup:
    def fail(at: str, hint: str) -> ConfigurationError:
        return ConfigurationError("SOURCE_MAPPING", file=path, key=f"files.{key}.{at}", hint=hint)

    try:
        group = FileGroup(**{"path": "", "encoding": "utf-8", "constants": {}, "operations": {}, **value})  # type: ignore[arg-type]
    except TypeError:
        raise fail("", f"needs format, table, fields; knows {', '.join(FileGroup.__dataclass_fields__)}") from None
    if group.table not in TARGET_FIELDS:
        raise fail("table", f"one of {', '.join(TARGET_FIELDS)}")
    if group.format not in ("csv", "jsonl"):
        raise fail("format", "csv or jsonl")
    required, optional = TARGET_FIELDS[group.table]
    for field in required:
        if field not in group.fields and field not in group.constants:
            raise fail("fields", f"{field} is required for table {group.table}")
    allowed = {*required, *optional} | ({OPERATION} if group.table != "merges" else set())
    unknown = sorted({*group.fields, *group.constants} - allowed)
    if unknown:
        raise fail("fields", f"unknown target field {unknown[0]}; one of {', '.join(sorted(allowed))}")
    if group.is_journal != bool(group.operations) or not set(group.operations.values()) <= {UPSERT, DELETE}:
        raise fail("operations", f"goes with the field {OPERATION}; every value of it becomes {UPSERT} or {DELETE}")
    return group
