"""``ppsehr correct``: a table becomes corrections, and a wrong cell is named without being quoted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from ppsehr_spark.lake.schemas import CORRECTIONS, NOTES
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.service.correction_door import COLUMNS, main

TEXT = "患者周若彤，查雅司病，否认雅司病史。"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(str(tmp_path / "lake"))
    rows = [
        {
            "note_key": f"n{i}",
            "patient_key": "p",
            "source_note_id": source,
            "text_hash": f"h{i}",
            "text": TEXT,
            "n_chars": 18,
        }
        for i, source in enumerate(("A-1", "A-2", "B", "B"))
    ]
    write_deltalake(lake.table_uri(NOTES), pa.Table.from_pylist(rows, schema=NOTES.schema))
    return lake


@pytest.fixture
def enter(lake: Lake, tmp_path: Path, key_file: str) -> Any:
    def run(*rows: str, header: str = "\t".join(COLUMNS)) -> int:
        path = tmp_path / "修订.tsv"
        path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
        return main([str(path), "--lake", lake.uri, "--author", "dr.lin", "--set", f'identity.key_file="{key_file}"'])

    return run


def test_quoted_spans_become_offsets(enter: Any, lake: Lake) -> None:
    assert enter("A-1\t雅司病\t性病信息\t3\t加\t1", "n1\t雅司病\tSTD\t3\t加\t", "A-2\t周若彤\t姓名\t\t删") == 0
    rows = lake.read(CORRECTIONS).sort_by([("note_key", "ascending"), ("start", "ascending")]).to_pylist()
    said = [(r["note_key"], r["start"], r["end"], r["category"], r["tier"], r["action"]) for r in rows]
    assert said == [
        ("n0", 7, 10, "STD", 3, "add"),
        ("n1", 2, 5, "NAME", None, "remove"),
        ("n1", 7, 10, "STD", 3, "add"),
        ("n1", 13, 16, "STD", 3, "add"),
    ]
    assert {r["author"] for r in rows} == {"dr.lin"}
    assert enter("A-1\t雅司病\t性病信息\t3\t加\t1") == 0 and lake.read(CORRECTIONS).num_rows == 4  # said before


@pytest.mark.parametrize(
    ("row", "column"),
    [
        ("A-9\t雅司病\tSTD\t3\t加\t", "文书号"),
        ("B\t雅司病\tSTD\t3\t加\t", "文书号"),
        ("A-1\t梅毒\tSTD\t3\t加\t", "片段"),
        ("A-1\t\tSTD\t3\t加\t", "片段"),
        ("A-1\t雅司病\t病\t3\t加\t", "类别"),
        ("A-1\t雅司病\tSTD\t\t加\t", "级别"),
        ("A-1\t周若彤\tNAME\t1\t加\t", "级别"),
        ("A-1\t雅司病\tSTD\t4\t加\t", "级别"),
        ("A-1\t雅司病\tSTD\t3\t改\t", "改动"),
        ("A-1\t雅司病\tSTD\t3\t加\t3", "第几处"),
        ("A-1\t雅司病\tSTD\t3\t加\tx", "第几处"),
    ],
)
def test_a_wrong_cell_is_named_and_nothing_is_stored(
    enter: Any, lake: Lake, row: str, column: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert enter("A-1\t雅司病\tSTD\t3\t加\t", row) == 2
    said = capsys.readouterr()
    assert f"line=3 column={column}" in said.err and not [word for word in ("雅司", "周若", "梅毒") if word in said.err]
    assert lake.version(CORRECTIONS) is None


def test_a_table_without_its_header_is_refused(enter: Any, tmp_path: Path) -> None:
    assert enter("A-1\t雅司病\tSTD\t3\t加\t", header="note\tspan") == 2
    assert main([str(tmp_path / "nowhere.tsv"), "--lake", "x", "--author", "a"]) == 2
