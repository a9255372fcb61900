"""The annotation report as a text table for terminals.

Knows: how figures are laid out. Must not know: how they are computed.
"""

from __future__ import annotations

import math

from ppsehr_spark.evaluation.annotation import AnnotationReport
from ppsehr_spark.evaluation.span_counts import TIERS


def render_table(report: AnnotationReport) -> str:
    """Plain text in percent: a line per category, then tiers, leaks and over-redaction.

    Intervals (95%) stand beside F1 and single figures; those of precision and recall are in ``to_dict``.
    """
    lines = [_header(report)]
    for category in (*report.categories, "macro"):
        counts = (report.counts.get(f"{category}.gold"), report.counts.get(f"{category}.predicted"))
        cells = [_scores(report, f"{mode}.{category}") for mode in ("strict", "relaxed")]
        lines.append("".join([f"{category:<14}", *(f"{'' if n is None else n:>8}" for n in counts), *cells]))
    return "\n".join([*lines, "", *_tier_lines(report), "", *_leak_lines(report)])


def _header(report: AnnotationReport) -> str:
    f1_width = _width(report)
    columns = [f"{f'{mode} P':>10}{'R':>8}{'F1':>{f1_width}}" for mode in ("strict", "relaxed")]
    return "".join([f"{'percent':<14}", f"{'gold':>8}", f"{'pred':>8}", *columns])


def _scores(report: AnnotationReport, name: str) -> str:
    plain = "".join(
        f"{_percent(report.values.get(f'{name}.{part}')):>{w}}" for part, w in (("precision", 10), ("recall", 8))
    )
    return f"{plain}{_with_interval(report, f'{name}.f1'):>{_width(report)}}"


def _tier_lines(report: AnnotationReport) -> list[str]:
    if "tier.macro.recall" not in report.values:
        return ["no tiered spans matched"]
    lines = [f"{'tier':<14}{'P':>10}{'R':>8}{'F1':>{_width(report)}}"]
    lines += [f"{tier:<14}{_scores(report, f'tier.{tier}')}" for tier in (*map(str, TIERS), "macro")]
    for kind, label in (("under", "tiered too low"), ("over", "tiered too high"), ("untiered", "without tier")):
        lines.append(f"{label:<52}{_with_interval(report, f'tier.{kind}'):>{_width(report)}}")
    return lines


def _leak_lines(report: AnnotationReport) -> list[str]:
    rows = (
        ("leak.chars", "gold characters left uncovered"),
        ("leak.notes", "notes with a direct identifier not wholly covered"),
        ("leak.notes_missed", "notes with a direct identifier wholly uncovered"),
        ("over_redaction", "plain characters covered"),
        ("over_redaction.notes", "notes without gold that are touched"),
    )
    lines = [f"{label:<52}{_with_interval(report, name):>{_width(report)}}" for name, label in rows]
    counts = report.counts
    lines.append(
        f"notes {counts.get('notes', 0)}, of them without prediction {counts['n_without_prediction']};"
        f" predicted notes without gold {counts['n_unknown']}"
    )
    return lines


def _width(report: AnnotationReport) -> int:
    return 22 if report.intervals else 9


def _percent(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{100 * value:.1f}"


def _with_interval(report: AnnotationReport, name: str) -> str:
    text = _percent(report.values.get(name))
    low, high = report.intervals.get(name, (math.nan, math.nan))
    return text if text == "-" or math.isnan(low) else f"{text} [{_percent(low)}, {_percent(high)}]"
