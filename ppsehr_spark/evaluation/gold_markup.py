"""Hand-written gold notes with inline marks: ``⟦NAME|王建国⟧``, ``⟦ADDRESS.3|浙江省杭州市西湖区文三路12号⟧``.

Knows: the .gold.txt format and which categories of annotation guideline v1 carry a tier. Must not know: rules,
lexicons or what any engine finds; gold comes from the guideline alone. Errors name file and line, never note text.

A file holds several notes. A note starts with ``=== <id> | <note type> | <style> | <hard cases by comma, or ->``;
its text runs to the next ``===`` line or the end of the file, less one trailing newline.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ppsehr_spark.domain.notes import Span
from ppsehr_spark.errors import InputError

#: Category id of the guideline -> whether its spans carry a tier.
GUIDELINE_CATEGORIES: Mapping[str, bool] = {
    "NAME": False,
    "ADDRESS": True,
    "CONTACT": False,
    "ID": False,
    "HOSPITAL": False,
    "STD": True,
    "PREGNANCY": True,
}
_OPEN, _CLOSE = "⟦", "⟧"
_HEADER = "==="
_BRACKET = re.compile(f"[{_OPEN}{_CLOSE}]")
_LABEL = re.compile(r"([A-Z]+)(?:\.([123]))?")
#: A span never starts or ends with these (guideline, "Spans": without surrounding punctuation).
_NO_BORDER = frozenset(" \t\n\u3000，。；：、？！,;:?!")


@dataclass(frozen=True, slots=True)
class GoldNote:
    """One note of the gold set; ``text`` holds no marks and ``spans`` are sorted and do not overlap."""

    note_id: str
    note_type: str
    style: str
    hard_cases: tuple[str, ...]
    text: str
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a defect stands; the only thing an error may say besides its reason."""

    file: str
    line: int

    def refuse(self, reason: str) -> InputError:
        return InputError("BROKEN_GOLD", file=self.file, line=self.line, reason=reason)


def split_of(note_id: str) -> Literal["dev", "test"]:
    """Side of the note by SHA-256 of its id, half and half, so that nobody chooses.

    Rules may be tuned on ``dev`` only.
    """
    return "dev" if hashlib.sha256(note_id.encode("utf-8")).digest()[0] < 128 else "test"


def read_gold(folder: Path, *, categories: Mapping[str, bool] = GUIDELINE_CATEGORIES) -> tuple[GoldNote, ...]:
    """All notes of the ``*.gold.txt`` files of a folder, in order of file name.

    Raises:
        InputError: a broken header or mark, or an id used twice; with file and line.
    """
    notes = (
        note
        for path in sorted(folder.glob("*.gold.txt"))
        for note in _iterate_notes(path.read_bytes().decode("utf-8"), file=path.name, categories=categories)
    )
    return tuple(_refuse_repeated_ids(notes))


def parse_gold(
    content: str, *, file: str, categories: Mapping[str, bool] = GUIDELINE_CATEGORIES
) -> tuple[GoldNote, ...]:
    """Notes of one file's content.

    Args:
        content: the file as text; ``\\n`` ends a line, every other character belongs to the notes.
        file: name that errors give.
        categories: id -> whether its spans must carry a tier.

    Raises:
        InputError: a broken header or mark, or an id used twice; with file and line.
    """
    return tuple(_refuse_repeated_ids(_iterate_notes(content, file=file, categories=categories)))


def _iterate_notes(content: str, *, file: str, categories: Mapping[str, bool]) -> Iterator[tuple[_Place, GoldNote]]:
    """Each note with the place of its header."""
    lines = content.split("\n")
    starts = [at for at, line in enumerate(lines) if line.startswith(_HEADER)]
    if any(line.strip() for line in lines[: starts[0] if starts else None]):
        raise _Place(file, 1).refuse("text before the first header")
    for at, following in zip(starts, [*starts[1:], None], strict=True):
        place = _Place(file, at + 1)
        note_id, note_type, style, hard_cases = _parse_header(lines[at], place)
        body = lines[at + 1 : following]
        marked = "\n".join(body[:-1] if following is None and body and not body[-1] else body)
        text, spans = _parse_marks(marked, _Place(file, at + 2), categories)
        yield place, GoldNote(note_id, note_type, style, hard_cases, text, spans)


def format_gold(notes: Iterable[GoldNote]) -> str:
    """Content that ``parse_gold`` reads back to the same notes."""
    return "".join(f"{_format_header(note)}\n{_format_text(note.text, note.spans)}\n" for note in notes)


def _parse_header(line: str, place: _Place) -> tuple[str, str, str, tuple[str, ...]]:
    fields = [part.strip() for part in line.removeprefix(_HEADER).split("|")]
    if not line.startswith(f"{_HEADER} ") or len(fields) != 4 or not all(fields):
        raise place.refuse("a header is '=== id | note type | style | hard cases or -'")
    note_id, note_type, style, listed = fields
    cases = () if listed == "-" else tuple(case.strip() for case in re.split("[,，]", listed))
    if not all(cases):
        raise place.refuse("an empty hard case")
    return note_id, note_type, style, cases


def _parse_marks(marked: str, first: _Place, categories: Mapping[str, bool]) -> tuple[str, tuple[Span, ...]]:
    pieces: list[str] = []
    spans: list[Span] = []
    length = read_to = 0
    line, counted_to = first.line, 0
    opened: tuple[int, _Place] | None = None
    for bracket in _BRACKET.finditer(marked):
        line, counted_to = line + marked.count("\n", counted_to, bracket.start()), bracket.start()
        place = _Place(first.file, line)
        piece = marked[read_to : bracket.start()]
        read_to = bracket.end()
        if bracket.group() == _OPEN:
            if opened is not None:
                raise place.refuse("a mark inside a mark")
            opened = (length + len(piece), place)
        else:
            if opened is None:
                raise place.refuse("a mark closed that was not opened")
            category, tier, piece = _parse_mark(piece, opened[1], categories)
            spans.append(Span(opened[0], opened[0] + len(piece), category, tier, source="gold"))
            opened = None
        pieces.append(piece)
        length += len(piece)
    if opened is not None:
        raise opened[1].refuse("a mark opened and not closed")
    return "".join([*pieces, marked[read_to:]]), tuple(spans)


def _parse_mark(body: str, place: _Place, categories: Mapping[str, bool]) -> tuple[str, int | None, str]:
    """Category, tier and text of what stands between the brackets."""
    label, bar, text = body.partition("|")
    matched = _LABEL.fullmatch(label)
    if not bar or matched is None or matched.group(1) not in categories:
        raise place.refuse("a mark is CATEGORY|text or CATEGORY.TIER|text with a known category and tier 1, 2 or 3")
    category, tier = matched.groups()
    if (tier is not None) != categories[category]:
        raise place.refuse("a tier is missing, or given to a category without tiers")
    if not text or text[0] in _NO_BORDER or text[-1] in _NO_BORDER:
        raise place.refuse("an empty span, or one that starts or ends with space or punctuation")
    return category, int(tier) if tier else None, text


def _refuse_repeated_ids(notes: Iterable[tuple[_Place, GoldNote]]) -> Iterator[GoldNote]:
    seen: set[str] = set()
    for place, note in notes:
        if note.note_id in seen:
            raise place.refuse("an id used twice")
        seen.add(note.note_id)
        yield note


def _format_header(note: GoldNote) -> str:
    cases = ", ".join(note.hard_cases) or "-"
    return f"{_HEADER} {note.note_id} | {note.note_type} | {note.style} | {cases}"


def _format_text(text: str, spans: Sequence[Span]) -> str:
    pieces: list[str] = []
    done = 0
    for span in spans:
        label = span.category if span.tier is None else f"{span.category}.{span.tier}"
        pieces += [text[done : span.start], f"{_OPEN}{label}|{text[span.start : span.end]}{_CLOSE}"]
        done = span.end
    return "".join([*pieces, text[done:]])
