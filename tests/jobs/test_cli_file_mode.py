"""``ppsehr`` file mode from the shell: one line out per line in, exit codes, rejects, and silence about text."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from jobs import cli
from ppsehr_spark.domain.notes import Span
from ppsehr_spark.service.note_lines import read_span_line

ROOT = Path(__file__).resolve().parents[2]
CANARY = "赵钱孙"
TEXT = (
    f"入院记录\n姓名：{CANARY} 性别：男 联系电话：13812345678 身份证号：440106196501011234。\n"
    "王主任查房，否认梅毒病史。"
)
BAD_LINES = [
    (f"{CANARY} not json".encode(), "NOT_JSON", ""),
    (b"", "EMPTY_LINE", ""),
    (b"[1, 2]", "NOT_OBJECT", ""),
    (f'{{"text": "{CANARY}"}}'.encode(), "MISSING_FIELD", "note_id"),
    (b'{"note_id": "b1"}', "MISSING_FIELD", "text"),
    (b'{"note_id": "b2", "text": 5}', "WRONG_TYPE", "text"),
    (b'{"note_id": true, "text": "x"}', "WRONG_TYPE", "note_id"),
    (f'{{"note_id": "b3", "text": "{CANARY}\\u0000"}}'.encode(), "NULL_BYTE", "text"),
    (b'{"note_id": "b4", "text": "\\ud800"}', "BAD_UNICODE", "text"),
    (f'{{"note_id": "b5", "text": "{CANARY}"}}'.encode("gb18030"), "INVALID_UTF8", ""),
    (b'{"note_id": "b6", "text": "x", "age_years": 400}', "OUT_OF_RANGE", "age_years"),
    (b'{"note_id": "b7", "text": "x", "note_type": []}', "WRONG_TYPE", "note_type"),
    (b'{"note_id": "b8", "text": "' + b"x" * 300_001 + b'"}', "TEXT_TOO_LONG", "text"),
    (b'{"note_id": "b9", "text": "' + b"x" * 4_000_000 + b'"}', "LINE_TOO_LONG", ""),
    (b"[" * 100_000, "NOT_JSON", ""),
]


def good_line(note_id: Any, text: str = TEXT, **more: Any) -> bytes:
    return json.dumps({"note_id": note_id, "text": text, **more}, ensure_ascii=False).encode()


def write(path: Path, lines: Sequence[bytes]) -> Path:
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def keyed(key_file: str) -> list[str]:
    return ["--set", f"identity.key_file={key_file}"]


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    return write(tmp_path / "notes.jsonl", [good_line("n1"), good_line(2, patient_id="p"), good_line("n3", "")])


def test_annotate_writes_offsets_that_quote_the_text(notes: Path, tmp_path: Path) -> None:
    out = tmp_path / "spans.jsonl"
    assert cli.main(["annotate", str(notes), "--out", str(out)]) == 0
    rows = read(out)
    assert [row["note_id"] for row in rows] == ["n1", 2, "n3"]
    found = {(TEXT[s["start"] : s["end"]], s["category"]) for s in rows[0]["spans"]}
    assert {(CANARY, "NAME"), ("13812345678", "CONTACT"), ("440106196501011234", "ID"), ("王", "NAME")} <= found
    std = next(s for s in rows[0]["spans"] if s["category"] == "STD")
    assert std["tier"] == 1 and std["source"] == "rule" and 0 < std["confidence"] <= 1
    assert rows[2]["spans"] == []
    assert not out.with_name("spans.jsonl.rejects.jsonl").exists()


def test_explain_names_rules_and_versions_but_no_text(notes: Path, tmp_path: Path) -> None:
    out = tmp_path / "spans.jsonl"
    assert cli.main(["annotate", str(notes), "--out", str(out), "--explain"]) == 0
    first, _, empty = read(out)
    assert len(first["knowledge_version"]) == 16 and empty["knowledge_version"] == first["knowledge_version"]
    assert {s["rule"].split(".")[0] for s in first["spans"]} == {"NAME", "CONTACT", "ID", "STD"}
    assert next(s["tier_rule"] for s in first["spans"] if s["category"] == "STD").startswith("STD.1.")
    assert CANARY not in out.read_text(encoding="utf-8")


def test_bad_lines_get_one_output_line_and_one_reject_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path / "in.jsonl", [good_line("first"), *(raw for raw, _, _ in BAD_LINES), good_line("last")])
    out = tmp_path / "out.jsonl"
    assert cli.main(["annotate", str(source), "--out", str(out), "--set", "ingest.max_reject_share=0.95"]) == 0
    rows = read(out)
    assert len(rows) == len(BAD_LINES) + 2
    assert [row.get("error") for row in rows] == [None, *(reason for _, reason, _ in BAD_LINES), None]
    assert all(row["spans"] == [] for row in rows[1:-1])
    rejects = read(tmp_path / "out.jsonl.rejects.jsonl")
    assert [(r["field"], r["reason"]) for r in rejects] == [(field, reason) for _, reason, field in BAD_LINES]
    assert [r["line"] for r in rejects] == list(range(2, len(BAD_LINES) + 2))
    assert all(set(r) == {"line", "field", "reason"} for r in rejects)
    said = capsys.readouterr()
    assert CANARY not in said.err + said.out


def test_too_many_rejects_are_exit_code_4_with_the_output_in_place(tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", [good_line("n1"), b"x", b"y"])
    assert cli.main(["annotate", str(source), "--out", str(tmp_path / "o")]) == 4
    assert len(read(tmp_path / "o")) == 3
    write(source, [good_line("n1")])
    assert cli.main(["annotate", str(source), "--out", str(tmp_path / "o")]) == 0
    assert not (tmp_path / "o.rejects.jsonl").exists(), "rejects of an earlier run must not linger"


def test_gzip_is_read_and_a_torn_one_keeps_its_complete_lines(tmp_path: Path) -> None:
    lines = [good_line(f"n{i}", f"姓名：{CANARY}{i}。" + os.urandom(200).hex()) for i in range(300)]
    whole = gzip.compress(b"".join(line + b"\n" for line in lines))
    source, out = tmp_path / "in.jsonl.gz", tmp_path / "out.jsonl"
    source.write_bytes(whole)
    assert cli.main(["annotate", str(source), "--out", str(out)]) == 0
    assert len(read(out)) == 300
    source.write_bytes(whole[: len(whole) // 2])
    assert cli.main(["annotate", str(source), "--out", str(out)]) == 4
    rows = read(out)
    assert 50 < len(rows) < 300
    assert all("error" not in row for row in rows)
    assert [r["reason"] for r in read(tmp_path / "out.jsonl.rejects.jsonl")] == ["TORN_GZIP"]


def test_an_empty_file_is_not_a_success(tmp_path: Path) -> None:
    source = write(tmp_path / "empty.jsonl", [])
    assert cli.main(["annotate", str(source), "--out", str(tmp_path / "o")]) == 4
    assert read(tmp_path / "o") == []
    assert read(tmp_path / "o.rejects.jsonl") == [{"line": 0, "field": "", "reason": "EMPTY_FILE"}]


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["{tmp}/nope.jsonl", "--out", "{tmp}/o"], 2, "NO_SUCH_FILE"),
        (["{tmp}", "--out", "{tmp}/o"], 2, "NOT_A_FILE"),
        (["{notes}", "--out", "{tmp}/nowhere/o"], 2, "NO_SUCH_FOLDER"),
        (["{notes}", "--out", "{notes}"], 2, "SAME_FILE"),
        (["{notes}", "--out", "{tmp}/o", "--profile", "nope"], 3, "UNKNOWN_PROFILE"),
        (["{notes}", "--out", "{tmp}/o", "--set", "a.b=1"], 3, "UNKNOWN_KEY"),
    ],
)
def test_clear_errors(
    arguments: list[str], code: int, word: str, notes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    filled = [argument.format(tmp=tmp_path, notes=notes) for argument in arguments]
    assert cli.main(["annotate", *filled]) == code
    assert word in capsys.readouterr().err
    assert not (tmp_path / "o").exists()
    assert not list(tmp_path.glob(".*.tmp"))


def test_protect_hides_what_annotate_found(notes: Path, tmp_path: Path, key_file: str) -> None:
    spans, out = tmp_path / "spans.jsonl", tmp_path / "protected.jsonl"
    assert cli.main(["annotate", str(notes), "--out", str(spans)]) == 0
    arguments = ["protect", str(notes), "--spans", str(spans), "--out", str(out), *keyed(key_file)]
    assert cli.main(arguments) == 0
    rows = read(out)
    assert [row["note_id"] for row in rows] == ["n1", 2, "n3"]
    for row in rows[:2]:
        assert not any(value in row["text"] for value in (CANARY, "13812345678", "440106196501011234"))
        assert row["text"].startswith("入院记录\n姓名：") and "否认梅毒病史" in row["text"]
    assert rows[0]["text"] != rows[1]["text"], "another patient, another fiction"
    first = out.read_bytes()
    assert cli.main(arguments) == 0
    assert out.read_bytes() == first
    assert cli.main([*arguments, "--policy", "strict", "--with-spans"]) == 0
    strict = read(out)[0]
    assert "姓名：【姓名】 性别" in strict["text"]
    assert "【姓名】" in {strict["text"][s["start"] : s["end"]] for s in strict["spans"]}


def test_protect_never_passes_a_note_through_without_spans(tmp_path: Path, key_file: str) -> None:
    source = write(tmp_path / "in.jsonl", [good_line(name) for name in ("none", "failed", "far", "bad", "fine")])
    span_lines = [
        b'{"note_id": "fine", "spans": []}',
        b'{"note_id": "failed", "spans": [], "error": "INTERNAL_ERROR"}',
        b'{"note_id": "far", "spans": [{"start": 0, "end": 9999, "category": "NAME"}]}',
        b'{"note_id": "bad", "spans": [{"start": 3, "end": 3, "category": "NAME"}]}',
    ]
    spans = write(tmp_path / "spans.jsonl", span_lines)
    out = tmp_path / "out.jsonl"
    arguments = ["protect", str(source), "--spans", str(spans), "--out", str(out), *keyed(key_file)]
    assert cli.main(arguments) == 4
    rows = {row["note_id"]: row for row in read(out)}
    expected = {"none": "MISSING_SPANS", "failed": "ERROR_LINE", "far": "SPAN_RANGE", "bad": "OUT_OF_RANGE"}
    assert {name: row["error"] for name, row in rows.items() if "error" in row} == expected
    assert all(rows[name]["text"] == "" for name in expected)
    assert rows["fine"]["text"] == TEXT
    assert {"line": 3, "field": "spans[0]", "reason": "SPAN_RANGE"} in read(tmp_path / "out.jsonl.rejects.jsonl")


def test_repeated_ids_take_their_span_lines_in_order(tmp_path: Path, key_file: str) -> None:
    source = write(tmp_path / "in.jsonl", [good_line("n", "王建国"), good_line("n", "患者李四光")])
    spans = write(
        tmp_path / "spans.jsonl",
        [
            b'{"note_id": "n", "spans": [{"start": 0, "end": 3, "category": "NAME"}]}',
            b'{"note_id": "n", "spans": [{"start": 2, "end": 5, "category": "NAME"}]}',
        ],
    )
    out = tmp_path / "out.jsonl"
    arguments = ["protect", str(source), "--spans", str(spans), "--policy", "strict", "--out", str(out)]
    assert cli.main([*arguments, *keyed(key_file)]) == 0
    assert [row["text"] for row in read(out)] == ["【姓名】", "患者【姓名】"]


def test_a_torn_span_file_or_unknown_policy_writes_nothing(notes: Path, tmp_path: Path, key_file: str) -> None:
    torn = tmp_path / "spans.jsonl.gz"
    torn.write_bytes(gzip.compress(os.urandom(3_000).hex().encode())[:-40])
    out = tmp_path / "out.jsonl"
    common = ["protect", str(notes), "--out", str(out), *keyed(key_file)]
    assert cli.main([*common, "--spans", str(torn)]) == 4
    spans = write(tmp_path / "spans.jsonl", [])
    assert cli.main([*common, "--spans", str(spans), "--policy", "nope"]) == 2
    assert not out.exists()


def test_many_lines_in_processes_give_the_same_bytes(tmp_path: Path, key_file: str) -> None:
    lines = [good_line(f"n{i}", f"姓名：王建{'国军强'[i % 3]} 电话13{i:09}。") for i in range(2_300)]
    lines[7], lines[2_100] = b"bad", b"worse"
    source = write(tmp_path / "in.jsonl", lines)
    outputs = []
    for jobs in ("1", "2"):
        spans, out = tmp_path / f"spans{jobs}", tmp_path / f"out{jobs}"
        assert cli.main(["annotate", str(source), "--out", str(spans), "--jobs", jobs]) == 0
        protect = ["protect", str(source), "--spans", str(spans), "--out", str(out), "--jobs", jobs]
        assert cli.main([*protect, *keyed(key_file)]) == 0
        outputs.append((spans.read_bytes(), out.read_bytes(), (tmp_path / f"out{jobs}.rejects.jsonl").read_bytes()))
    assert outputs[0] == outputs[1]
    assert outputs[0][0].count(b"\n") == 2_300


def test_cascade_with_the_engine_that_needs_no_model(notes: Path, tmp_path: Path, key_file: str) -> None:
    plain, cascade = tmp_path / "plain", tmp_path / "cascade"
    assert cli.main(["annotate", str(notes), "--out", str(plain)]) == 0
    arguments = ["annotate", str(notes), "--out", str(cascade), "--engine", "cascade"]
    silent = ["--set", "annotate.engine=rules", "--set", "partition.tagger=none"]
    assert cli.main([*arguments, *silent, *keyed(key_file)]) == 0
    spans = [read_span_line(line) for line in cascade.read_bytes().splitlines()]
    assert spans == [read_span_line(line) for line in plain.read_bytes().splitlines()]
    assert isinstance(spans[0], tuple) and isinstance(spans[0][1][0], Span)


def test_the_tagger_of_conf_reads_beside_the_rules(tmp_path: Path, key_file: str) -> None:
    notes = write(tmp_path / "news.jsonl", [good_line("n1", "主教练温格认为球队踢得不错。")])
    out = tmp_path / "spans.jsonl"
    arguments = ["annotate", str(notes), "--out", str(out), "--engine", "cascade", "--explain"]
    assert cli.main([*arguments, "--set", "annotate.engine=rules", *keyed(key_file)]) == 0
    (line,) = read(out)
    assert [(s["start"], s["end"], s["category"]) for s in line["spans"]] == [(3, 5, "NAME")]
    assert "tagger" in line["spans"][0]["source"]
    assert line["tagger"].startswith("crf:") and line["engine"] == "rules"


def ppsehr(*arguments: str, stdin: bytes = b"", path: Path = ROOT) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "jobs.cli", *arguments]
    return subprocess.run(
        command, input=stdin, capture_output=True, cwd=path, env=environment, timeout=120, check=False
    )


def test_pipes_carry_only_json_on_standard_output(key_file: str, tmp_path: Path) -> None:
    done = ppsehr("annotate", "-", "--out", "-", stdin=good_line("n1") + b"\n")
    assert done.returncode == 0
    row = json.loads(done.stdout)
    assert row["note_id"] == "n1" and row["spans"]
    assert CANARY.encode() not in done.stderr
    spans = tmp_path / "spans.jsonl"
    spans.write_bytes(done.stdout)
    arguments = ("protect", "-", "--spans", str(spans), "--out", "-", *keyed(key_file))
    protected = ppsehr(*arguments, stdin=gzip.compress(good_line("n1") + b"\n"))
    assert protected.returncode == 0
    assert CANARY not in json.loads(protected.stdout)["text"]


def test_help_is_quick_and_imports_no_engine() -> None:
    code = (
        "import sys\nfrom jobs import cli\n"
        "try:\n    cli.main(['--help'])\nexcept SystemExit as stop:\n    assert stop.code == 0\n"
        "engines = {'pyspark', 'ray', 'torch', 'transformers', 'vllm', 'deltalake', 'pyarrow', 'pandas', 'numpy'}\n"
        "assert not engines & set(sys.modules), engines & set(sys.modules)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert all(name in done.stdout.decode() for name in cli.COMMANDS)


@pytest.mark.parametrize("command", ["annotate", "protect", "preview", "evaluate", "conf"])
def test_every_door_explains_itself_with_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main([command, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "examples:" in text and f"ppsehr {command}" in text


@pytest.mark.parametrize("arguments", [[], ["nope"], ["annotate"], ["annotate", "x"], ["evaluate", "x"]])
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
