"""What a change of knowledge can touch in a lake: which notes, by the terms that changed, and how many.

Knows: that a row computed under another version stays right where the text holds none of the changed terms. Must not
know: how notes are recognised. Texts are looked at in batches and never leave this file.
"""

from __future__ import annotations

from collections.abc import Sequence

from ppsehr_spark.domain.knowledge.applying import apply_entries
from ppsehr_spark.domain.knowledge.entries import RULE_KINDS, KnowledgeEntry
from ppsehr_spark.domain.knowledge.touching import Touch, touch_of
from ppsehr_spark.domain.rules import compile_rules
from ppsehr_spark.domain.taxonomy import ConfFiles
from ppsehr_spark.errors import ConfigurationError
from ppsehr_spark.lake.knowledge_store import read_current, read_history, version_of
from ppsehr_spark.lake.schemas import NOTES, SEGMENTS
from ppsehr_spark.lake.tables import Lake

#: Rows under none of so many last versions, nor under conf alone, are simply computed again.
_MAX_VERSIONS = 12


def list_touches(lake: Lake, conf: ConfFiles) -> dict[str, Touch]:
    """Other knowledge version -> what differs from the one in force, for versions over the very same conf.

    Versions are compiled anew, so a row counts only where its version is what entries and conf give today. Empty where
    the knowledge base is: then nothing can be spared.
    """
    rows = read_history(lake)
    if not rows:
        return {}
    now = read_current(lake).entries
    in_force = compile_rules(apply_entries(conf, now)).knowledge_version
    known = {tuple(e.entry_id for e in v.entries): v.entries for v in map(version_of, rows)}
    touches: dict[str, Touch] = {}
    for entries in [(), *list(known.values())[-_MAX_VERSIONS:]]:
        try:
            version = compile_rules(apply_entries(conf, entries)).knowledge_version
        except ConfigurationError:  # an old version may name files that are gone
            continue
        if version != in_force:
            touches[version] = touch_of(entries, now)
    return touches


def count_touched(
    lake: Lake, before: Sequence[KnowledgeEntry], after: Sequence[KnowledgeEntry]
) -> tuple[int, int, int]:
    """Notes that the change can touch, notes in all, and stored segments whose prompt it changes."""
    touch = touch_of(before, after)
    n_touched = n_notes = 0
    for batch in lake.stream(NOTES, ["text"]):
        texts = batch.column(0).to_pylist()
        n_notes += len(texts)
        n_touched += sum(touch.holds(text or "") for text in texts)
    return n_touched, n_notes, _count_segments(lake, _prompted(before) ^ _prompted(after))


def _prompted(entries: Sequence[KnowledgeEntry]) -> set[tuple[str, str]]:
    return {(entry.category, entry.entry_id) for entry in entries if entry.kind not in RULE_KINDS}


def _count_segments(lake: Lake, changed: set[tuple[str, str]]) -> int:
    categories = {category for category, _ in changed}
    if not categories:
        return 0
    rows = (row for batch in lake.stream(SEGMENTS, ["candidates"]) for row in batch.column(0).to_pylist())
    # a segment without candidates is an extraction, whose prompt names every category
    return sum(not row or any(c["category"] in categories for c in row) for row in rows)
