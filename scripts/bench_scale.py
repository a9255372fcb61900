"""``bench.py scale``: simulated notes through ingest, partition, tier, protect and stats, each by a spark-submit.

Knows: which jobs run in which order on which folder. Must not know: what a stage does inside. The simulation is not
counted. No model is asked and no tagger reads (``partition.tagger=none``): the stages that every note passes.

    python scripts/bench.py scale --notes 10000 100000 --points .state/scale/points.json
    python scripts/bench.py scale --notes 100000 --largest-patient 50000
    python scripts/bench.py scale --notes 4000000 --resume --points .state/scale/points.json    # goes on
    python scripts/bench.py scale --page docs/performance.md --points .state/scale/points.json      # only the page
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench_pages import replace_between_marks
from bench_scale_probe import run_measured
from bench_scale_report import STAGES, Point, point_of, render_report

from ppsehr_spark.errors import ExitCode, InfrastructureError, UsageError
from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.tables import Lake

_HOME = Path(__file__).resolve().parent.parent
#: Mean notes of a simulated patient.
_NOTES_PER_PATIENT = 12.1
#: Bytes on disk per note while a size is measured: source, lake and spills (measured, rounded up).
_DISK_PER_NOTE = 12_000
_SAVED = _HOME / ".state" / "scale"
#: In the folder of a size: what its stages took, as far as they have come.
_MEASURED = "measured.json"
_QUESTIONS_SQL = "SELECT count(*) AS n, coalesce(sum(estimated_tokens), 0) AS tokens FROM segments"
_ASKING_SQL = "SELECT count(*) AS n, sum(CASE WHEN cardinality(segments) > 0 THEN 1 ELSE 0 END) AS asking FROM rules"
_LARGEST_SQL = "SELECT max(n) AS n FROM (SELECT count(*) AS n FROM notes GROUP BY patient_key)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of the bench."""
    parser.add_argument("--notes", type=int, nargs="*", default=[], metavar="N", help="sizes to measure, about")
    parser.add_argument(
        "--largest-patient", type=int, default=0, metavar="N", help="N further notes that belong to one patient"
    )
    parser.add_argument("--work", type=Path, default=_SAVED, metavar="FOLDER", help="sources and lakes; emptied")
    parser.add_argument("--profile", default="scale", help="conf/profiles and conf/spark (default scale)")
    parser.add_argument("--resume", action="store_true", help="go on with the size that was interrupted in this folder")
    parser.add_argument("--keep", action="store_true", help="leave sources and lakes where they are")
    parser.add_argument("--points", type=Path, default=None, metavar="FILE", help="add the points to this JSON file")
    parser.add_argument("--page", type=Path, default=None, metavar="FILE", help="also put the report into this page")
    parser.set_defaults(run=measure)


def measure(options: argparse.Namespace) -> int:
    """Measure every size, print the report over all points; returns the exit code."""
    points = _read_points(options.points)
    for n_notes in options.notes:
        _check_disk(options.work, n_notes + options.largest_patient)
        points.append(measure_size(options, n_notes))
        if options.points:
            options.points.parent.mkdir(parents=True, exist_ok=True)
            options.points.write_text(json.dumps([asdict(p) for p in points], indent=1) + "\n", encoding="utf-8")
    if not points:
        raise UsageError("NO_POINTS", hint="give --notes, or --points with what was measured before")
    report = render_report(points)
    print(report)
    if options.page:
        replace_between_marks(options.page, "scale", report)
    return int(ExitCode.OK)


def measure_size(options: argparse.Namespace, n_notes: int) -> Point:
    """One size in a lake of its own; with ``--resume`` stages that were measured there are not run again."""
    work = options.work / str(n_notes)
    saved = work / _MEASURED
    if not (options.resume and saved.exists()):
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
    measured = json.loads(saved.read_text(encoding="utf-8")) if saved.exists() else {}
    measured.setdefault("load", round(os.getloadavg()[0], 1))
    n_patients = max(1, round(n_notes / _NOTES_PER_PATIENT))
    for stage in ("simulate", *STAGES):
        if stage not in measured:
            settings = [f"simulate.n_patients={n_patients}"] if stage == "simulate" else []
            measured[stage] = _run(options, work, stage, settings)
            if stage == "simulate":
                add_largest_patient(work / "source" / "notes", options.largest_patient)
            saved.write_text(json.dumps(measured), encoding="utf-8")
    point = Point(
        n_cores=os.cpu_count() or 1, stages={stage: measured[stage] for stage in STAGES},
        simulate_s=measured["simulate"]["wall_s"], load=measured["load"], **_ask_lake(Lake(str(work / "lake"))),
    )  # fmt: skip
    if not options.keep:
        shutil.rmtree(work)
    return point


def add_largest_patient(folder: Path, n_notes: int) -> None:
    """``n_notes`` further notes of the first patient: the texts of all, over and over, under ids of their own."""
    if n_notes < 1:
        return
    parts = sorted(folder.glob("part-*.jsonl"))
    owner = next(_read_notes(parts))
    with (folder / "largest-00000.jsonl").open("w", encoding="utf-8") as out:
        lines = itertools.chain.from_iterable(_read_notes(parts) for _ in itertools.count())
        for at, note in zip(range(n_notes), lines, strict=False):
            ids = {"note_id": f"L{at:08d}", "patient_id": owner["patient_id"], "encounter_id": owner["encounter_id"]}
            out.write(json.dumps({**note, **ids}, ensure_ascii=False) + "\n")


def _read_notes(parts: list[Path]) -> Iterator[dict[str, Any]]:
    for part in parts:
        with part.open(encoding="utf-8") as lines:
            yield from map(json.loads, lines)


def _run(options: argparse.Namespace, work: Path, stage: str, settings: list[str]) -> dict[str, float]:
    """One stage by spark-submit; its figures, with what it added to the lake.

    Raises:
        InfrastructureError: ``BENCH_STAGE_FAILED``; what the stage said is in ``log.txt`` of the size's folder.
    """
    lake = work / "lake"
    before = _size_mib(lake)
    try:
        usage = run_measured(_command(options, work, stage, settings), env=_environment(), log=work / "log.txt")
    except subprocess.CalledProcessError as error:
        raise InfrastructureError("BENCH_STAGE_FAILED", stage=stage, exit_code=error.returncode) from None
    print(f"{stage}: {usage.wall_s:.0f} s wall, {usage.cpu_s:.0f} s CPU", file=sys.stderr, flush=True)
    return {**usage.to_dict(), "written_mib": round(_size_mib(lake) - before, 2)}


def _command(options: argparse.Namespace, work: Path, stage: str, settings: list[str]) -> list[str]:
    command = [str(Path(sys.executable).parent / "spark-submit"), "--load-spark-defaults", "--properties-file"]
    command += [str(_HOME / "conf" / "spark" / f"{options.profile}.conf"), str(_HOME / "jobs" / f"{stage}.py")]
    command += ["--lake", str(work / "lake"), "--profile", options.profile]
    command += ["--source", str(work / "source")] if stage in ("simulate", "ingest") else []
    for setting in (*settings, f"identity.key_file={work / 'identity.key'}", "partition.tagger=none"):
        command += ["--set", setting]
    return command


def _environment() -> Mapping[str, str]:
    python = sys.executable
    path = os.pathsep.join(part for part in (str(_HOME), os.environ.get("PYTHONPATH", "")) if part)
    ours = {"PYSPARK_PYTHON": python, "PYSPARK_DRIVER_PYTHON": python, "PYTHONPATH": path}
    return {**os.environ, **ours, "SPARK_CONF_DIR": str(_HOME / "conf" / "spark")}


def _ask_lake(lake: Lake) -> dict[str, Any]:
    """Counts for the point; nothing of a note's text."""
    asked = lake.query(_QUESTIONS_SQL, segments=schemas.SEGMENTS).to_pylist()[0]
    rules = lake.query(_ASKING_SQL, rules=schemas.RULE_ANNOTATIONS).to_pylist()[0]
    largest = lake.query(_LARGEST_SQL, notes=schemas.NOTES).to_pylist()[0]
    return {
        "n_notes": rules["n"],
        "asking": rules["asking"] / rules["n"],
        "n_segments": asked["n"],
        "tokens": int(asked["tokens"]),
        "largest_patient": largest["n"],
    }


def _size_mib(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20


def _check_disk(work: Path, n_notes: int) -> None:
    """Refuse a size for which the disk is too small.

    Raises:
        UsageError: ``DISK_TOO_SMALL`` with what is needed and what is free, in MiB.
    """
    work.mkdir(parents=True, exist_ok=True)
    needed, free = n_notes * _DISK_PER_NOTE // 2**20, shutil.disk_usage(work).free // 2**20
    if needed > free:
        raise UsageError("DISK_TOO_SMALL", needed_mib=needed, free_mib=free, hint="name another folder by --work")


def _read_points(path: Path | None) -> list[Point]:
    if path is None or not path.is_file():
        return []
    return [point_of(raw) for raw in json.loads(path.read_text(encoding="utf-8"))]
