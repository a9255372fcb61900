"""What a refresh report counts: rows and bytes of the commits since, whoever wrote them and however."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.fenced_commits import commit_fenced
from ppsehr_spark.lake.parts import add_parts, write_part
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.operations.refreshing import mark_versions, measure_refresh

SPEC = schemas.SEGMENT_ANNOTATIONS


def _answer(lake: Lake, *keys: str) -> None:
    """As the annotate job commits: parts that actors wrote, whose commit states no figures."""
    lake.create(SPEC)
    rows = [{"segment_key": key, "unit_id": "u", "run_id": "r", "outcome": "ok"} for key in keys]
    part = write_part(lake, SPEC, pa.Table.from_pylist(rows, schema=SPEC.schema))
    commit_fenced(lake, SPEC, lambda fence: add_parts(fence, SPEC, [part]))


def test_answers_that_landed_as_parts_are_counted(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    _answer(lake, "a", "b")
    before = mark_versions(lake)
    assert measure_refresh(lake, before, "r").rows_written[SPEC.full_name] == 0
    _answer(lake, "c", "d", "e")
    report = measure_refresh(lake, before, "r")
    assert report.rows_written[SPEC.full_name] == 3
    (answered,) = (share for share in report.segments if share.name == "answered")
    assert answered.done == 3
    assert sum(share.done for share in report.bytes_rewritten) > 0
