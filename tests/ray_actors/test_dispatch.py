"""Units are handed out within the budget, tried again, halved and given up."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from ray_actors.dispatch import Dispatch, Task


def make_task(n: int, *, unit: str = "u") -> Task:
    return Task(unit, tuple(f"{unit}{i}" for i in range(n)))


def test_budget_is_shared_and_what_is_left_returns() -> None:
    dispatch = Dispatch([make_task(1, unit="a"), make_task(1, unit="b")], token_budget=100, max_attempts=2)
    first, second = dispatch.take(2), dispatch.take(1)
    assert first is not None and second is not None
    assert (first.token_limit, second.token_limit) == (50, 50)
    dispatch.finish(first, spent_tokens=10, open_keys=[])
    dispatch.finish(second, spent_tokens=50, open_keys=[])
    assert dispatch.is_done and dispatch.spent_tokens == 60


def test_what_the_limit_left_open_waits_for_more_or_stays_open() -> None:
    dispatch = Dispatch([make_task(3)], token_budget=100, max_attempts=2)
    task = dispatch.take(1)
    assert task is not None
    dispatch.finish(task, spent_tokens=70, open_keys=["u2"])
    assert dispatch.take(1) is None, "30 tokens were not enough for u2 and no more are left"
    assert dispatch.is_done and dispatch.open_keys == ["u2"]


def test_small_share_is_followed_by_a_larger_one() -> None:
    dispatch = Dispatch([make_task(1, unit="a"), make_task(1, unit="b")], token_budget=100, max_attempts=2)
    first, second = dispatch.take(2), dispatch.take(1)
    assert first is not None and second is not None
    dispatch.finish(first, spent_tokens=0, open_keys=["a0"])
    assert dispatch.take(2) is None, "the same share again would be in vain"
    dispatch.finish(second, spent_tokens=5, open_keys=[])
    again = dispatch.take(2)
    assert again is not None and again.token_limit == 95


def test_zero_budget_starts_nothing() -> None:
    dispatch = Dispatch([make_task(1)], token_budget=0, max_attempts=2)
    assert dispatch.take(1) is None and dispatch.is_done


def test_failure_is_retried_then_halved_down_to_the_bad_segment() -> None:
    dispatch = Dispatch([make_task(8)], token_budget=1000, max_attempts=2)
    letters, done = [], []
    while not dispatch.is_done:
        assert not dispatch.is_hopeless
        task = dispatch.take(1)
        assert task is not None
        if "u5" in task.segment_keys:
            dispatch.fail(task, error_code="ENGINE_FAILED")
        else:
            done += task.segment_keys
            dispatch.finish(task, spent_tokens=1, open_keys=[])
        letters += dispatch.take_letters()
    dispatch.settle()
    letters += dispatch.take_letters()
    assert sorted(done) == [f"u{i}" for i in range(8) if i != 5]
    assert [(x.segment_key, x.attempts, x.error_code) for x in letters] == [("u5", 2, "ENGINE_FAILED")]


def test_an_engine_that_only_fails_is_given_up_early() -> None:
    dispatch = Dispatch([make_task(4, unit=f"u{i}-") for i in range(1000)], token_budget=1000, max_attempts=2)
    n_calls = 0
    while not (dispatch.is_done or dispatch.is_hopeless):
        task = dispatch.take(1)
        assert task is not None
        dispatch.fail(task, error_code="ACTOR_DIED")
        n_calls += 1
    assert dispatch.is_hopeless and n_calls < 20


@settings(max_examples=200, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 9), max_size=8),
    budget=st.integers(0, 300),
    n_actors=st.integers(1, 4),
    seed=st.integers(0, 99),
)
def test_it_ends_within_the_budget_and_loses_no_segment(
    sizes: list[int], budget: int, n_actors: int, seed: int
) -> None:
    """Whatever order results come back in, every segment is done, dead or open, once."""
    chance = random.Random(seed)
    tasks = [make_task(size, unit=f"u{i}-") for i, size in enumerate(sizes)]
    dispatch = Dispatch(tasks, token_budget=budget, max_attempts=2)
    running: list[Task] = []
    done: list[str] = []
    for _ in range(5000):
        if dispatch.is_done:
            break
        while len(running) < n_actors and (task := dispatch.take(n_actors - len(running))):
            running.append(task)
        task = running.pop(chance.randrange(len(running)))
        if chance.random() < 0.2:
            dispatch.fail(task, error_code="X")
            continue
        n_answered = min(len(task.segment_keys), task.token_limit // 10)
        done += task.segment_keys[:n_answered]
        dispatch.finish(task, spent_tokens=n_answered * 10, open_keys=task.segment_keys[n_answered:])
    dispatch._suspected, given_up = [], [*dispatch._suspected, *dispatch.take_letters()]
    done += [letter.segment_key for letter in given_up]
    assert dispatch.is_done and not running
    assert dispatch.spent_tokens <= budget
    assert sorted([*done, *dispatch.open_keys]) == sorted(key for task in tasks for key in task.segment_keys)


def test_window_bounds_what_is_out_and_lets_one_through() -> None:
    tasks = [Task(f"u{i}", (f"k{i}",), estimated_tokens=size) for i, size in enumerate((500, 60, 60, 30))]
    dispatch = Dispatch(tasks, token_budget=10_000, max_attempts=2, window_tokens=130)
    large = dispatch.take(3)
    assert large is not None and dispatch.take(2) is None, "500 tokens go out alone"
    dispatch.finish(large, spent_tokens=1, open_keys=[])
    out = [dispatch.take(n_idle) for n_idle in (3, 2, 1)]
    assert [task.unit_id if task else None for task in out] == ["u1", "u2", None]


def test_answers_that_cannot_be_stored_end_the_run_and_bury_nobody() -> None:
    dispatch = Dispatch([make_task(4)], token_budget=1000, max_attempts=2)
    for is_hopeless in (False, True):
        task = dispatch.take(1)
        assert task is not None and len(task.segment_keys) == 4, "halving does not help a full disk"
        dispatch.lose(task, spent_tokens=5, error_code="PART_WRITE")
        assert dispatch.is_hopeless is is_hopeless
    dispatch.settle()
    assert (dispatch.broken_by, dispatch.take_letters(), dispatch.n_repeated) == ("PART_WRITE", [], 8)


def test_nothing_is_given_up_while_everything_fails() -> None:
    dispatch = Dispatch([make_task(1, unit=f"u{i}-") for i in range(9)], token_budget=1000, max_attempts=1)
    while not dispatch.is_hopeless:
        task = dispatch.take(1)
        assert task is not None
        dispatch.fail(task, error_code="ENDPOINT_DOWN")
    dispatch.settle()
    assert dispatch.take_letters() == []


def test_segments_without_a_reply_are_tried_again_and_only_they() -> None:
    dispatch = Dispatch([make_task(3), make_task(1, unit="w")], token_budget=1000, max_attempts=2)
    first = dispatch.take(1)
    assert first is not None
    dispatch.finish(first, spent_tokens=1, open_keys=[], failed={"u1": "NO_REPLY"})
    again = dispatch.take(1)
    assert again is not None and again.segment_keys == ("u1",)
    dispatch.finish(again, spent_tokens=1, open_keys=[], failed={"u1": "NO_REPLY"})
    assert dispatch.take_letters() == [], "nobody has succeeded since"
    last = dispatch.take(1)
    assert last is not None
    dispatch.finish(last, spent_tokens=1, open_keys=[])
    assert [(x.segment_key, x.attempts) for x in dispatch.take_letters()] == [("u1", 2)]
    assert dispatch.n_repeated == 2


def test_what_others_took_over_and_what_nobody_began() -> None:
    dispatch = Dispatch([make_task(2, unit="a"), make_task(2, unit="b")], token_budget=1000, max_attempts=2)
    task = dispatch.take(1)
    assert task is not None
    dispatch.give_back(task)
    assert dispatch.n_waiting == 2 and dispatch.n_repeated == 0
    dispatch.drop({"a"})
    assert dispatch.open_units == {"b"}
