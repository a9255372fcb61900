"""The evolve job without a model: a version, a refusal with figures, a step back, and silence about text."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from jobs.evolve import main
from ppsehr_spark.config import read_conf_files
from ppsehr_spark.domain.knowledge.applying import apply_entries
from ppsehr_spark.domain.notes import Span
from ppsehr_spark.domain.rules import compile_rules
from ppsehr_spark.errors import ExitCode
from ppsehr_spark.evaluation.gold_markup import GoldNote, format_gold, split_of
from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.knowledge_store import read_current, read_history
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.runtime import RunContext, Stage, StageResult, run_job

ROOT = Path(__file__).resolve().parents[2]
KEPT = ("HOSPITAL", "NAME", "STD")
CANARY = "欧阳金丝雀"
TEXTS = (
    f"患者{CANARY}因雅司病于红星疗养所住院，王主任查房，患者好转。",
    "患者否认雅司病史，转入临江疗养所。患者诉头痛。",
    "患者无雅司病，今日于西山疗养所出院，患者满意。",
    "患者神志清，双肺呼吸音清，患者家属在旁。",
)
MARKED = ("雅司病", "否认雅司病史", "无雅司病", "红星疗养所", "临江疗养所", "西山疗养所")


def spans_of(text: str) -> tuple[Span, ...]:
    found = [(text.find(word), word) for word in MARKED if word in text]
    longest = [(at, w) for at, w in found if not any(w != other and w in other for _, other in found)]
    spans = [Span(at, at + len(w), "HOSPITAL" if "所" in w else "STD", None if "所" in w else 1) for at, w in longest]
    for word in (CANARY, "王"):
        spans += [Span(text.find(word), text.find(word) + len(word), "NAME")] if word in text else []
    return tuple(sorted(spans, key=lambda span: span.start))


@pytest.fixture
def gold(tmp_path: Path) -> str:
    ids = (f"g{i}" for i in range(1_000))
    dev = [note_id for note_id in ids if split_of(note_id) == "dev"][: len(TEXTS)]
    notes = [GoldNote(i, "病程", "test", (), text, spans_of(text)) for i, text in zip(dev, TEXTS, strict=True)]
    (tmp_path / "gold").mkdir()
    (tmp_path / "gold" / "a.gold.txt").write_text(format_gold(notes), encoding="utf-8")
    return str(tmp_path / "gold")


@pytest.fixture
def evolve(tmp_path: Path, key_file: str) -> Callable[..., int]:
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    for path in (tmp_path / "conf" / "categories").iterdir():
        if path.stem not in KEPT:
            path.unlink()
    plan = tmp_path / "conf" / "knowledge.toml"
    head, *slots = plan.read_text(encoding="utf-8").split("\n[[slot]]\n")
    kept = [slot for slot in slots if any(f'category = "{name}"' in slot for name in (*KEPT, "*"))]
    plan.write_text("\n[[slot]]\n".join([head, *kept]), encoding="utf-8")
    common = ["--lake", str(tmp_path / "lake"), "--profile", "ci", "--conf", str(tmp_path / "conf")]
    return lambda *more: main([*common, "--set", f'identity.key_file="{key_file}"', *more])


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(str(tmp_path / "lake"))
    rows = [
        {"note_key": f"n{i}", "patient_key": "p", "text_hash": f"h{i}", "text": text, "n_chars": len(text)}
        for i, text in enumerate(TEXTS)
    ]
    _write(lake, schemas.NOTES, rows)
    return lake


def _write(lake: Lake, spec: Any, rows: list[dict[str, Any]]) -> None:
    write_deltalake(lake.table_uri(spec), pa.Table.from_pylist(rows, schema=spec.schema), mode="overwrite")


def correct(lake: Lake, *words: tuple[int, str, str, str, str]) -> None:
    """Corrections as (note, text, category, action, author); tier 1 where the category has tiers."""
    rows = []
    for at, (n, text, category, action, author) in enumerate(words):
        start = TEXTS[n].find(text)
        tier = 1 if category == "STD" and action == "add" else None
        place = {"note_key": f"n{n}", "text_hash": f"h{n}", "start": start, "end": start + len(text)}
        said = {"category": category, "tier": tier, "action": action, "author": author}
        rows.append({"correction_key": f"k{at}", "made_at": datetime(2024, 1, 1, 0, at, tzinfo=UTC), **place, **said})
    _write(lake, schemas.CORRECTIONS, rows)


def test_gold_teaches_a_version_that_says_what_it_can_touch(evolve: Any, lake: Lake, gold: str, capsys: Any) -> None:
    assert evolve("--gold", gold, "--run-id", "r1") == 0
    current = read_current(lake)
    assert current.version == 1 and {entry.text for entry in current.entries} >= {"雅司病", "疗养所"}
    (row,) = read_history(lake)
    assert (row["action"], row["n_touched_notes"], row["n_notes"], row["engine"]) == ("version", 3, 4, "none")
    assert row["macro_after"] > row["macro_before"] and row["knowledge_version"] != row["conf_version"]
    figures = json.loads(row["figures"])
    assert all(figures["after"][name] >= value for name, value in figures["before"].items())
    assert all(e.provenance.cluster_id and e.provenance.run_id == "r1" for e in current.entries)
    # what is left under the new version is looked at once more; then there is nothing to do
    for n_rows, said in ((2, "n_accepted=0"), (2, "unchanged")):
        assert evolve("--gold", gold) == 0 and len(read_history(lake)) == n_rows
        assert said in capsys.readouterr().err
    assert [row["action"] for row in read_history(lake)] == ["version", "refusal"]


def test_a_step_back_is_recorded_and_learning_may_begin_again(evolve: Any, lake: Lake, gold: str, capsys: Any) -> None:
    assert evolve("--gold", gold) == 0
    assert evolve("--rollback", "0") == 0 and read_current(lake).entries == ()
    assert read_history(lake)[-1]["n_touched_notes"] == 3
    assert evolve("--gold", gold) == 0 and read_current(lake).version == 0  # what was taken back is not learned again
    assert "n_withdrawn=2" in capsys.readouterr().err
    assert evolve("--rollback", "1") == 0 and read_current(lake).version == 1
    assert evolve("--rollback", "7") == ExitCode.USAGE
    capsys.readouterr()
    assert evolve("--list") == 0
    listed = capsys.readouterr().out
    assert "in force: version 1" in listed and "rollback" in listed and "疗养所" not in listed
    assert main(["--lake", lake.uri, "--show", "1"]) == 0
    assert "疗养所" in capsys.readouterr().out  # the one place where terms are printed, and only when asked for
    assert main(["--lake", lake.uri, "--show", "9"]) == ExitCode.USAGE


def test_conf_with_the_version_in_force_can_be_written_for_file_mode(
    evolve: Any, lake: Lake, gold: str, tmp_path: Path
) -> None:
    assert evolve("--gold", gold) == 0
    target = tmp_path / "learned"
    assert evolve("--export", str(target)) == 0 and evolve("--export", str(target)) == ExitCode.USAGE
    files = read_conf_files(str(target))
    assert "疗养所" in files["lexicons/hospital_kinds.tsv"]
    applied = apply_entries(read_conf_files(str(tmp_path / "conf")), read_current(lake).entries)
    assert compile_rules(files).knowledge_version == compile_rules(applied).knowledge_version


def test_corrections_alone_teach_too(evolve: Any, lake: Lake) -> None:
    correct(lake, *((n, word, "STD", "add", "dr.a") for n, word in enumerate(("雅司病", "否认雅司病史", "无雅司病"))))
    assert evolve() == 0
    assert [entry.text for entry in read_current(lake).entries] == ["雅司病"]
    assert read_history(lake)[0]["n_reviewed"] == 3


def test_a_poisoned_correction_is_refused_with_figures(evolve: Any, lake: Lake, gold: str) -> None:
    """Somebody marks 患者 as a name in every note of the lake."""
    assert evolve("--gold", gold) == 0
    correct(lake, *((n, "患者", "NAME", "add", "eve") for n in range(4)))
    assert evolve("--gold", gold) == 0
    row = read_history(lake)[-1]
    assert (row["action"], row["version"]) == ("refusal", 1)
    trial = next(trial for trial in row["trials"] if trial["text"] == "患者")
    assert trial["outcome"] == "CATEGORY_FALLS" and "NAME@gold" in trial["fallen"]
    assert trial["macro_after"] is not None and json.loads(trial["figures_after"])["NAME@gold"] < 1
    assert [e.text for e in read_current(lake).entries] == [e["text"] for e in row["entries"]]


def test_contradicting_corrections_are_reported_and_not_learned(
    evolve: Any, lake: Lake, gold: str, capsys: Any
) -> None:
    correct(lake, (0, "雅司病", "STD", "add", "dr.a"), (0, "雅司病", "STD", "remove", "dr.b"))
    assert evolve("--gold", gold) == 0
    row = read_history(lake)[0]
    assert row["conflicts"] == ["k0", "k1"] and row["n_reviewed"] == 4
    assert "n_conflicts=2" in capsys.readouterr().err


def test_a_dry_run_counts_and_writes_nothing(evolve: Any, lake: Lake, gold: str, capsys: Any) -> None:
    assert evolve("--gold", gold, "--dry-run") == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["n_mistakes"] >= 6 and plan["n_induced"] > 0 and plan["writes"] == ["phi.knowledge"]
    assert lake.version(schemas.KNOWLEDGE) is None


def test_nothing_reviewed_is_an_error_with_a_hint(evolve: Any, capsys: Any) -> None:
    assert evolve() == ExitCode.QUALITY_GATE
    assert "NOTHING_REVIEWED" in capsys.readouterr().err


def test_no_text_leaves_but_into_phi(evolve: Any, lake: Lake, gold: str, capsys: Any) -> None:
    correct(lake, (0, CANARY, "NAME", "remove", "dr.a"), (1, "患者", "NAME", "add", "dr.a"))
    assert evolve("--gold", gold, "--explain") == 0
    assert evolve("--list") == 0
    said = capsys.readouterr()
    told = (
        said.out
        + said.err
        + json.dumps([lake.read(s).to_pylist() for s in (schemas.RUNS, schemas.AUDIT_LOG)], default=str)
    )
    logs = Path(lake.table_uri(schemas.KNOWLEDGE), "_delta_log").glob("*.json")
    told += "".join(path.read_text(encoding="utf-8") for path in logs)
    assert not [word for word in (CANARY, "雅司", "疗养", "患者") if word in told]


def test_stages_on_a_lake_run_with_the_version_in_force(
    evolve: Any, lake: Lake, gold: str, tmp_path: Path, key_file: str
) -> None:
    assert evolve("--gold", gold) == 0
    seen: dict[str, tuple[bool, bool]] = {}

    def body(context: RunContext) -> StageResult:
        path = "lexicons/std_terms.tsv"
        seen[context.stage] = ("雅司病" in context.settings.files[path], "雅司病" in context.conf[path])
        return StageResult()

    arguments = ["--lake", lake.uri, "--profile", "ci", "--conf", str(tmp_path / "conf")]
    for uses_knowledge in (True, False):
        stage = Stage(f"uses_{uses_knowledge}", "a sample", body, uses_knowledge=uses_knowledge)
        assert run_job(stage, [*arguments, "--set", f'identity.key_file="{key_file}"']) == 0
    assert seen == {"uses_True": (True, False), "uses_False": (False, False)}


@pytest.mark.parametrize("job", ["partition", "annotate", "tier", "publish"])
def test_every_job_that_compiles_rules_or_prompts_uses_it(job: str) -> None:
    assert "uses_knowledge=True" in (ROOT / "jobs" / f"{job}.py").read_text(encoding="utf-8")


def test_a_new_version_and_a_step_back_change_what_a_finished_stage_depends_on(
    evolve: Any, lake: Lake, gold: str, tmp_path: Path, key_file: str
) -> None:
    ran: list[str] = []
    stage = Stage(
        "sample", "a sample", lambda context: ran.append(context.run_id) or StageResult(), inputs=(schemas.NOTES,),
        conf_files=("lexicons/",), uses_knowledge=True,
    )  # fmt: skip
    common = ["--lake", lake.uri, "--profile", "ci", "--conf", str(tmp_path / "conf")]
    common += ["--set", f'identity.key_file="{key_file}"']
    for run_id, change in (("a", []), ("b", []), ("c", ["--gold", gold]), ("d", []), ("e", ["--rollback", "0"])):
        assert not change or evolve(*change) == 0
        assert run_job(stage, [*common, "--run-id", run_id]) == 0
    assert ran == ["a", "c", "e"]  # b and d: nothing new; e: conf alone as in a, but the tables are those of c
