"""``ppsehr``: one command for people; every subcommand is imported only when it is called.

Knows: which module serves which subcommand, and the one place where file mode meets a model. Must not know: what a
subcommand does. ``ppsehr --help`` imports no engine.
"""

from __future__ import annotations

import argparse
import importlib
import io
import sys
from collections.abc import Callable, Sequence
from typing import Any

from ppsehr_spark import __version__

#: subcommand -> (module:function taking the remaining arguments, one line for --help)
COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("jobs.pipeline:main", "the main job: sources to protected notes, every stage in order"),
    "refresh": ("jobs.refresh:main", "the night after: new, corrected and deleted notes, merged patients, and no more"),
    "annotate": ("ppsehr_spark.service.file_mode:annotate", "find spans and tiers in a file of notes, no lake"),
    "protect": ("ppsehr_spark.service.file_mode:protect", "rewrite a file of notes under a policy, no lake"),
    "preview": ("ppsehr_spark.service.preview:main", "show one note with its spans, tiers and reasons"),
    "evaluate": ("ppsehr_spark.service.evaluation:main", "score predicted spans against gold"),
    "review": ("ppsehr_spark.service.review:main", "draw a sample for people to read; bound the notes that leak"),
    "correct": ("ppsehr_spark.service.correction_door:main", "enter corrections of spans that a person wrote down"),
    "replay": ("jobs.annotate:replay", "ask again about segments that were given up (dead letters)"),
    "evolve": ("jobs.evolve:main", "learn from reviewed errors: a new version of the knowledge base, or a refusal"),
    "maintain": ("jobs.pipeline:maintain", "compact, vacuum and checkpoint every table; --dry-run says what and why"),
    "erase": ("jobs.pipeline:erase", "remove persons from every table, file and history, with a certificate"),
    "dp": ("jobs.pipeline:dp", "plan: cost and error of the DP statistics; run: release them; drift: internal"),
    "budget": ("ppsehr_spark.service.budget_door:main", "the privacy budget: show, reserve, release, ledger, verify"),
    "conf": ("ppsehr_spark.service.conf_check:main", "check: say what is wrong in conf/, with file and line"),
    "doctor": ("ppsehr_spark.service.doctor:main", "check this machine and say how to mend what is missing"),
}
#: Made from ``Settings.to_json``; brings Qwen to file mode in this process, without Ray.
CASCADE = "jobs.cascade:open_cascade"
_EXAMPLES = """examples:
  ppsehr doctor
  ppsehr run
  ppsehr refresh --lake /data/lake --source /data/delivery
  ppsehr annotate notes.jsonl --out spans.jsonl
  ppsehr protect notes.jsonl --spans spans.jsonl --policy research --out protected.jsonl
  ppsehr evaluate gold.jsonl spans.jsonl --notes notes.jsonl
  ppsehr review notes.jsonl --spans spans.jsonl --out sheet.csv
  ppsehr preview --note note.txt --html note.html
  ppsehr correct corrections.tsv --lake .state/lake --author dr.lin
  ppsehr replay --lake .state/lake --error-code UNIT_TIMEOUT
  ppsehr evolve --lake .state/lake --gold tests/data/gold
  ppsehr maintain --lake .state/lake --dry-run
  ppsehr erase --lake .state/lake --patients persons.txt --reason PIPL-47-3 --requested-by dpo.chen
  ppsehr dp plan --lake .state/lake
  ppsehr budget show --lake .state/lake
  ppsehr conf check
every subcommand has its own --help"""


def main(argv: Sequence[str] | None = None) -> int:
    """Dispatch to the subcommand; returns its exit code (``errors.ExitCode``)."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal without Chinese must not end a command
            stream.reconfigure(errors="backslashreplace")
    arguments = list(sys.argv[1:] if argv is None else argv)
    options = _parser().parse_args(arguments[:1])
    command, rest = _load(COMMANDS[options.command][0]), arguments[1:]
    return int(command(rest, _open_cascade) if options.command == "annotate" else command(rest))


def _open_cascade(settings_json: str) -> Any:
    return _load(CASCADE)(settings_json)


def _parser() -> argparse.ArgumentParser:
    width = max(map(len, COMMANDS))
    listed = "\n".join(f"  {name:<{width}}  {text}" for name, (_, text) in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="ppsehr",
        description=f"Turns Chinese EMR notes into data that may be used.\n\ncommands:\n{listed}",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="ppsehr COMMAND [...]",
    )
    parser.add_argument("command", choices=list(COMMANDS), metavar="COMMAND", help="see above")
    parser.add_argument("--version", action="version", version=f"ppsehr {__version__}")
    return parser


def _load(target: str) -> Callable[..., Any]:
    """What ``module:name`` names, imported now."""
    module, _, name = target.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return found


if __name__ == "__main__":
    sys.exit(main())
