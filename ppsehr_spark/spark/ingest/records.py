"""Raw records out of a hospital's files, one by one, with every defect named.

Knows: CSV, JSON lines, gzip, encodings. Must not know: tables, Spark. A record that cannot be read becomes a
``Reject`` (row, field, reason code); reading goes on behind it.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import sys
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from ppsehr_spark.spark.ingest.mapping import FileGroup

_BINARY_LINE_LIMIT_BYTES = 16 * 1024 * 1024

csv.field_size_limit(sys.maxsize)


@dataclass(frozen=True, slots=True)
class Reject:
    """Why a row was not taken; ``row`` is 1-based, 0 stands for the file."""

    row: int
    field: str
    reason: str


@dataclass(frozen=True, slots=True)
class Record:
    """One raw row: column name -> value as the file has it."""

    row: int
    values: Mapping[str, Any]


def read_records(stream: BinaryIO, group: FileGroup, *, is_gzip: bool) -> Iterator[Record | Reject]:
    """Stream the records of one file.

    Yields:
        ``Record`` for readable rows; ``Reject`` with ``EMPTY_FILE``, ``TORN_GZIP``, ``INVALID_ENCODING``,
        ``NOT_JSON``, ``WRONG_TYPE``, ``COLUMN_COUNT``, ``MISSING_COLUMN``, ``UNCLOSED_QUOTE`` or ``LINE_TOO_LONG``.
    """
    raw: Any = gzip.GzipFile(fileobj=stream) if is_gzip else stream
    reader = _read_csv if group.format == "csv" else _read_jsonl
    last_row = 0
    try:
        for item in reader(raw, group):
            last_row = item.row
            yield item
    except (EOFError, zlib.error, gzip.BadGzipFile):
        yield Reject(last_row + 1, "", "TORN_GZIP")
        return
    if last_row == 0:
        yield Reject(0, "", "EMPTY_FILE")


def _read_jsonl(stream: BinaryIO, group: FileGroup) -> Iterator[Record | Reject]:
    lines = iter(lambda: stream.readline(_BINARY_LINE_LIMIT_BYTES), b"")
    row, is_continued = 0, False
    for line in lines:
        is_long = len(line) == _BINARY_LINE_LIMIT_BYTES and not line.endswith(b"\n")
        row += not is_continued
        if is_long or is_continued:
            if not is_continued:
                yield Reject(row, "", "LINE_TOO_LONG")
            is_continued = is_long
            continue
        if line.strip():
            yield _parse_json_line(line, row, group.encoding)


def _parse_json_line(line: bytes, row: int, encoding: str) -> Record | Reject:
    try:
        text = line.decode("utf-8-sig" if row == 1 and encoding == "utf-8" else encoding)
    except UnicodeDecodeError:
        return Reject(row, "", "INVALID_ENCODING")
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return Reject(row, "", "NOT_JSON")
    return Record(row, values) if isinstance(values, dict) else Reject(row, "", "WRONG_TYPE")


def _read_csv(stream: BinaryIO, group: FileGroup) -> Iterator[Record | Reject]:
    # surrogateescape keeps undecodable bytes visible per row, so one bad row does not end the file
    text = io.TextIOWrapper(stream, encoding=_lenient(group.encoding), errors="surrogateescape", newline="")
    try:
        yield from _csv_rows(csv.reader(text, delimiter=group.delimiter, strict=True), group)
    finally:
        text.detach()  # the stream belongs to the caller, who closes it


def _csv_rows(rows: Iterator[list[str]], group: FileGroup) -> Iterator[Record | Reject]:
    header: list[str] = []
    row = 0
    while True:
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error:
            yield Reject(row + 1, "", "UNCLOSED_QUOTE")
            row += 1
            continue
        row += 1
        if not header:
            header = cells
            missing = [c for c in group.fields.values() if c not in header and not c.startswith("@")]
            if missing:
                yield Reject(row, missing[0], "MISSING_COLUMN")
                return
        elif len(cells) != len(header):
            yield Reject(row, "", "COLUMN_COUNT")
        elif any(has_escaped_byte(cell) for cell in cells):
            yield Reject(row, "", "INVALID_ENCODING")
        else:
            yield Record(row, dict(zip(header, cells, strict=True)))


def has_escaped_byte(text: str) -> bool:
    """True when ``text`` holds a byte that its encoding could not decode (PEP 383 surrogate)."""
    return has_lone_surrogate(text) and any("\udc80" <= c <= "\udcff" for c in text)


def has_lone_surrogate(text: str) -> bool:
    """True when ``text`` holds half of a UTF-16 pair, which is no character; the encoder says so at its own speed."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _lenient(encoding: str) -> str:
    """GB2312 and GBK files are read as GB18030, their superset (GB 18030-2022)."""
    return "gb18030" if codecs.lookup(encoding).name in ("gb2312", "gbk", "cp936") else encoding
