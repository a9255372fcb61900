"""The gates of synthetic data: identifiers, canaries, agreement, distance of marginals, membership attack, audit.

Knows: what must hold before a data set leaves. Must not know: tables, how figures are computed. Missing figures close a
gate; a refusal says how many notes or which figure, never what stood in them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ppsehr_spark.config import PublishSettings
from ppsehr_spark.domain.rules import RuleEngine
from ppsehr_spark.errors import PpsehrError, QualityGateError
from ppsehr_spark.lake.release_gates import normalise_text
from ppsehr_spark.lake.synthetic_rows import SyntheticDataset
from ppsehr_spark.synthesis.narratives import NarrativeBook
from ppsehr_spark.synthesis.narratives.screening import find_identifiers

Row = Mapping[str, Any]
TRAINED = "trained"


def count_identified(dataset: SyntheticDataset, notes: Sequence[Row], *, book: NarrativeBook, rules: RuleEngine) -> int:
    """Notes in which the recognisers see a direct identifier, now; text alone is read, so it costs nothing."""
    patients = {patient.synthetic_patient_id: patient for patient in dataset.patients}
    visits = {visit.synthetic_encounter_id: visit for patient in patients.values() for visit in patient.encounters}
    return sum(
        bool(
            find_identifiers(
                note["text"],
                visits[note["synthetic_encounter_id"]],
                patients[note["synthetic_patient_id"]],
                book=book,
                rules=rules,
            )
        )
        for note in notes
    )


def judge_dataset(
    dataset: SyntheticDataset, notes: Sequence[Row], *, n_identified: int, has_canary: Callable[[str], bool]
) -> PpsehrError | None:
    """The refusal over the rows themselves.

    Codes: ``SYNTHETIC_EMPTY``, ``SYNTHETIC_ORPHAN`` (a note or visit without its record), ``SYNTHETIC_PHI_GATE``,
    ``CANARY_GATE``.
    """
    if not dataset.encounter_rows:
        return QualityGateError("SYNTHETIC_EMPTY", hint="run synthesize before publish")
    if n_identified:
        hint = "the recognisers see identifiers in synthetic text; run synthesize again with today's categories"
        return QualityGateError("SYNTHETIC_PHI_GATE", n_notes=n_identified, n_of=len(notes), hint=hint)
    n_canary = sum(has_canary(normalise_text(note["text"])) for note in notes)
    if n_canary:
        hint = "a planted identifier stands in synthetic text; nothing is released"
        return QualityGateError("CANARY_GATE", n_notes=n_canary, hint=hint)
    return None


def count_orphans(dataset: SyntheticDataset, notes: Sequence[Row]) -> int:
    """Visits without their patient and notes without their visit."""
    patients = {row["synthetic_patient_id"] for row in dataset.patient_rows}
    visits = {row["synthetic_encounter_id"]: row["synthetic_patient_id"] for row in dataset.encounter_rows}
    n_visits = sum(patient not in patients for patient in visits.values())
    return n_visits + sum(visits.get(note["synthetic_encounter_id"]) != note["synthetic_patient_id"] for note in notes)


def judge_figures(
    figures: Sequence[Row], *, limits: PublishSettings, n_notes: int, is_trained: bool
) -> PpsehrError | None:
    """The refusal over the evaluation, judged anew by today's limits.

    Codes: ``EVALUATION_GATE`` (a figure is missing), ``AGREEMENT_GATE``, ``MARGINAL_GATE``, ``MEMBERSHIP_GATE``,
    ``AUDIT_GATE``. Attack and audit are about the trained model: asked for where it wrote the notes, and closed by
    wherever there is one, because a refuted claim refutes the ledger's accounting.
    """
    found = {row["metric"]: row for row in figures if row["gate_limit"] is not None}
    wanted = ["worst_marginal_excess", *(["statement_agreement"] if n_notes else [])]
    wanted += ["membership_auc", "epsilon_lower_bound"] if is_trained else []
    missing = [name for name in wanted if name not in found or found[name]["value"] is None]
    if missing:
        hint = "run evaluate on these tables with these settings, then publish"
        return QualityGateError("EVALUATION_GATE", missing=",".join(missing), hint=hint)
    excess = found["worst_marginal_excess"]["value"]
    if not excess <= limits.max_marginal_distance:
        hint = "a synthetic marginal is further from the released one than noise and sample size explain"
        return QualityGateError("MARGINAL_GATE", excess=round(excess, 4), limit=limits.max_marginal_distance, hint=hint)
    if n_notes and not found["statement_agreement"]["value"] >= limits.min_agreement:
        value = round(found["statement_agreement"]["value"], 4)
        return QualityGateError("AGREEMENT_GATE", agreement=value, limit=limits.min_agreement)
    return judge_attack(found, limits)


def judge_attack(found: Mapping[str, Row], limits: PublishSettings) -> PpsehrError | None:
    """The refusal over attack and audit; the figures read real records and are in no message."""
    auc, bound = found.get("membership_auc"), found.get("epsilon_lower_bound")
    if bound is not None and not bound["value"] <= bound["gate_limit"]:
        hint = "an attack proves more than the claimed epsilon: the claim, the accounting or the training is wrong"
        return QualityGateError("AUDIT_GATE", claimed=round(bound["gate_limit"], 4), hint=hint)
    if auc is not None and not auc["value"] <= limits.max_membership_auc:
        hint = "members can be told from others too well; train with a smaller epsilon or fewer steps"
        return QualityGateError("MEMBERSHIP_GATE", limit=limits.max_membership_auc, hint=hint)
    return None
