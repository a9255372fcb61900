"""Precision and recall of a lake's annotations against the gold spans that came with its source.

Knows: where gold, rule spans and final spans lie. Must not know: how figures are computed, or how a rule works.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ppsehr_spark.config import Settings
from ppsehr_spark.domain.notes import Note, Span
from ppsehr_spark.domain.rules import compile_rules
from ppsehr_spark.evaluation.annotation import AnnotationReport, evaluate_spans
from ppsehr_spark.lake.schemas import ANNOTATIONS, GOLD, NOTES, RULE_ANNOTATIONS
from ppsehr_spark.lake.tables import Lake

#: Notes that are scored at most; the first ones by key, which is as good as a random draw (keys are HMACs).
MAX_SCORED_NOTES = 20_000

SCORES_SQL = f"""
SELECT g.note_key, g.spans AS gold, n.text, n.note_type, n.sex, n.age_years, n.n_chars,
       r.spans AS rules, a.spans AS final
FROM (SELECT note_key, spans FROM gold ORDER BY note_key LIMIT {MAX_SCORED_NOTES}) g
JOIN notes n ON n.note_key = g.note_key
JOIN rule_annotations r ON r.note_key = g.note_key
JOIN annotations a ON a.note_key = g.note_key
"""


def score_annotations(lake: Lake, settings: Settings) -> dict[str, AnnotationReport]:
    """Reports for ``rules`` (recognisers alone, finalised without a model) and ``final`` (phi.annotations).

    Returns:
        Empty when the lake has no gold or the notes have not been tiered yet.
    """
    specs = {"gold": GOLD, "notes": NOTES, "rule_annotations": RULE_ANNOTATIONS, "annotations": ANNOTATIONS}
    if any(lake.version(spec) is None for spec in specs.values()):
        return {}
    engine = compile_rules(settings.files)
    gold: dict[str, list[Span]] = {}
    rules: dict[str, Sequence[Span]] = {}
    final: dict[str, list[Span]] = {}
    n_chars: dict[str, int] = {}
    for row in lake.query(SCORES_SQL, **specs).to_pylist():
        key = row["note_key"]
        note = Note(key, row["text"], row["note_type"] or "", row["sex"] or "", row["age_years"])
        gold[key] = [_span(span) for span in row["gold"] or ()]
        rules[key] = engine.finalise(note, [_span(span) for span in row["rules"] or ()])
        final[key] = [_span(span) for span in row["final"] or ()]
        n_chars[key] = row["n_chars"] or len(row["text"])
    if not gold:
        return {}
    return {"rules": evaluate_spans(gold, rules, n_chars), "final": evaluate_spans(gold, final, n_chars)}


def _span(row: Mapping[str, Any]) -> Span:
    return Span(**{name: value for name, value in row.items() if value is not None})
