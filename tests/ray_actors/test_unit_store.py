"""What is still to be asked: by answers, and by the prompts that those answers were asked with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ppsehr_spark.lake.tables import Lake
from ray_actors.answer_sink import AnswerSink
from ray_actors.answer_watch import AnswerWatch
from ray_actors.dispatch import Task
from ray_actors.unit_store import open_tasks
from ray_actors.unit_worker import Order, UnitWorker
from tests.ray_actors.open_lake import make_settings, segment_row, write_units

SETTINGS = make_settings("fault", options={})
ROWS = [segment_row(1), segment_row(2, category="STD"), segment_row(3, task="extract")]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(str(tmp_path / "lake"))
    write_units(lake, ROWS, per_unit=2)
    return lake


def answer_all(lake: Lake, settings: Any = SETTINGS) -> int:
    """Answers to whatever is open under these prompts; returns how many."""
    tasks = open_tasks(lake, settings.files)
    worker = UnitWorker(settings.to_json())
    sink = AnswerSink(lake, AnswerWatch(lake, settings.files), run_id="r", engine="fault", units_per_commit=1)
    by_key = {row["segment_key"]: row for row in ROWS}
    for task in tasks:
        order = Order(lake.uri, task.unit_id, "r")
        receipt = worker.annotate_part(order, [by_key[key] for key in task.segment_keys], 10_000)
        assert receipt.part is not None
        sink.add(receipt.part)
    worker.close()
    sink.commit()
    return len(keys_of(tasks))


def keys_of(tasks: list[Task]) -> list[str]:
    return [key for task in tasks for key in task.segment_keys]


def test_answered_segments_are_not_asked_again(lake: Lake) -> None:
    assert keys_of(open_tasks(lake, SETTINGS.files)) == [row["segment_key"] for row in ROWS]
    assert answer_all(lake) == 3
    assert open_tasks(lake, SETTINGS.files) == [] and answer_all(lake) == 0


def test_a_changed_prompt_asks_again_what_it_was_shown_with_and_nothing_else(lake: Lake) -> None:
    answer_all(lake)
    files = {**SETTINGS.files}
    path = "categories/NAME.toml"
    files[path] = files[path].replace("examples_no = [", 'examples_no = ["护士站通知 中的 护士",', 1)
    changed = replace(SETTINGS, files=files)
    assert keys_of(open_tasks(lake, files)) == [ROWS[0]["segment_key"]]
    assert answer_all(lake, changed) == 1 and open_tasks(lake, files) == []
    # a step back finds its old answers
    assert open_tasks(lake, SETTINGS.files) == []
