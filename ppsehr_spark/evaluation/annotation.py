"""How good annotations are against gold: strict, relaxed, tiers, leaks, over-redaction, each with an interval.

Knows: the definitions of annotation guideline v1, "Scoring". Must not know: files, tables, note text.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ppsehr_spark.domain.notes import Span
from ppsehr_spark.evaluation.bootstrap import percentile_interval, resample_sums
from ppsehr_spark.evaluation.span_counts import DIRECT_IDENTIFIERS, TIERS, count_notes

_Array = npt.NDArray[np.float64]
_MODES = ("strict", "relaxed")


@dataclass(frozen=True)
class Score:
    """Precision, recall and F1 in [0, 1]; NaN where nothing defines them."""

    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class AnnotationReport:
    """Every figure under a dotted name, with its interval where a bootstrap was asked for.

    Attributes:
        values: ``strict.NAME.f1``, ``relaxed.macro.recall``, ``tier.3.recall``, ``tier.STD.3.precision``,
            ``tier.macro.precision``, ``tier.under``, ``leak.chars``, ``leak.notes``, ``leak.notes_missed``,
            ``over_redaction``, ``over_redaction.notes`` (notes without gold that are touched): shares in [0, 1] or NaN.
        intervals: the same names -> (low, high) at 95%; empty without bootstrap.
        counts: sums over notes, see ``span_counts.count_notes``; also ``n_without_prediction`` (gold notes that the
            prediction does not mention) and ``n_unknown`` (predicted notes without gold, not scored).
        categories: categories with gold or predictions, sorted.
    """

    values: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    counts: Mapping[str, int]
    categories: tuple[str, ...]

    def score(self, mode: str, name: str = "macro") -> Score:
        """Score of ``mode`` (``strict``, ``relaxed``, ``tier``) for a category, a tier or ``macro``."""
        nan = math.nan
        parts = (self.values.get(f"{mode}.{name}.{part}", nan) for part in ("precision", "recall", "f1"))
        return Score(*parts)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: NaN becomes null, intervals two-element lists."""
        return {
            "values": {name: _or_none(value) for name, value in self.values.items()},
            "intervals": {name: [_or_none(end) for end in ends] for name, ends in self.intervals.items()},
            "counts": dict(self.counts),
            "categories": list(self.categories),
        }


def evaluate_spans(
    gold: Mapping[str, Sequence[Span]],
    predicted: Mapping[str, Sequence[Span]],
    n_chars: Mapping[str, int],
    *,
    n_replicates: int = 0,
    seed: int = 20240601,
    direct: Mapping[str, int | None] = DIRECT_IDENTIFIERS,
) -> AnnotationReport:
    """Score ``predicted`` against ``gold``, note by note; the notes of ``gold`` are what is scored.

    Args:
        gold: true spans per note key; a note without spans is scored too.
        predicted: spans per note key; a missing note counts as no spans.
        n_chars: length per note in code points, for over-redaction; a missing note counts as 0.
        n_replicates: bootstrap resamples over notes; 0 gives no intervals.
        seed: of the bootstrap.
        direct: direct identifiers: category -> tier from which it counts, ``None`` for all.
    """
    columns, matrix = count_notes(gold, predicted, n_chars, direct=direct)
    categories = tuple(sorted({name.removesuffix(".gold") for name in columns if _is_category_total(name)}))
    totals = matrix.sum(axis=0, keepdims=True)
    point = _compute(_Sums(columns, totals), categories, totals=_Sums(columns, totals))
    intervals: dict[str, tuple[float, float]] = {}
    if n_replicates and len(matrix):
        sums = _Sums(columns, resample_sums(matrix, n_replicates=n_replicates, seed=seed))
        replicated = _compute(sums, categories, totals=_Sums(columns, totals))
        intervals = {name: percentile_interval(values) for name, values in replicated.items()}
    counts = {name: int(value) for name, value in zip(columns, totals[0], strict=True)} if len(matrix) else {}
    counts["n_without_prediction"] = len(gold.keys() - predicted.keys())
    counts["n_unknown"] = len(predicted.keys() - gold.keys())
    return AnnotationReport({name: float(v[0]) for name, v in point.items()}, intervals, counts, categories)


@dataclass(frozen=True)
class _Sums:
    """Column sums by name; each an array over replicates."""

    columns: list[str]
    matrix: _Array

    def __getitem__(self, name: str) -> _Array:
        return self.matrix[:, self.columns.index(name)] if name in self.columns else np.zeros(len(self.matrix))


def _compute(sums: _Sums, categories: Sequence[str], *, totals: _Sums) -> dict[str, _Array]:
    figures: dict[str, _Array] = {}
    with_gold = [c for c in categories if totals[f"{c}.gold"][0] > 0]
    for mode in _MODES:
        for category in categories:
            _put(figures, f"{mode}.{category}", *_ratios(sums, category, mode))
        _put_macro(figures, mode, with_gold)
    figures |= _compute_tiers(sums, categories, totals)
    figures["leak.chars"] = _divide(sums["leaked_chars"], sums["gold_chars"])
    figures["leak.notes"] = _divide(sums["leaking_notes"], sums["notes"])
    figures["leak.notes_missed"] = _divide(sums["missed_notes"], sums["notes"])
    figures["over_redaction"] = _divide(sums["covered_plain_chars"], sums["chars"] - sums["gold_chars"])
    figures["over_redaction.notes"] = _divide(sums["touched_clean_notes"], sums["clean_notes"])
    return figures


def _ratios(sums: _Sums, category: str, mode: str) -> tuple[_Array, _Array]:
    hits_gold = sums[f"{category}.strict" if mode == "strict" else f"{category}.relaxed_gold"]
    hits_predicted = sums[f"{category}.strict" if mode == "strict" else f"{category}.relaxed_predicted"]
    recall = _divide(hits_gold, sums[f"{category}.gold"])
    precision = _divide(hits_predicted, sums[f"{category}.predicted"])
    return np.where(np.isnan(precision) & ~np.isnan(recall), 0.0, precision), recall


def _compute_tiers(sums: _Sums, categories: Sequence[str], totals: _Sums) -> dict[str, _Array]:
    figures: dict[str, _Array] = {}
    tiered = [c for c in categories if totals[f"{c}.tiered"][0] > 0]
    if not tiered:
        return figures
    for tier in TIERS:
        for group, names in [*((f"tier.{c}.{tier}", [c]) for c in tiered), (f"tier.{tier}", tiered)]:
            agreed, in_gold, in_predicted = (
                np.sum([sums[f"{c}.{tier}.{kind}"] for c in names], axis=0) for kind in ("agreed", "gold", "predicted")
            )
            recall, precision = _divide(agreed, in_gold), _divide(agreed, in_predicted)
            _put(figures, group, np.where(np.isnan(precision) & ~np.isnan(recall), 0.0, precision), recall)
    seen = [str(t) for t in TIERS if sum(totals[f"{c}.{t}.gold"][0] for c in tiered) > 0]
    _put_macro(figures, "tier", seen)
    n_pairs = np.sum([sums[f"{c}.tiered"] for c in tiered], axis=0)
    for kind in ("under", "over", "untiered"):
        figures[f"tier.{kind}"] = _divide(np.sum([sums[f"{c}.{kind}"] for c in tiered], axis=0), n_pairs)
    return figures


def _put(figures: dict[str, _Array], name: str, precision: _Array, recall: _Array) -> None:
    total = precision + recall
    figures[f"{name}.precision"] = precision
    figures[f"{name}.recall"] = recall
    figures[f"{name}.f1"] = np.where(total == 0, 0.0, _divide(2 * precision * recall, total))


def _put_macro(figures: dict[str, _Array], mode: str, names: Sequence[str]) -> None:
    """Mean over ``names``; a replicate in which a name has no gold leaves it out of that mean."""
    for part in ("precision", "recall", "f1"):
        stacked = [figures[f"{mode}.{name}.{part}"] for name in names]
        if stacked:
            figures[f"{mode}.macro.{part}"] = _mean_defined(np.stack(stacked))


def _mean_defined(values: _Array) -> _Array:
    is_defined = ~np.isnan(values)
    return _divide(np.where(is_defined, values, 0.0).sum(axis=0), is_defined.sum(axis=0).astype(np.float64))


def _divide(above: _Array, below: _Array) -> _Array:
    quotient: _Array = np.full(np.shape(above), np.nan)
    np.divide(above, below, out=quotient, where=below > 0)
    return quotient


def _is_category_total(name: str) -> bool:
    return name.endswith(".gold") and name.count(".") == 1


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
