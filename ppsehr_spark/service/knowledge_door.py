"""``ppsehr evolve --list``, ``--show``, ``--export``: the history of the knowledge base, and conf with it, for people.

Knows: how rows of phi.knowledge are laid out. Must not know: how they come about. ``--list`` prints numbers only;
``--show`` prints and ``--export`` writes terms, which may stem from notes and stay inside the house.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ppsehr_spark.errors import ExitCode, UsageError
from ppsehr_spark.lake.knowledge_store import read_history, with_knowledge
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.service.arguments import add_settings_arguments, load_chosen_settings, make_parser, run_door

_EXAMPLES = """  ppsehr evolve --lake .state/lake --list
  ppsehr evolve --lake .state/lake --show 2        terms and reasons: for terminals inside the house only
  ppsehr evolve --lake .state/lake --export learned    conf with the version in force, for ppsehr annotate --conf"""
_READING = ("--list", "--show", "--export")


def is_reading(argv: Sequence[str]) -> bool:
    """True when the arguments only ask to see the history."""
    return any(argument.partition("=")[0] in _READING for argument in argv)


def main(argv: Sequence[str]) -> int:
    """Print the history, or one version; returns the exit code."""
    parser = make_parser("evolve", "Shows the knowledge base of a lake.", _EXAMPLES)
    parser.add_argument("--lake", required=True, metavar="URI", help="lake root")
    parser.add_argument("--list", action="store_true", help="every row: version, figures, counts; no terms")
    parser.add_argument("--show", type=int, default=None, metavar="VERSION", help="entries and trials, with terms")
    parser.add_argument(
        "--export", default="", metavar="DIR", help="write conf with the version in force to a new folder"
    )
    add_settings_arguments(parser)
    options = parser.parse_args(argv)
    return run_door("evolve", lambda: _show(options))


def _show(options: argparse.Namespace) -> int:
    if options.export:
        return _export(options)
    rows = read_history(Lake(options.lake))
    if options.show is None:
        print("\n".join(_list_lines(rows)))
        return int(ExitCode.OK)
    chosen = [row for row in rows if row["version"] == options.show]
    if not chosen:
        raise UsageError("KNOWLEDGE_VERSION", version=options.show, hint="--list shows the versions there are")
    print("\n".join(line for row in chosen for line in _row_lines(row)))
    return int(ExitCode.OK)


def _export(options: argparse.Namespace) -> int:
    """Write the conf files; categories with learned terms lose their comments."""
    folder = Path(options.export)
    if folder.exists() and any(folder.iterdir()):
        raise UsageError("EXPORT_FOLDER", hint="name a new or an empty folder")
    files = with_knowledge(Lake(options.lake), load_chosen_settings(options)).files
    for path, text in files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
    print(f"evolve: {len(files)} conf files written", file=sys.stderr)
    return int(ExitCode.OK)


def _list_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    if not rows:
        return ["the knowledge base is empty: conf alone is in force (version 0)"]
    lines = [_list_line(row) for row in rows]
    return [*lines, f"in force: version {rows[-1]['version']} with {len(rows[-1]['entries'] or ())} entries"]


def _list_line(row: Mapping[str, Any]) -> str:
    trials = row["trials"] or ()
    parts = [f"{row['sequence']:>3} {row['made_at']:%Y-%m-%d %H:%M} {row['action']:<8} version {row['version']}"]
    parts.append(f"{len(row['entries'] or ())} entries")
    if row["macro_before"] is not None:
        accepted = sum(trial["outcome"] == "ACCEPTED" for trial in trials)
        parts.append(f"{accepted} of {len(trials)} proposals accepted")
        parts.append(f"macro F1 {row['macro_before']:.4f} -> {row['macro_after']:.4f} on {row['n_reviewed']} notes")
    parts.append(f"touches {row['n_touched_notes']} of {row['n_notes']} notes")
    parts += [f"{len(row['conflicts'])} conflicting corrections"] if row["conflicts"] else []
    return ", ".join(parts)


def _row_lines(row: Mapping[str, Any]) -> list[str]:
    lines = [_list_line(row), "  in force:"]
    lines += [f"    {_entry(entry)}" for entry in row["entries"] or ()]
    lines += ["  tried:"] if row["trials"] else []
    lines += [f"    {_trial(trial)}" for trial in row["trials"] or ()]
    return [*lines, *_figure_lines(row["figures"])]


def _entry(entry: Mapping[str, Any]) -> str:
    place = entry["file"] or f"categories/{entry['category']}.toml"
    more = " ".join(entry["columns"] or ())
    return f"{entry['kind']} {entry['category']} {place}: {entry['text']} {more} ({entry['proposer']})".replace(
        "  ", " "
    )


def _trial(trial: Mapping[str, Any]) -> str:
    after = "-" if trial["macro_after"] is None else f"{trial['macro_after']:.4f}"
    fallen = f" falls: {', '.join(trial['fallen'])}" if trial["fallen"] else ""
    return f"{trial['outcome']:<15} {trial['macro_before']:.4f} -> {after}{fallen}  {_entry(trial)}"


def _figure_lines(figures: str | None) -> list[str]:
    if not figures:
        return []
    before, after = (json.loads(figures)[name] for name in ("before", "after"))
    names = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    return ["  F1 that changed:"] + [
        f"    {name}: {before.get(name, 1.0):.4f} -> {after.get(name, 1.0):.4f}" for name in names
    ]
