"""Compiled code does exactly what the Python code does, and an edited source is never answered by an old build."""

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
from ppsehr_spark.domain.protection import compile_protector, load_policies, protector
from ppsehr_spark.domain.rules import compile_rules, engine
from ppsehr_spark.evaluation.gold_markup import read_gold
files = load_settings().files
rules, key = compile_rules(files), bytes(range(32))
protectors = [compile_protector(files, policy, key) for policy in load_policies(files)]
told, n_spans = hashlib.sha256(), 0
for gold in read_gold(Path("tests/data/gold"))[::5]:
    note = Note(gold.note_id, gold.text, gold.note_type)
    proposed = rules.propose(note)
    final = rules.finalise(note, proposed)
    protected = [one.protect(note, final, gold.note_id) for one in protectors]
    told.update(repr((proposed, final, [(p.text, p.n_spans, p.spans, p.n_residual) for p in protected])).encode())
    n_spans += len(final)
suffixes = [Path(module.__file__).suffix for module in (engine, protector)]
print(json.dumps([acceleration.is_compiled(), *suffixes, n_spans, told.hexdigest()]))
"""


def read_gold(compiled: str) -> list[object]:
    environment = {**os.environ, acceleration.FOLDER_VARIABLE: compiled}
    shown = subprocess.run(
        [sys.executable, "-c", READ_GOLD], cwd=HOME, env=environment, capture_output=True, check=True
    )
    answer: list[object] = json.loads(shown.stdout)
    return answer


def test_compiled_and_python_give_the_same_spans_and_protected_texts() -> None:
    spec = importlib.util.spec_from_file_location("compile_rules", HOME / "scripts" / "compile_rules.py")
    assert spec and spec.loader
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    if not script.has_compiler():
        pytest.skip("no C compiler here: there is nothing to compare")
    compiled, plain = read_gold(""), read_gold("off")
    assert compiled[:3] == [True, ".so", ".so"], "set-up compiles the sources as they are: run make setup after an edit"
    assert plain[:3] == [False, ".py", ".py"]
    assert isinstance(plain[3], int) and plain[3] > 1000
    assert compiled[3:] == plain[3:]


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
    assert {"engine.py", "protector.py"} <= names
    assert not names & {"__init__.py", "grammars.py", "notes.py", "segments.py"}
