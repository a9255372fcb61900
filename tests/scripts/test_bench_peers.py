"""Peers as processes: labels, overlaps, absence with a reason, and the bench from end to end against a toy peer."""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ppsehr_spark.domain.notes import Span
from ppsehr_spark.errors import ConfigurationError

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
TOY = """import json, sys
print(json.dumps({"ready": "toy 1.0", "note": "for a test"}), flush=True)
for line in sys.stdin:
    text = json.loads(line)["text"]
    at = text.find("杭州")
    spans = [[at, at + 2, "ADDRESS"]] if at >= 0 else []
    print(json.dumps({"spans": spans, "cpu_s": 0.001, "failed": "坏" in text}), flush=True)
"""


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module


@pytest.fixture
def runs(load: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The client, its peers replaced by a script; ``tmp_path/bench_peers.py`` may be written anew."""
    module: ModuleType = load("bench_peer_runs")
    (tmp_path / "bench_peers.py").write_text(TOY, encoding="utf-8")
    monkeypatch.setattr(module, "__file__", str(tmp_path / "bench_peer_runs.py"))
    return module


def test_words_become_spans_and_neighbouring_places_one(load: Any) -> None:
    peers = load("bench_peers")
    words = [
        ("住", "v"),
        ("杭州市", "ns"),
        ("西湖区", "ns"),
        ("，", "w"),
        ("张三", "nr"),
        ("协和医院", "nt"),
        ("工商局", "nt"),
    ]
    found = list(peers.read_words(words, labels=peers.LABELS["jieba"], at=10))
    assert found == [(11, 17, "ADDRESS"), (18, 20, "NAME"), (20, 24, "HOSPITAL")]
    assert list(peers.read_words([("杭州", "ns")], labels=peers.LABELS["jieba"], at=0)) == [(0, 2, "ADDRESS")]


def test_numbers_win_over_words_and_long_over_short(load: Any) -> None:
    settle = load("bench_peers").settle
    found = [
        (0, 11, "CONTACT"),
        (0, 18, "ID"),
        (5, 9, "NAME"),
        (20, 22, "ADDRESS"),
        (20, 26, "ADDRESS"),
        (30, 30, "NAME"),
    ]
    assert settle(found) == [(0, 18, "ID"), (20, 26, "ADDRESS")]


def test_every_peer_maps_to_categories_of_the_guideline(load: Any) -> None:
    peers, categories = load("bench_peers"), set(load("bench_corpora").GUIDELINE_CATEGORIES)
    assert set(peers.OPENERS) == set(peers.LABELS) == set(peers.PACKAGES) == set(load("bench_peer_runs").PEERS)
    assert all(set(labels.values()) <= categories for labels in peers.LABELS.values())


def test_a_peer_answers_text_by_text(runs: ModuleType) -> None:
    with runs.open_peers(["lac"], python=Path(sys.executable)) as lineup:
        (peer,) = lineup.peers
        assert peer.remark == "toy 1.0, for a test"
        found = runs.run_peer(peer, {"a": "住杭州", "b": "无"}, seconds=60)
        assert found == {"a": (Span(1, 3, "ADDRESS", source="lac"),), "b": ()}
        assert peer.n_failed == 0
        assert runs.run_peer(peer, {"c": "坏"}, seconds=60) == {"c": ()} and peer.n_failed == 1
        assert list(runs.run_peer(peer, {"a": "住杭州"}, seconds=-1)) == []  # out of time: not one of its notes counts
        pid = peer.process.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("import json; print(json.dumps({'absent': 'no such package'}))", "no such package"),
        ("raise SystemExit(1)", "ended before it was ready"),
    ],
)
def test_a_peer_that_does_not_start_is_absent_with_a_reason(
    runs: ModuleType, tmp_path: Path, script: str, reason: str
) -> None:
    (tmp_path / "bench_peers.py").write_text(script, encoding="utf-8")
    with runs.open_peers(["lac"], python=Path(sys.executable)) as lineup:
        assert not lineup.peers and lineup.absent == {"lac": reason}
    assert "environment" in runs.start_peer("lac", python=tmp_path / "nowhere")


def test_a_package_that_is_missing_here_is_named(load: Any) -> None:
    """The real peer file under the product's Python, which has no such package."""
    runs = load("bench_peer_runs")
    assert runs.start_peer("helan", python=Path(sys.executable)) == "helan does not load: ModuleNotFoundError"


def test_a_peer_that_dies_is_an_error_and_no_silent_zero(runs: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "bench_peers.py").write_text(TOY.split("for line")[0], encoding="utf-8")
    with (
        runs.open_peers(["lac"], python=Path(sys.executable)) as lineup,
        pytest.raises(ConfigurationError, match="PEER"),
    ):
        lineup.peers[0].process.wait()
        runs.run_peer(lineup.peers[0], {"a": "杭州"}, seconds=60)


def test_the_assembled_peer_takes_numbers_from_the_one_and_the_rest_from_the_other(runs: ModuleType) -> None:
    lac = {"a": (Span(0, 2, "NAME"), Span(5, 9, "ADDRESS")), "b": ()}
    jionlp = {"a": (Span(0, 2, "ADDRESS"), Span(8, 19, "CONTACT"), Span(30, 48, "ID"))}
    spans = runs.assemble(lac, jionlp)["a"]
    assert [(s.start, s.category) for s in spans] == [(0, "NAME"), (8, "CONTACT"), (30, "ID")]
    assert list(runs.assemble(lac, jionlp)) == ["a"]  # only notes that both got to


def test_annotate_from_end_to_end(
    load: Any, runs: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench, data = load("bench"), tmp_path / "data"
    (data / "cluener").mkdir(parents=True)
    records = [
        {"text": "患者姓名：王建国，住杭州", "label": {"name": {"王建国": [[5, 7]]}, "address": {"杭州": [[10, 11]]}}},
        {"text": "他去过日本和杭州湾", "label": {"address": {"日本": [[3, 4]], "杭州湾": [[6, 8]]}}},
    ]
    (data / "cluener" / "dev.json").write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    out = tmp_path / "out.json"
    arguments = ["--data", str(data), "--peers", "lac", "--peer-python", sys.executable, "--out", str(out)]
    assert bench.main(["annotate", "--corpus", "cluener", "cpca", *arguments, "--bootstrap", "20"]) == 0
    said = capsys.readouterr().out
    assert "cpca: skipped" in said and "toy 1.0" in said
    content = json.loads(out.read_text(encoding="utf-8"))
    (corpus,) = content["corpora"]
    theirs = corpus["annotators"]["lac"]["values"]
    assert (theirs["strict.ADDRESS.recall"], theirs["relaxed.ADDRESS.recall"]) == (0.5, 1.0)
    assert theirs["leak.notes"] == 0.5  # one of two notes has a name, and the toy finds none
    assert corpus["annotators"]["rules"]["values"]["strict.NAME.recall"] == 1
    assert bench.main(["annotate", "--corpus", "cpca", *arguments]) == 2


def test_another_engine_enters_by_the_files_of_file_mode(
    load: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench, folder, out = load("bench"), tmp_path / "notes", tmp_path / "out.json"
    chosen = ["annotate", "--corpus", "gold-dev", "--limit", "20", "--peers", "--bootstrap", "0"]
    assert bench.main([*chosen, "--dump", str(folder)]) == 0
    notes = [json.loads(line) for line in (folder / "gold-dev.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(notes) == 20
    corpus = load("bench_corpora").load_corpus("gold-dev", tmp_path, limit=20)
    lines = [json.dumps({"note_id": note["note_id"], "spans": [], "error": "X"}) for note in notes[:1]]
    for note in notes[1:]:
        found = [{"start": s.start, "end": s.end, "category": s.category} for s in corpus.gold[note["note_id"]].spans]
        lines.append(json.dumps({"note_id": note["note_id"], "spans": found}))
    (folder / "gold-dev.jsonl").write_text("\n".join(lines), encoding="utf-8")
    assert bench.main([*chosen, "--spans", f"perfect={folder}", "--out", str(out)]) == 0
    (content,) = json.loads(out.read_text(encoding="utf-8"))["corpora"]
    values, counts = content["annotators"]["perfect"]["values"], content["annotators"]["perfect"]["counts"]
    assert values["strict.NAME.precision"] == 1 and counts["notes"] == 20
    assert values["leak.notes"] == 1 / 20  # the line that failed
    assert "gold-dev" in capsys.readouterr().out


def test_speed_from_end_to_end(
    load: Any, runs: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bench, speed, page = load("bench"), load("bench_speed"), tmp_path / "page.md"
    monkeypatch.setattr(speed, "EXTRA_TERMS", (10, 20))
    monkeypatch.setattr(speed, "N_PIECES", 20)
    monkeypatch.setattr(os, "sched_setaffinity", lambda *_: None)  # the other tests keep their cores
    page.write_text("<!-- speed: begin --><!-- speed: end -->", encoding="utf-8")
    arguments = ["--data", str(tmp_path), "--peers", "lac", "--peer-python", sys.executable, "--rounds", "2"]
    assert bench.main(["speed", *arguments, "--page", str(page)]) == 0
    said = capsys.readouterr().out
    rows = [line.split("|") for line in said.split("\n") if line.startswith("| lac") or line.startswith("| rules |")]
    ours, theirs = (float(row[2]) for row in rows)
    assert theirs == 1_000 and float(rows[1][3]) == pytest.approx(ours / 1_000, abs=0.1)  # the toy says 1 ms a note
    assert said.strip() in page.read_text(encoding="utf-8")
    assert bench.main(["speed", *arguments, "--profile"]) == 0
    assert "tottime" in capsys.readouterr().out


def test_pieces_have_one_length_and_no_rest(load: Any) -> None:
    speed = load("bench_speed")
    pieces = speed.cut_pieces(["咳" * 700, "痰" * 500], n_pieces=9)
    assert [len(piece) for piece in pieces] == [400, 400, 400]
    assert "".join(pieces) == ("咳" * 700 + "\n" + "痰" * 500)[:1200]
    assert len(speed.cut_pieces(["咳" * 4000], n_pieces=3)) == 3


def test_added_terms_are_a_category_that_the_engine_finds(load: Any) -> None:
    from ppsehr_spark.config import load_settings
    from ppsehr_spark.domain.notes import Note
    from ppsehr_spark.domain.rules import compile_rules

    files = load("bench_speed")._with_terms(load_settings().files, n_terms=50)
    terms = files["lexicons/extra.tsv"].split("\n")
    assert len(set(terms)) == 50
    engine = compile_rules(files)
    note = Note("a", f"，{terms[0]}。")
    assert [s.category for s in engine.finalise(note, engine.propose(note))] == ["EXTRA"]
