"""Every stage from ingest to publish on real Spark and Delta, with an eighth category that is one conf file.

The annotate stage runs in a process of its own, as it always does: no process holds both Spark and Ray.
"""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from ppsehr_spark.config import load_settings
from ppsehr_spark.domain.prompting import compile_prompts
from ppsehr_spark.domain.taxonomy import load_categories
from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.ledger_store import read_entries
from ppsehr_spark.lake.schemas import TableSpec
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.operations.volumes import measure_tables
from ppsehr_spark.privacy.verification import verify_entries
from ppsehr_spark.runtime import run_job

pytestmark = pytest.mark.spark
ROOT = Path(__file__).resolve().parent.parent.parent
JOB_TAG = "test-stages"
CANARIES = ("欧阳金丝雀", "13900001234", "沪Z·88Q66", "金丝雀路77号")
_AFTER_ANNOTATE = ("tier", "protect", "stats", "fit", "evaluate", "publish")
PLATE = """
id = "PLATE"
name = "车牌号"
priority = 60
is_tiered = true
surrogate = "placeholder"

[prompt]
definition = "机动车号牌。"
examples_yes = ["沪A·12345"]
examples_no = ["L4/5"]
tiers = ["只有省份简称", "号牌不全", "号牌完整"]

[[pattern]]
id = "PLATE.form"
regex = '[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼][A-Z]·?[A-Z0-9]{5}'
confidence = 0.95
"""
TEXTS = (
    "姓名：欧阳金丝雀,女,33岁,电话13900001234,住上海市徐汇区金丝雀路77号3幢502室。车牌沪Z·88Q66。否认梅毒病史。",
    "患者一般情况可,神志清,对答切题。双肺呼吸音清,未闻及干湿性啰音。",
    "今日王主任查房,示:患者病情平稳,继续目前治疗。",
    "午后温静出现咳嗽。",
)


def _write_source(root: Path) -> None:
    for name in ("patients", "encounters", "notes", "gold"):
        (root / name).mkdir(parents=True)
    lines = [
        {"note_id": str(i), "patient_id": f"p{i}", "note_type": "日常病程记录", "noted_at": "2023-05-01", "text": text}
        for i, text in enumerate(TEXTS)
    ]
    optional = {"encounter_id": "", "department": "内科"}
    rows = [json.dumps({**line, **optional}, ensure_ascii=False) for line in lines]
    columns = (
        "encounter_id,patient_id,encounter_type,department,admitted_at,discharged_at,diagnosis_codes,is_deceased,ward"
    )
    visits = [f"e{i},p{i},住院,心血管内科,2023-04-0{i + 1} 08:00:00,2023-04-1{i} 08:00:00,I21.900,0," for i in range(4)]
    (root / "encounters" / "a.csv").write_text("\r\n".join([columns, *visits]) + "\r\n", encoding="gb18030")
    (root / "notes" / "a.jsonl").write_text("\n".join([*rows, "{" + CANARIES[0]]) + "\n", encoding="utf-8")


def _run(stage: str, arguments: list[str]) -> int:
    return run_job(importlib.import_module(f"jobs.{stage}").STAGE, arguments)


def _run_all(base: Path, common: list[str]) -> dict[str, int]:
    codes = {"ingest": _run("ingest", [*common, "--source", str(base / "source")])}
    codes["partition"] = _run("partition", common)
    command = [sys.executable, "-m", "jobs.annotate", *common, "--set", "annotate.engine=rules"]
    codes["annotate"] = subprocess.run(command, cwd=ROOT, check=False, capture_output=True).returncode
    return {**codes, **{stage: _run(stage, common) for stage in _AFTER_ANNOTATE}}


@pytest.fixture(scope="module")
def run(spark: Any, tmp_path_factory: pytest.TempPathFactory, key_file: str) -> tuple[Lake, Path, list[str]]:
    base = tmp_path_factory.mktemp("stages")
    _write_source(base / "source")
    shutil.copytree(ROOT / "conf", base / "conf")
    (base / "conf" / "categories" / "PLATE.toml").write_text(PLATE, encoding="utf-8")
    lake = Lake(str(base / "lake"))
    common = ["--lake", lake.uri, "--profile", "ci", "--conf", str(base / "conf")]
    common += ["--set", f'identity.key_file="{key_file}"', "--set", "ingest.max_reject_share=0.5"]
    spark.sparkContext.addJobTag(JOB_TAG)
    codes = _run_all(base, common)
    spark.sparkContext.removeJobTag(JOB_TAG)
    assert set(codes.values()) == {0}, codes
    return lake, base, common


def _by_source_id(lake: Lake, spec: TableSpec) -> dict[str, dict[str, Any]]:
    ids = {r["note_key"]: r["source_note_id"] for r in lake.read(schemas.NOTES).to_pylist()}
    return {ids[r["note_key"]]: r for r in lake.read(spec).to_pylist()}


def test_an_eighth_category_of_one_conf_file_reaches_the_release(run: tuple[Lake, Path, list[str]]) -> None:
    spans = _by_source_id(run[0], schemas.ANNOTATIONS)["0"]["spans"]
    assert [TEXTS[0][s["start"] : s["end"]] for s in spans if s["category"] == "PLATE"] == ["沪Z·88Q66"]
    assert "【车牌号】" in _by_source_id(run[0], schemas.RELEASED_NOTES)["0"]["text"]


def test_statistics_and_record_model_are_paid_and_published(run: tuple[Lake, Path, list[str]]) -> None:
    lake = run[0]
    purposes = {entry.purpose for entry in read_entries(lake) if entry.kind == "commit"}
    assert purposes == {"statistics", "record_model"} and not verify_entries(read_entries(lake)).faults
    released = {row["table"] for row in lake.read(schemas.RELEASES).to_pylist()}
    assert released == {"release.notes", "release.dp_statistics"}, "no synthetic data without patients drawn"
    assert lake.read(schemas.RECORD_MODEL).num_rows > 10 and lake.read(schemas.EVALUATIONS).num_rows > 10


def test_what_is_protected_keeps_its_prose(run: tuple[Lake, Path, list[str]]) -> None:
    protected = _by_source_id(run[0], schemas.PROTECTED_NOTES)
    assert protected["1"]["text"] == TEXTS[1]
    assert not any(canary in protected["0"]["text"] for canary in CANARIES)
    assert (
        protected["2"]["text"].endswith("主任查房,示:患者病情平稳,继续目前治疗。")
        and protected["2"]["text"] != TEXTS[2]
    )
    assert {row["noted_month"] for row in protected.values()} == {"2023-04"}, "months are UTC: 2023-05-01 in China"


def test_running_again_changes_no_table(run: tuple[Lake, Path, list[str]]) -> None:
    lake, base, common = run
    data = [spec for spec in schemas.TABLES.values() if spec.zone != "control"]
    before = {spec.full_name: lake.version(spec) for spec in data}
    assert set(_run_all(base, common).values()) == {0}
    assert {spec.full_name: lake.version(spec) for spec in data} == before


@pytest.mark.exhaustive  # in short: the forced partition of test_no_log_holds_a_canary, test_running_again
def test_a_forced_run_leaves_the_same_rows(run: tuple[Lake, Path, list[str]]) -> None:
    lake, _, common = run
    specs = (schemas.RULE_ANNOTATIONS, schemas.ANNOTATIONS, schemas.PROTECTED_NOTES)
    before = [lake.read(spec).sort_by("note_key") for spec in specs]
    assert [_run(stage, [*common, "--force"]) for stage in ("partition", "tier", "protect")] == [0, 0, 0]
    assert [lake.read(spec).sort_by("note_key") for spec in specs] == before


def test_a_changed_policy_rewrites_protected_notes_and_nothing_before_them(run: tuple[Lake, Path, list[str]]) -> None:
    lake, _, common = run
    version = lake.version(schemas.ANNOTATIONS)
    strict = [*common, "--set", "protect.policy=strict"]
    assert [_run(stage, strict) for stage in ("tier", "protect")] == [0, 0]
    assert "【姓名】" in _by_source_id(lake, schemas.PROTECTED_NOTES)["0"]["text"]
    assert lake.version(schemas.ANNOTATIONS) == version
    assert _run("protect", [*common, "--force"]) == 0


def _answer(
    lake: Lake, task: str, surface: str, *, prompt: str = "judge:NAME:0", run_id: str = "r1", **said: Any
) -> None:
    """Store an answer to the one question of its task, as the annotate job would."""
    (segment,) = (row for row in lake.read(schemas.SEGMENTS).to_pylist() if row["task"] == task)
    (candidate,) = segment["candidates"]
    assert segment["text"][candidate["start"] : candidate["end"]] == surface
    place = {name: candidate[name] for name in ("start", "end", "category")}
    answer = {"segment_key": segment["segment_key"], "unit_id": "u", "outcome": "ok", "spans": [], "run_id": run_id}
    answer |= {"verdicts": [{**place, **said}], "prompts": [prompt]}
    lake.append(schemas.SEGMENT_ANNOTATIONS, pa.Table.from_pylist([answer], schema=schemas.SEGMENT_ANNOTATIONS.schema))


def test_a_tier_without_a_rule_is_high_until_the_model_proposes_one(run: tuple[Lake, Path, list[str]]) -> None:
    lake, _, common = run
    tiers = []
    for proposed in (None, 2):
        if proposed:
            _answer(lake, "tier", "沪Z·88Q66", is_accepted=None, log_odds=0.0, tier=proposed)
        assert _run("tier", common) == 0
        spans = _by_source_id(lake, schemas.ANNOTATIONS)["0"]["spans"]
        tiers += [(s["tier"], s["tier_rule"]) for s in spans if s["category"] == "PLATE"]
    assert tiers == [(3, "PLATE.3.unsure"), (2, "qwen.PLATE.2")]


def test_a_moved_threshold_is_applied_to_stored_answers_without_asking_again(run: tuple[Lake, Path, list[str]]) -> None:
    lake, _, common = run
    assert _by_source_id(lake, schemas.ANNOTATIONS)["3"]["n_open_segments"] == 1
    _answer(lake, "judge", "温静", is_accepted=True, log_odds=0.5, tier=None)
    found = {}
    for bar in ("0.0", "1.0"):
        assert _run("tier", [*common, "--set", f"annotate.judge_accept_logit={bar}"]) == 0
        note = _by_source_id(lake, schemas.ANNOTATIONS)["3"]
        found[bar] = [(s["category"], s["source"]) for s in note["spans"]]
        assert note["n_open_segments"] == 0
    assert found == {"0.0": [("NAME", "rule+qwen")], "1.0": []}


def test_the_answer_to_todays_prompt_counts_whenever_it_was_given(run: tuple[Lake, Path, list[str]]) -> None:
    lake, _, common = run
    files = load_settings("ci").files
    (today,) = compile_prompts(files, load_categories(files)).name_prompts("judge", ["NAME"])
    said = [("judge:NAME:1", "r2", False, 0), ("judge:NAME:0", "r3", True, 1), (today, "r0", False, 0)]
    for prompt, run_id, is_accepted, n_spans in said:
        odds = 0.5 if is_accepted else -0.5
        _answer(lake, "judge", "温静", prompt=prompt, run_id=run_id, is_accepted=is_accepted, log_odds=odds, tier=None)
        assert _run("tier", common) == 0
        note = _by_source_id(lake, schemas.ANNOTATIONS)["3"]
        assert (len(note["spans"]), note["n_open_segments"]) == (n_spans, 0)


def test_sizes_from_metadata_are_the_rows_that_readers_see(run: tuple[Lake, Path, list[str]]) -> None:
    lake = run[0]
    volumes = measure_tables(lake, schemas.TABLES.values())
    there = {name: volume.rows for name, volume in volumes.items() if volume.version is not None}
    assert there == {name: lake.read(schemas.TABLES[name]).num_rows for name in there} and len(there) > 12


@pytest.mark.usefixtures("run")
def test_every_spark_job_says_what_it_is_for(event_log_folder: Path) -> None:
    events = [json.loads(line) for path in _files(event_log_folder) for line in path.read_text("utf-8").splitlines()]
    started = [event["Properties"] for event in events if event["Event"] == "SparkListenerJobStart"]
    ours = [properties for properties in started if JOB_TAG in properties.get("spark.job.tags", "")]
    said = {properties.get("spark.job.description", "").split("\n")[0] for properties in ours}
    stages = {text.partition(":")[0] for text in said}
    assert len(ours) > 20 and {"ingest", "partition", "tier", "protect", "stats", "fit"} <= stages
    assert stages <= {"ingest", "partition", "tier", "protect", "stats", "fit", "Delta"}, said


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".crc")]


def test_no_log_holds_a_canary(
    run: tuple[Lake, Path, list[str]], event_log_folder: Path, key_file: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert _run("partition", [*run[2], "--force", "--explain"]) == 0
    logs = [p for p in Path(run[0].uri).rglob("*") if p.is_file() and "_delta_log" in p.parts]
    logs += [p for p in event_log_folder.rglob("*") if p.is_file()]
    assert len(logs) > 10
    said = "".join(capfd.readouterr())
    assert "partition: ok" in said
    for canary in (*CANARIES, Path(key_file).read_text(encoding="ascii")):
        assert canary not in said
        assert [p.name for p in logs if canary.encode() in p.read_bytes()] == []
