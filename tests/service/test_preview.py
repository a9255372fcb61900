"""The preview: the text whole, spans marked, nothing a note contains can act on terminal or browser."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest

from ppsehr_spark.config import read_conf_files
from ppsehr_spark.domain.notes import Note
from ppsehr_spark.domain.rules import compile_rules
from ppsehr_spark.service.preview import find_spans, main, render_page, render_terminal

TEXT = "姓名：王建国，<script>alert(1)</script>\x1b[2J联系电话：13812345678。TPPA阳性。"
ENGINE = compile_rules(read_conf_files())
PREVIEW = find_spans(Note("n", TEXT), ENGINE, has_doubtful=False)


def test_terminal_shows_spans_tiers_and_reasons() -> None:
    shown = render_terminal(PREVIEW, has_colour=False)
    assert "[王建国|姓名]" in shown and "[13812345678|联系方式]" in shown and "[TPPA阳性|性病信息3级]" in shown
    assert re.search(r"STD\.3\.\w+", shown)
    assert "\x1b" not in shown


def test_colours_mark_and_reset_and_the_note_brings_no_escape_of_its_own() -> None:
    shown = render_terminal(PREVIEW, has_colour=True)
    assert re.search("\x1b\\[30;\\d+m王建国\x1b\\[0m", shown)
    assert "\x1b[2J" not in shown


def test_page_escapes_everything_and_keeps_the_text() -> None:
    page = render_page(PREVIEW)
    assert "<script>" not in page and "\x1b" not in page
    body = re.search(r"<pre>(.*)</pre>", page, re.S)
    assert body
    plain = html.unescape(re.sub(r"<sub>.*?</sub>|<[^>]+>", "", body[1]))
    assert plain == TEXT.replace("\x1b", "\ufffd")
    assert page.count("<mark") == len(PREVIEW.spans) >= 3


def test_doubtful_spans_are_shown_on_request_and_marked() -> None:
    files = {
        "categories/NAME.toml": 'id = "NAME"\nname = "姓名"\n[[pattern]]\nid = "p"\nregex = "乙一"\nconfidence = 0.4\n'
    }
    engine = compile_rules(files)
    note = Note("n", "乙一来院")
    assert find_spans(note, engine, has_doubtful=False).spans == ()
    doubtful = find_spans(note, engine, has_doubtful=True)
    assert "[乙一|姓名?]" in render_terminal(doubtful, has_colour=False)
    assert 'class="doubt"' in render_page(doubtful)


def test_command_writes_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    note, page = tmp_path / "note.txt", tmp_path / "note.html"
    note.write_bytes(b"\xef\xbb\xbf" + TEXT.encode())
    assert main(["--note", str(note), "--html", str(page)]) == 0
    assert capsys.readouterr() == ("", "")
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert main(["--note", str(note)]) == 0
    assert capsys.readouterr().out.startswith("姓名：[王建国|姓名]")


@pytest.mark.parametrize(
    ("content", "code", "word"), [(None, 2, "NO_SUCH_FILE"), ("王建国".encode("gb18030"), 4, "INVALID_UTF8")]
)
def test_unusable_notes_are_clear_errors(
    content: bytes | None, code: int, word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    note = tmp_path / "note.txt"
    if content is not None:
        note.write_bytes(content)
    assert main(["--note", str(note)]) == code
    assert word in capsys.readouterr().err
