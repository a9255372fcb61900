"""Spark code works on batches and brings home aggregates only: no function per row, no table in the driver."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

_ROOM = Path(__file__).resolve().parents[2] / "ppsehr_spark" / "spark"
_FILES = sorted(_ROOM.rglob("*.py"))
#: Called for every row, or the whole frame in one process.
_NEVER = {
    "udf", "pandas_udf", "arrow_udf", "udtf", "toPandas", "pandas_api", "toLocalIterator", "rdd", "foreach",
    "mapInPandas", "applyInPandas",
}  # fmt: skip
_GATHERS = {"collect", "first", "head", "take", "tail", "toArrow"}
#: What makes few rows of many, or of a table's log.
_AGGREGATES = {"agg", "count", "history"}

#: The one row of figures that OPTIMIZE and REORG return.
_FEW_ROWS = {"maintenance/jvm_tables.py": {"compact_jvm_table", "purge_jvm_table"}}


def _calls(tree: ast.AST) -> Iterator[ast.Attribute | ast.Name]:
    yield from (node.func for node in ast.walk(tree) if isinstance(node, ast.Call) and _name(node.func))


def _name(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def find_forbidden(tree: ast.AST) -> set[str]:
    """Names of what no frame of data may meet."""
    return {_name(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute | ast.Name)} & _NEVER


def find_gathered(tree: ast.AST) -> list[str]:
    """Functions that bring rows to the driver and aggregate nothing first."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    found = []
    for function in functions:
        names = {_name(call) for call in _calls(function) if isinstance(call, ast.Attribute)}
        if names & _GATHERS and not names & _AGGREGATES and not _is_outer(function, functions):
            found.append(function.name)
    return found


def _is_outer(function: ast.FunctionDef, functions: list[ast.FunctionDef]) -> bool:
    """A function that only holds others is judged by them."""
    return any(other is not function and other in ast.walk(function) for other in functions)


@pytest.mark.parametrize("path", _FILES, ids=lambda path: str(path.relative_to(_ROOM)))
def test_no_function_runs_per_row_and_no_table_comes_home(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert find_forbidden(tree) == set()
    allowed = _FEW_ROWS.get(str(path.relative_to(_ROOM)), set())
    assert set(find_gathered(tree)) == allowed


@pytest.mark.parametrize(
    "source", ["F.udf(f)", "frame.toPandas()", "frame.rdd.map(f)", "@pandas_udf('int')\ndef f(): 0"]
)
def test_what_runs_per_row_is_seen(source: str) -> None:
    assert find_forbidden(ast.parse(source))


def test_a_frame_that_comes_home_whole_is_seen() -> None:
    assert find_gathered(ast.parse("def f(frame):\n    return frame.select('a').collect()")) == ["f"]
    assert find_gathered(ast.parse("def f(frame):\n    return frame.groupBy('a').count().collect()")) == []
