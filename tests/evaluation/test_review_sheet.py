"""The worksheet: cells that stay cells, sheets that come back changed, and refusals that name row and column."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ppsehr_spark.domain.notes import Span
from ppsehr_spark.errors import InputError
from ppsehr_spark.evaluation.review_sheet import (
    CELL_CHARS,
    ReviewedNote,
    SheetNote,
    escape_cell,
    mark_text,
    read_sheet,
    unescape_cell,
    write_sheet,
)

NAMES = {"NAME": "姓名", "CONTACT": "联系方式", "ADDRESS": "地址", "STD": "性病信息"}
NOTES = [
    SheetNote("=1+1", "患者王建国，电话13800138000", (Span(2, 5, "NAME"), Span(8, 19, "CONTACT"))),
    SheetNote("n2", "-咳嗽\n住1栋", (Span(5, 7, "ADDRESS", 3),)),
]


def rows_of(sheet: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(sheet, newline="")))


def fill(sheet: str, *answers: dict[str, str]) -> str:
    rows = [row | answer for row, answer in zip(rows_of(sheet), answers, strict=True)]
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def answer(reviewed: str = "1", n_missed: str = "0", categories: str = "") -> dict[str, str]:
    return {"reviewed": reviewed, "n_missed_direct": n_missed, "missed_categories": categories}


def test_a_row_shows_its_note_with_spans_in_brackets() -> None:
    first, second = rows_of(write_sheet(NOTES, names=NAMES))
    assert first["text"] == "患者【王建国|姓名】，电话【13800138000|联系方式】"
    assert second["text"] == "'-咳嗽\n住【1栋|地址3】"
    assert (first["row"], first["of"], first["note_id"], first["reviewed"]) == ("1", "2", "'=1+1", "")


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", " =", "＝", "＋", "－", "＠"])
def test_no_cell_starts_a_formula(start: str) -> None:
    text = f'{start}HYPERLINK("http://x","y")'
    cell = rows_of(write_sheet([SheetNote(text, text, ())], names=NAMES))[0]
    assert cell["text"].startswith("'") and cell["note_id"].startswith("'")
    assert unescape_cell(cell["note_id"]) == text


def test_an_ordinary_cell_stays_as_it_is() -> None:
    assert escape_cell("患者-=+@") == "患者-=+@"
    assert escape_cell("'quoted'") == "'quoted'"


@given(st.text(alphabet="'=+-@ \tab患＝", max_size=8))
def test_escaping_is_undone_by_reading(cell: str) -> None:
    assert unescape_cell(escape_cell(cell)) == cell


def test_control_characters_and_impossible_spans_do_no_harm() -> None:
    text = mark_text("a\x1b[31m\x00张三", [Span(7, 9, "X"), Span(8, 9, "NAME"), Span(2, 99, "NAME")], names=NAMES)
    assert text == "a\ufffd[31m\ufffd【张三|X】"


def test_line_ends_of_any_system_become_one() -> None:
    assert mark_text("张三\r\n李四\r", [Span(4, 6, "NAME")], names={}) == "张三\n【李四|NAME】\n"


def test_a_long_note_goes_on_in_further_columns() -> None:
    long = "咳" * (2 * CELL_CHARS + 5)
    row, short = rows_of(write_sheet([SheetNote("a", long, ()), SheetNote("b", "短", ())], names=NAMES))
    assert row["text"] + row["text_2"] + row["text_3"] == long
    assert max(map(len, row.values())) == CELL_CHARS
    assert (short["text"], short["text_2"], short["reviewed"]) == ("短", "", "")


def test_a_filled_sheet_is_read() -> None:
    filled = fill(write_sheet(NOTES, names=NAMES), answer("是", "2", "姓名、联系方式"), answer("Yes", "０"))
    assert read_sheet(filled, file="s.csv", names=NAMES) == (ReviewedNote(2, ("NAME", "CONTACT")), ReviewedNote(0, ()))


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_other_delimiters_a_mark_and_another_order_are_understood(delimiter: str) -> None:
    rows = rows_of(fill(write_sheet(NOTES, names=NAMES), answer(), answer("1", "1.0", "name,STD")))
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=[*reversed(rows[0])], delimiter=delimiter)
    writer.writeheader()
    writer.writerows(reversed(rows))
    read = read_sheet("\ufeff" + out.getvalue(), file="s.csv", names=NAMES)
    assert read == (ReviewedNote(1, ("NAME", "STD")), ReviewedNote(0, ()))


@pytest.mark.parametrize(
    ("second", "code", "field"),
    [
        (answer(""), "UNFILLED", "reviewed"),
        (answer("否"), "BAD_CELL", "reviewed"),
        (answer("1", ""), "UNFILLED", "n_missed_direct"),
        (answer("1", "two"), "BAD_CELL", "n_missed_direct"),
        (answer("1", "-1", "NAME"), "BAD_CELL", "n_missed_direct"),
        (answer("1", "1"), "UNFILLED", "missed_categories"),
        (answer("1", "1", "王建国"), "BAD_CELL", "missed_categories"),
    ],
)
def test_a_half_filled_sheet_is_refused_by_row_and_field(second: dict[str, str], code: str, field: str) -> None:
    filled = fill(write_sheet(NOTES, names=NAMES), answer(), second)
    with pytest.raises(InputError) as caught:
        read_sheet(filled, file="s.csv", names=NAMES)
    assert (caught.value.code, caught.value.fields["row"], caught.value.fields["field"]) == (code, 2, field)
    assert "王建国" not in str(caught.value)


@pytest.mark.parametrize("keep", [[0], [0, 0], [0, 1, 1]])
def test_rows_taken_out_or_doubled_are_refused(keep: list[int]) -> None:
    lines = fill(write_sheet([SheetNote("a", "甲", ()), SheetNote("b", "乙", ())], names={}), answer(), answer())
    header, *rows = lines.splitlines()
    with pytest.raises(InputError, match="MISSING_ROWS"):
        read_sheet("\n".join([header, *(rows[at] for at in keep)]) + "\n", file="s.csv", names=NAMES)


@pytest.mark.parametrize(
    ("content", "code"), [("", "BROKEN_SHEET"), ("a,b\n1,2\n", "BROKEN_SHEET"), ('row,of\n"1', "BROKEN_SHEET")]
)
def test_what_is_no_worksheet_is_refused(content: str, code: str) -> None:
    with pytest.raises(InputError, match=code):
        read_sheet(content, file="s.csv", names=NAMES)
    header = write_sheet([], names=NAMES)
    with pytest.raises(InputError, match="EMPTY_FILE"):
        read_sheet(header, file="s.csv", names=NAMES)
