"""The closing summary: every figure checked against a lake that was filled by hand."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest

from ppsehr_spark.config import Settings
from ppsehr_spark.lake import summary_scores
from ppsehr_spark.lake.audit_log import append_entry
from ppsehr_spark.lake.schemas import AUDIT_LOG, SEGMENT_ANNOTATIONS
from ppsehr_spark.lake.summary import TokenUse, render_summary, summarise_lake
from ppsehr_spark.lake.tables import Lake
from tests.lake.worked_rows import WORKED_ROWS


def test_counts_per_table_category_tier_and_reason(worked_lake: Lake, settings: Settings) -> None:
    summary = summarise_lake(worked_lake, settings)
    assert summary.rows["phi.notes"] == 4 and summary.rows["release.notes"] == 4
    assert summary.rows["phi.corrections"] is None
    assert summary.spans == {
        "ADDRESS": {"3": 1},
        "CONTACT": {"-": 1},
        "NAME": {"-": 4},
        "PREGNANCY": {"2": 1},
        "STD": {"1": 1, "3": 1},
    }
    assert list(summary.rejects.items()) == [("NULL_BYTE", 2), ("ENCODING", 1)]
    assert summary.release is not None and summary.release["n_rows"] == 4


def test_rules_alone_miss_what_they_doubted_and_the_final_spans_do_not(worked_lake: Lake, settings: Settings) -> None:
    reports = summarise_lake(worked_lake, settings).reports
    assert reports["rules"].score("strict", "NAME").recall == pytest.approx(3 / 4)
    assert reports["rules"].score("strict", "NAME").precision == 1.0
    assert reports["final"].score("strict").f1 == 1.0
    assert reports["rules"].values["leak.notes"] == 0.25 and reports["final"].values["leak.notes"] == 0.0


def test_tokens_used_open_and_saved(worked_lake: Lake, settings: Settings) -> None:
    tokens = summarise_lake(worked_lake, settings).tokens
    assert (tokens.n_occurrences, tokens.n_segments, tokens.outcomes) == (5, 3, {"ok": 2})
    assert tokens.used == 2 * (100 - 60 + 1) and tokens.open_estimate == 26
    n_chars = sum(row["n_chars"] for row in WORKED_ROWS["phi.notes"])
    assert tokens.whole_notes == int(0.7 * n_chars) + 4 * 24
    assert tokens.saved == tokens.whole_notes - 82 - 26


def test_saving_is_negative_when_the_model_cost_more_than_whole_notes() -> None:
    assert TokenUse(whole_notes=10, prompt=40, cached=5, output=3).saved == -28


def test_the_text_names_every_section_and_no_note_text(worked_lake: Lake, settings: Settings) -> None:
    text = render_summary(summarise_lake(worked_lake, settings))
    for heading in ("Rows per table", "Final spans", "Against gold", "Model", "Rejected rows", "Newest release"):
        assert any(line.startswith(heading) for line in text.splitlines()), heading
    assert f"Lake: {worked_lake.uri}" in text and "with Qwen R" in text
    for secret in ("周若彤", "13812345678", "高子墨", "梅毒"):
        assert secret not in text


def test_columns_line_up_although_hanzi_are_wide(worked_lake: Lake, settings: Settings) -> None:
    lines = render_summary(summarise_lake(worked_lake, settings)).splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith("Final spans"))
    assert lines[start].index("total") + len("total") == lines[start + 1].index("1", 10) + 1


def test_json_is_json(worked_lake: Lake, settings: Settings) -> None:
    values = json.loads(render_summary(summarise_lake(worked_lake, settings), as_json=True))
    assert values["tokens"]["saved"] == values["tokens"]["whole_notes"] - 108
    assert values["reports"]["rules"]["values"]["strict.NAME.recall"] == 0.75


def test_an_empty_lake_has_a_short_summary(lake: Lake, settings: Settings) -> None:
    summary = summarise_lake(lake, settings)
    assert summary.tokens.saved == 0 and not summary.reports
    assert render_summary(summary).startswith("Audit log: 0 entries, chain whole\nLake: ")


def test_a_lake_that_no_model_has_seen_does_not_claim_qwen(worked_lake: Lake, fill: Any, settings: Settings) -> None:
    fill(SEGMENT_ANNOTATIONS, [])
    text = render_summary(summarise_lake(worked_lake, settings))
    assert "with Qwen" not in text and "final R" in text and "none yet" in text


def test_a_large_lake_is_scored_on_its_first_notes(
    worked_lake: Lake, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = f"LIMIT {summary_scores.MAX_SCORED_NOTES}"
    assert limit in summary_scores.SCORES_SQL
    monkeypatch.setattr(summary_scores, "SCORES_SQL", summary_scores.SCORES_SQL.replace(limit, "LIMIT 2"))
    report = summary_scores.score_annotations(worked_lake, settings)["rules"]
    assert report.counts["notes"] == 2 and report.score("strict", "NAME").recall == 1.0


def test_a_log_rebuilt_behind_a_release_is_reported(worked_lake: Lake, settings: Settings) -> None:
    assert "1 entries, chain whole" in render_summary(summarise_lake(worked_lake, settings))
    shutil.rmtree(worked_lake.table_uri(AUDIT_LOG))
    append_entry(worked_lake, actor="job:publish", action="release", target="x", run_id="r1", details={})
    assert "CHAIN BROKEN at 1 (ANCHOR)" in render_summary(summarise_lake(worked_lake, settings))
