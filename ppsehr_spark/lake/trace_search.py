"""Traces of an erased person in files: what to look for, and a search through any file of a lake.

Knows: keys, source ids and pieces of text; Parquet values and raw bytes. Must not know: Spark, tables. A Parquet file
is searched twice, its values (which compression hides) and its bytes (statistics in the footer stand there in clear).
Findings are counts per kind, never what was found.
"""

from __future__ import annotations

import codecs
import gzip
import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq
from daachorse import CharwiseDoubleArrayAhoCorasick
from pyarrow import compute, fs

KEY, ID, TEXT = "key", "id", "text"
#: A shorter id is a number like any other: it is looked for in nothing but the rows that it names.
MIN_ID_CHARS = 6
#: Pieces of text between line and sentence ends; shorter ones recur by chance, of longer ones the start is enough.
MIN_PIECE_CHARS, MAX_PIECE_CHARS = 12, 60
MAX_PIECES = 200_000
_ENDS = re.compile(r"[\r\n。；;！!？?]+")
_KINDS = (re.compile("[0-9]"), re.compile("[A-Za-z]"))
_CHUNK_BYTES = 1 << 24
_OVERLAP_CHARS = 512


@dataclass(frozen=True)
class Trace:
    """One string to look for; its kind is ``key``, ``id`` or ``text``."""

    kind: str
    text: str


def cut_pieces(texts: Iterable[str]) -> list[str]:
    """Distinct pieces of the texts, at most ``MAX_PIECES`` of them."""
    pieces: dict[str, None] = {}
    for text in texts:
        for piece in _ENDS.split(text):
            stripped = piece.strip()
            if len(stripped) >= MIN_PIECE_CHARS:
                pieces[stripped[:MAX_PIECE_CHARS]] = None
        if len(pieces) >= MAX_PIECES:
            break
    return list(pieces)[:MAX_PIECES]


class Searcher:
    """Finds any of many strings in one pass; an id only where it is not part of a longer one."""

    def __init__(self, traces: Collection[Trace]) -> None:
        self.traces = sorted(set(traces), key=lambda trace: (trace.text, trace.kind))
        patterns: dict[str, list[int]] = {}
        for index, trace in enumerate(self.traces):
            for spelling in {trace.text, json.dumps(trace.text)[1:-1]}:  # as it is, and as ASCII JSON escapes it
                patterns.setdefault(spelling, []).append(index)
        self._patterns = list(patterns.values())
        self._automaton = CharwiseDoubleArrayAhoCorasick(list(patterns)) if patterns else None

    def find(self, text: str) -> set[int]:
        """Positions in ``traces`` of what occurs in the text."""
        if self._automaton is None or not text:
            return set()
        found: set[int] = set()
        for start, end, pattern in self._automaton.find_overlapping(text):
            for index in self._patterns[pattern]:
                if self.traces[index].kind != ID or not _is_inside_word(text, start, end):
                    found.add(index)
        return found

    def kinds(self, found: Iterable[int]) -> Counter[str]:
        """Kind -> how many different strings."""
        return Counter(self.traces[index].kind for index in found)


def search_file(filesystem: fs.FileSystem, path: str, searcher: Searcher) -> set[int]:
    """Positions of the strings that occur anywhere in a file.

    A file that disappears meanwhile holds nothing.
    """
    try:
        found = _search_bytes(filesystem, path, searcher)
        return found | (_search_parquet(filesystem, path, searcher) if path.endswith(".parquet") else set())
    except FileNotFoundError:
        return set()


def list_files(filesystem: fs.FileSystem, folder: str, *, without: str = "") -> dict[str, int]:
    """Path -> bytes of every file below a folder, hidden ones included, without one subfolder."""
    infos = filesystem.get_file_info(fs.FileSelector(folder, recursive=True, allow_not_found=True))
    skipped = f"{without.rstrip('/')}/" if without else "\x00"
    return {i.path: i.size or 0 for i in infos if i.type == fs.FileType.File and not i.path.startswith(skipped)}


def _search_bytes(filesystem: fs.FileSystem, path: str, searcher: Searcher) -> set[int]:
    found: set[int] = set()
    tail, decoder = "", codecs.getincrementaldecoder("utf-8")("replace")
    with filesystem.open_input_stream(path, compression=None) as raw:
        stream = gzip.GzipFile(fileobj=raw) if path.endswith(".gz") else raw
        while chunk := bytes(stream.read(_CHUNK_BYTES)):
            text = tail + decoder.decode(chunk)
            found |= searcher.find(text)
            tail = text[-_OVERLAP_CHARS:]
    return found


def _search_parquet(filesystem: fs.FileSystem, path: str, searcher: Searcher) -> set[int]:
    found: set[int] = set()
    try:
        file = pq.ParquetFile(path, filesystem=filesystem)
    except pa.ArrowInvalid:
        return found  # torn: its bytes have been looked at
    with file:
        for batch in file.iter_batches():
            for column in batch.columns:
                for value in _strings(column):
                    found |= searcher.find(value)
    return found


def _strings(array: pa.Array) -> Iterator[str]:
    """Every distinct string in a column, however deep it is nested."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        yield from _strings(array.dictionary_decode())
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        yield from (value for value in compute.unique(array).to_pylist() if value)
    elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        yield from (value.decode("utf-8", "replace") for value in compute.unique(array).to_pylist() if value)
    elif pa.types.is_struct(kind):
        for index in range(kind.num_fields):
            yield from _strings(array.field(index))
    elif pa.types.is_map(kind):
        yield from _strings(array.keys)
        yield from _strings(array.items)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        yield from _strings(array.values)


def _is_inside_word(text: str, start: int, end: int) -> bool:
    """True where a digit goes on a number or a letter a word; beside any other sign, binary ones too, it is whole."""
    before = text[start - 1 : start] if start else ""
    return _goes_on(before, text[start]) or _goes_on(text[end - 1], text[end : end + 1])


def _goes_on(one: str, other: str) -> bool:
    return any(bool(kind.fullmatch(one) and kind.fullmatch(other)) for kind in _KINDS)
