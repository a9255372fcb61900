"""Tables replace what stood between the marks, and nothing else."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from ppsehr_spark.errors import UsageError

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def test_only_the_text_between_the_marks_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    pages = importlib.import_module("bench_pages")
    page = tmp_path / "page.md"
    page.write_text("# A\n<!-- x: begin -->old<!-- x: end -->\nafter\n", encoding="utf-8")
    for _ in range(2):
        pages.replace_between_marks(page, "x", "| new |\n")
        assert page.read_text(encoding="utf-8") == "# A\n<!-- x: begin -->\n\n| new |\n\n<!-- x: end -->\nafter\n"
    with pytest.raises(UsageError, match="NO_MARKS"):
        pages.replace_between_marks(page, "y", "new")


@pytest.mark.parametrize(
    ("page", "name"), [("annotation-quality.md", "annotate"), ("performance.md", "speed"), ("performance.md", "scale")]
)
def test_the_pages_have_their_marks(page: str, name: str) -> None:
    text = (SCRIPTS.parent / "docs" / page).read_text(encoding="utf-8")
    assert 0 < text.index(f"<!-- {name}: begin -->") < text.index(f"<!-- {name}: end -->")
