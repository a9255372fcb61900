"""Two drivers without Ray: who gets which unit, what is left of it, and that no segment is stored twice."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from ppsehr_spark.errors import InfrastructureError
from ppsehr_spark.lake.parts import Part
from ppsehr_spark.lake.schemas import SEGMENT_ANNOTATIONS
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.lake.unit_claims import UnitClaims
from ray_actors.answer_sink import AnswerSink
from ray_actors.answer_watch import AnswerWatch
from ray_actors.dispatch import Task
from ray_actors.unit_feed import UnitFeed
from ray_actors.unit_store import open_tasks
from ray_actors.unit_worker import Order, UnitWorker
from tests.ray_actors.open_lake import make_settings, segment_row, write_units

SETTINGS = make_settings("fault", options={})
ROWS = [segment_row(n) for n in range(12)]


class Driver:
    """Feed, worker and sink of one driver."""

    def __init__(self, lake: Lake, name: str, *, respects_leases: bool = True) -> None:
        self.lake, self.name = lake, name
        self.watch = AnswerWatch(lake, SETTINGS.files)
        skew_s = 0.0 if respects_leases else -1_200.0
        self.claims = UnitClaims(lake, name, lease_s=600.0, max_clock_skew_s=skew_s, owner=name)
        tasks = open_tasks(lake, SETTINGS.files, watch=self.watch)
        self.feed = UnitFeed(lake, tasks, claims=self.claims, watch=self.watch, units_per_claim=2)
        self.sink = AnswerSink(lake, self.watch, name, "fault", units_per_commit=2)
        self.worker = UnitWorker(SETTINGS.to_json())

    def ask(self, task: Task) -> None:
        receipt = self.worker.annotate_part(Order(self.lake.uri, task.unit_id, self.name), self.feed.rows(task), 10**6)
        assert isinstance(receipt.part, Part)
        self.sink.add(receipt.part)

    def finish(self, tasks: list[Task]) -> None:
        self.sink.commit()
        self.feed.let_go({task.unit_id for task in tasks}, ())


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(str(tmp_path / "lake"))
    write_units(lake, ROWS, per_unit=3)
    return lake


def stored(lake: Lake) -> Counter[str]:
    return Counter(lake.read(SEGMENT_ANNOTATIONS, ["segment_key"])["segment_key"].to_pylist())


def test_units_are_shared_and_finished_ones_are_not_asked_again(lake: Lake) -> None:
    one, other = Driver(lake, "a"), Driver(lake, "b")
    mine = one.feed.pull()
    for task in mine:
        one.ask(task)
    one.finish(mine)
    one.claims.close()
    theirs = other.feed.pull()
    assert [task.unit_id for task in mine] == ["unit-0000", "unit-0003"]
    assert theirs == [], "both claimed units were finished meanwhile"
    assert other.feed.n_left == 2 and [task.unit_id for task in other.feed.pull()] == ["unit-0006", "unit-0009"]


def test_segments_that_somebody_else_answered_are_left_out_of_a_commit(lake: Lake) -> None:
    """The second driver takes no notice of leases, as with a clock far ahead."""
    one, other = Driver(lake, "a"), Driver(lake, "b", respects_leases=False)
    mine, theirs = one.feed.pull(), other.feed.pull()
    assert [task.unit_id for task in mine] == [task.unit_id for task in theirs]
    for driver, tasks in ((one, mine), (other, [theirs[0].narrow(theirs[0].segment_keys[:2]), theirs[1]])):
        for task in tasks:
            driver.ask(task)
    other.finish(theirs)
    one.finish(mine)
    assert (other.sink.n_repeated, one.sink.n_repeated) == (0, 5)
    assert (other.sink.tally["segments"], one.sink.tally["segments"]) == (5, 1)
    assert sorted(stored(lake)) == sorted(row["segment_key"] for row in ROWS[:6]) and set(stored(lake).values()) == {1}


def test_commit_whose_answer_was_lost_is_not_repeated(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    from deltalake.exceptions import CommitFailedError

    from ray_actors import answer_sink

    driver = Driver(lake, "a")
    mine = driver.feed.pull()
    driver.ask(mine[0])
    add_parts, n_calls = answer_sink.add_parts, 0

    def land_and_fail(*arguments: object) -> None:
        nonlocal n_calls
        n_calls += 1
        add_parts(*arguments)
        raise CommitFailedError("lost")

    monkeypatch.setattr(answer_sink, "add_parts", land_and_fail)
    driver.sink.commit()
    assert (n_calls, driver.sink.n_repeated, driver.sink.tally["segments"]) == (1, 0, 3)
    assert set(stored(lake).values()) == {1} and len(stored(lake)) == 3


def test_parts_wait_for_another_try_when_the_table_cannot_be_written(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray_actors import answer_sink

    driver = Driver(lake, "a")
    mine = driver.feed.pull()
    driver.ask(mine[0])
    with monkeypatch.context() as patch:
        patch.setattr(answer_sink, "add_parts", lambda *_: (_ for _ in ()).throw(OSError("full")))
        with pytest.raises(InfrastructureError, match="COMMIT_FAILED"):
            driver.sink.commit()
    driver.sink.commit()
    assert len(stored(lake)) == 3
