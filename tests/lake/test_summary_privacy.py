"""The privacy half of the closing summary, figure by figure, on a lake filled by hand under a real ledger."""

from __future__ import annotations

import json
from typing import Any

import pytest
from deltalake import write_deltalake

from ppsehr_spark.config import Settings
from ppsehr_spark.lake.ledger_store import open_ledger
from ppsehr_spark.lake.release_files import write_release_file
from ppsehr_spark.lake.schemas import PRIVACY_LEDGER
from ppsehr_spark.lake.summary import render_summary, summarise_lake
from ppsehr_spark.lake.summary_privacy import choose_statistics
from ppsehr_spark.lake.summary_privacy_table import _quote_note
from ppsehr_spark.lake.synthesis_schemas import SYNTHETIC_NOTES
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.privacy.policy import parse_policy

_HEADINGS = (
    "Privacy budget (epsilon)", "Spent on", "DP statistics", "Synthetic patients", "Evaluation", "Current releases",
)  # fmt: skip


def _lines(lake: Lake, settings: Settings) -> list[str]:
    return render_summary(summarise_lake(lake, settings)).splitlines()


def _cells(lines: list[str], name: str, after: str) -> list[str]:
    """Cells of the line that starts with a name, below a heading."""
    start = next(at for at, line in enumerate(lines) if line.startswith(after))
    return next(line for line in lines[start + 1 :] if line.startswith(f"  {name}")).split()


def test_every_section_is_there_once_the_second_half_has_run(published_lake: Lake, settings: Settings) -> None:
    lines = _lines(published_lake, settings)
    for heading in _HEADINGS:
        assert sum(line.startswith(heading) for line in lines) == 1, heading


def test_a_lake_of_notes_alone_shows_none_of_it(worked_lake: Lake, settings: Settings) -> None:
    summary = summarise_lake(worked_lake, settings)
    shown = [heading for heading in _HEADINGS if f"\n{heading}" in render_summary(summary)]
    assert shown == ["Current releases"] and not summary.privacy.releases, "the claim card of the notes alone"
    assert summary.privacy.ledger is None and not summary.privacy.balances


def test_spent_and_left_are_what_the_ledger_says(published_lake: Lake, settings: Settings) -> None:
    lines = _lines(published_lake, settings)
    for balance in open_ledger(published_lake, parse_policy(settings.files)).balances():
        shown = _cells(lines, balance.cap.name, "Privacy budget")
        figures = (balance.cap.budget.epsilon, balance.epsilon_spent, balance.epsilon_left)
        assert shown == [balance.cap.name, *(f"{figure:.3f}" for figure in figures), f"{balance.cap.budget.delta:g}"]
    assert any(line.startswith("  ledger: 11 rows, chain whole") for line in lines)


def test_purposes_show_releases_and_what_a_crash_left_open(published_lake: Lake, settings: Settings) -> None:
    lines = _lines(published_lake, settings)
    shown = {name: _cells(lines, name, "Spent on")[1:3] for name in ("statistics", "training", "record_model")}
    assert shown == {"statistics": ["4", "0"], "training": ["1", "0"], "record_model": ["0", "1"]}
    so_far = [float(_cells(lines, name, "Spent on")[3]) for name in ("statistics", "training", "record_model")]
    total = open_ledger(published_lake, parse_policy(settings.files)).balances()[0].epsilon_spent
    assert so_far == sorted(so_far) and so_far[-1] == pytest.approx(total, abs=1e-3)


def test_a_forged_ledger_is_named_and_no_figure_is_read_off_it(published_lake: Lake, settings: Settings) -> None:
    rows = published_lake.read(PRIVACY_LEDGER).sort_by("sequence")
    cheaper = [value / 2 for value in rows["epsilon"].to_pylist()]
    changed = rows.set_column(rows.schema.get_field_index("epsilon"), rows.schema.field("epsilon"), [cheaper])
    write_deltalake(published_lake.table_uri(PRIVACY_LEDGER), changed, mode="overwrite")
    summary = summarise_lake(published_lake, settings)
    text = render_summary(summary)
    assert "ledger: 11 rows, CHAIN BROKEN at 1" in text and "Spent on" not in text
    assert not summary.privacy.balances and not summary.privacy.spending


def test_three_statistics_stand_for_all(published_lake: Lake, settings: Settings) -> None:
    chosen = summarise_lake(published_lake, settings).privacy.statistics
    assert [(row["query"], row["value"]) for row in chosen] == [
        ("patients_by_department", 41), ("patients_by_span", 9), ("stays_by_days", 100),
    ]  # fmt: skip
    text = "\n".join(_lines(published_lake, settings))
    assert "41 人        [35, 47]  心血管内科" in text


def test_suppressed_cells_never_stand_for_a_release() -> None:
    def cell(query: str, value: float, low: float | None, is_suppressed: bool = False) -> dict[str, Any]:
        return {"query": query, "value": value, "low": low, "is_suppressed": is_suppressed}

    rows = [cell("a", 9, 1, True), cell("a", 5, 1), cell("b", 3, 1, True), cell("c", 7, None), cell("d", 1, 0)]
    assert [row["value"] for row in choose_statistics(rows)] == [5, 1, 7]
    assert choose_statistics([cell(name, 1, 0) for name in "wxyz"]) == [cell(name, 1, 0) for name in "wxy"]


def test_two_patients_each_with_a_note_that_passed(published_lake: Lake, settings: Settings) -> None:
    lines = _lines(published_lake, settings)
    assert "Synthetic patients (notes: ok 2, PHI 1)" in lines
    start = lines.index("Synthetic patients (notes: ok 2, PHI 1)")
    shown = "\n".join(lines[start : start + 10])
    assert "sp1: 女 1960, visits 2; 住院 心血管内科 急性心肌梗死 (I21.900), 2022-03-01 - 2022-03-10" in shown
    assert "| 初步诊断：急性心肌梗死。" in shown and "sp2: 男 1958" in shown


def test_a_dropped_note_is_never_shown(published_lake: Lake, settings: Settings) -> None:
    rows = published_lake.read(SYNTHETIC_NOTES).to_pylist()
    dropped = [{**row, "outcome": "PHI", "text": f"泄漏{row['text']}"} for row in rows]
    table = published_lake.read(SYNTHETIC_NOTES).from_pylist(dropped, schema=SYNTHETIC_NOTES.schema)
    write_deltalake(published_lake.table_uri(SYNTHETIC_NOTES), table, mode="overwrite")
    text = "\n".join(_lines(published_lake, settings))
    assert "泄漏" not in text and "sp1" not in text
    assert "Synthetic patients (notes: PHI 3)\n  no note passed every check\n" in text
    assert summarise_lake(published_lake, settings).privacy.outcomes == {"PHI": 3}


def test_a_long_note_is_cut() -> None:
    shown = list(_quote_note("\n".join(["长" * 100, "", *(f"第{at}行" for at in range(9))])))
    assert len(shown) == 7 and shown[0].endswith("长…") and len(shown[0]) < 70
    assert shown[-1] == "    | … 4 more lines"


def test_figures_show_gate_and_basis(published_lake: Lake, settings: Settings) -> None:
    lines = _lines(published_lake, settings)
    assert _cells(lines, "membership_auc", "Evaluation") == ["membership_auc", "0.550", "0.750", "passed", "internal"]
    assert _cells(lines, "marginal_distance (sex)", "Evaluation")[2:] == ["0.050", "0.600", "passed", "public"]


def test_claim_cards_of_current_releases_are_named_by_path(published_lake: Lake, settings: Settings) -> None:
    write_release_file(published_lake, "claim_stats-new.json", "{}")
    path, of_notes = summarise_lake(published_lake, settings).privacy.cards
    assert summarise_lake(published_lake, settings).release["release_id"] in of_notes  # type: ignore[index]
    with open(path, encoding="utf-8") as stream:
        assert stream.read() == "{}"
    lines = _lines(published_lake, settings)
    assert f"  claim card: {path} (beside it .zh and .en as .txt and .md)" in lines
    assert _cells(lines, "release.dp_statistics", "Current releases")[1:] == ["8", "0", "stats-new"]


def test_json_holds_the_same(published_lake: Lake, settings: Settings) -> None:
    values = json.loads(render_summary(summarise_lake(published_lake, settings), as_json=True))["privacy"]
    assert [each["cap"] for each in values["balances"]] == ["total", "statistics", "record_model", "training"]
    assert values["balances"][0]["epsilon_spent"] > 2 and values["ledger"]["is_whole"] is True
    assert len(values["statistics"]) == 3 and [row["synthetic_patient_id"] for row in values["patients"]] == [
        "sp1",
        "sp2",
    ]
    assert {row["basis"] for row in values["figures"]} == {"public", "internal"} and len(values["cards"]) == 2
