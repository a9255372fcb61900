"""Source files: encodings, defects with the reject each must become, layout independent of partitions."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest

from ppsehr_spark.config import SimulateSettings, read_conf_files
from ppsehr_spark.errors import ConfigurationError, UsageError
from ppsehr_spark.spark import simulate
from ppsehr_spark.spark.ingest.conversion import Converter
from ppsehr_spark.spark.ingest.mapping import load_mapping
from ppsehr_spark.spark.ingest.records import Reject, read_records
from ppsehr_spark.synthesis.simulator import CANARIES, simulate_patient, simulate_record
from ppsehr_spark.synthesis.simulator.defects import build_defects


def write_parts(root: Path, settings: SimulateSettings) -> None:
    simulate._clear(str(root))
    for part in range(settings.n_partitions):
        simulate._write_part(str(root), part, settings)
    simulate._write_extras(str(root), settings)


def read_source(root: Path, pattern: str = "part-*") -> dict[str, list[Any]]:
    """All rows of the matching files by table, in order."""
    rows: dict[str, list[Any]] = {"patients": [], "encounters": [], "notes": [], "gold": []}
    for path in sorted(root.glob(f"*/{pattern}")):
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        if path.suffix == ".csv":
            text = content.decode("utf-8-sig" if path.parent.name == "patients" else "gb18030")
            rows[path.parent.name] += list(csv.DictReader(io.StringIO(text, newline="")))
        else:
            rows[path.parent.name] += [json.loads(line) for line in content.decode().splitlines()]
    return rows


def find_rejects(root: Path) -> set[tuple[str, int, str, str]]:
    """What the product's own reader rejects in the files outside the regular parts."""
    mapping = load_mapping(read_conf_files(), "simulated")
    found = set()
    for group in mapping.groups:
        for path in sorted((root / group.path).glob("zz-*")):
            relative = str(path.relative_to(root))
            converter = Converter(group, mapping.name, b"k" * 32, 300_000, relative)
            with path.open("rb") as stream:
                for item in read_records(stream, group, is_gzip=path.suffix == ".gz"):
                    outcome = item if isinstance(item, Reject) else converter.convert(item)
                    if isinstance(outcome, Reject):
                        found.add((relative, outcome.row, outcome.field, outcome.reason))
    return found


def test_rows_do_not_depend_on_partitions_and_runs_repeat_byte_for_byte(tmp_path: Path) -> None:
    one, five = SimulateSettings(n_patients=12, n_partitions=1), SimulateSettings(n_patients=12, n_partitions=5)
    for name, chosen in (("a", one), ("b", five), ("c", five)):
        write_parts(tmp_path / name, chosen)
    assert read_source(tmp_path / "a") == read_source(tmp_path / "b")
    files = {
        name: {p.relative_to(tmp_path / name): p.read_bytes() for p in (tmp_path / name).rglob("*.*")} for name in "bc"
    }
    assert files["b"] == files["c"]
    assert any(path.suffix == ".gz" and "part-" in path.name for path in files["b"])


def test_rows_are_those_of_the_simulator(tmp_path: Path) -> None:
    chosen = SimulateSettings(n_patients=6, n_partitions=2)
    write_parts(tmp_path, chosen)
    rows = read_source(tmp_path)
    simulated = [simulate_patient(index, chosen) for index in range(6)]
    assert [row["name"] for row in rows["patients"]] == [s.patient.name for s in simulated]
    assert [row["text"] for row in rows["notes"]] == [n.text for s in simulated for n in s.notes]
    assert [len(row["spans"]) for row in rows["gold"]] == [len(n.spans) for s in simulated for n in s.notes]
    assert all(row["noted_at"].endswith("+08:00") for row in rows["notes"])
    assert rows["encounters"][0]["diagnosis_codes"].split("|") == list(simulated[0].encounters[0].diagnosis_codes)
    assert (tmp_path / "patients" / "part-00000.csv").read_bytes().startswith(b"\xef\xbb\xbf")


def test_record_patients_follow_the_noted_ones_and_leave_rows_but_no_note(tmp_path: Path) -> None:
    plain, wide = (
        SimulateSettings(n_patients=5, n_partitions=3),
        SimulateSettings(5, n_record_patients=70, n_partitions=3),
    )
    write_parts(tmp_path / "plain", plain)
    write_parts(tmp_path / "wide", wide)
    before, after = read_source(tmp_path / "plain"), read_source(tmp_path / "wide")
    assert after == before, "patients with notes stay what they were"
    archive = read_source(tmp_path / "wide", pattern="archive-*")
    drawn = [simulate_record(index, wide) for index in range(5, 75)]
    assert [row["patient_id"] for row in archive["patients"]] == [s.patient.patient_id for s in drawn]
    assert [row["encounter_id"] for row in archive["encounters"]] == [
        e.encounter_id for s in drawn for e in s.encounters
    ]
    assert not archive["notes"] and not archive["gold"]
    assert len(list(tmp_path.glob("wide/*/archive-*"))) == 6


def test_more_partitions_than_patients_leave_no_empty_file(tmp_path: Path) -> None:
    write_parts(tmp_path, SimulateSettings(n_patients=2, n_partitions=8, n_bad_rows=0))
    assert len(list((tmp_path / "notes").iterdir())) == 2
    assert all(path.stat().st_size for path in tmp_path.rglob("*.*") if path.is_file())


@pytest.mark.parametrize("count", [0, 1, 5, 12, 25])
def test_every_defect_becomes_the_reject_that_the_manifest_names(tmp_path: Path, count: int) -> None:
    chosen = SimulateSettings(n_patients=1, n_partitions=1, n_bad_rows=count)
    write_parts(tmp_path, chosen)
    manifest = json.loads((tmp_path / "bad_rows.json").read_text(encoding="utf-8"))
    expected = {(row["file"], row["row"], row["field"], row["reason"]) for row in manifest}
    assert len(manifest) == len(expected) == count
    assert find_rejects(tmp_path) == {row for row in expected if row[3] != "DUPLICATE_KEY"}  # found across files


def test_duplicate_repeats_a_delivered_note() -> None:
    patient = simulate_patient(0, SimulateSettings())
    defects = build_defects(patient, count=12)
    (duplicate,) = [row for row in defects.bad_rows if row.reason == "DUPLICATE_KEY"]
    line = defects.files[duplicate.file].split(b"\n")[duplicate.row - 1]
    assert json.loads(line)["note_id"] == patient.notes[0].note_id


def test_canaries_are_listed(tmp_path: Path) -> None:
    write_parts(tmp_path, SimulateSettings(n_patients=1, n_partitions=1))
    listed = json.loads((tmp_path / "canaries.json").read_text(encoding="utf-8"))
    assert sorted(listed["phi"] + listed["prose"]) == sorted(CANARIES)


def test_a_foreign_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "export.csv").write_text("x", encoding="utf-8")
    with pytest.raises(UsageError, match="SOURCE_NOT_OURS"):
        simulate._clear(str(tmp_path))
    assert (tmp_path / "export.csv").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"n_patients": 0},
        {"n_record_patients": -1},
        {"n_partitions": 0},
        {"n_bad_rows": -1},
        {"seed": -1},
        {"recurrence": 1.5},
        {"first_year": 2025},
        {"last_year": 1990},
    ],
)
def test_settings_out_of_range_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="SIMULATE_SETTINGS"):
        simulate.check_settings(SimulateSettings(**changes))


def test_an_interrupted_run_is_cleared_and_a_finished_one_recognised(tmp_path: Path) -> None:
    chosen = SimulateSettings(n_patients=3, n_partitions=2)
    simulate._clear(str(tmp_path))
    simulate._write_part(str(tmp_path), 1, chosen)
    assert not simulate.is_current(str(tmp_path), chosen)
    write_parts(tmp_path, chosen)
    assert simulate.is_current(str(tmp_path), chosen)
    assert not simulate.is_current(str(tmp_path), SimulateSettings(n_patients=4, n_partitions=2))
