"""The review worksheet: annotated notes that a person reads, and what they wrote beside them.

Knows: the columns, how a cell stays a cell (no formula, no cut text), when a sheet is filled. Must not know: files, how
a rate is bounded. Errors name row and column, never a cell's content. A worksheet holds PHI: whoever stores it keeps it
to its owner. Formula escape: OWASP, "CSV Injection".
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ppsehr_spark.domain.notes import Span
from ppsehr_spark.errors import InputError

#: Columns that a person fills.
REVIEWED, N_MISSED, MISSED_CATEGORIES, COMMENT = "reviewed", "n_missed_direct", "missed_categories", "comment"
ROW, OF, NOTE_ID, TEXT = "row", "of", "note_id", "text"
_TO_FILL = (REVIEWED, N_MISSED, MISSED_CATEGORIES, COMMENT)
_READ = (ROW, OF, NOTE_ID, *_TO_FILL)
#: A spreadsheet cell holds 32,767 characters; a longer note goes on in further columns.
CELL_CHARS = 30_000
#: Signs that start a formula, full-width ones included, which some locales read alike; with an escape before them the
#: cell is escaped once more, so that reading gives back what was written.
_FORMULA = re.compile(r"'*(?:\s*[=+\-@＝＋－＠]|[\t\r\n])")
_YES = frozenset(["1", "y", "yes", "x", "true", "是", "已审", "已阅", "√", "v"])
_LIST = re.compile(r"[,，;；、/|\s]+")


@dataclass(frozen=True, slots=True)
class SheetNote:
    """One note to be read: id, text, and the spans that were found in it."""

    note_id: str
    text: str
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class ReviewedNote:
    """What a person wrote: how many direct identifiers stand open in the note, and of which categories."""

    n_missed: int
    categories: tuple[str, ...]


def write_sheet(notes: Sequence[SheetNote], *, names: Mapping[str, str]) -> str:
    """CSV of a worksheet, the columns to fill left empty; every text with its spans in brackets.

    Args:
        notes: the sample.
        names: category id -> how it is called beside a span; an unknown id stands for itself.
    """
    marked = [mark_text(note.text, note.spans, names=names) for note in notes]
    cells = [[text[at : at + CELL_CHARS] for at in range(0, len(text), CELL_CHARS)] or [""] for text in marked]
    n_columns = max((len(parts) for parts in cells), default=1)
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    more = [f"{TEXT}_{at}" for at in range(2, n_columns + 1)]
    writer.writerow([ROW, OF, NOTE_ID, TEXT, *more, *_TO_FILL])
    for number, (note, parts) in enumerate(zip(notes, cells, strict=True), 1):
        padded = [*parts, *[""] * (n_columns - len(parts))]
        row = [str(number), str(len(notes)), note.note_id, *padded]
        writer.writerow([*map(escape_cell, row), *[""] * len(_TO_FILL)])
    return out.getvalue()


def mark_text(text: str, spans: Iterable[Span], *, names: Mapping[str, str]) -> str:
    """The text with each span as ``【content|name】``, its tier after the name; control characters become U+FFFD."""
    pieces: list[str] = []
    done = 0
    for span in sorted(spans, key=lambda s: (s.start, s.end)):
        if span.start < done or span.end > len(text):
            continue  # overlapping or foreign spans cannot be shown
        label = f"{names.get(span.category, span.category)}{span.tier or ''}"
        pieces += [text[done : span.start], f"【{text[span.start : span.end]}|{label}】"]
        done = span.end
    marked = "".join([*pieces, text[done:]]).replace("\r\n", "\n").replace("\r", "\n")
    return "".join(c if c in "\n\t" or c.isprintable() else "\ufffd" for c in marked)


def escape_cell(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula: an apostrophe goes before one."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def unescape_cell(cell: str) -> str:
    """The content that ``escape_cell`` was given."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def read_sheet(content: str, *, file: str, names: Mapping[str, str]) -> tuple[ReviewedNote, ...]:
    """Rows of a filled worksheet.

    Args:
        content: CSV as text, commas, semicolons or tabs between the cells.
        file: name that errors give.
        names: category id -> its other name; both are understood.

    Raises:
        InputError: ``BROKEN_SHEET`` (a column is missing, not a CSV), ``EMPTY_FILE``, ``MISSING_ROWS`` (the sheet had
            more rows than came back), ``UNFILLED`` or ``BAD_CELL`` with row and column.
    """
    rows = list(_read_rows(content.removeprefix("\ufeff"), file))
    if not rows:
        raise InputError("EMPTY_FILE", path=file)
    reviewed = tuple(_read_review(row, place, names) for place, row in rows)
    _require_whole(rows, file)
    return reviewed


@dataclass(frozen=True, slots=True)
class _Place:
    file: str
    row: int

    def refuse(self, column: str, *, code: str = "BAD_CELL", hint: str) -> InputError:
        return InputError(code, path=self.file, row=self.row, field=column, hint=hint)


def _read_rows(content: str, file: str) -> Iterator[tuple[_Place, dict[str, str]]]:
    """Rows by their header; the number is that of the data row, as the ``row`` column counts."""
    header = content[: content.find("\n")] if "\n" in content else content
    delimiter = max(",;\t", key=header.count)
    lines = csv.reader(io.StringIO(content, newline=""), delimiter=delimiter, strict=True)
    try:
        columns = [cell.strip() for cell in next(lines, [])]
        if set(_READ) - set(columns):
            missing = min(set(_READ) - set(columns))
            raise InputError("BROKEN_SHEET", path=file, field=missing, hint="a column of the worksheet is missing")
        for number, cells in enumerate((line for line in lines if any(map(str.strip, line))), 1):
            padded = [*cells, *[""] * (len(columns) - len(cells))]
            yield _Place(file, number), dict(zip(columns, map(_read_cell, padded), strict=False))
    except csv.Error:
        raise InputError("BROKEN_SHEET", path=file, hint="the worksheet is not a CSV file") from None


def _read_cell(cell: str) -> str:
    """Full-width digits and letters of a Chinese keyboard count as plain ones."""
    return unicodedata.normalize("NFKC", unescape_cell(cell.strip())).strip()


def _read_review(row: Mapping[str, str], place: _Place, names: Mapping[str, str]) -> ReviewedNote:
    if row[REVIEWED].lower() not in _YES:
        code, hint = ("BAD_CELL", "write 1 or 是") if row[REVIEWED] else ("UNFILLED", "every row must be reviewed")
        raise place.refuse(REVIEWED, code=code, hint=hint)
    if not row[N_MISSED]:
        raise place.refuse(N_MISSED, code="UNFILLED", hint="how many direct identifiers stand open; 0 for none")
    if not re.fullmatch(r"[0-9]{1,6}(?:\.0+)?", row[N_MISSED], re.ASCII):
        raise place.refuse(N_MISSED, hint="a whole number from 0 on")
    n_missed = int(float(row[N_MISSED]))
    categories = _read_categories(row[MISSED_CATEGORIES], place, names)
    if n_missed and not categories:
        raise place.refuse(MISSED_CATEGORIES, code="UNFILLED", hint="which categories were missed")
    return ReviewedNote(n_missed, categories)


def _read_categories(cell: str, place: _Place, names: Mapping[str, str]) -> tuple[str, ...]:
    known = {name: category for category, name in names.items()} | {category: category for category in names}
    written = [word for word in _LIST.split(cell) if word]
    unknown = [word for word in written if word not in known and word.upper() not in known]
    if unknown:
        raise place.refuse(MISSED_CATEGORIES, hint="a category id or its name, more than one by commas")
    return tuple(dict.fromkeys(known.get(word) or known[word.upper()] for word in written))


def _require_whole(rows: Sequence[tuple[_Place, Mapping[str, str]]], file: str) -> None:
    """A row left out would make the rate lie."""
    found = [row[ROW] for _, row in rows]
    expected = {row[OF] for _, row in rows}
    if expected != {str(len(rows))} or sorted(found) != sorted(map(str, range(1, len(rows) + 1))):
        raise InputError("MISSING_ROWS", path=file, n_rows=len(rows), hint="rows were taken out, doubled or added")
