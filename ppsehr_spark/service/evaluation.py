"""``ppsehr evaluate``: gold and predicted span files into one report.

Knows: the arguments and how two files are paired. Must not know: how a figure is computed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from ppsehr_spark.domain.notes import Span
from ppsehr_spark.errors import ExitCode, InputError
from ppsehr_spark.evaluation.annotation import AnnotationReport, evaluate_spans
from ppsehr_spark.evaluation.annotation_table import render_table
from ppsehr_spark.evaluation.residual_risk import describe_risk, judge_gold
from ppsehr_spark.service.arguments import make_parser, run_door
from ppsehr_spark.service.line_files import open_lines
from ppsehr_spark.service.note_lines import NoteLine, Refusal, read_note_line, read_span_line

_MAX_LINE_BYTES = 1 << 28
_EXAMPLES = """  ppsehr evaluate gold.jsonl spans.jsonl --notes notes.jsonl
  ppsehr evaluate gold.jsonl spans.jsonl --json > report.json
  ppsehr evaluate gold.jsonl spans.jsonl --bootstrap 0

strict: same category, start and end. relaxed: same category, any overlap. Intervals are 95%, by resampling notes.
A predicted note that failed ("error") counts as one without spans. Over-redaction needs --notes. The residual risk
is bounded from this gold until people have read a sample of the run (ppsehr review).
exit codes: 0 done, 2 usage, 4 a file cannot be used"""


def main(argv: Sequence[str]) -> int:
    """Run ``ppsehr evaluate``; returns the exit code."""
    parser = make_parser("evaluate", "Scores predicted spans against gold: precision, recall, tiers, leaks.", _EXAMPLES)
    parser.add_argument("gold", help='lines {"note_id", "spans": [{"start", "end", "category", "tier"}]}')
    parser.add_argument("predicted", help="the same shape, as ppsehr annotate writes it")
    parser.add_argument("--notes", default="", metavar="FILE", help="the notes, for their lengths")
    parser.add_argument("--bootstrap", type=int, default=1_000, metavar="N", help="resamples (default 1000, 0: none)")
    parser.add_argument("--json", action="store_true", help="print the whole report as JSON")
    options = parser.parse_args(argv)
    return run_door("evaluate", lambda: _evaluate(options))


def _evaluate(options: argparse.Namespace) -> int:
    gold = _read_spans(options.gold, is_gold=True)
    predicted = _read_spans(options.predicted, is_gold=False)
    n_chars = _read_lengths(options.notes) if options.notes else {}
    report = evaluate_spans(gold, predicted, n_chars, n_replicates=max(0, options.bootstrap))
    risk = judge_gold(report)
    if options.json:
        print(json.dumps(report.to_dict() | {"residual_risk": risk.to_dict()}, ensure_ascii=False, indent=1))
    else:
        print(f"{render_table(report)}\n\n{describe_risk(risk)}")
    _warn(report)
    return int(ExitCode.OK)


def _read_spans(path: str, *, is_gold: bool) -> dict[str, tuple[Span, ...]]:
    """Spans per note id.

    Raises:
        InputError: ``BAD_LINE`` for an unusable gold line (its figures would lie), ``DUPLICATE_ID``, ``EMPTY_FILE`` or
            ``TORN_GZIP``. A predicted line that failed is kept out, which counts as no spans.
    """
    spans: dict[str, tuple[Span, ...]] = {}
    with open_lines(path, max_line_bytes=_MAX_LINE_BYTES) as source:
        for number, raw in enumerate(source, 1):
            parsed = read_span_line(raw) if raw is not None else Refusal("LINE_TOO_LONG")
            if isinstance(parsed, Refusal):
                if is_gold or parsed.reason != "ERROR_LINE":
                    raise InputError("BAD_LINE", path=path, line=number, field=parsed.field, reason=parsed.reason)
                continue
            if parsed[0] in spans:
                raise InputError("DUPLICATE_ID", path=path, line=number)
            spans[parsed[0]] = parsed[1]
    if source.is_torn:
        raise InputError("TORN_GZIP", path=path)
    if is_gold and not spans:
        raise InputError("EMPTY_FILE", path=path)
    return spans


def _read_lengths(path: str) -> dict[str, int]:
    """Length per note id in code points; unreadable notes are left out."""
    with open_lines(path, max_line_bytes=_MAX_LINE_BYTES) as source:
        parsed = (read_note_line(raw, max_note_chars=_MAX_LINE_BYTES) for raw in source if raw is not None)
        return {item.note.note_key: len(item.note.text) for item in parsed if isinstance(item, NoteLine)}


def _warn(report: AnnotationReport) -> None:
    if report.counts["n_unknown"]:
        print(f"ppsehr evaluate: {report.counts['n_unknown']} predicted notes have no gold", file=sys.stderr)
