"""``ppsehr evaluate``: files in, table or JSON out, unusable files refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ppsehr_spark.service.evaluation import main

GOLD: list[dict[str, Any]] = [
    {"note_id": "a", "spans": [{"start": 0, "end": 3, "category": "NAME", "tier": None}]},
    {"note_id": 7, "spans": [{"start": 1, "end": 5, "category": "STD", "tier": 3}]},
]
PREDICTED: list[dict[str, Any]] = [
    {"note_id": None, "spans": [], "error": "NOT_JSON"},
    {"note_id": "7", "spans": [{"start": 1, "end": 4, "category": "STD", "tier": 1, "source": "rule"}]},
    {"note_id": "a", "spans": [], "error": "NULL_BYTE"},
    {"note_id": "z", "spans": []},
]


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_json_report_holds_the_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gold, predicted = write(tmp_path / "g", GOLD), write(tmp_path / "p", PREDICTED)
    notes = write(tmp_path / "n", [{"note_id": "a", "text": "x" * 10}, {"note_id": 7, "text": "字" * 10}])
    assert main([gold, predicted, "--notes", notes, "--json", "--bootstrap", "50"]) == 0
    said = capsys.readouterr()
    report = json.loads(said.out)
    values = report["values"]
    assert (values["strict.STD.recall"], values["relaxed.STD.recall"], values["relaxed.NAME.recall"]) == (0, 1, 0)
    assert values["tier.under"] == 1
    assert values["leak.notes"] == 0.5
    assert values["leak.chars"] == pytest.approx(4 / 7)
    assert values["over_redaction"] == 0
    assert report["counts"]["n_without_prediction"] == 1
    assert report["counts"]["n_unknown"] == 1 and "1 predicted notes have no gold" in said.err
    assert set(report["intervals"]) == set(values)


def test_table_is_the_default(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([write(tmp_path / "g", GOLD), write(tmp_path / "p", PREDICTED), "--bootstrap", "0"]) == 0
    table = capsys.readouterr().out
    assert all(word in table for word in ("NAME", "STD", "macro", "tiered too low"))


@pytest.mark.parametrize(
    ("gold", "predicted", "word"),
    [
        ([*GOLD, {"note_id": "b"}], PREDICTED, "BAD_LINE"),
        ([*GOLD, GOLD[0]], PREDICTED, "DUPLICATE_ID"),
        ([], PREDICTED, "EMPTY_FILE"),
        ([{"note_id": "b", "spans": [], "error": "X"}], PREDICTED, "BAD_LINE"),
        (GOLD, [{"note_id": "a", "spans": [{"start": 4, "end": 2, "category": "NAME"}]}], "BAD_LINE"),
        (GOLD, [{"note_id": "a", "spans": [{"start": 0, "end": 2, "category": "NAME", "tier": 4}]}], "BAD_LINE"),
    ],
)
def test_unusable_files_are_refused_by_line(
    gold: list[dict[str, Any]],
    predicted: list[dict[str, Any]],
    word: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([write(tmp_path / "g", gold), write(tmp_path / "p", predicted)]) == 4
    said = capsys.readouterr()
    assert word in said.err and said.out == ""
