"""The annotation report as a text table for terminals.

Knows: how figures are laid out. Must not know: how they are computed.
"""

from __future__ import annotations

import math

from ppsehr_spark.evaluation.annotation import AnnotationReport
from ppsehr_spark.evaluation.span_counts import TIERS

_PARTS = ("precision", "recall", "f1")


def render_table(report: AnnotationReport) -> str:
    """Plain text, one line per category, then tiers, leaks and over-redaction; percentages with 95% intervals."""
    width = 22 if report.intervals else 8
    lines = [_header("strict / relaxed", width)]
    for category in (*report.categories, "macro"):
        counts = (report.counts.get(f"{category}.gold"), report.counts.get(f"{category}.predicted"))
        cells = [_cell(report, f"{mode}.{category}.{part}", width) for mode in ("strict", "relaxed") for part in _PARTS]
        lines.append("".join([f"{category:<12}", *(f"{'' if n is None else n:>8}" for n in counts), *cells]))
    lines += ["", *_tier_lines(report, width), "", *_leak_lines(report, width)]
    return "\n".join(lines)


def _header(title: str, width: int) -> str:
    columns = [f"{mode} {short}" for mode in ("str", "rel") for short in ("P", "R", "F1")]
    return "".join([f"{title:<12.12}", f"{'gold':>8}", f"{'pred':>8}", *(f"{c:>{width}}" for c in columns)])


def _tier_lines(report: AnnotationReport, width: int) -> list[str]:
    if "tier.macro.recall" not in report.values:
        return ["no tiered spans matched"]
    lines = ["".join([f"{'tiers':<12}", *(f"{p:>{width}}" for p in _PARTS)])]
    for tier in (*map(str, TIERS), "macro"):
        lines.append("".join([f"{tier:<12}", *(_cell(report, f"tier.{tier}.{part}", width) for part in _PARTS)]))
    for kind, label in (("under", "under-tiered"), ("over", "over-tiered"), ("untiered", "without tier")):
        lines.append(f"{label:<12}{_cell(report, f'tier.{kind}', width)}")
    return lines


def _leak_lines(report: AnnotationReport, width: int) -> list[str]:
    rows = (
        ("leak.chars", "gold characters left uncovered"),
        ("leak.notes", "notes with a direct identifier not wholly covered"),
        ("leak.notes_missed", "notes with a direct identifier wholly uncovered"),
        ("over_redaction", "plain characters covered"),
    )
    lines = [f"{label:<52}{_cell(report, name, width)}" for name, label in rows]
    counts = report.counts
    lines.append(
        f"notes {counts.get('notes', 0)}, of them without prediction {counts['n_without_prediction']};"
        f" predicted notes without gold {counts['n_unknown']}"
    )
    return lines


def _cell(report: AnnotationReport, name: str, width: int) -> str:
    value = report.values.get(name, math.nan)
    if math.isnan(value):
        return f"{'-':>{width}}"
    text = f"{100 * value:.1f}%"
    if name in report.intervals and not math.isnan(report.intervals[name][0]):
        low, high = report.intervals[name]
        text += f" [{100 * low:.1f}, {100 * high:.1f}]"
    return f"{text:>{width}}"
