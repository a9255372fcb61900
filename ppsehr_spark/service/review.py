"""``ppsehr review``: a random sample of annotated notes as a worksheet, and what the filled worksheet proves.

Knows: the arguments and the files of both halves. Must not know: how a rate is bounded, how a cell is escaped. The
worksheet holds note text: it is written for its owner alone; the figures hold none.
"""

from __future__ import annotations

import argparse
import codecs
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ppsehr_spark.config import Settings
from ppsehr_spark.domain.taxonomy import load_categories
from ppsehr_spark.errors import ExitCode, InputError, UsageError
from ppsehr_spark.evaluation.residual_risk import describe_risk, draw_sample, judge_review
from ppsehr_spark.evaluation.review_sheet import SheetNote, read_sheet, write_sheet
from ppsehr_spark.lake.review_sample import draw_annotated
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.service.arguments import add_settings_arguments, load_chosen_settings, make_parser, run_door
from ppsehr_spark.service.line_files import STDIO, LineSource, open_lines, write_lines
from ppsehr_spark.service.line_work import RawLine
from ppsehr_spark.service.note_lines import NoteLine, read_note_line, read_span_line
from ppsehr_spark.service.span_index import SpanIndex, load_span_index

_MAX_LINE_BYTES = 1 << 28
_WARNING = "holds note text (PHI): readable by you alone (mode 0600), delete it once counted"
_BOM = "\ufeff"  # without it, spreadsheets take UTF-8 for the local code page
_EXAMPLES = """  ppsehr review notes.jsonl --spans spans.jsonl --out sheet.csv
  ppsehr review notes.jsonl --spans spans.jsonl --out sheet.csv --sample 500 --seed 7
  ppsehr review --lake .state/lake --author dr.lin --out sheet.csv
  ppsehr review --filled sheet.csv

The worksheet shows real text, every span in 【brackets|category】: keep it where notes may be kept. Fill in each row
  reviewed            1 or 是
  n_missed_direct     names, door addresses, contacts and ID numbers that stand outside every bracket; 0 for none
  missed_categories   of these, such as NAME, CONTACT or 姓名、联系方式
  comment             anything; it is not read
No text is printed. 300 notes without a leak bound the rate of leaking notes below 1%.
exit codes: 0 done, 2 usage, 3 configuration, 4 a file cannot be used or a row is not filled"""


@dataclass
class _Frame:
    """The notes that can be drawn, and how many lines cannot."""

    source: LineSource
    spans: SpanIndex
    max_note_chars: int
    n_unusable: int = 0

    def __iter__(self) -> Iterator[SheetNote]:
        lines = (RawLine(number, raw) for number, raw in enumerate(self.source, 1))
        for line in self.spans.attach(lines):
            item = read_note_line(line.raw, max_note_chars=self.max_note_chars) if line.raw is not None else None
            found = read_span_line(line.spans) if line.spans is not None else None
            if isinstance(item, NoteLine) and isinstance(found, tuple):
                yield SheetNote(str(item.note_id), item.note.text, found[1])
            else:
                self.n_unusable += 1


def main(argv: Sequence[str]) -> int:
    """Run ``ppsehr review``; returns the exit code."""
    parser = make_parser("review", "Draws notes for people to read; bounds how many notes leak.", _EXAMPLES)
    parser.add_argument("input", nargs="?", default="", help="the notes that ppsehr annotate read; - for stdin")
    parser.add_argument("--spans", default="", metavar="FILE", help="what ppsehr annotate wrote, in any order")
    parser.add_argument("--lake", default="", metavar="URI", help="draw from the annotated notes of this lake instead")
    parser.add_argument("--author", default="", help="with --lake: role account of the person, for the audit log")
    parser.add_argument("--out", default="", metavar="FILE", help="the worksheet (CSV), which must not exist yet")
    parser.add_argument("--sample", type=int, default=300, metavar="N", help="notes to draw (default 300)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="same seed and notes, same sample")
    parser.add_argument("--filled", default="", metavar="FILE", help="a worksheet that people have filled")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    add_settings_arguments(parser)
    options = parser.parse_args(argv)
    return run_door("review", lambda: _count(options) if options.filled else _draw(options))


def _draw(options: argparse.Namespace) -> int:
    _require_arguments(options)
    settings = load_chosen_settings(options)
    notes, report = _draw_from_lake(options) if options.lake else _draw_from_files(options, settings)
    with write_lines(options.out, is_private=True) as out:
        out.write(_BOM + write_sheet(notes, names=_category_names(settings.files)))
    print(f"review: {report}; {options.out} {_WARNING}", file=sys.stderr)
    return int(ExitCode.OK)


def _draw_from_lake(options: argparse.Namespace) -> tuple[Sequence[SheetNote], str]:
    drawn = draw_annotated(Lake(options.lake), n_sample=options.sample, seed=options.seed, author=options.author)
    report = f"{len(drawn.notes)} of {drawn.n_notes} annotated notes drawn (seed {options.seed})"
    if drawn.n_stale:
        report += f"; {drawn.n_stale} drawn notes have a new text that is not annotated yet and are left out"
    return drawn.notes, report


def _draw_from_files(options: argparse.Namespace, settings: Settings) -> tuple[Sequence[SheetNote], str]:
    with open_lines(options.input, max_line_bytes=_MAX_LINE_BYTES) as source:
        frame = _Frame(source, load_span_index(options.spans), settings.ingest.max_note_chars)
        drawn, n_notes = draw_sample(frame, n_sample=options.sample, seed=options.seed)
    if source.is_torn:
        raise InputError("TORN_GZIP", path=options.input, hint="a sample of half a file says nothing about the whole")
    if not drawn:
        raise InputError(
            "EMPTY_FILE", path=options.input, n_unusable=frame.n_unusable, hint="no annotated note to draw"
        )
    report = f"{len(drawn)} of {n_notes} annotated notes drawn (seed {options.seed})"
    if frame.n_unusable:
        report += f"; {frame.n_unusable} lines have no note or no spans and cannot be drawn"
    return [note for _, note in drawn], report


def _count(options: argparse.Namespace) -> int:
    if options.input or options.spans or options.lake or options.out:
        raise UsageError("ONE_OR_THE_OTHER", hint="either draw (--out) or count (--filled)")
    names = _category_names(load_chosen_settings(options).files)
    risk = judge_review(read_sheet(_read_text(options.filled), file=options.filled, names=names))
    print(json.dumps(risk.to_dict(), ensure_ascii=False, indent=1) if options.json else describe_risk(risk))
    return int(ExitCode.OK)


def _require_arguments(options: argparse.Namespace) -> None:
    """A worksheet goes to a new file of its owner: never to a terminal, never over people's work."""
    from_files, from_lake = bool(options.input or options.spans), bool(options.lake)
    if from_files and from_lake:
        raise UsageError("ONE_OR_THE_OTHER", hint="either NOTES and --spans, or --lake")
    is_complete = options.author if from_lake else options.input and options.spans
    if not (is_complete and options.out):
        raise UsageError(
            "MISSING_ARGUMENT", hint="--out with NOTES and --spans, or with --lake and --author; or --filled"
        )
    if options.sample < 1:
        raise UsageError("SAMPLE_SIZE", hint="--sample is at least 1")
    if options.out == STDIO:
        raise UsageError("NOT_A_FILE", hint="the worksheet holds note text and is written to a private file only")
    if os.path.lexists(options.out):
        raise UsageError("FILE_EXISTS", path=options.out, hint="a worksheet is never written over")


def _category_names(files: Mapping[str, str]) -> dict[str, str]:
    return {category.id: category.name for category in load_categories(files).values()}


def _read_text(path: str) -> str:
    """The worksheet as a spreadsheet saved it: UTF-8, UTF-16 with its mark, or GB18030.

    Raises:
        UsageError: ``NO_SUCH_FILE`` or ``UNREADABLE_FILE``.
        InputError: ``BROKEN_SHEET``.
    """
    try:
        raw = Path(path).read_bytes()
    except FileNotFoundError:
        raise UsageError("NO_SUCH_FILE", path=path) from None
    except OSError as error:
        raise UsageError("UNREADABLE_FILE", path=path, error=type(error).__name__) from None
    encodings = ("utf-16",) if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else ("utf-8-sig", "gb18030")
    for encoding in encodings:
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise InputError("BROKEN_SHEET", path=path, hint="the worksheet is neither UTF-8 nor GB18030")
