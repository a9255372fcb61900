"""The prose language: what it compiles, what it refuses, and that the shipped prose asks for nothing unknown."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ppsehr_spark.synthesis.simulator.dice import Dice
from ppsehr_spark.synthesis.simulator.draft import Draft, Fragment, join, mark
from ppsehr_spark.synthesis.simulator.grammar import compile_line, compile_template, slot_names
from ppsehr_spark.synthesis.simulator.scene import SLOTS
from ppsehr_spark.synthesis.simulator.writer import Writer, load_layouts, load_topics

_FIXED = {"drug1", "drug2", "code", "dept", "symptom", "sign", "dur", "drughtn", "mrn", "bed", "insno", "job",
          "ethnic", "sexword", "amen", "weeks", "amen0", "early", "staydays"}  # fmt: skip
_STAFF = {"doctor", "attending", "chief", "anaes", "nurse", "radiologist", "radiologist2", "technician", "technician2"}


def render(template: str, **values: Fragment | str) -> tuple[str, list[tuple[str, str, int | None]]]:
    writer = Writer(Dice(1), flags=set(), resolve=values.__getitem__, recurrence=0.5, memory={})
    writer._run(compile_template(template))
    text, spans = writer.draft.finish()
    return text, [(text[s.start : s.end], s.category, s.tier) for s in spans]


def test_marks_and_slots() -> None:
    text, spans = render(
        "患者<N|{who}>，<S1|否认[梅毒]病史>，住{home}。", who="张三", home=mark("北京市", "ADDRESS", 1)
    )
    assert text == "患者张三，否认梅毒病史，住北京市。"
    assert spans == [("张三", "NAME", None), ("否认梅毒病史", "STD", 1), ("北京市", "ADDRESS", 1)]


def test_choice_and_range() -> None:
    text, spans = render("[甲|甲]{3~3}次{0.50~0.50}")
    assert (text, spans) == ("甲3次0.50", [])


def test_current_pregnancy_waits_for_the_facts_of_the_note() -> None:
    assert render("<Pc|停经38天>。")[1] == [("停经38天", "PREGNANCY", 2)]
    assert render("<Pc|停经38天>。<+unmarried|未婚>。")[1] == [("停经38天", "PREGNANCY", 3)]
    assert render("<S3|TPPA阳性>，<Pc|停经38天>。")[1][1] == ("停经38天", "PREGNANCY", 3)
    assert render("配偶<Sk3|HIV感染>，<Pc|停经38天>。")[1][1] == ("停经38天", "PREGNANCY", 2)


def test_guards() -> None:
    line = compile_line("?F,!ob,0.25 文本")
    assert line.fits({"F"}) and not line.fits({"F", "ob"}) and not line.fits({"M"})
    assert line.probability == 0.25


@pytest.mark.parametrize("broken", ["[甲|乙", "<X|甲>", "甲>"])
def test_broken_templates_are_refused(broken: str) -> None:
    if broken == "甲>":
        assert render(broken)[0] == broken  # a lone closing sign is text
        return
    with pytest.raises(ValueError, match=r"choice without end|unknown mark"):
        compile_template(broken)


def test_shipped_prose_asks_for_nothing_unknown() -> None:
    lines = [line for stock, fresh in load_topics().values() for line in (*stock, *fresh)]
    lines += [line for layout in load_layouts().values() for line in layout]
    wanted = set().union(*(slot_names(line.program) for line in lines))
    assert {name[1:] for name in wanted if name.startswith("@")} == set(load_topics())
    plain = {name for name in wanted if not name.startswith("@")}
    assert plain <= set(SLOTS) | _FIXED | _STAFF
    assert set(SLOTS) - plain <= {"hospy", "complaint"}


def test_fragments_keep_offsets() -> None:
    joined = join("由", mark("王", "NAME"), "主任")
    draft = Draft()
    draft.add("请")
    draft.add(joined)
    text, spans = draft.finish()
    assert text == "请由王主任"
    assert [(s.start, s.end) for s in spans] == [(2, 3)]


def test_gold_does_not_lean_on_the_rules_it_judges() -> None:
    code = (
        "import sys, ppsehr_spark.synthesis.simulator as s; from ppsehr_spark.config import SimulateSettings; "
        "s.simulate_patient(0, SimulateSettings()); bad = [m for m in sys.modules if m in ('pyspark', 'pyarrow', "
        "'pandas', 'ray', 'torch') or m.startswith(('ppsehr_spark.domain.rules', 'ppsehr_spark.spark'))]; "
        "sys.exit(str(bad) if bad else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0
