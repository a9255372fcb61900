"""Compiled recognisers say exactly what the Python ones say, and an edited source is never answered by an old build."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ppsehr_spark.domain import acceleration

HOME = Path(__file__).resolve().parent.parent.parent
READ_GOLD = """
import hashlib, json
from pathlib import Path
from ppsehr_spark.config import load_settings
from ppsehr_spark.domain import acceleration
from ppsehr_spark.domain.notes import Note
from ppsehr_spark.domain.rules import compile_rules, engine
told = hashlib.sha256()
rules = compile_rules(load_settings().files)
for path in sorted(Path("tests/data/gold").glob("*.jsonl")):
    for line in path.read_text(encoding="utf-8").splitlines()[:40]:
        row = json.loads(line)
        note = Note(row["note_id"], row["text"])
        told.update(repr(rules.finalise(note, rules.propose(note))).encode())
print(json.dumps([acceleration.is_compiled(), Path(engine.__file__).suffix, told.hexdigest()]))
"""


def read_gold(compiled: str) -> list[object]:
    environment = {**os.environ, acceleration.FOLDER_VARIABLE: compiled}
    shown = subprocess.run(
        [sys.executable, "-c", READ_GOLD], cwd=HOME, env=environment, capture_output=True, check=True
    )
    answer: list[object] = json.loads(shown.stdout)
    return answer


def test_compiled_and_python_give_the_same_spans() -> None:
    spec = importlib.util.spec_from_file_location("compile_rules", HOME / "scripts" / "compile_rules.py")
    assert spec and spec.loader
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    if not script.has_compiler():
        pytest.skip("no C compiler here: there is nothing to compare")
    compiled, plain = read_gold(""), read_gold("off")
    assert compiled[:2] == [True, ".so"], "set-up compiles the sources as they are: run make setup after an edit"
    assert plain[:2] == [False, ".py"]
    assert compiled[2] == plain[2]


def test_every_source_and_the_interpreter_decide_the_build(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    edited = tmp_path / "engine.py"
    edited.write_text("x = 1\n", encoding="utf-8")
    names = [acceleration.build_name()]
    for sources, machine in (([edited], "x86_64"), ([edited], "aarch64")):
        monkeypatch.setattr(acceleration, "list_sources", lambda sources=sources: sources)
        monkeypatch.setattr(acceleration.platform, "machine", lambda machine=machine: machine)
        acceleration.build_name.cache_clear()
        names.append(acceleration.build_name())
    monkeypatch.undo()
    acceleration.build_name.cache_clear()
    assert len(set(names)) == 3


def test_protocols_and_what_travels_between_processes_stay_python() -> None:
    names = {path.name for path in acceleration.list_sources()}
    assert "engine.py" in names
    assert not names & {"__init__.py", "grammars.py", "notes.py", "segments.py"}
