"""The closing summary as aligned text.

Knows: the sections and their order. Must not know: how figures are read, how a line is laid out (``summary_layout``).
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ppsehr_spark.evaluation.annotation import AnnotationReport
from ppsehr_spark.lake.schemas import TABLES
from ppsehr_spark.lake.summary_layout import format_share, make_head, make_line
from ppsehr_spark.lake.summary_privacy_table import list_privacy_sections

if TYPE_CHECKING:
    from ppsehr_spark.lake.summary import LakeSummary

_QUERY = "SELECT category, tier, source, count(*) AS n FROM phi.annotated_spans GROUP BY ALL ORDER BY ALL"


def render_sections(summary: LakeSummary) -> str:
    """All sections that have something to say, parted by blank lines."""
    sections = (
        _tables(summary),
        _spans(summary),
        _quality(summary),
        _tokens(summary),
        _rejects(summary),
        _release(summary),
        *list_privacy_sections(summary.privacy),
        _pointers(summary),
    )
    return "\n\n".join("\n".join(lines) for section in sections if len(lines := list(section)) > 1)


def _tables(summary: LakeSummary) -> Iterator[str]:
    yield "Rows per table"
    for name, n_rows in summary.rows.items():
        if n_rows is not None:
            yield make_line([name, n_rows, TABLES[name].description], (32, 10))


def _spans(summary: LakeSummary) -> Iterator[str]:
    yield make_head(["Final spans", "total", "tier 1", "tier 2", "tier 3"], (28, 12, 10, 10, 10))
    for category, tiers in summary.spans.items():
        cells = [tiers.get(tier, "") for tier in "123"]
        yield make_line([category, sum(tiers.values()), *cells], (28, 12, 10, 10, 10))


def _quality(summary: LakeSummary) -> Iterator[str]:
    widths = (28, 8, 10, 10, 14, 14)
    label = "with Qwen" if summary.tokens.outcomes else "final"
    yield make_head(["Against gold (strict)", "gold", "rules P", "rules R", f"{label} P", f"{label} R"], widths)
    if not summary.reports:
        return
    rules, final = summary.reports["rules"], summary.reports["final"]
    for name in (*sorted({*rules.categories, *final.categories}), "macro"):
        n_gold = rules.counts.get(f"{name}.gold", "")
        scores = [rules.score("strict", name), final.score("strict", name)]
        yield make_line(
            [name, n_gold, *(format_share(part) for s in scores for part in (s.precision, s.recall))], widths
        )
    yield make_line(["macro, relaxed", "", *_pairs("relaxed", rules, final)], widths)
    yield make_line(["macro, tiers", "", *_pairs("tier", rules, final)], widths)
    leaks = [report.values.get("leak.notes", math.nan) for report in (rules, final)]
    shares = f"{format_share(leaks[0])} rules, {format_share(leaks[1])} {label}"
    yield f"  notes with a direct identifier not wholly found: {shares}"


def _tokens(summary: LakeSummary) -> Iterator[str]:
    tokens = summary.tokens
    yield "Model"
    if not tokens.n_segments:
        return
    answered = sum((tokens.outcomes or {}).values())
    outcomes = ", ".join(f"{name} {n}" for name, n in (tokens.outcomes or {}).items()) or "none yet"
    yield make_line(["questions in notes", tokens.n_occurrences], (28, 12))
    yield make_line(["distinct after dedup", tokens.n_segments, f"answered {answered} ({outcomes})"], (28, 12))
    detail = f"prompt {tokens.prompt}, of them cached {tokens.cached}, output {tokens.output}"
    yield make_line(["tokens used", tokens.used, detail], (28, 12))
    yield make_line(["tokens still open", tokens.open_estimate, "estimate; the next run goes on"], (28, 12))
    yield make_line(
        ["tokens saved", tokens.saved, f"against {tokens.whole_notes} for whole notes (estimate)"], (28, 12)
    )


def _rejects(summary: LakeSummary) -> Iterator[str]:
    yield "Rejected rows by reason"
    for reason, n_rows in summary.rejects.items():
        yield make_line([reason, n_rows], (28, 12))


def _release(summary: LakeSummary) -> Iterator[str]:
    yield "Newest release"
    if summary.release is None:
        return
    release = summary.release
    withheld = json.loads(release["gates"])["residual"]
    reasons = ", ".join(f"{reason} {n}" for reason, n in withheld.items() if reason != "max_share")
    yield make_line(["id", release["release_id"], f"policy {release['policy']}"], (28, 12))
    yield make_line(["notes released", release["n_rows"]], (28, 12))
    yield make_line(["notes withheld", release["n_withheld"], reasons], (28, 12))


def _pointers(summary: LakeSummary) -> Iterator[str]:
    audit = summary.audit
    state = "chain whole" if audit.is_whole else f"CHAIN BROKEN at {audit.broken_at} ({audit.reason})"
    yield f"Audit log: {audit.n_rows} entries, {state}"
    yield f"Lake: {summary.lake}"
    yield f"Try:  python -m ppsehr_spark.lake.views {shlex.quote(summary.lake)} {shlex.quote(_QUERY)}"
    yield "More: docs/queries.md"


def _pairs(mode: str, *reports: AnnotationReport) -> list[str]:
    scores = [report.score(mode) for report in reports]
    return [format_share(part) for score in scores for part in (score.precision, score.recall)]
