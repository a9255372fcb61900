"""The scale bench: straight lines, a report without gaps, a patient of many notes, memory of a real process."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from ppsehr_spark.errors import UsageError
from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.tables import Lake

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module


@pytest.fixture
def report(load: Any) -> ModuleType:
    module: ModuleType = load("bench_scale_report")
    return module


def make_point(report: ModuleType, n_notes: int) -> Any:
    figures = {"jvm_mib": 900.0, "worker_mib": 150.0, "workers_mib": 290.0, "written_mib": n_notes / 1e3}
    stages = {s: {"wall_s": 20 + n_notes / 1e4, "cpu_s": 30 + n_notes / 5e3, **figures} for s in report.STAGES}
    return report.Point(n_notes, 2, stages, asking=0.25, n_segments=n_notes // 8, tokens=n_notes * 30)


def test_a_line_has_the_fixed_and_the_part_per_note(report: ModuleType) -> None:
    line = report.fit_line([(1_000, 12.0), (2_000, 14.0), (4_000, 18.0)])
    assert (line.fixed_s, line.per_note_s) == (pytest.approx(10.0), pytest.approx(0.002))
    assert line.at(1_000_000) == pytest.approx(2_010.0)


def test_one_point_is_no_line(report: ModuleType) -> None:
    line = report.fit_line([(1_000, 12.0)])
    assert not line.is_fitted and line.at(2_000) == pytest.approx(24.0)


def test_the_report_states_marginal_seconds_memory_and_what_is_a_model(report: ModuleType) -> None:
    text = report.render_report([make_point(report, 100_000), make_point(report, 10_000)])
    assert text.index("10,000") < text.index("100,000")  # in order of size
    assert "| 100,000 | 150 | 250 | 2.50 | 1.00 | 25.0% |" in text
    assert "CPU seconds = 150 + 1.00 ms x notes (least squares per stage, 2 points)." in text
    assert "**Model, not measured:** 1,000,000,000 notes need 278 core-hours" in text
    assert "| 100,000 | 900 | 150 | 290 |" in text


def test_a_point_survives_the_file(report: ModuleType) -> None:
    point = make_point(report, 10_000)
    assert report.point_of(json.loads(json.dumps(asdict(point)))) == point


def test_one_patient_gets_all_further_notes_under_ids_of_their_own(load: Any, tmp_path: Path) -> None:
    notes = [{"note_id": f"N{i}", "patient_id": f"P{i}", "encounter_id": f"E{i}", "text": f"t{i}"} for i in range(3)]
    (tmp_path / "part-00000.jsonl").write_text("".join(f"{json.dumps(n)}\n" for n in notes), encoding="utf-8")
    load("bench_scale").add_largest_patient(tmp_path, 7)
    written = [json.loads(line) for line in (tmp_path / "largest-00000.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {(note["patient_id"], note["encounter_id"]) for note in written} == {("P0", "E0")}
    assert len({note["note_id"] for note in written} | {"N0", "N1", "N2"}) == 10
    assert [note["text"] for note in written] == ["t0", "t1", "t2", "t0", "t1", "t2", "t0"]


def test_the_lake_says_how_many_notes_ask_and_whose_they_are(load: Any, tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    asked = [{"segment_key": "s", "start": 0, "end": 1}]
    notes = [{"note_key": f"n{i}", "patient_key": "a" if i < 3 else "b"} for i in range(4)]
    rules = [{"note_key": f"n{i}", "segments": asked if i == 0 else []} for i in range(4)]
    questions = [{"segment_key": "s", "estimated_tokens": 40}]
    for spec, rows in ((schemas.NOTES, notes), (schemas.RULE_ANNOTATIONS, rules), (schemas.SEGMENTS, questions)):
        known = [{name: row.get(name) for name in spec.schema.names} for row in rows]
        nullable = pa.schema([field.with_nullable(True) for field in spec.schema])
        write_deltalake(lake.table_uri(spec), pa.Table.from_pylist(known, schema=nullable))
    found = load("bench_scale")._ask_lake(lake)
    assert found == {"n_notes": 4, "asking": 0.25, "n_segments": 1, "tokens": 40, "largest_patient": 3}


def test_a_disk_too_small_is_refused_before_any_work(load: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="DISK_TOO_SMALL"):
        load("bench_scale")._check_disk(tmp_path, 10**12)


def test_an_interrupted_size_goes_on_with_the_stage_that_it_lost(
    load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, ran = load("bench_scale"), []

    def run(_: object, work: Path, stage: str, __: object) -> dict[str, float]:
        ran.append(stage)
        if ran == ["simulate", "ingest", "partition"]:
            raise KeyboardInterrupt
        (work / "source" / "notes").mkdir(parents=True, exist_ok=True)
        return {"wall_s": float(len(ran))}

    counts = {"n_notes": 1, "asking": 0.0, "n_segments": 0, "tokens": 0, "largest_patient": 1}
    monkeypatch.setattr(bench, "_run", run)
    monkeypatch.setattr(bench, "_ask_lake", lambda _: counts)
    options = argparse.Namespace(work=tmp_path, resume=True, keep=True, largest_patient=0)
    with pytest.raises(KeyboardInterrupt):
        bench.measure_size(options, 10)
    point = bench.measure_size(options, 10)
    assert ran == ["simulate", "ingest", "partition", "partition", "tier", "protect", "stats"]
    assert (point.simulate_s, point.stages["ingest"]["wall_s"], point.stages["partition"]["wall_s"]) == (1.0, 2.0, 4.0)
    options.resume = False
    assert bench.measure_size(options, 10).simulate_s == 8.0, "from the beginning"


def test_time_and_memory_of_a_process_and_its_children_are_seen(load: Any, tmp_path: Path) -> None:
    probe = load("bench_scale_probe")
    child = "import time; held = bytearray(64 << 20); held[::4096] = b'x' * len(held[::4096]); time.sleep(2)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}, 'pyspark.daemon'])"
    usage = probe.run_measured([sys.executable, "-c", parent], env=os.environ, log=tmp_path / "log.txt")
    assert usage.wall_s > 1.5 and usage.cpu_s > 0
    assert usage.worker_mib > 60 and usage.workers_mib >= usage.worker_mib and usage.jvm_mib == 0
    with pytest.raises(subprocess.CalledProcessError):
        probe.run_measured([sys.executable, "-c", "raise SystemExit(3)"], env=os.environ, log=tmp_path / "log.txt")
