"""May this reply stand as the note of that visit? Identifiers weigh heaviest, then form, then agreement.

Knows: the order of the gates and the reason codes. Must not know: engines, tables. What does not pass keeps its figures
and loses its text here, so that no later step can write it anywhere.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from ppsehr_spark.domain.notes import Note
from ppsehr_spark.domain.rules import RuleEngine
from ppsehr_spark.synthesis.narratives.agreement import Agreement, check_agreement
from ppsehr_spark.synthesis.narratives.book import NarrativeBook, NarrativePrompt
from ppsehr_spark.synthesis.narratives.forms import render_note
from ppsehr_spark.synthesis.narratives.prose import WHOLE, read_prose, read_whole
from ppsehr_spark.synthesis.records.shapes import SyntheticEncounter, SyntheticPatient

OK = "ok"
NOTHING_CHECKED = Agreement(0, 0)


@dataclass(frozen=True)
class ScreenedNote:
    """One note, or what is left of it.

    Attributes:
        text: the note; ``None`` unless ``outcome`` is ``ok``.
        outcome: ``ok``, a reason of ``prose``, ``PHI_<category>`` or ``CONTRADICTION_<code>``.
        n_phi_spans: identifiers that the recognisers saw.
        agreement: statements looked for and found.
    """

    text: str | None
    outcome: str
    n_phi_spans: int = 0
    agreement: Agreement = NOTHING_CHECKED


def screen_reply(
    reply: str,
    encounter: SyntheticEncounter,
    patient: SyntheticPatient,
    *,
    prompt: NarrativePrompt,
    book: NarrativeBook,
    rules: RuleEngine,
) -> ScreenedNote:
    """Read a reply, put it into its form, and let every gate look at the whole note.

    Args:
        rules: the recognisers that also look at real notes.
    """
    form = prompt.form
    prose = read_whole(reply, book.prose) if prompt.is_whole else read_prose(reply, form.sections, book.prose)
    if prose.reason:  # identifiers are looked for and counted in what is thrown away, too
        found = find_identifiers(reply, encounter, patient, book=book, rules=rules)
        return ScreenedNote(None, f"PHI_{found[0]}" if found else prose.reason, len(found))
    is_whole = prompt.is_whole
    text = prose.sections[WHOLE] if is_whole else render_note(form, encounter, patient, sections=prose.sections)
    identifiers = find_identifiers(text, encounter, patient, book=book, rules=rules)
    agreement = check_agreement(text, encounter, patient, rules=book.agreement)
    if identifiers:
        return ScreenedNote(None, f"PHI_{identifiers[0]}", len(identifiers), agreement)
    if agreement.contradictions:
        return ScreenedNote(None, f"CONTRADICTION_{agreement.contradictions[0]}", 0, agreement)
    return ScreenedNote(text, OK, 0, agreement)


def find_identifiers(
    text: str, encounter: SyntheticEncounter, patient: SyntheticPatient, *, book: NarrativeBook, rules: RuleEngine
) -> list[str]:
    """Categories of what the recognisers accept, in order of the text, without those that a note may hold."""
    note = Note("synthetic", text, "", patient.sex, encounter.age_years)
    spans = rules.finalise(note, rules.propose(note))
    return [span.category for span in spans if span.category not in book.allowed_categories]


def make_note_id(dataset_id: str, synthetic_encounter_id: str) -> str:
    """24 hex digits; a visit has one note per data set."""
    return hashlib.sha256(f"note\x1f{dataset_id}\x1f{synthetic_encounter_id}".encode()).hexdigest()[:24]
