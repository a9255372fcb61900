"""Line files in and out: plain or gzip, a path or ``-``, torn or whole, replaced atomically.

Knows: bytes, lines, files. Must not know: what a line means.
"""

from __future__ import annotations

import gzip
import io
import os
import stat
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from ppsehr_spark.errors import UsageError

STDIO = "-"
_GZIP_MAGIC = b"\x1f\x8b"
_TORN = (EOFError, zlib.error, gzip.BadGzipFile)


@dataclass
class LineSource:
    """Lines of one input, without their line end, at most ``max_line_bytes`` long.

    Attributes:
        stream: what is read.
        max_line_bytes: a longer line comes as ``None``; it is skipped, never held in memory.
        is_torn: set when a compressed input ended early or is damaged; the complete lines before it were given.
    """

    stream: io.BufferedIOBase
    max_line_bytes: int
    is_torn: bool = False

    def __iter__(self) -> Iterator[bytes | None]:
        while True:
            try:
                line = self._next_line()
            except _TORN:
                self.is_torn = True
                return
            if line == b"":
                return
            yield line.rstrip(b"\r\n") if line is not None else None

    def _next_line(self) -> bytes | None:
        line = self.stream.readline(self.max_line_bytes + 1)
        if len(line) <= self.max_line_bytes:
            return line
        while line and not line.endswith(b"\n"):
            line = self.stream.readline(self.max_line_bytes)
        return None


@contextmanager
def open_lines(path: str, *, max_line_bytes: int) -> Iterator[LineSource]:
    """Open a path or ``-`` (standard input); gzip is recognised by its first bytes.

    Raises:
        UsageError: ``NO_SUCH_FILE``, ``NOT_A_FILE`` or ``UNREADABLE_FILE`` with the path.
    """
    raw = _open_raw(path)
    try:
        is_gzip = raw.peek(2)[:2] == _GZIP_MAGIC
        yield LineSource(gzip.GzipFile(fileobj=raw) if is_gzip else raw, max_line_bytes)
    finally:
        if path != STDIO:
            raw.close()


@contextmanager
def write_lines(path: str, *, is_private: bool = False) -> Iterator[TextIO]:
    """Open a text file that appears whole or not at all; ``-`` is standard output.

    Args:
        path: where to.
        is_private: the file is readable by its owner alone from its first byte on (mode 0600).

    Raises:
        UsageError: ``NO_SUCH_FOLDER`` or ``UNWRITABLE_FILE`` with the path.
    """
    if path == STDIO:
        if isinstance(sys.stdout, io.TextIOWrapper):  # whatever the locale says, JSON lines are UTF-8
            sys.stdout.reconfigure(encoding="utf-8", newline="\n")
        yield sys.stdout
        sys.stdout.flush()
        return
    if _is_special(path):
        with open(path, "w", encoding="utf-8", newline="\n") as stream:
            yield stream
        return
    temporary = _temporary_path(path)
    try:
        with _create(temporary, path, mode=0o600 if is_private else 0o666) as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def refuse_same_file(source: str, target: str) -> None:
    """Refuse to write over the input.

    Raises:
        UsageError: ``SAME_FILE``.
    """
    if STDIO not in (source, target) and os.path.exists(target) and os.path.samefile(source, target):
        raise UsageError("SAME_FILE", path=target, hint="--out must not be the input")


def _open_raw(path: str) -> io.BufferedReader:
    if path == STDIO:
        return io.BufferedReader(io.FileIO(sys.stdin.fileno(), closefd=False))
    try:
        return open(path, "rb")
    except FileNotFoundError:
        raise UsageError("NO_SUCH_FILE", path=path) from None
    except IsADirectoryError:
        raise UsageError("NOT_A_FILE", path=path) from None
    except OSError as error:
        raise UsageError("UNREADABLE_FILE", path=path, error=type(error).__name__) from None


def _is_special(path: str) -> bool:
    """Pipes and devices cannot be replaced."""
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False


def _temporary_path(path: str) -> Path:
    target = Path(path)
    if not target.parent.is_dir():
        raise UsageError("NO_SUCH_FOLDER", path=str(target.parent))
    return target.with_name(f".{target.name}.{os.getpid()}.tmp")


def _create(temporary: Path, path: str, *, mode: int) -> TextIO:
    temporary.unlink(missing_ok=True)  # left by a process that died; its mode may be another
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        return os.fdopen(handle, "w", encoding="utf-8", newline="\n")
    except OSError as error:
        raise UsageError("UNWRITABLE_FILE", path=path, error=type(error).__name__) from None
