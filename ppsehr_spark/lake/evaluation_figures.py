"""Figures about statistics, synthetic data and training, each with its basis: what was measured on which part.

Knows: which figure says what, and whether it reads real records. Must not know: tables, release gates' consequences.
``public`` figures are computed from released or synthetic values alone (post-processing); ``internal`` ones read scores
of real patients and never leave, nor does the number of patients they rest on.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ppsehr_spark.config import PublishSettings
from ppsehr_spark.evaluation.attacks import AttackReport, loss_scores, measure_attack
from ppsehr_spark.evaluation.fidelity import MarginalFidelity, NoisyMarginal, estimate_total, measure_marginal
from ppsehr_spark.evaluation.metrics import METRICS
from ppsehr_spark.privacy.auditing import Audit, audit_scores
from ppsehr_spark.privacy.proportions import bound_share
from ppsehr_spark.privacy.training_plan import plan_from_json
from ppsehr_spark.synthesis.records import RecordDomain, ReleasedMarginal, SyntheticPatient, tabulate

_Z_95 = 1.959963984540054
_OK = "ok"


@dataclass(frozen=True)
class Measured:
    """One figure about one subject.

    Attributes:
        slice: the part it is measured on, empty for all.
        n: how many synthetic or released things it rests on; ``None`` where that would tell of real records.
        gate_limit: limit of its gate, ``None`` when nothing hangs on it.
    """

    subject: str
    metric: str
    value: float
    slice: str = ""
    low: float | None = None
    high: float | None = None
    n: int | None = None
    gate_limit: float | None = None
    is_passed: bool | None = None

    @property
    def basis(self) -> str:
        """``public`` or ``internal``."""
        return METRICS[self.metric]


def measure_statistics(rows: Sequence[Mapping[str, Any]]) -> list[Measured]:
    """What the noise does to one cell, per query of one data version; quantiles have no cells.

    Args:
        rows: of ``protected.dp_statistics``.
    """
    figures = []
    for query, cells in _group(rows, "query").items():
        if any(cell["low"] is None or cell["high"] is None for cell in cells):
            continue
        half = max((cell["high"] - cell["low"]) / 2 for cell in cells)
        n_above = sum(cell["value"] > half for cell in cells)
        values = {
            "noise_half_width": half,
            "expected_cell_error": half / _Z_95 * math.sqrt(2 / math.pi),
            "smallest_readable_group": 2 * half,
            "suppressed_cells": sum(bool(cell["is_suppressed"]) for cell in cells) / len(cells),
            "cells_above_noise": n_above / len(cells),
        }
        subject = cells[0]["ask_id"]
        figures += [Measured(subject, name, value, query, n=len(cells)) for name, value in values.items()]
    return figures


def measure_records(
    dataset_id: str,
    patients: Sequence[SyntheticPatient],
    marginals: Sequence[ReleasedMarginal],
    domain: RecordDomain,
    *,
    limits: PublishSettings,
) -> list[Measured]:
    """Distance of every marginal of the synthetic records from the released one, with its floors."""
    found = list(_compare_marginals(patients, marginals, domain))
    figures = []
    for each in found:
        place = {"subject": dataset_id, "slice": each.name, "n": each.n_synthetic}
        figures += [
            Measured(metric="marginal_distance", value=each.distance, **place),
            Measured(metric="marginal_floor", value=each.floor, high=each.floor_high, **place),
            Measured(metric="marginal_noise_floor", value=each.noise_floor, **place),
            Measured(metric="marginal_excess", value=each.excess, **place),
        ]
    if found:
        worst = max(each.excess for each in found)
        limit = limits.max_marginal_distance
        mean = float(np.mean([each.distance for each in found]))
        figures += [
            Measured(dataset_id, "mean_marginal_distance", mean, n=len(found)),
            Measured(
                dataset_id, "worst_marginal_excess", worst, n=len(found), gate_limit=limit, is_passed=worst <= limit
            ),
        ]
    widths = [(each.name, _Z_95 * each.noise_scale, len(each.counts)) for each in marginals]
    return [*figures, *(Measured(dataset_id, "noise_half_width", width, name, n=n) for name, width, n in widths)]


def measure_notes(dataset_id: str, notes: Sequence[Mapping[str, Any]], *, limits: PublishSettings) -> list[Measured]:
    """Agreement with the record, identifiers, and what was dropped for which reason.

    Args:
        notes: rows of ``protected.synthetic_notes``; those dropped are without text.
    """
    kept = [note for note in notes if note["outcome"] == _OK]
    checks, agreed = (sum(note[name] or 0 for note in kept) for name in ("n_checks", "n_agreed"))
    n_identified = sum((note["n_phi_spans"] or 0) > 0 for note in kept)
    figures = [_share(dataset_id, "dropped_notes", len(notes) - len(kept), len(notes))] if notes else []
    reasons = Counter(note["outcome"] for note in notes if note["outcome"] != _OK)
    figures += [
        _share(dataset_id, "dropped_notes", n, len(notes), slice=reason) for reason, n in sorted(reasons.items())
    ]
    if not kept:
        return figures
    agreement = _share(dataset_id, "statement_agreement", agreed, checks)
    whole = sum(note["n_agreed"] == note["n_checks"] for note in kept)
    return [
        *figures,
        _gate(agreement, limits.min_agreement, is_passed=agreement.value >= limits.min_agreement),
        _share(dataset_id, "record_agreement", whole, len(kept)),
        Measured(
            dataset_id, "notes_with_identifiers", n_identified, n=len(kept), gate_limit=0.0, is_passed=n_identified == 0
        ),
    ]


def measure_membership(
    checkpoint: Mapping[str, Any], scores: Sequence[Mapping[str, Any]], *, delta: float, limits: PublishSettings
) -> list[Measured]:
    """A loss attack on a checkpoint, and the lower bound on epsilon that it proves; internal throughout.

    Args:
        checkpoint: row of ``protected.checkpoints``.
        scores: its rows of ``phi.membership_scores``.
        delta: at which the training's epsilon is stated.
    """
    members, others = (
        loss_scores([row["loss"] for row in scores if row["is_member"] is is_in]) for is_in in (True, False)
    )
    if not members or not others:
        return []
    plan = plan_from_json(checkpoint["plan"])
    attack = measure_attack(members, others)
    audit = audit_scores(members, others, delta=delta, inclusion_rate=1 - plan.holdout_share)
    return _report_attack(checkpoint["checkpoint_id"], attack, audit, plan.epsilon(delta), limits.max_membership_auc)


def _report_attack(
    subject: str, attack: AttackReport, audit: Audit, claimed: float, auc_limit: float
) -> list[Measured]:
    auc, low = attack.auc, audit.epsilon_low
    figures = [
        _gate(
            Measured(subject, "membership_auc", auc.value, "loss", auc.low, auc.high),
            auc_limit,
            is_passed=auc.value <= auc_limit,
        ),
        _gate(Measured(subject, "epsilon_lower_bound", low, "loss"), claimed, is_passed=low <= claimed),
        Measured(subject, "epsilon_most_provable", audit.most_provable, "loss"),
    ]
    for point in attack.points:
        place = f"loss, fpr {point.max_false_rate:g}" + ("" if point.is_resolved else ", unresolved")
        rate = point.rate
        figures.append(Measured(subject, "membership_true_positive_rate", rate.value, place, rate.low, rate.high))
    return figures


def _compare_marginals(
    patients: Sequence[SyntheticPatient], marginals: Sequence[ReleasedMarginal], domain: RecordDomain
) -> Iterable[MarginalFidelity]:
    """One comparison per marginal of which there are synthetic records; totals are shared by kind of record."""
    noisy = {
        each.name: NoisyMarginal(each.name, each.counts.astype(np.float64), each.noise_scale) for each in marginals
    }
    for record in dict.fromkeys(each.record for each in marginals):
        of_record = [each for each in marginals if each.record == record]
        total = estimate_total([noisy[each.name] for each in of_record])
        for each in of_record:
            counts = tabulate(patients, each, domain).astype(np.float64)
            if counts.sum():
                yield measure_marginal(noisy[each.name], counts, total=total)


def _share(subject: str, metric: str, n_hits: int, n: int, *, slice: str = "") -> Measured:
    low, high = bound_share(n_hits, n)
    return Measured(subject, metric, n_hits / n if n else 0.0, slice, low, high, n)


def _gate(figure: Measured, limit: float, *, is_passed: bool) -> Measured:
    return replace(figure, gate_limit=limit, is_passed=is_passed)


def _group(rows: Sequence[Mapping[str, Any]], column: str) -> dict[str, list[Mapping[str, Any]]]:
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row[column], []).append(row)
    return groups
