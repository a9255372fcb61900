"""The page of known DP mistakes is true: its tests exist, every mistake has one, and sketches stay where they are."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pyarrow as pa
import pytest

from ppsehr_spark.lake.schemas import TABLES
from ppsehr_spark.lake.statistics_schemas import DRIFT_SKETCHES
from ppsehr_spark.lake.table_spec import TableSpec, make_column

_ROOT = Path(__file__).resolve().parents[2]
_PAGE = (_ROOT / "docs" / "dp-proof.md").read_text(encoding="utf-8")
_NAMED = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", _PAGE)
_MISTAKES = (
    "noise on the output instead of the query", "l2_sensitivity taken from the data",
    "noise clipped to a share of the mean", "no composition", "a random epsilon shown as computed",
    "note-level DP sold as patient-level", "fixed noise seed", "float sums", "released t-digest",
    "retry that redraws", "refresh that forgets earlier spending", "refusal that leaks the exact value in its message",
)  # fmt: skip
_LATER_STAGES = ("fit", "train", "synthesize", "evaluate", "publish")


@pytest.mark.parametrize(("path", "name"), _NAMED)
def test_every_named_test_exists(path: str, name: str) -> None:
    tree = ast.parse((_ROOT / path).read_text(encoding="utf-8"))
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_mistake_has_a_row_with_a_test() -> None:
    rows = re.findall(r"^\|(.*?)\|.*?\| `tests/.*?` \|$", _PAGE, re.M)
    assert [mistake.strip() for mistake in rows if mistake.strip()] == list(_MISTAKES)
    assert len(rows) == len(_NAMED)


def _find_sketches(specs: list[TableSpec]) -> list[str]:
    """Tables outside phi that could hold a t-digest."""
    return [
        spec.full_name
        for spec in specs
        if spec.zone != "phi" and re.search("sketch|centroid|digest", " ".join([spec.name, *spec.schema.names]))
    ]


def test_no_sketch_is_read_by_what_publishes_or_stands_outside_phi() -> None:
    assert DRIFT_SKETCHES.zone == "phi" and not _find_sketches(list(TABLES.values()))
    for stage in _LATER_STAGES:
        inputs = importlib.import_module(f"jobs.{stage}").STAGE.inputs
        assert inputs and DRIFT_SKETCHES not in inputs, stage


def test_a_published_sketch_would_be_found() -> None:
    schema = pa.schema([make_column("centroids", pa.string(), "t-digest as JSON")])
    mistake = TableSpec("release", "length_of_stay", "x | y", schema, ("centroids",), "publish", "deltalake")
    assert _find_sketches([mistake]) == ["release.length_of_stay"]
