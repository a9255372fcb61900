"""``bench.py refresh``: what a night costs beside the first run: segments sent, rows read, bytes rewritten.

Knows: how a change of one percent is made out of simulated sources (half new, a quarter corrected, a quarter deleted,
one pair of patients merged). Must not know: how a stage works; the commands that a person would type do the work.
Engine ``rules`` and no tagger: what is measured is how much is touched, not how well it is read.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ppsehr_spark.errors import ExitCode, UsageError
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.operations.refreshing import mark_versions, measure_refresh, render_report

_HOME = Path(__file__).resolve().parents[1]
_SETTINGS = (
    'partition.tagger="none"', "annotate.engine=rules", "annotate.token_budget=1000000000",
    "annotate.units_per_commit=4096", "simulate.n_bad_rows=0",
)  # fmt: skip
_CHANGED = "补充：患者今日无特殊不适，继续观察。"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the sub-command."""
    parser.add_argument("--folder", type=Path, required=True, metavar="DIR", help="new folder for sources and lake")
    parser.add_argument("--patients", type=int, default=2_800, metavar="N", help="simulated (about 7.5 notes each)")
    parser.add_argument("--share", type=float, default=0.01, metavar="S", help="share of notes that change")
    parser.add_argument("--limit", type=float, default=0.03, metavar="S", help="exit 4 above this share of a full run")
    parser.add_argument("--profile", default="laptop")
    parser.add_argument("--out", type=Path, default=None, metavar="FILE", help="the report as JSON")
    parser.set_defaults(run=measure)


def measure(options: argparse.Namespace) -> int:
    """First run, change, refresh, report; returns the exit code."""
    folder: Path = options.folder
    if folder.exists() and any(folder.iterdir()):
        raise UsageError("FOLDER_NOT_EMPTY", hint="--folder must be new: it gets sources and a lake")
    lake = Lake(str(folder / "lake"))
    key = f'identity.key_file="{folder / "identity.key"}"'
    settings = [*_SETTINGS, f"simulate.n_patients={options.patients}", key]
    first = mark_versions(lake)
    _call("run", options, folder / "first", settings, "--until", "protect", "--no-summary", "--run-id", "first")
    print(f"first run\n{render_report(measure_refresh(lake, first, 'first'))}")
    sizes = _folder_bytes(folder / "lake")
    n_changes = make_changes(folder / "first", folder / "second", share=options.share)
    before = mark_versions(lake)
    _call("refresh", options, folder / "second", settings, "--run-id", "second")
    report = measure_refresh(lake, before, "second")
    grown = _folder_bytes(folder / "lake") - sizes
    print(
        f"changes delivered {n_changes}, lake folder before {sizes:,} bytes, grown by {grown:,} ({grown / sizes:.2%})"
    )
    if options.out:
        text = json.dumps({**json.loads(render_report(report, as_json=True)), "folder_bytes": sizes, "grown": grown})
        options.out.write_text(text + "\n", encoding="utf-8")
    shares = [*report.segments, report.total(report.rows_read), report.total(report.bytes_rewritten)]
    return int(ExitCode.OK if all(s.percent <= 100 * options.limit for s in shares) else ExitCode.QUALITY_GATE)


def _call(command: str, options: argparse.Namespace, source: Path, settings: list[str], *extra: str) -> None:
    arguments = [sys.executable, "-m", "jobs.cli", command, "--profile", options.profile, "--source", str(source)]
    arguments += ["--lake", str(options.folder / "lake"), *extra]
    for setting in settings:
        arguments += ["--set", setting]
    done = subprocess.run(arguments, cwd=_HOME, check=False)
    if done.returncode:
        raise SystemExit(done.returncode)


def make_changes(first: Path, second: Path, *, share: float) -> dict[str, int]:
    """Write a delivery of changes to a simulated export; every so many-th note changes, none is drawn by chance."""
    for name in ("patients", "encounters", "notes", "gold", "note_changes", "merges"):
        (second / name).mkdir(parents=True)
    step = round(1 / share)
    kinds = itertools.cycle(("新增", "修改", "新增", "删除"))
    counts: dict[str, int] = {}
    with (second / "note_changes" / "a.jsonl").open("w", encoding="utf-8") as out:
        for note in itertools.islice(_read_notes(first), 0, None, step):
            kind = next(kinds)
            out.write(json.dumps(_change(note, kind), ensure_ascii=False) + "\n")
            counts[kind] = counts.get(kind, 0) + 1
    old, survivor = itertools.islice(dict.fromkeys(note["patient_id"] for note in _read_notes(first)), 2)
    text = f"old_patient_id,surviving_patient_id\n{old},{survivor}\n"
    (second / "merges" / "a.csv").write_text(text, encoding="utf-8-sig")
    return counts


def _change(note: dict[str, Any], kind: str) -> dict[str, Any]:
    if kind == "删除":
        return {"operation": kind, "note_id": note["note_id"]}
    if kind == "修改":
        return {**note, "operation": kind, "text": f"{note['text']}\n{_CHANGED}"}
    return {**note, "operation": kind, "note_id": f"{note['note_id']}-new", "text": f"{_CHANGED}\n{note['text']}"}


def _read_notes(source: Path) -> Iterator[dict[str, Any]]:
    for path in sorted((source / "notes").glob("*.jsonl*")):
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
            yield from map(json.loads, lines)


def _folder_bytes(folder: Path) -> int:
    """Everything on disk, change feeds, deletion vectors and logs included."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
