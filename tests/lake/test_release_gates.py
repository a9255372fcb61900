"""Each gate by itself: what it stops, and what it must let through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from ppsehr_spark.domain.notes import Note, Span
from ppsehr_spark.domain.taxonomy import Category
from ppsehr_spark.lake.release_gates import (
    GateFindings,
    ProtectedRow,
    compile_canaries,
    inspect_rows,
    judge_findings,
    list_identifiers,
    normalise_text,
)

_CATEGORIES = {
    "NAME": Category("NAME", "姓名", is_direct_identifier=True),
    "CONTACT": Category("CONTACT", "联系方式", is_direct_identifier=True),
    "ADDRESS": Category("ADDRESS", "地址", is_direct_identifier=True, is_tiered=True),
    "STD": Category("STD", "性病信息", is_tiered=True),
}
_ORIGINAL = "患者周若彤，电话138 0000 1234，住江北市，王主任查房。"
_SPANS = (
    Span(2, 5, "NAME"),
    Span(8, 21, "CONTACT"),
    Span(23, 26, "ADDRESS", tier=1),
    Span(27, 28, "NAME"),
)
_ROW = ProtectedRow(
    "k1", "患者林一凡，电话139****，住江北市，李主任查房。", "病程", "research", 0, _ORIGINAL, _SPANS, True
)


def _propose_surname(note: Note) -> Sequence[Span]:
    at = note.text.find("主任")
    return [Span(at - 1, at, "NAME")] if at > 0 else []


def _reasons(*rows: ProtectedRow, canaries: Sequence[str] = ()) -> GateFindings:
    return inspect_rows(rows, categories=_CATEGORIES, propose=_propose_surname, has_canary=compile_canaries(canaries))


def test_the_sample_is_cut_where_its_spans_say() -> None:
    assert [_ORIGINAL[s.start : s.end] for s in _SPANS] == ["周若彤", "138 0000 1234", "江北市", "王"]


def test_a_well_protected_note_passes() -> None:
    findings = _reasons(_ROW)
    assert dict(findings.withheld) == {} and findings.n_notes == 1 and findings.policies == {"research": 1}


@pytest.mark.parametrize(
    "text",
    [
        "患者林一凡。家属代周若彤签字。",
        "电话13800001234",
        "电话１３８－０００0 1234。",
        "周 若 彤来诊",
    ],
)
def test_a_surviving_identifier_withholds_the_note_however_it_is_written(text: str) -> None:
    assert dict(_reasons(replace(_ROW, text=text)).withheld) == {"k1": "residual"}


def test_a_lone_surname_counts_only_where_the_rules_take_it_for_a_name() -> None:
    assert dict(_reasons(replace(_ROW, text="王主任查房，同意。")).withheld) == {"k1": "residual"}
    assert dict(_reasons(replace(_ROW, text="李主任查房，予三王丸口服。")).withheld) == {}


def test_a_low_tier_and_a_masked_name_are_no_direct_identifiers() -> None:
    text = "李某某住江北市滨河路8号"
    spans = [Span(0, 3, "NAME"), Span(4, 7, "ADDRESS", tier=1), Span(4, 12, "ADDRESS", tier=3), Span(4, 12, "STD")]
    assert list_identifiers(text, spans, _CATEGORIES) == {"江北市滨河路8号"}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (replace(_ROW, original=None), "unannotated"),
        (replace(_ROW, spans=None), "unannotated"),
        (replace(_ROW, is_current=False), "stale"),
    ],
)
def test_what_cannot_be_checked_is_withheld(row: ProtectedRow, reason: str) -> None:
    findings = _reasons(row)
    assert dict(findings.withheld) == {"k1": reason}
    assert findings.count_withheld()[reason] == 1


@pytest.mark.parametrize("text", ["代号KING-7731在此", "代号ｋｉｎｇ７７３１", "代号 k ing 7731"])
def test_a_canary_is_found_in_any_spelling(text: str) -> None:
    assert compile_canaries(["KING-7731", " "])(normalise_text(text))
    assert not compile_canaries(["KING-7731"])(normalise_text("代号KING-7732"))
    assert not compile_canaries([])(normalise_text(text))


def test_canaries_count_in_what_would_leave() -> None:
    leaking = replace(_ROW, text="电话13800001234")
    assert _reasons(_ROW, leaking, canaries=["13800001234"]).n_canary == 0
    assert _reasons(_ROW, leaking, canaries=["林一凡"]).n_canary == 1


def test_normalisation_keeps_lines_apart() -> None:
    assert normalise_text("Ａ b-\n1") == "ab\n1"


@pytest.mark.parametrize(
    ("findings", "code"),
    [
        (GateFindings(), "NOTHING_TO_PUBLISH"),
        (GateFindings(2, policies={"": 2}), "POLICY_GATE"),
        (GateFindings(2, policies={"research": 1, "strict": 1}), "POLICY_GATE"),
        (GateFindings(2, n_canary=1, policies={"research": 2}), "CANARY_GATE"),
        (GateFindings(4, n_open=3, policies={"research": 4}), "OPEN_GATE"),
        (GateFindings(4, policies={"research": 4}, withheld={"a": "residual", "b": "stale"}), "RESIDUAL_GATE"),
    ],
)
def test_each_gate_refuses_the_release(findings: GateFindings, code: str) -> None:
    error = judge_findings(findings, policy="research", max_open_share=0.5, max_note_leak_share=0.25)
    assert error is not None and error.code == code and int(error.exit_code) == 4


def test_limits_are_inclusive_and_a_release_of_nothing_is_refused() -> None:
    within = GateFindings(4, n_open=2, policies={"research": 4}, withheld={"a": "residual"})
    assert judge_findings(within, policy="research", max_open_share=0.5, max_note_leak_share=0.25) is None
    nothing = GateFindings(1, policies={"research": 1}, withheld={"a": "residual"})
    error = judge_findings(nothing, policy="research", max_open_share=1.0, max_note_leak_share=1.0)
    assert error is not None and error.code == "RESIDUAL_GATE"
