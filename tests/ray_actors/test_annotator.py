"""The annotator's rows: what counts, what does not, what it costs."""

from __future__ import annotations

from typing import Any

import pytest

from ppsehr_spark.errors import ConfigurationError, InfrastructureError
from ray_actors.annotator import Annotator, UnitResult
from tests.ray_actors.open_lake import make_settings, segment_row


def annotate(rows: list[dict[str, Any]], *, limit: int | None = None, **options: Any) -> UnitResult:
    annotator = Annotator(make_settings(options=options).to_json())
    try:
        return annotator.annotate_unit(rows, limit)
    finally:
        annotator.close()


def test_judge_rows_carry_verdict_provenance_and_tokens() -> None:
    row = annotate([segment_row(1)]).rows[0]
    (verdict,) = row["verdicts"]
    assert row["outcome"] == "ok"
    assert verdict["is_accepted"] is (verdict["log_odds"] >= 0)
    assert (row["engine"], row["model"]) == ("fault", "scripted@0")
    assert row["prompt_version"] and row["prompt_tokens"] > 0 and row["output_tokens"] == 1


def test_threshold_comes_from_settings() -> None:
    rows = [segment_row(n) for n in range(12)]
    never = Annotator(make_settings(judge_accept_logit=99.0, options={}).to_json()).annotate_unit(rows)
    always = Annotator(make_settings(judge_accept_logit=-99.0, options={}).to_json()).annotate_unit(rows)
    answers = [{v["is_accepted"] for row in result.rows for v in row["verdicts"]} for result in (never, always)]
    assert answers == [{False}, {True}]


def test_same_segments_in_any_order_give_the_same_rows() -> None:
    rows = [segment_row(n) for n in range(9)] + [segment_row(n, task="extract") for n in range(3)]
    one, other = annotate(rows), annotate(rows[::-1])
    assert one.rows == other.rows and len(one.rows) == 12


@pytest.mark.parametrize(("fault", "task"), [("bad_json", "extract"), ("bad_json", "judge")])
def test_unreadable_reply_gets_its_code_and_no_verdict(fault: str, task: str) -> None:
    (row,) = annotate([segment_row(1, task=task)], fault=fault).rows
    assert (row["outcome"], row["verdicts"], row["spans"]) == ("UNPARSABLE", [], [])


def test_invented_quote_does_not_count() -> None:
    result = annotate([segment_row(1, task="extract")], fault="wrong_quote")
    assert (result.rows[0]["outcome"], result.rows[0]["spans"]) == ("UNGROUNDED", [])
    assert result.n_ungrounded == 1


def test_tier_needs_grounded_evidence() -> None:
    text = "患者李伟既往有梅毒病史，" + "，".join(f"第{i}项正常" for i in range(30))
    (row,) = annotate([segment_row(1, task="tier", text=text, category="STD")], fault="wrong_quote").rows
    assert (row["outcome"], row["verdicts"]) == ("UNGROUNDED", [])


def test_tier_is_chosen_on_grounded_evidence() -> None:
    text = "患者李伟既往有梅毒病史，已治愈。"
    (row,) = annotate([segment_row(1, task="tier", text=text, category="STD")]).rows
    (row_of_clause,) = annotate([segment_row(1, task="tier", text=text, category="STD")], fault="wrong_quote").rows
    assert row["outcome"] == "UNPARSABLE", "an engine that gives no evidence gets no tier"
    assert row_of_clause["outcome"] == "ok"
    assert row_of_clause["verdicts"][0]["tier"] in (1, 2, 3)
    assert row_of_clause["verdicts"][0]["is_accepted"] is None


def test_category_without_prompt_is_not_asked_and_closed() -> None:
    result = annotate([segment_row(1, category="NO_SUCH")])
    assert result.rows[0]["outcome"] == "NO_PROMPT"
    assert result.usage.prompt_tokens == 0


def test_engine_error_leaves_the_segment_open() -> None:
    rows = [segment_row(1), segment_row(2)]
    result = annotate(rows, fault="error_reply", trigger="第2日")
    assert result.dead == {rows[1]["segment_key"]: "ENGINE_ERROR"}
    assert [row["segment_key"] for row in result.rows] == [rows[0]["segment_key"]]


def test_without_a_model_nothing_is_answered() -> None:
    annotator = Annotator(make_settings("rules", options={}).to_json())
    result = annotator.annotate_unit([segment_row(1)])
    assert (result.rows, list(result.dead.values())) == ([], ["NO_MODEL"])


def test_failing_engine_raises_for_the_caller_to_retry() -> None:
    with pytest.raises(InfrastructureError, match="ENGINE_BROKE"):
        annotate([segment_row(1)], fault="exception")


@pytest.mark.parametrize("limit", [0, 400, 700, 1500, 4000])
def test_limit_is_kept_and_the_rest_is_named(limit: int) -> None:
    rows = [segment_row(n) for n in range(30)]
    annotator = Annotator(make_settings(options={}, batch_prompts=4).to_json())
    result = annotator.annotate_unit(rows, limit)
    assert result.usage.charged <= limit
    answered = {row["segment_key"] for row in result.rows}
    assert answered.isdisjoint(result.open_keys)
    assert answered | set(result.open_keys) == {row["segment_key"] for row in rows}
    assert bool(answered) is (limit >= 400), "a limit that holds one question is not wasted on a batch that it does not"


def test_cached_prefix_is_not_charged_twice() -> None:
    annotator = Annotator(make_settings(options={}).to_json())
    first = annotator.annotate_unit([segment_row(1)], 100_000)
    second = annotator.annotate_unit([segment_row(2)], 200)
    assert first.rows and second.rows, "200 tokens hold a question whose prefix is cached already"


def test_wrong_options_name_engine_and_key() -> None:
    with pytest.raises(ConfigurationError, match=r"engine=fault key=falt"):
        annotate([], falt="exception")
    with pytest.raises(ConfigurationError, match=r"engine=fault key=seed"):
        annotate([], seed="one")
    with pytest.raises(ConfigurationError, match="UNKNOWN_ENGINE"):
        Annotator(make_settings("gpt").to_json())
