"""``ppsehr preview``: one note with its spans, tiers and reasons, in the terminal or as a page.

Knows: colours and how a span explains itself. Must not know: how a span is found. The only door that prints note text:
it goes to the terminal or file that the user names, never to a log.
"""

from __future__ import annotations

import argparse
import html
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ppsehr_spark.domain.notes import Note, Span
from ppsehr_spark.domain.rules import RuleEngine, compile_rules
from ppsehr_spark.errors import ExitCode, InputError, UsageError
from ppsehr_spark.service.arguments import add_settings_arguments, load_chosen_settings, make_parser, run_door
from ppsehr_spark.service.line_files import STDIO, write_lines

_EXAMPLES = """  ppsehr preview --note note.txt
  ppsehr preview --note note.txt --note-type 入院记录 --sex F --age 31 --html note.html
  cat note.txt | ppsehr preview --note - --doubtful

Shows real text: for the eyes of whoever may read the note. Nothing is logged."""
_TERMINAL_COLOURS = (41, 42, 44, 45, 46, 43, 101, 102, 104, 105)
_PAGE_COLOURS = ("#f8c9c9", "#c9ecc9", "#c9d8f8", "#e6c9f8", "#c4ecec", "#f5e6b8", "#f8d9c0", "#d8f0b8", "#d0d0f0")
_STYLE = (
    "body{font:16px/1.9 sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222}"
    "pre{white-space:pre-wrap;font:inherit}mark{border-radius:3px;padding:1px 2px;color:inherit}"
    "mark sub{font-size:.65em;opacity:.75}.doubt{outline:2px dashed #b50}"
    "table{border-collapse:collapse;font-size:.85em}td,th{border:1px solid #ccc;padding:2px 8px;text-align:left}"
)


@dataclass(frozen=True)
class Preview:
    """A note, its spans (sorted, disjoint), and the engine that explains them."""

    note: Note
    spans: tuple[Span, ...]
    engine: RuleEngine

    def label(self, span: Span) -> str:
        """Chinese name of the category, with the tier where there is one."""
        name = self.engine.categories[span.category].name
        return f"{name}{span.tier}级" if span.tier else name

    def is_accepted(self, span: Span) -> bool:
        """False for a span that only a model could confirm."""
        return span.confidence >= self.engine.categories[span.category].accept_at


def main(argv: Sequence[str]) -> int:
    """Run ``ppsehr preview``; returns the exit code."""
    parser = make_parser("preview", "Shows one note with its sensitive spans, tiers and reasons.", _EXAMPLES)
    parser.add_argument("--note", required=True, metavar="FILE", help="UTF-8 text; - for stdin")
    parser.add_argument("--note-type", default="", metavar="TYPE", help="form of the note, such as 入院记录")
    parser.add_argument("--sex", choices=("M", "F"), default="", help="sex of the patient, context for rules")
    parser.add_argument("--age", type=int, default=None, metavar="YEARS", help="age of the patient, context for rules")
    parser.add_argument("--doubtful", action="store_true", help="also show what a model would be asked about")
    parser.add_argument("--html", default="", metavar="FILE", help="write a page instead; - for stdout")
    parser.add_argument("--no-color", action="store_true", help="mark spans with brackets instead of colours")
    add_settings_arguments(parser)
    options = parser.parse_args(argv)
    return run_door("preview", lambda: _show(options))


def _show(options: argparse.Namespace) -> int:
    settings = load_chosen_settings(options)
    note = Note("preview", _read_text(options.note), options.note_type, options.sex, options.age)
    preview = find_spans(note, compile_rules(settings.files), has_doubtful=options.doubtful)
    if options.html:
        with write_lines(options.html) as out:
            out.write(render_page(preview))
    else:
        print(render_terminal(preview, has_colour=sys.stdout.isatty() and not options.no_color))
    return int(ExitCode.OK)


def find_spans(note: Note, engine: RuleEngine, *, has_doubtful: bool) -> Preview:
    """The spans the rules decide, or all they propose."""
    proposed = engine.propose(note)
    return Preview(note, proposed if has_doubtful else engine.finalise(note, proposed), engine)


def render_terminal(preview: Preview, *, has_colour: bool) -> str:
    """The text with coloured (or bracketed) spans, then one line of explanation per span."""
    colours = _assign(preview, _TERMINAL_COLOURS)
    parts: list[str] = []
    read_to = 0
    for span in preview.spans:
        shown = _printable(preview.note.text[span.start : span.end])
        label = preview.label(span) + ("" if preview.is_accepted(span) else "?")
        marked = f"\x1b[30;{colours[span.category]}m{shown}\x1b[0m\x1b[2m{label}\x1b[0m" if has_colour else ""
        parts += (_printable(preview.note.text[read_to : span.start]), marked or f"[{shown}|{label}]")
        read_to = span.end
    parts.append(_printable(preview.note.text[read_to:]))
    reasons = [_printable(preview.engine.explain(preview.note, span)) for span in preview.spans]
    return "\n".join(["".join(parts), "", f"{len(preview.spans)} spans", *reasons])


def render_page(preview: Preview) -> str:
    """One self-contained HTML page; every piece of text is escaped."""
    colours = _assign(preview, _PAGE_COLOURS)
    parts: list[str] = []
    read_to = 0
    for span in preview.spans:
        parts += (_escape(preview.note.text[read_to : span.start]), _mark(preview, span, colours[span.category]))
        read_to = span.end
    parts.append(_escape(preview.note.text[read_to:]))
    rows = "".join(_row(preview, span) for span in preview.spans)
    return (
        '<!doctype html><html lang="zh"><head><meta charset="utf-8"><title>标注预览</title>'
        f"<style>{_STYLE}</style></head><body><h1>标注预览</h1><pre>{''.join(parts)}</pre>"
        f"<table><tr><th>内容</th><th>类别</th><th>级别</th><th>置信度</th><th>依据</th></tr>{rows}</table></body></html>\n"
    )


def _mark(preview: Preview, span: Span, colour: str) -> str:
    shown = _escape(preview.note.text[span.start : span.end])
    reason = _escape(f"{span.rule} {span.confidence:.2f} {span.tier_rule}".strip())
    doubt = "" if preview.is_accepted(span) else ' class="doubt"'
    label = _escape(preview.label(span))
    return f'<mark{doubt} style="background:{colour}" title="{reason}">{shown}<sub>{label}</sub></mark>'


def _row(preview: Preview, span: Span) -> str:
    value = preview.note.text[span.start : span.end]
    cells = (value, preview.label(span), span.tier or "", f"{span.confidence:.2f}", f"{span.rule} {span.tier_rule}")
    return "<tr>" + "".join(f"<td>{_escape(str(cell))}</td>" for cell in cells) + "</tr>"


def _assign(preview: Preview, colours: Sequence[str] | Sequence[int]) -> dict[str, str]:
    return {name: str(colours[at % len(colours)]) for at, name in enumerate(preview.engine.categories)}


def _escape(text: str) -> str:
    return html.escape(_printable(text))


def _printable(text: str) -> str:
    """Control characters of a note must not drive the terminal; a page has no use for them."""
    return "".join(char if char in "\n\t" or char.isprintable() else "\ufffd" for char in text)


def _read_text(path: str) -> str:
    """The note as text.

    Raises:
        UsageError: ``NO_SUCH_FILE`` or ``UNREADABLE_FILE``.
        InputError: ``INVALID_UTF8``.
    """
    try:
        raw = sys.stdin.buffer.read() if path == STDIO else Path(path).read_bytes()
    except FileNotFoundError:
        raise UsageError("NO_SUCH_FILE", path=path) from None
    except OSError as error:
        raise UsageError("UNREADABLE_FILE", path=path, error=type(error).__name__) from None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError("INVALID_UTF8", path=path, hint="the note must be UTF-8") from None
