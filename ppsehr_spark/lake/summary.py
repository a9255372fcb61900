"""The closing summary of a pipeline run: what lies in the lake, how good it is, what the model cost.

Knows: counts over tables. Must not know: note text (nothing here prints a cell of phi but category ids and reason
codes). Every figure is read from the lake, so the summary of an old lake is as true as that of a fresh run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ppsehr_spark.config import Settings
from ppsehr_spark.evaluation.annotation import AnnotationReport
from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.audit_log import ChainReport, verify_chain
from ppsehr_spark.lake.release_files import read_anchors
from ppsehr_spark.lake.schemas import TABLES, TableSpec
from ppsehr_spark.lake.summary_privacy import PrivacySummary, summarise_privacy
from ppsehr_spark.lake.summary_scores import score_annotations
from ppsehr_spark.lake.summary_table import render_sections
from ppsehr_spark.lake.tables import Lake

#: What one prompt with a whole note would cost: the partition job's own estimate (tokens per code point, and frame).
_TOKENS_PER_CHAR = 0.7
_FRAME_TOKENS = 24

_SPANS_SQL = """
SELECT s['category'] AS category, s['tier'] AS tier, count(*) AS n
FROM (SELECT unnest(spans) AS s FROM annotations) GROUP BY 1, 2
"""
_SEGMENTS_SQL = "SELECT count(*) AS n, sum(estimated_tokens) AS tokens FROM segments"
_OCCURRENCES_SQL = "SELECT sum(coalesce(cardinality(segments), 0)) AS n FROM rule_annotations"
_USED_SQL = """
SELECT outcome, count(*) AS n, sum(prompt_tokens) AS prompt, sum(cached_tokens) AS cached, sum(output_tokens) AS output
FROM answers GROUP BY outcome
"""
_JUDGED_SQL = """
SELECT sum(s.estimated_tokens) AS tokens FROM segments s
WHERE s.segment_key IN (SELECT segment_key FROM answers)
"""
_NEWEST_SQL = """
SELECT * FROM t WHERE "table" = 'release.notes' ORDER BY released_at DESC, release_id LIMIT 1
"""


@dataclass(frozen=True)
class TokenUse:
    """What the model was asked, in tokens of its tokenizer; estimates are marked as such.

    Attributes:
        whole_notes: estimate for one prompt per note, without any answer.
        prompt, cached, output: sums over all answers; ``cached`` is the part of ``prompt`` served from a cache.
        open_estimate: estimate for segments that wait for the next run.
        n_occurrences: places in notes that raise a question; ``n_segments``: distinct questions.
        outcomes: outcome code -> segments answered.
    """

    whole_notes: int = 0
    prompt: int = 0
    cached: int = 0
    output: int = 0
    open_estimate: int = 0
    n_occurrences: int = 0
    n_segments: int = 0
    outcomes: Mapping[str, int] | None = None

    @property
    def used(self) -> int:
        """Tokens computed: prompt and output, cached prefix excluded (as the budget counts them)."""
        return self.prompt - self.cached + self.output

    @property
    def saved(self) -> int:
        """Estimate: whole-note prompts less what was used and less what is still open."""
        return self.whole_notes - self.used - self.open_estimate


@dataclass(frozen=True)
class LakeSummary:
    """Everything the summary shows.

    Attributes:
        rows: table -> rows, ``None`` when the table does not exist.
        spans: category -> tier (``"1"`` .. ``"3"``, ``"-"`` untiered) -> final spans.
        reports: ``rules`` and ``final`` against gold; empty without gold.
        rejects: reason code -> rows.
        release: newest release of notes.
        audit: state of the audit chain, checked against the anchors of all release manifests.
        privacy: budget, statistics, synthetic patients, what was published of them.
    """

    lake: str
    rows: Mapping[str, int | None]
    spans: Mapping[str, Mapping[str, int]]
    reports: Mapping[str, AnnotationReport]
    tokens: TokenUse
    rejects: Mapping[str, int]
    release: Mapping[str, Any] | None
    audit: ChainReport
    privacy: PrivacySummary


def summarise_lake(lake: Lake, settings: Settings) -> LakeSummary:
    """Read the summary of a lake; a stage that has not run yet leaves its part empty."""
    return LakeSummary(
        lake=lake.uri,
        rows={name: _count(lake, spec) for name, spec in TABLES.items()},
        spans=_count_spans(lake),
        reports=score_annotations(lake, settings),
        tokens=_sum_tokens(lake),
        rejects=_count_rejects(lake),
        release=_newest_release(lake),
        audit=verify_chain(lake, anchors=read_anchors(lake)),
        privacy=summarise_privacy(lake, settings),
    )


def render_summary(summary: LakeSummary, *, as_json: bool = False) -> str:
    """The summary as aligned text for a terminal, or as one JSON object."""
    if not as_json:
        return render_sections(summary)
    values = {**vars(summary), "tokens": {**vars(summary.tokens), "used": summary.tokens.used}}
    values["tokens"]["saved"] = summary.tokens.saved
    values["audit"] = _plain_chain(summary.audit)
    values["privacy"] = _plain_privacy(summary.privacy)
    values["reports"] = {name: report.to_dict() for name, report in summary.reports.items()}
    return json.dumps(values, ensure_ascii=False, indent=2, default=str)


def _plain_chain(chain: ChainReport) -> dict[str, Any]:
    return {"n_rows": chain.n_rows, "is_whole": chain.is_whole, "reason": chain.reason}


def _plain_privacy(privacy: PrivacySummary) -> dict[str, Any]:
    """As plain values; the figures of a cap are flat."""
    balances = [
        {
            "cap": each.cap.name,
            "epsilon_allowed": each.cap.budget.epsilon,
            "epsilon_spent": each.epsilon_spent,
            "epsilon_left": each.epsilon_left,
            "delta": each.cap.budget.delta,
            "n_events": each.n_events,
        }
        for each in privacy.balances
    ]
    ledger = None if privacy.ledger is None else _plain_chain(privacy.ledger)
    return {**vars(privacy), "ledger": ledger, "balances": balances, "spending": [vars(s) for s in privacy.spending]}


def _query(lake: Lake, sql: str, **views: TableSpec) -> list[dict[str, Any]]:
    """Rows of a query; none when one of its tables does not exist yet."""
    if any(lake.version(spec) is None for spec in views.values()):
        return []
    return list(lake.query(sql, **views).to_pylist())


def _count(lake: Lake, spec: TableSpec) -> int | None:
    rows = _query(lake, "SELECT count(*) AS n FROM t", t=spec)
    return rows[0]["n"] if rows else None


def _count_spans(lake: Lake) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    rows = _query(lake, _SPANS_SQL, annotations=schemas.ANNOTATIONS)
    for row in sorted(rows, key=lambda row: (row["category"], row["tier"] or 0)):
        counts.setdefault(row["category"], {})[str(row["tier"] or "-")] = row["n"]
    return counts


def _count_rejects(lake: Lake) -> dict[str, int]:
    rows = _query(
        lake, "SELECT reason, count(*) AS n FROM t GROUP BY reason ORDER BY n DESC, reason", t=schemas.REJECTS
    )
    return {row["reason"]: row["n"] for row in rows}


def _newest_release(lake: Lake) -> dict[str, Any] | None:
    rows = _query(lake, _NEWEST_SQL, t=schemas.RELEASES)
    return rows[0] if rows else None


def _sum_tokens(lake: Lake) -> TokenUse:
    notes = _first(lake, "SELECT count(*) AS n, sum(n_chars) AS chars FROM t", t=schemas.NOTES)
    segments = _first(lake, _SEGMENTS_SQL, segments=schemas.SEGMENTS)
    tables = {"segments": schemas.SEGMENTS, "answers": schemas.SEGMENT_ANNOTATIONS}
    answers = _query(lake, _USED_SQL, answers=schemas.SEGMENT_ANNOTATIONS)
    return TokenUse(
        whole_notes=int(_TOKENS_PER_CHAR * notes.get("chars", 0)) + _FRAME_TOKENS * notes.get("n", 0),
        prompt=sum(row["prompt"] or 0 for row in answers),
        cached=sum(row["cached"] or 0 for row in answers),
        output=sum(row["output"] or 0 for row in answers),
        open_estimate=segments.get("tokens", 0) - _first(lake, _JUDGED_SQL, **tables).get("tokens", 0),
        n_occurrences=_first(lake, _OCCURRENCES_SQL, rule_annotations=schemas.RULE_ANNOTATIONS).get("n", 0),
        n_segments=segments.get("n", 0),
        outcomes={row["outcome"]: row["n"] for row in sorted(answers, key=lambda row: row["outcome"] or "")},
    )


def _first(lake: Lake, sql: str, **views: TableSpec) -> dict[str, int]:
    """The one row of an aggregate, sums over nothing as 0."""
    rows = _query(lake, sql, **views)
    return {name: int(value or 0) for name, value in rows[0].items()} if rows else {}
