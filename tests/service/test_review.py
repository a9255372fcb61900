"""``ppsehr review``: a private worksheet out, figures back, and no text on any stream."""

from __future__ import annotations

import csv
import io
import json
import os
import stat
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from ppsehr_spark.lake.schemas import ANNOTATIONS, NOTES
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.service.review import main

SECRET = "王建国"


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str, Path]:
    notes = [{"note_id": f"n{at}", "text": f"患者{SECRET}，第{at}次"} for at in range(40)]
    spans = [{"note_id": f"n{at}", "spans": [{"start": 2, "end": 5, "category": "NAME"}]} for at in range(39)]
    failed = {"note_id": "n39", "spans": [], "error": "INTERNAL"}
    for name, rows in (("notes", [*notes, {"note_id": "x"}]), ("spans", [*reversed(spans), failed])):
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(tmp_path / "notes"), str(tmp_path / "spans"), tmp_path / "sheet.csv"


def draw(files: tuple[str, str, Path], *more: str) -> int:
    return main([files[0], "--spans", files[1], "--out", str(files[2]), *more])


def fill(path: Path, *, encoding: str = "utf-8-sig", n_leaking: int = 0) -> str:
    rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline="")))
    for at, row in enumerate(rows):
        row |= {"reviewed": "1", "n_missed_direct": "1" if at < n_leaking else "0"}
        row["missed_categories"] = "姓名" if at < n_leaking else ""
    filled = path.with_name("filled.csv")
    with filled.open("w", encoding=encoding, newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return str(filled)


def test_the_worksheet_is_private_and_the_streams_are_silent(
    files: tuple[str, str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    mask = os.umask(0)
    try:
        assert draw(files, "--sample", "10", "--seed", "3") == 0
    finally:
        os.umask(mask)
    assert stat.S_IMODE(files[2].stat().st_mode) == 0o600
    said = capsys.readouterr()
    assert "10 of 39 annotated notes" in said.err and "0600" in said.err and "PHI" in said.err
    assert "2 lines have no note or no spans" in said.err
    assert SECRET not in said.out + said.err
    sheet = files[2].read_text(encoding="utf-8-sig")
    assert sheet.count(f"【{SECRET}|姓名】") == 10


def test_the_same_seed_draws_the_same_notes(files: tuple[str, str, Path]) -> None:
    sheets = []
    for at, seed in enumerate(("3", "3", "4")):
        path = files[2].with_name(f"s{at}.csv")
        assert main([files[0], "--spans", files[1], "--out", str(path), "--sample", "10", "--seed", seed]) == 0
        sheets.append(path.read_bytes())
    assert sheets[0] == sheets[1] != sheets[2]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "gb18030", "utf-16"])
def test_a_filled_sheet_gives_rate_and_bound(
    files: tuple[str, str, Path], encoding: str, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(files, "--sample", "39")
    assert main(["--filled", fill(files[2], encoding=encoding, n_leaking=1), "--json"]) == 0
    said = capsys.readouterr().out
    figures = json.loads(said)
    p = figures["upper_bound"]
    assert (1 - p) ** 39 + 39 * p * (1 - p) ** 38 == pytest.approx(0.05)
    assert (figures["basis"], figures["n_notes"], figures["n_leaking"], figures["n_missed"]) == ("review", 39, 1, 1)
    assert figures["categories"] == {"NAME": 1} and SECRET not in said


def test_the_table_states_the_sample_size(files: tuple[str, str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    draw(files, "--sample", "20")
    assert main(["--filled", fill(files[2])]) == 0
    said = capsys.readouterr().out
    assert "0 of 20 notes" in said and "sample size 20" in said
    assert f"{100 * (1 - 0.05 ** (1 / 20)):.2f}%" in said


def test_an_unfilled_sheet_is_refused_by_row(files: tuple[str, str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    draw(files, "--sample", "5")
    assert main(["--filled", str(files[2])]) == 4
    said = capsys.readouterr()
    assert "UNFILLED" in said.err and "row=1" in said.err and "field=reviewed" in said.err
    assert SECRET not in said.out + said.err and said.out == ""


def test_work_of_people_is_never_written_over(files: tuple[str, str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    files[2].write_text("filled", encoding="utf-8")
    assert draw(files) == 2
    assert "FILE_EXISTS" in capsys.readouterr().err
    assert files[2].read_text(encoding="utf-8") == "filled"


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["NOTES", "--spans", "SPANS", "--out", "-"], "NOT_A_FILE"),
        (["NOTES", "--spans", "SPANS"], "MISSING_ARGUMENT"),
        (["NOTES", "--spans", "SPANS", "--out", "SHEET", "--sample", "0"], "SAMPLE_SIZE"),
        (["NOTES", "--filled", "SHEET"], "ONE_OR_THE_OTHER"),
        (["NOTES", "--lake", "SPANS", "--author", "dr.lin", "--out", "SHEET"], "ONE_OR_THE_OTHER"),
        (["--lake", "SPANS", "--out", "SHEET"], "MISSING_ARGUMENT"),
        (["--filled", "SHEET"], "NO_SUCH_FILE"),
    ],
)
def test_wrong_arguments_are_usage_errors(
    files: tuple[str, str, Path], arguments: list[str], word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"NOTES": files[0], "SPANS": files[1], "SHEET": str(files[2])}
    assert main([places.get(argument, argument) for argument in arguments]) == 2
    assert word in capsys.readouterr().err
    assert not files[2].exists()


def test_a_sample_of_a_lake_is_a_worksheet_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    span = {"start": 2, "end": 5, "category": "NAME", "source": "rule", "confidence": 0.9, "rule": "", "tier_rule": ""}
    keys = {"note_key": "k", "patient_key": "p", "text_hash": "t", "run_id": "r"}
    for spec, row in ((NOTES, {**keys, "text": f"患者{SECRET}"}), (ANNOTATIONS, {**keys, "spans": [span]})):
        known = {name: row.get(name) for name in spec.schema.names}
        uri = Lake(str(tmp_path / "lake")).table_uri(spec)
        write_deltalake(uri, pa.Table.from_pylist([known], schema=spec.schema))
    sheet = tmp_path / "sheet.csv"
    assert main(["--lake", str(tmp_path / "lake"), "--author", "dr.lin", "--out", str(sheet)]) == 0
    said = capsys.readouterr()
    assert "1 of 1 annotated notes" in said.err and SECRET not in said.out + said.err
    assert f"【{SECRET}|姓名】" in sheet.read_text(encoding="utf-8-sig")
    assert stat.S_IMODE(sheet.stat().st_mode) == 0o600
