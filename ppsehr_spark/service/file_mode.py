"""``ppsehr annotate`` and ``ppsehr protect``: line files in, line files out, no lake.

Knows: the arguments of both commands. Must not know: models; the caller brings the annotator that has one.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence

from ppsehr_spark.domain.identity import create_key, load_key
from ppsehr_spark.service.arguments import add_settings_arguments, load_chosen_settings, make_parser, run_door
from ppsehr_spark.service.file_run import FileTask, run_file
from ppsehr_spark.service.line_work import NoteAnnotator, RulesAnnotator, open_annotation, open_protection
from ppsehr_spark.service.span_index import load_span_index

_INPUT_HELP = 'lines {"note_id", "text"}, optionally note_type, sex, age_years, patient_id; plain or gzip; - for stdin'
_ANNOTATE_EXAMPLES = """  ppsehr annotate notes.jsonl --out spans.jsonl
  ppsehr annotate notes.jsonl.gz --out spans.jsonl --jobs 8
  ppsehr annotate notes.jsonl --out spans.jsonl --engine cascade --set annotate.token_budget=200000
  head -1 notes.jsonl | ppsehr annotate - --out -

output, one line per input line, offsets in code points:
  {"note_id": "n1", "spans": [{"start": 3, "end": 6, "category": "NAME", "tier": null, "source": "rule",
   "confidence": 0.95}]}
--explain adds "rule" and "tier_rule" to each span, and to each line the versions of knowledge, tagger, model, prompts.
A bad line gives {"note_id": ..., "spans": [], "error": CODE} and a row in OUT.rejects.jsonl (line, field, reason).
exit codes: 0 done, 2 usage, 3 configuration, 4 too many rejects or a torn or empty file, 7 engine failed"""
_PROTECT_EXAMPLES = """  ppsehr protect notes.jsonl --spans spans.jsonl --out protected.jsonl
  ppsehr protect notes.jsonl --spans spans.jsonl --policy strict --out protected.jsonl --with-spans

The same content of one patient (patient_id, else note_id) always becomes the same fictional content, as long as the
identity key (identity.key_file) stays the same. A note without usable spans is refused, never passed through.
exit codes: 0 done, 2 usage, 3 configuration, 4 too many rejects or a torn or empty file"""


def annotate(argv: Sequence[str], open_cascade: Callable[[str], NoteAnnotator]) -> int:
    """Run ``ppsehr annotate``.

    Args:
        argv: arguments after the command.
        open_cascade: makes the annotator of ``--engine cascade`` from ``Settings.to_json``.

    Returns:
        The exit code.
    """
    parser = make_parser("annotate", "Finds sensitive spans and their tiers in a file of notes.", _ANNOTATE_EXAMPLES)
    parser.add_argument("input", help=_INPUT_HELP)
    parser.add_argument("--engine", choices=("rules", "cascade"), default="rules", help="cascade: rules, then Qwen")
    parser.add_argument("--explain", action="store_true", help="say which rule found each span, by which versions")
    _add_output_arguments(parser)
    options = parser.parse_args(argv)
    return run_door("annotate", lambda: run_file(_annotation_task(options, open_cascade)))


def protect(argv: Sequence[str]) -> int:
    """Run ``ppsehr protect``; returns the exit code."""
    parser = make_parser("protect", "Rewrites the spans of a file of notes under a policy.", _PROTECT_EXAMPLES)
    parser.add_argument("input", help=_INPUT_HELP)
    parser.add_argument("--spans", required=True, metavar="FILE", help="what ppsehr annotate wrote, in any order")
    parser.add_argument("--policy", default="", help="policy of conf/protection.toml (default: protect.policy)")
    parser.add_argument("--with-spans", action="store_true", help="also write the spans in the protected text")
    _add_output_arguments(parser)
    options = parser.parse_args(argv)
    return run_door("protect", lambda: run_file(_protection_task(options)))


def _add_output_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", required=True, metavar="FILE", help="output; - for stdout")
    parser.add_argument("--rejects", default="", metavar="FILE", help="default OUT.rejects.jsonl")
    parser.add_argument("--jobs", type=_positive, default=len(os.sched_getaffinity(0)), help="processes (large files)")
    add_settings_arguments(parser)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def _annotation_task(options: argparse.Namespace, open_cascade: Callable[[str], NoteAnnotator]) -> FileTask:
    settings = load_chosen_settings(options)
    is_cascade = options.engine == "cascade"
    return FileTask(
        name="annotate",
        source=options.input,
        target=options.out,
        settings=settings,
        open_work=open_annotation,
        arguments=(settings.to_json(), open_cascade if is_cascade else RulesAnnotator, options.explain),
        left="segments left to the rules (no answer from the model, or annotate.token_budget spent)",
        rejects=options.rejects,
        n_processes=1 if is_cascade else options.jobs,  # one model serves the whole file
    )


def _protection_task(options: argparse.Namespace) -> FileTask:
    settings = load_chosen_settings(options)
    if not settings.identity.key_file.startswith("env:"):
        create_key(settings.identity.key_file)
    load_key(settings.identity.key_file)
    return FileTask(
        name="protect",
        source=options.input,
        target=options.out,
        settings=settings,
        open_work=open_protection,
        arguments=(settings.to_json(), options.policy or settings.protect.policy, options.with_spans),
        left="mentions of a protected identifier stand outside every span: the annotation missed them",
        attach=load_span_index(options.spans).attach,
        rejects=options.rejects,
        n_processes=options.jobs,
    )
