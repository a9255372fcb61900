"""``conf/knowledge.toml``: which part of a mistake may become which row of which file.

Knows: the keys of the file. Must not know: how evidence is read (``evidence``) or scored. A clinician widens or narrows
what may be learned here.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ppsehr_spark.domain.knowledge.evidence import EVIDENCE
from ppsehr_spark.domain.knowledge.mistakes import FALSE, MISSED
from ppsehr_spark.domain.taxonomy import ConfFiles, load_categories
from ppsehr_spark.errors import ConfigurationError

FILE = "knowledge.toml"
ANY_CATEGORY = "*"
INTO_PATTERN, INTO_NEGATIVE, INTO_TERM = "pattern", "negative", "term"


@dataclass(frozen=True)
class Induction:
    """Bounds of what is tried.

    Attributes:
        min_notes: different notes that must show the same mistake.
        min_share: share of a term's occurrences in the reviewed notes that must speak for it, 0 to 1.
        max_proposals: proposals scored in one run.
        confidence: of a learned pattern, 0 to 1.
    """

    min_notes: int = 2
    min_share: float = 0.5
    max_proposals: int = 160
    confidence: float = 0.9


@dataclass(frozen=True)
class Slot:
    """One way from a mistake to conf.

    Attributes:
        name: Chinese, what such a row is; the model chooses by it.
        category: category id, or ``*`` for every one.
        mistake: ``missed`` or ``false``.
        evidence: part of the mistake that is read, a name in ``evidence.EVIDENCE``.
        into: a lexicon below ``conf/``, ``pattern``, ``negative``, or ``term`` (a word list of the category's own).
        columns: alternatives for the further columns of the row; one proposal each.
        min_chars, max_chars: length of the term in code points.
        min_share: in place of ``induction.min_share``; negative stands for that one.
        only_corrected: only spans that a person corrected fill it, not gold.
    """

    name: str
    category: str
    mistake: str
    evidence: str
    into: str
    columns: tuple[tuple[str, ...], ...] = ((),)
    min_chars: int = 2
    max_chars: int = 8
    only_corrected: bool = False
    min_share: float = -1.0


@dataclass(frozen=True)
class LearningPlan:
    """The whole file."""

    induction: Induction
    slots: tuple[Slot, ...]

    def slots_for(self, *, category: str, mistake: str) -> tuple[Slot, ...]:
        """Slots that a mistake of this kind may fill."""
        return tuple(s for s in self.slots if s.mistake == mistake and s.category in (category, ANY_CATEGORY))


def parse_plan(files: ConfFiles) -> LearningPlan:
    """Read the file; slots of categories that are switched off are left out.

    Raises:
        ConfigurationError: ``KNOWLEDGE_FILE`` with key for an unknown key, category, evidence or lexicon.
    """
    raw = _parse(files)
    unknown = sorted(set(raw) - {"induction", "slot"})
    if unknown:
        raise _wrong(unknown[0], "unknown key")
    induction = _build(Induction, raw.get("induction", {}), "induction")
    enabled = {category.id: category.enabled for category in load_categories(files).values()}
    slots = tuple(_read_slot(table, files, set(enabled)) for table in raw.get("slot", []))
    return LearningPlan(induction, tuple(s for s in slots if s.category == ANY_CATEGORY or enabled[s.category]))


def _parse(files: ConfFiles) -> dict[str, Any]:
    try:
        return tomllib.loads(files.get(FILE, ""))
    except tomllib.TOMLDecodeError as error:
        raise _wrong("", f"not valid TOML: {error}") from None


def _read_slot(table: Mapping[str, Any], files: ConfFiles, categories: set[str]) -> Slot:
    columns = tuple(tuple(row) for row in table.get("columns", [[]]))
    slot: Slot = _build(Slot, {**table, "columns": columns}, "slot")
    checks = (
        ("category", slot.category == ANY_CATEGORY or slot.category in categories, "no such file in categories/"),
        ("mistake", slot.mistake in (MISSED, FALSE), f"must be one of {MISSED}, {FALSE}"),
        ("evidence", slot.evidence in EVIDENCE, f"must be one of {', '.join(EVIDENCE)}"),
        ("into", slot.into in (INTO_PATTERN, INTO_NEGATIVE, INTO_TERM) or slot.into in files, "the file is missing"),
    )
    for key, is_right, hint in checks:
        if not is_right:
            # the value first: the key stands in every slot, the wrong value in this one
            raise ConfigurationError("KNOWLEDGE_FILE", file=FILE, pattern=getattr(slot, key), key=key, hint=hint)
    return slot


def _build(kind: Any, values: Mapping[str, Any], where: str) -> Any:
    known = {f.name: f.default for f in fields(kind)}
    for key, value in values.items():
        if key not in known:
            raise _wrong(f"{where}.{key}", "unknown key")
        expected = type(known[key]) if isinstance(known[key], int | float | tuple) else str
        if not isinstance(value, expected) and not (expected is float and isinstance(value, int)):
            raise _wrong(f"{where}.{key}", f"must be {expected.__name__}")
    try:
        return kind(**values)
    except TypeError:
        raise _wrong(where, "is required: name, category, mistake, evidence, into") from None


def _wrong(key: str, hint: str) -> ConfigurationError:
    return ConfigurationError("KNOWLEDGE_FILE", file=FILE, key=key, hint=hint)
