"""``ppsehr correct``: a table that a clinician filled in, into phi.corrections.

Knows: the columns of the table and how a quoted span becomes offsets. Must not know: how a correction is stored or
learned from (``lake.corrections``, the evolve job). Errors name a line and a column, never what stands there.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ppsehr_spark.config import Settings
from ppsehr_spark.domain.knowledge.evidence import find_places
from ppsehr_spark.domain.taxonomy import Category, load_categories
from ppsehr_spark.errors import ExitCode, UsageError
from ppsehr_spark.lake.corrections import Correction, add_corrections
from ppsehr_spark.lake.schemas import NOTES
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.service.arguments import add_settings_arguments, load_chosen_settings, make_parser, run_door

COLUMNS = ("文书号", "片段", "类别", "级别", "改动", "第几处")
_ACTIONS = {"加": "add", "删": "remove", "add": "add", "remove": "remove"}
_EXAMPLES = """  ppsehr correct 修订.tsv --lake .state/lake --author dr.lin

The file is tab-separated UTF-8 with the header
  文书号	片段	类别	级别	改动	第几处
文书号: note_key, or the note's id in its source. 类别: id or Chinese name. 级别: 1-3 where a tiered span is added.
改动: 加 or 删. 第几处: 1, 2 ... where the span stands more than once; empty for every place.
Nothing is stored when a line is wrong. exit codes: 0 done, 2 a line is wrong"""


@dataclass(frozen=True)
class _Row:
    line: int
    note: str
    span: str
    category: str
    tier: int | None
    action: str
    place: int | None


@dataclass(frozen=True)
class _Text:
    note_key: str
    text_hash: str
    text: str


def main(argv: Sequence[str]) -> int:
    """Run ``ppsehr correct``; returns the exit code."""
    parser = make_parser("correct", "Enters corrections of spans that a person wrote down in a table.", _EXAMPLES)
    parser.add_argument("file", help="tab-separated table, see below")
    parser.add_argument("--lake", required=True, metavar="URI", help="lake root")
    parser.add_argument("--author", required=True, help="role account of the person; goes into the audit log")
    add_settings_arguments(parser)
    options = parser.parse_args(argv)
    return run_door("correct", lambda: _correct(options))


def _correct(options: argparse.Namespace) -> int:
    settings, lake = load_chosen_settings(options), Lake(options.lake)
    corrections = read_table(lake, settings, options.file)
    n_new = add_corrections(lake, settings, corrections, author=options.author)
    print(f"correct: {n_new} of {len(corrections)} corrections were new", file=sys.stderr)
    return int(ExitCode.OK)


def read_table(lake: Lake, settings: Settings, path: str) -> list[Correction]:
    """Corrections of a table, one per place of a quoted span.

    Raises:
        UsageError: ``CORRECTION_FILE`` with line and column for the first cell that is wrong.
    """
    categories = load_categories(settings.files)
    rows = _read_rows(path, {name: c.id for c in categories.values() for name in (c.id, c.name)})
    texts = _read_texts(lake, {row.note for row in rows})
    return [correction for row in rows for correction in _place(row, texts, categories)]


def _read_rows(path: str, names: Mapping[str, str]) -> list[_Row]:
    place = Path(path)
    if not place.is_file():
        raise UsageError("CORRECTION_FILE", hint="no such file")
    lines = place.read_text(encoding="utf-8-sig").splitlines()
    if not lines or tuple(lines[0].split("\t")) not in (COLUMNS, COLUMNS[:-1]):
        raise _wrong(1, COLUMNS[0], f"the first line names the columns: {' '.join(COLUMNS)}")
    return [_read_row(at, line.split("\t"), names) for at, line in enumerate(lines[1:], 2) if line.strip()]


def _read_row(line: int, cells: list[str], names: Mapping[str, str]) -> _Row:
    note, span, category, tier, action, at = (cell.strip() for cell in (cells + [""] * len(COLUMNS))[: len(COLUMNS)])
    checks = (
        (COLUMNS[0], bool(note), "is required"),
        (COLUMNS[1], bool(span), "is required"),
        (COLUMNS[2], category in names, f"one of {', '.join(sorted(names))}"),
        (COLUMNS[3], tier in ("", "1", "2", "3"), "1, 2, 3 or empty"),
        (COLUMNS[4], action in _ACTIONS, "加 or 删"),
        (COLUMNS[5], at == "" or (at.isdecimal() and int(at) > 0), "1, 2 ... or empty"),
    )
    for column, is_right, hint in checks:
        if not is_right:
            raise _wrong(line, column, hint)
    return _Row(
        line, note, span, names[category], int(tier) if tier else None, _ACTIONS[action], int(at) if at else None
    )


def _read_texts(lake: Lake, wanted: set[str]) -> dict[str, _Text]:
    """Texts by note key and by source id; a source id that two notes share names neither."""
    found: dict[str, list[_Text]] = {}
    for batch in lake.stream(NOTES, ["note_key", "source_note_id", "text_hash", "text"]):
        for row in batch.to_pylist():
            for name in {row["note_key"], row["source_note_id"]} & wanted:
                found.setdefault(name, []).append(_Text(row["note_key"], row["text_hash"], row["text"] or ""))
    return {name: texts[0] for name, texts in found.items() if len(texts) == 1}


def _place(row: _Row, texts: Mapping[str, _Text], categories: Mapping[str, Category]) -> list[Correction]:
    if row.note not in texts:
        raise _wrong(row.line, COLUMNS[0], "the lake has no such note, or several")
    text = texts[row.note]
    places = list(find_places(text.text, row.span))
    if not places or (row.place or 1) > len(places):
        raise _wrong(row.line, COLUMNS[1] if not places else COLUMNS[5], "does not stand in that note")
    if (row.action == "add" and categories[row.category].is_tiered) != (row.tier is not None):
        raise _wrong(row.line, COLUMNS[3], "a tier where a span of a tiered category is added, else none")
    chosen = places if row.place is None else [places[row.place - 1]]
    return [
        Correction(text.note_key, text.text_hash, start, end, row.category, row.tier, row.action)
        for start, end in chosen
    ]


def _wrong(line: int, column: str, hint: str) -> UsageError:
    return UsageError("CORRECTION_FILE", line=line, column=column, hint=hint)
