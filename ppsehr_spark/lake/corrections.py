"""The door through which people's corrections enter phi.corrections: checked, keyed, audited.

Knows: what a correction must say and that a text may have changed since somebody looked at it. Must not know: who may
correct (roles are checked by the caller), how a correction becomes a final span (the tier job). Offsets are code
points of the original text; a door that talks to browsers converts UTF-16 units before it comes here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pyarrow as pa
from pyarrow import compute

from ppsehr_spark.config import Settings
from ppsehr_spark.domain.identity import keyed_hash, load_key
from ppsehr_spark.domain.taxonomy import Category, load_categories
from ppsehr_spark.errors import UsageError
from ppsehr_spark.lake.audit_log import append_entry
from ppsehr_spark.lake.schemas import CORRECTIONS, NOTES
from ppsehr_spark.lake.tables import Lake

ACTIONS = ("add", "remove")
_TIERS = (1, 2, 3)
_MAX_CORRECTIONS = 1_000


@dataclass(frozen=True)
class Correction:
    """One person's word on one span.

    Attributes:
        note_key: the note.
        text_hash: hash of the text that the person saw (phi.notes.text_hash).
        start, end: half-open range in code points of that text.
        category: category id.
        tier: 1-3 for a tiered category that is added, else ``None``.
        action: ``add`` (also to change a tier) or ``remove``.
    """

    note_key: str
    text_hash: str
    start: int
    end: int
    category: str
    tier: int | None = None
    action: str = "add"


def add_corrections(
    lake: Lake, settings: Settings, corrections: Sequence[Correction], *, author: str, run_id: str = ""
) -> int:
    """Append the corrections of one author, all or none.

    A correction that repeats the last word on its span is dropped; add, remove and add again are three.

    Args:
        author: role account of the person; goes into the table and the audit log.

    Returns:
        How many were new.

    Raises:
        UsageError: ``CORRECTION`` with position and field for the first one that is wrong: unknown note or category,
            a text that has changed since, a range outside it, a tier that does not fit. Nothing is written then.
    """
    if not author or len(corrections) > _MAX_CORRECTIONS:
        hint = f"an author and at most {_MAX_CORRECTIONS} corrections at a time"
        raise UsageError("CORRECTION", n_corrections=len(corrections), hint=hint)
    categories = load_categories(settings.files)
    notes = _read_notes(lake, {correction.note_key for correction in corrections})
    for position, correction in enumerate(corrections):
        _check(correction, position, categories, notes)
    fresh = _drop_repeats(lake, corrections, author=author, key=load_key(settings.identity.key_file))
    if fresh and _append(lake, fresh, author=author):
        details = {"n_corrections": len(fresh), "n_notes": len({c.note_key for c in fresh.values()})}
        target = CORRECTIONS.full_name
        append_entry(lake, actor=author, action="correct", target=target, run_id=run_id, details=details)
    return len(fresh)


def _read_notes(lake: Lake, note_keys: set[str]) -> dict[str, tuple[str, int]]:
    """note_key -> (text_hash, length) of the notes that exist; keys are compared here, never put into a query."""
    wanted = pa.array(sorted(note_keys), pa.string())
    found: dict[str, tuple[str, int]] = {}
    for batch in lake.stream(NOTES, ["note_key", "text_hash", "n_chars"]):
        rows = batch.filter(compute.is_in(batch["note_key"], value_set=wanted)).to_pylist()
        found |= {row["note_key"]: (row["text_hash"], row["n_chars"] or 0) for row in rows}
    return found


def _check(
    correction: Correction, position: int, categories: Mapping[str, Category], notes: Mapping[str, tuple[str, int]]
) -> None:
    text_hash, n_chars = notes.get(correction.note_key, ("", 0))
    category = categories.get(correction.category)
    needs_tier = category is not None and category.is_tiered and correction.action == "add"
    checks = (
        ("note_key", correction.note_key in notes, "the lake has no such note"),
        ("text_hash", text_hash == correction.text_hash, "the text has changed since; look at it again"),
        ("start", 0 <= correction.start < correction.end <= n_chars, "the range lies outside the text"),
        ("category", category is not None, "no file of that name in conf/categories"),
        ("action", correction.action in ACTIONS, "add or remove"),
        (
            "tier",
            correction.tier in (_TIERS if needs_tier else (None,)),
            "1 to 3 where a tiered span is added, or none",
        ),
    )
    for field, is_right, hint in checks:
        if not is_right:
            raise UsageError("CORRECTION", position=position, field=field, hint=hint)


def _drop_repeats(lake: Lake, corrections: Sequence[Correction], *, author: str, key: bytes) -> dict[str, Correction]:
    """correction_key -> correction for what says something new; a key hangs on the one before it at its place."""
    last: dict[tuple[object, ...], tuple[str, tuple[object, ...]]] = {}
    rows = sorted(lake.read(CORRECTIONS).to_pylist(), key=lambda row: row["made_at"])
    for row in rows:
        last[_place(row)] = (row["correction_key"], (row["action"], row["tier"]))
    fresh: dict[str, Correction] = {}
    for correction in corrections:
        place, word = _place(vars(correction)), (correction.action, correction.tier)
        before, said = last.get(place, ("", ()))
        if said != word:
            name = keyed_hash(key, "correction", before, author, *map(str, (*place, *word)))
            fresh[name] = correction
            last[place] = (name, word)
    return fresh


def _place(row: Mapping[str, object]) -> tuple[object, ...]:
    return tuple(row[name] for name in ("note_key", "text_hash", "start", "end", "category"))


def _append(lake: Lake, fresh: Mapping[str, Correction], *, author: str) -> bool:
    """One commit named after its keys, so that a repeated request is stored once."""
    now = datetime.now(UTC)
    rows = [
        {**vars(c), "correction_key": name, "author": author, "made_at": now + timedelta(microseconds=position)}
        for position, (name, c) in enumerate(fresh.items())
    ]
    app_id = "corrections:" + hashlib.sha256("|".join(fresh).encode()).hexdigest()[:32]
    return lake.append(CORRECTIONS, pa.Table.from_pylist(rows, schema=CORRECTIONS.schema), app_id=app_id, app_version=1)
