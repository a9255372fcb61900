"""A lake with open units, ways to run the annotate job over it, and the content that must come out of it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
from tqdm import tqdm

from ppsehr_spark.lake.schemas import DEAD_LETTERS, SEGMENT_ANNOTATIONS, UNIT_CLAIMS
from ppsehr_spark.lake.tables import Lake
from ray_actors.annotate_counts import AnnotateCounts
from ray_actors.annotate_run import annotate_lake
from tests.ray_actors.open_lake import make_settings, segment_row, write_units

ROOT = Path(__file__).resolve().parents[2]
N_SEGMENTS, PER_UNIT = 24, 4
#: Says who ran, in which attempt, at what price; everything else is content.
NO_CONTENT = {"run_id", "prompt_tokens", "cached_tokens", "output_tokens"}
ROWS = [segment_row(n) for n in range(N_SEGMENTS)]
KEYS = [row["segment_key"] for row in ROWS]
#: In segment 13, which shares its unit with three others.
BAD = "第13日"
KEY = "00" * 32


def make_lake(folder: Path) -> Lake:
    """Six units of four segments."""
    lake = Lake(str(folder / "lake"))
    write_units(lake, ROWS, per_unit=PER_UNIT)
    return lake


def content_of(lake: Lake, *, without: Sequence[str] = ()) -> str:
    """Hash of all answers as a set of rows, each of which is there once."""
    rows = [row for row in lake.read(SEGMENT_ANNOTATIONS).to_pylist() if row["segment_key"] not in without]
    keys = [(row["segment_key"], tuple(row["prompts"])) for row in rows]
    assert len(set(keys)) == len(keys), "a row is there twice"
    lines = sorted(json.dumps({k: v for k, v in row.items() if k not in NO_CONTENT}, sort_keys=True) for row in rows)
    return hashlib.sha256("\n".join([str(len(lines)), *lines]).encode()).hexdigest()


def answered(lake: Lake) -> set[str]:
    return set(lake.read(SEGMENT_ANNOTATIONS, ["segment_key"])["segment_key"].to_pylist())


def dead(lake: Lake) -> list[dict[str, Any]]:
    return lake.read(DEAD_LETTERS).to_pylist()


def leases(lake: Lake) -> list[dict[str, Any]]:
    return lake.read(UNIT_CLAIMS).sort_by("sequence").to_pylist()


def annotate(lake: Lake, *, options: Mapping[str, Any] | None = None, **keys: Any) -> AnnotateCounts:
    """In this process, one unit per commit unless told otherwise."""
    settings = make_settings(options={"inner": "scripted", **(options or {})}, **{"units_per_commit": 1, **keys})
    return annotate_lake(lake, settings=settings, run_id="r1", progress=tqdm(disable=True))


def arguments_of(lake: Lake, *, options: str = "", **keys: Any) -> list[str]:
    """Command line of the job; ``options`` are those of the fault engine, as TOML."""
    chosen = {"engine": "fault", "token_budget": 10_000_000, "units_per_commit": 1, **keys}
    overrides = [f"annotate.{name}={value}" for name, value in chosen.items()]
    script = options if "inner=" in options else f'inner="scripted"{options and ", "}{options}'
    overrides += [f"engine.fault={{{script}}}", "identity.key_file=env:PPSEHR_TEST_KEY"]
    return ["--lake", lake.uri, "--profile", "ci", *(part for item in overrides for part in ("--set", item))]


def start_driver(
    lake: Lake, *more: str, options: str = "", env: Mapping[str, str] | None = None, **keys: Any
) -> subprocess.Popen[str]:
    """``jobs/annotate.py`` in a process of its own, on the Ray that ``RAY_ADDRESS`` names."""
    environment = {**os.environ, "PPSEHR_TEST_KEY": KEY, "PYTHONPATH": str(ROOT), **(env or {})}
    command = [sys.executable, "jobs/annotate.py", *arguments_of(lake, options=options, **keys), *more]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def tagged(tag: str) -> Iterator[psutil.Process]:
    """Living processes with this argument."""
    for process in psutil.process_iter(["cmdline", "status"]):
        if tag in (process.info["cmdline"] or ()) and process.info["status"] != psutil.STATUS_ZOMBIE:
            yield process
