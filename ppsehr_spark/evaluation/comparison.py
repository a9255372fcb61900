"""Several annotators on one corpus, side by side, as text for terminals or as Markdown.

Knows: which figures stand in which column. Must not know: how they are computed, who the annotators are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ppsehr_spark.evaluation.annotation import AnnotationReport

_PARTS = ("precision", "recall", "f1")
_COVERED = "macro of its own"


@dataclass(frozen=True)
class Entrant:
    """One annotator on one corpus.

    Attributes:
        name: who.
        report: its figures.
        covered: categories of the corpus that it can find at all.
        own: macro figures over ``covered`` alone; ``None`` where it covers the whole corpus.
        remark: version, or how it was set up.
        hits: category -> predictions, where the corpus has no gold.
    """

    name: str
    report: AnnotationReport
    covered: tuple[str, ...]
    own: AnnotationReport | None = None
    remark: str = ""
    hits: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """Everybody on one corpus.

    Attributes:
        corpus: its name.
        basis: how its labels became gold.
        categories: those it labels; empty where it has no gold.
        entrants: the annotators, in the order of the tables.
        has_direct: it labels direct identifiers, so that leaking notes mean something.
    """

    corpus: str
    basis: str
    categories: tuple[str, ...]
    entrants: tuple[Entrant, ...]
    has_direct: bool = True

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "corpus": self.corpus,
            "basis": self.basis,
            "categories": list(self.categories),
            "annotators": {
                entrant.name: {
                    **entrant.report.to_dict(),
                    "remark": entrant.remark,
                    "covered": list(entrant.covered),
                    "hits": dict(entrant.hits),
                    "macro_of_covered": entrant.own.to_dict() if entrant.own else None,
                }
                for entrant in self.entrants
            },
        }


@dataclass(frozen=True)
class Grid:
    """A table of strings: the first row is the header; columns from ``numbers_from`` on stand right."""

    rows: tuple[tuple[str, ...], ...]
    numbers_from: int


def render_comparison(comparison: Comparison, *, has_markdown: bool) -> str:
    """Title, basis and the tables of one corpus, in percent with 95% intervals in brackets."""
    grids = [tabulate_scores(comparison), tabulate_safety(comparison)] if comparison.categories else []
    if not comparison.categories:
        grids = [tabulate_touch(comparison)]
    render = render_markdown if has_markdown else render_text
    title = f"### {comparison.corpus}" if has_markdown else f"== {comparison.corpus}"
    return "\n\n".join([f"{title}\n\n{comparison.basis}", *(render(grid) for grid in grids)])


def render_summary(comparisons: Sequence[Comparison], *, has_markdown: bool) -> str:
    """One row per corpus, one column per annotator."""
    render = render_markdown if has_markdown else render_text
    title = "### Summary" if has_markdown else "== summary"
    basis = "Strict macro F1 (precision / recall) in percent; without gold, the share of characters touched."
    return f"{title}\n\n{basis}\n\n{render(tabulate_summary(comparisons))}"


def tabulate_summary(comparisons: Sequence[Comparison]) -> Grid:
    """Strict macro figures over all categories a corpus labels, uncovered ones counting as 0."""
    names = list(dict.fromkeys(entrant.name for comparison in comparisons for entrant in comparison.entrants))
    rows = [("corpus", *names)]
    for comparison in comparisons:
        cells = {entrant.name: _summarise(entrant.report, comparison) for entrant in comparison.entrants}
        rows.append((comparison.corpus, *(cells.get(name, "-") for name in names)))
    return Grid(tuple(rows), 1)


def tabulate_scores(comparison: Comparison) -> Grid:
    """Strict and relaxed precision, recall and F1 per annotator and category that it covers, then macro."""
    header = (
        "annotator",
        "category",
        "gold",
        "found",
        *(f"{m} {p}" for m in ("strict", "relaxed") for p in ("P", "R", "F1")),
    )
    rows = [header]
    for entrant in comparison.entrants:
        listed = [c for c in comparison.categories if c in entrant.covered]
        rows += [_score_row(entrant.name, name, entrant.report, name) for name in listed]
        if len(listed) != len(comparison.categories) and entrant.own and len(listed) > 1:
            rows.append(_score_row(entrant.name, f"{_COVERED} {len(listed)}", entrant.own, "macro"))
        if len(comparison.categories) > 1:
            rows.append(_score_row(entrant.name, f"macro of {len(comparison.categories)}", entrant.report, "macro"))
    return Grid(tuple(rows), 2)


def tabulate_safety(comparison: Comparison) -> Grid:
    """Leaks, over-redaction and tiers per annotator."""
    columns = (
        ("gold chars open", "leak.chars"),
        ("notes with a direct identifier open", "leak.notes"),
        ("plain chars covered", "over_redaction"),
        ("clean notes touched", "over_redaction.notes"),
        ("tier P", "tier.macro.precision"),
        ("tier R", "tier.macro.recall"),
        ("under-tiered", "tier.under"),
    )
    shown = [(title, name) for title, name in columns if _is_defined(comparison, name)]
    rows = [("annotator", "notes", *(title for title, _ in shown))]
    for entrant in comparison.entrants:
        n_notes = str(entrant.report.counts.get("notes", 0))
        has_tiers = entrant.report.values.get("tier.untiered", 0.0) < 1
        figures = ("none" if "tier" in n and not has_tiers else _figure(entrant.report, n) for _, n in shown)
        rows.append((entrant.name, n_notes, *figures))
    return Grid(tuple(rows), 1)


def tabulate_touch(comparison: Comparison) -> Grid:
    """Over-redaction of text without gold: characters and notes touched, predictions per 10,000 characters."""
    names = list(dict.fromkeys(category for entrant in comparison.entrants for category in entrant.hits))
    rows = [("annotator", "notes", "chars", "chars touched", "notes touched", *(f"{c} per 10,000" for c in names))]
    for entrant in comparison.entrants:
        report, n_chars = entrant.report, entrant.report.counts.get("chars", 0)
        rates = (_rate(entrant.hits.get(c, 0), n_chars) if c in entrant.covered else "-" for c in names)
        touched = (_figure(report, name, digits=2) for name in ("over_redaction", "over_redaction.notes"))
        rows.append((entrant.name, str(report.counts.get("notes", 0)), str(n_chars), *touched, *rates))
    return Grid(tuple(rows), 1)


def render_text(grid: Grid) -> str:
    """Columns padded to their widest cell."""
    widths = [max(len(row[at]) for row in grid.rows) for at in range(len(grid.rows[0]))]
    return "\n".join(
        "  ".join(
            c.rjust(w) if at >= grid.numbers_from else c.ljust(w)
            for at, (c, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in grid.rows
    )


def render_markdown(grid: Grid) -> str:
    """A pipe table."""
    rule = ("---:" if at >= grid.numbers_from else "---" for at in range(len(grid.rows[0])))
    lines = [grid.rows[0], tuple(rule), *grid.rows[1:]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _score_row(who: str, label: str, report: AnnotationReport, name: str) -> tuple[str, ...]:
    counts = (report.counts.get(f"{name}.{kind}") for kind in ("gold", "predicted"))
    figures = (_figure(report, f"{mode}.{name}.{part}") for mode in ("strict", "relaxed") for part in _PARTS)
    return (who, label, *("" if n is None else str(n) for n in counts), *figures)


def _summarise(report: AnnotationReport, comparison: Comparison) -> str:
    if not comparison.categories:
        return f"touched {100 * report.values.get('over_redaction', math.nan):.2f}"
    score = report.score("strict")
    return f"{100 * score.f1:.1f} ({100 * score.precision:.1f} / {100 * score.recall:.1f})"


def _figure(report: AnnotationReport, name: str, *, digits: int = 1) -> str:
    value = report.values.get(name, math.nan)
    if math.isnan(value):
        return "-"
    low, high = report.intervals.get(name, (math.nan, math.nan))
    plain = f"{100 * value:.{digits}f}"
    return plain if math.isnan(low) else f"{plain} ({100 * low:.{digits}f}–{100 * high:.{digits}f})"


def _rate(n_hits: int, n_chars: int) -> str:
    return f"{10_000 * n_hits / n_chars:.2f}" if n_chars else "-"


def _is_defined(comparison: Comparison, name: str) -> bool:
    if name == "leak.notes" and not comparison.has_direct:
        return False
    return any(not math.isnan(e.report.values.get(name, math.nan)) for e in comparison.entrants)
