"""Tables into a page: what stands between two marks is replaced, the prose around them stays.

Knows: the marks ``<!-- NAME: begin -->`` and ``<!-- NAME: end -->``. Must not know: what a table says.
"""

from __future__ import annotations

from pathlib import Path

from ppsehr_spark.errors import UsageError


def replace_between_marks(page: Path, name: str, text: str) -> None:
    """Write ``text`` between the marks of ``name``.

    Raises:
        UsageError: ``NO_MARKS`` when the page does not have both, in order.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    content = page.read_text(encoding="utf-8")
    before, has_begin, rest = content.partition(begin)
    _, has_end, after = rest.partition(end)
    if not has_begin or not has_end:
        raise UsageError("NO_MARKS", path=str(page), hint=f"the page needs {begin} and {end}")
    page.write_text(f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}", encoding="utf-8")
