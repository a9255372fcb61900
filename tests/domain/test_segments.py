"""Which text is asked about, under which key, and what the answers do."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ppsehr_spark.config import PartitionSettings, read_conf_files
from ppsehr_spark.domain.notes import Note, Span
from ppsehr_spark.domain.prompting import compile_prompts, extract_question
from ppsehr_spark.domain.segments import (
    Segment,
    SegmentResult,
    Verdict,
    apply_results,
    plan_segments,
    segment_key,
)
from ppsehr_spark.domain.sentences import cut_windows, sentence_borders
from ppsehr_spark.domain.taxonomy import MODEL_TASKS, Category, load_categories
from ppsehr_spark.errors import ConfigurationError

KEY = bytes(range(32))
FILES = read_conf_files()
CATEGORIES = {
    "NAME": Category("NAME", "姓名", doubt_from=0.3, doubt_to=0.7),
    "STD": Category("STD", "性病信息", is_tiered=True, doubt_from=0.3, doubt_to=0.7),
}
DOUBTFUL = PartitionSettings()
ALL = PartitionSettings(qwen_scope="all")
TEXT = "患者李伟，男，45岁，因反复胸闷三天来我院门诊就诊并收住入院。否认梅毒病史，否认输血史，否认食物及药物过敏史，预防接种史不详。\n王主任查房后同意目前诊断，嘱继续观察生命体征变化，注意休息，低盐低脂饮食。"  # noqa: E501
CLINICAL = st.text(alphabet="患者李伟诉胸闷。；，\n \t！？:.12a😀\u3000", max_size=400)


def plan(note: Note, spans: list[Span], scope: PartitionSettings = DOUBTFUL) -> list[Segment]:
    return plan_segments(note, spans, categories=CATEGORIES, settings=scope, hmac_key=KEY)


def span_at(text: str, quote: str, category: str = "NAME", **values: object) -> Span:
    start = text.index(quote)
    return replace(Span(start, start + len(quote), category, confidence=0.5), **values)  # type: ignore[arg-type]


def test_doubtful_span_becomes_a_judge_segment_of_its_sentence() -> None:
    note = Note("n1", TEXT, "入院记录")
    (segment,) = plan(note, [span_at(TEXT, "王", confidence=0.5)])
    assert segment.task == "judge"
    assert segment.text == "王主任查房后同意目前诊断，嘱继续观察生命体征变化，注意休息，低盐低脂饮食。"
    assert TEXT[segment.start : segment.end] == segment.text
    assert [(c.start, c.end, c.category) for c in segment.candidates] == [(0, 1, "NAME")]


@pytest.mark.parametrize(("confidence", "is_asked"), [(0.29, False), (0.3, True), (0.69, True), (0.7, False)])
def test_doubt_is_half_open(confidence: float, is_asked: bool) -> None:
    assert bool(plan(Note("n1", TEXT), [span_at(TEXT, "李伟", confidence=confidence)])) is is_asked


def test_candidates_of_one_sentence_share_a_segment() -> None:
    text = "李伟之子李强陪同来院，患者李伟对治疗方案表示理解并签署知情同意书，拒绝其他检查。"
    spans = [span_at(text, "李伟"), span_at(text, "李强")]
    (segment,) = plan(Note("n1", text), spans)
    assert [text[c.start : c.end] for c in segment.candidates] == ["李伟", "李强"]


def test_short_sentence_is_widened_by_its_neighbours() -> None:
    text = "患者今日一般情况可，无特殊不适主诉，生命体征平稳。\n签名：李伟\n"
    (segment,) = plan(Note("n1", text), [span_at(text, "李伟")])
    assert segment.text == text.strip()


def test_unsure_tier_is_asked_for_although_the_mention_is_certain() -> None:
    span = span_at(TEXT, "梅毒", "STD", confidence=0.95, tier=2, tier_rule="STD.2.unsure")
    (segment,) = plan(Note("n1", TEXT), [span])
    assert segment.task == "tier"


def test_sure_tier_is_not_asked_for() -> None:
    span = span_at(TEXT, "梅毒", "STD", confidence=0.95, tier=2, tier_rule="STD.2.suspected")
    assert plan(Note("n1", TEXT), [span]) == []


def test_scopes() -> None:
    note, span = Note("n1", TEXT), span_at(TEXT, "李伟")
    assert plan(note, [span], PartitionSettings(qwen_scope="none")) == []
    assert {s.task for s in plan(note, [span], ALL)} == {"judge", "extract"}
    with pytest.raises(ConfigurationError, match="QWEN_SCOPE"):
        plan(note, [span], PartitionSettings(qwen_scope="some"))


def test_unknown_or_disabled_category_is_not_asked_about() -> None:
    assert plan(Note("n1", TEXT), [span_at(TEXT, "李伟", "VEHICLE")]) == []


def test_equal_sentences_of_two_notes_are_one_question() -> None:
    one, other = Note("n1", TEXT), Note("n2", "今日复查。" * 20 + "\n" + TEXT)
    keys = [plan(note, [span_at(note.text, "李伟")])[0].key for note in (one, other)]
    assert keys[0] == keys[1]


def test_key_changes_with_everything_the_model_sees_and_with_the_secret() -> None:
    candidate = Span(0, 2, "NAME", confidence=0.5)
    base = {"task": "judge", "text": "李伟来诊", "note_type": "门诊", "candidates": [candidate]}
    changes = [
        {"task": "tier"},
        {"text": "李伟来院"},
        {"note_type": "急诊"},
        {"candidates": [replace(candidate, end=1)]},
        {"candidates": [replace(candidate, category="STD")]},
    ]
    keys = [segment_key(KEY, **{**base, **change}) for change in [{}, *changes]]  # type: ignore[arg-type]
    keys.append(segment_key(b"x" * 32, **base))  # type: ignore[arg-type]
    assert len(set(keys)) == len(keys)
    confident = {**base, "candidates": [replace(candidate, confidence=0.6, rule="other")]}
    assert segment_key(KEY, **confident) == keys[0], "confidence is not shown to the model"  # type: ignore[arg-type]


def test_overlong_sentence_is_cut_around_its_candidates() -> None:
    text = "，".join(f"第{i}项检查未见异常李伟" for i in range(300))
    spans = [Span(i, i + 2, "NAME", confidence=0.5) for i in range(len(text) - 1) if text[i : i + 2] == "李伟"]
    segments = plan(Note("n1", text), spans)
    asked = [(s.start + c.start, s.start + c.end) for s in segments for c in s.candidates]
    assert asked == [(s.start, s.end) for s in spans]
    assert max(len(s.text) for s in segments) <= DOUBTFUL.max_segment_chars


def test_candidate_longer_than_a_segment_is_left_to_the_rules() -> None:
    text = "甲" * 1000
    assert plan(Note("n1", text), [Span(0, 1000, "NAME", confidence=0.5)]) == []


@settings(max_examples=150, deadline=None)
@given(text=CLINICAL, overlap=st.integers(0, 20), size=st.integers(41, 90))
def test_windows_lose_nothing(text: str, overlap: int, size: int) -> None:
    windows = cut_windows(text, max_chars=size, overlap_chars=overlap)
    assert all(0 < end - start <= size for start, end in windows)
    assert windows == sorted(set(windows))
    covered = {i for start, end in windows for i in range(start, end)}
    assert covered == set(range(len(text)))
    for start in range(len(text)):
        end = min(len(text), start + overlap + 1)
        assert any(left <= start and end <= right for left, right in windows), "a short mention must be seen whole"


@settings(max_examples=100, deadline=None)
@given(text=CLINICAL, marks=st.lists(st.tuples(st.integers(0, 399), st.integers(1, 12)), max_size=12))
def test_answers_for_all_windows_join_without_loss_or_doubles(text: str, marks: list[tuple[int, int]]) -> None:
    """A model that finds every mention it can see whole brings back each mention exactly once."""
    settings_small = PartitionSettings(qwen_scope="all", max_segment_chars=60, overlap_chars=24)
    note = Note("n1", text)
    mentions = _apart([(start, start + length) for start, length in marks], text)
    results = [
        SegmentResult(
            s.start,
            s.end,
            spans=tuple(
                Span(a - s.start, b - s.start, "NAME", source="qwen")
                for a, b in mentions
                if s.start <= a and b <= s.end
            ),
        )
        for s in plan_segments(note, [], categories=CATEGORIES, settings=settings_small, hmac_key=KEY)
    ]
    assert [(s.start, s.end) for s in apply_results(note, (), results)] == mentions


def _apart(marks: list[tuple[int, int]], text: str) -> list[tuple[int, int]]:
    """Disjoint marks inside the text that neither begin nor end with a blank."""
    kept: list[tuple[int, int]] = []
    for start, end in sorted(marks):
        is_clean = end <= len(text) and not text[start].isspace() and not text[end - 1].isspace()
        if is_clean and (not kept or kept[-1][1] <= start):
            kept.append((start, end))
    return kept


@settings(max_examples=100, deadline=None)
@given(text=CLINICAL)
def test_borders_partition_the_text(text: str) -> None:
    borders = sentence_borders(text)
    assert borders == sorted(set(borders)) and borders[0] == 0 and borders[-1] == len(text)


def test_overlap_without_progress_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="SEGMENT_SIZE"):
        cut_windows("甲乙丙", max_chars=40, overlap_chars=20)


def judged(span: Span, *, accepted: bool | None, tier: int | None = None, outcome: str = "ok") -> SegmentResult:
    verdict = Verdict(span.start, span.end, span.category, accepted, 1.0, tier)
    return SegmentResult(0, len(TEXT), (verdict,), outcome=outcome)


def test_acceptance_makes_certain_and_rejection_removes() -> None:
    note, span = Note("n1", TEXT), span_at(TEXT, "李伟")
    (kept,) = apply_results(note, [span], [judged(span, accepted=True)])
    assert (kept.source, kept.confidence) == ("rule+qwen", 1.0)
    assert apply_results(note, [span], [judged(span, accepted=False)]) == ()


def test_unreadable_reply_leaves_the_rules_in_force() -> None:
    note, span = Note("n1", TEXT), span_at(TEXT, "李伟")
    assert apply_results(note, [span], [judged(span, accepted=False, outcome="UNPARSABLE")]) == (span,)
    assert apply_results(note, [span], []) == (span,)


def test_verdict_counts_only_for_the_span_it_names() -> None:
    note, span = Note("n1", TEXT), span_at(TEXT, "李伟")
    other = replace(span, end=span.end + 1)
    assert apply_results(note, [span], [judged(other, accepted=False)]) == (span,)


def test_contradicting_answers_protect() -> None:
    note, span = Note("n1", TEXT), span_at(TEXT, "李伟")
    results = [judged(span, accepted=False), judged(span, accepted=True)]
    assert len(apply_results(note, [span], results)) == len(apply_results(note, [span], results[::-1])) == 1


def test_tier_is_replaced_and_signed() -> None:
    span = span_at(TEXT, "梅毒", "STD", confidence=0.9, tier=2, tier_rule="STD.2.unsure")
    (kept,) = apply_results(Note("n1", TEXT), [span], [judged(span, accepted=None, tier=1)])
    assert (kept.tier, kept.tier_rule, kept.source, kept.confidence) == (1, "qwen.STD.1", "rule", 0.9)


def test_table_rows_serve_as_verdicts() -> None:
    span = span_at(TEXT, "李伟")
    place = {"start": span.start, "end": span.end, "category": "NAME"}
    row = {**place, "is_accepted": False, "log_odds": -1.0, "tier": None}
    assert apply_results(Note("n1", TEXT), [span], [SegmentResult(0, len(TEXT), (row,))]) == ()


def test_extraction_joins_only_where_the_rules_have_nothing() -> None:
    note, rule_span = Note("n1", TEXT), span_at(TEXT, "李伟", confidence=0.9)
    found = (replace(rule_span, source="qwen"), span_at(TEXT, "王", source="qwen"))
    merged = apply_results(note, [rule_span], [SegmentResult(0, len(TEXT), spans=found)])
    assert [(TEXT[s.start : s.end], s.source) for s in merged] == [("李伟", "rule"), ("王", "qwen")]


def test_span_beyond_its_segment_is_dropped() -> None:
    result = SegmentResult(0, 4, spans=(Span(2, 9, "NAME", source="qwen"),))
    assert apply_results(Note("n1", TEXT), [], [result]) == ()


def test_two_megabytes_without_a_border_stay_linear() -> None:
    import time

    text = "1" * 2_000_000
    spans = [Span(i, i + 5, "NAME", confidence=0.5) for i in range(0, 100_000, 10)]
    started = time.process_time()
    plan(Note("n1", text), spans, ALL)
    assert time.process_time() - started < 20


def test_a_model_is_asked_only_what_its_category_lets_it_say() -> None:
    """Without judge, tier and extract among its tasks a category never reaches a prompt."""
    categories = {name: replace(category, model_tasks=MODEL_TASKS) for name, category in load_categories(FILES).items()}
    silent = {**categories, "NAME": replace(categories["NAME"], model_tasks=())}
    unsure = Span(2, 4, "STD", 3, confidence=0.9, tier_rule="STD.3.unsure")
    doubt = Span(0, 2, "NAME", confidence=0.5)
    note = Note("n", "李四梅毒待查")

    def tasks(chosen: dict[str, Category]) -> list[str]:
        planned = plan_segments(note, (doubt, unsure), categories=chosen, settings=ALL, hmac_key=KEY)
        return [segment.task for segment in planned]

    assert tasks(categories) == ["judge", "tier", "extract"]
    assert tasks(silent) == ["tier", "extract"]
    nobody = {name: replace(category, model_tasks=()) for name, category in categories.items()}
    assert tasks(nobody) == []
    question = extract_question(compile_prompts(FILES, silent), text="x", note_type="")
    assert question.json_schema is not None
    assert "姓名" not in str(question.json_schema) and "医院名称" in str(question.json_schema)
