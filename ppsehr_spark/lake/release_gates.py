"""The gates between protected text and a release: canaries, surviving identifiers, open questions, the policy.

Knows: what may not leave. Must not know: tables and files. No gate reports what it found, only in how many notes.
Reference: annotation guideline v1, "Leak rates"; canaries as in N. Carlini et al., "The Secret Sharer", USENIX
Security 2019 (planted strings that must never come out).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from daachorse import CharwiseDoubleArrayAhoCorasick

from ppsehr_spark.domain.notes import Note, Span
from ppsehr_spark.domain.taxonomy import Category
from ppsehr_spark.errors import PpsehrError, QualityGateError

#: Why a note is withheld.
RESIDUAL, STALE, UNANNOTATED = "residual", "stale", "unannotated"

#: Spaces and the dashes that people put into numbers; line breaks stay, they part sentences.
_DROPPED = re.compile("[ \t\v\f\\-\u2010\u2011\u2012\u2013\u2014\u2212]+")
_MASKS = {ord(char): None for char in "某xX*○〇□■△_·.×"}
_MIN_ASCII_CHARS = 6
_HIGHEST_TIER = 3


@dataclass(frozen=True)
class ProtectedRow:
    """One protected note beside its original; lives in memory only while its batch is looked at.

    Attributes:
        original: the note in clear, ``None`` when it has gone from ``phi.notes``.
        spans: final spans on ``original``, ``None`` when the note has no annotation.
        is_current: the spans were made from this very text.
    """

    note_key: str
    text: str
    note_type: str
    policy: str
    n_open_segments: int
    original: str | None
    spans: tuple[Span, ...] | None
    is_current: bool


@dataclass(frozen=True)
class GateFindings:
    """What all notes together amount to; counts only.

    Attributes:
        n_notes: notes looked at.
        n_open: of them with a segment that no model has judged.
        n_canary: publishable notes with a canary in them.
        policies: policy name -> notes.
        withheld: note key -> reason; the notes that do not leave.
    """

    n_notes: int = 0
    n_open: int = 0
    n_canary: int = 0
    policies: Mapping[str, int] = field(default_factory=dict)
    withheld: Mapping[str, str] = field(default_factory=dict)

    def count_withheld(self) -> dict[str, int]:
        """Withheld notes by reason, all reasons listed."""
        reasons = list(self.withheld.values())
        return {reason: reasons.count(reason) for reason in (RESIDUAL, STALE, UNANNOTATED)}


def normalise_text(text: str) -> str:
    """NFKC, lower case, without spaces and dashes: `１３８ 0000－0000` and `138-0000-0000` become one string."""
    return _DROPPED.sub("", unicodedata.normalize("NFKC", text).casefold())


def compile_canaries(canaries: Iterable[str]) -> Callable[[str], bool]:
    """A test for "one of these occurs in the normalised text", blind to width, case, spaces, dashes; linear in it."""
    needles = sorted({needle for needle in map(normalise_text, canaries) if needle})
    if not needles:
        return lambda text: False
    automaton = CharwiseDoubleArrayAhoCorasick(needles)
    return lambda text: bool(automaton.find(text))


def list_identifiers(original: str, spans: Sequence[Span], categories: Mapping[str, Category]) -> set[str]:
    """Normalised surfaces of the direct identifiers of one note; masked ones (`李某某`) say nothing and are left out.

    A tiered category counts in its highest tier only: a province names nobody, a door does.
    """
    found = set()
    for span in spans:
        category = categories.get(span.category)
        if category is None or not category.is_direct_identifier:
            continue
        if category.is_tiered and span.tier is not None and span.tier < _HIGHEST_TIER:
            continue
        surface = normalise_text(original[span.start : span.end])
        core = surface.translate(_MASKS)
        if core == surface or len(core) > 1:
            found.add(surface)
    return found


def find_residual(
    row: ProtectedRow, text: str, identifiers: set[str], *, propose: Callable[[Note], Sequence[Span]], ids: set[str]
) -> bool:
    """True when an original identifier still stands in the protected text.

    A surface that can hardly be anything else (two Hanzi, six letters or digits) counts wherever it stands, also
    where no recogniser sees it: what was missed once is missed again. A shorter one (the `王` of `王主任`) counts only
    where the recognisers take it for a direct identifier.

    Args:
        text: the protected text, normalised.
        identifiers: normalised surfaces of the original.
        ids: category ids of direct identifiers.
    """
    standing = {surface for surface in identifiers if surface in text}
    if any(not _is_short(surface) for surface in standing):
        return True
    if not standing:
        return False
    proposed = propose(Note(row.note_key, row.text, row.note_type))
    surfaces = (normalise_text(row.text[span.start : span.end]) for span in proposed if span.category in ids)
    return any(surface in standing for surface in surfaces)


def inspect_rows(
    rows: Iterable[ProtectedRow],
    *,
    categories: Mapping[str, Category],
    propose: Callable[[Note], Sequence[Span]],
    has_canary: Callable[[str], bool],
) -> GateFindings:
    """Look at every row once; whatever cannot be checked is withheld (fail closed)."""
    ids = {category.id for category in categories.values() if category.is_direct_identifier}
    withheld: dict[str, str] = {}
    policies: dict[str, int] = {}
    n_notes = n_open = n_canary = 0
    for row in rows:
        n_notes += 1
        n_open += row.n_open_segments > 0
        policies[row.policy] = policies.get(row.policy, 0) + 1
        text = normalise_text(row.text)
        reason = _gap_reason(row)
        if not reason and row.original is not None:
            identifiers = list_identifiers(row.original, row.spans or (), categories)
            reason = RESIDUAL if find_residual(row, text, identifiers, propose=propose, ids=ids) else ""
        if reason:
            withheld[row.note_key] = reason
        else:
            n_canary += has_canary(text)
    return GateFindings(n_notes, n_open, n_canary, policies, withheld)


def judge_findings(
    findings: GateFindings, *, policy: str, max_open_share: float, max_note_leak_share: float
) -> PpsehrError | None:
    """The first gate that refuses the whole release, as the error to raise; ``None`` when all are passed."""
    n_notes, n_withheld = findings.n_notes, len(findings.withheld)
    if n_notes == 0:
        return QualityGateError("NOTHING_TO_PUBLISH", table="protected.notes", hint="run protect first")
    if set(findings.policies) != {policy}:
        hint = "run protect again so that every note carries the policy of [protect]"
        return QualityGateError("POLICY_GATE", n_other=n_notes - findings.policies.get(policy, 0), hint=hint)
    if findings.n_canary:
        hint = "a planted identifier came through protection; nothing is released"
        return QualityGateError("CANARY_GATE", n_notes=findings.n_canary, hint=hint)
    if findings.n_open > max_open_share * n_notes:
        hint = "run annotate and tier again, or raise publish.max_open_share"
        return QualityGateError("OPEN_GATE", n_open=findings.n_open, n_notes=n_notes, hint=hint)
    if n_withheld > max_note_leak_share * n_notes or n_withheld == n_notes:
        hint = "identifiers stand in too many protected notes; mend the categories, then tier and protect again"
        return QualityGateError("RESIDUAL_GATE", n_withheld=n_withheld, n_notes=n_notes, hint=hint)
    return None


def _gap_reason(row: ProtectedRow) -> str:
    """Why a note cannot be checked at all."""
    if row.original is None or row.spans is None:
        return UNANNOTATED
    return "" if row.is_current else STALE


def _is_short(surface: str) -> bool:
    return len(surface) < (_MIN_ASCII_CHARS if surface.isascii() else 2)
