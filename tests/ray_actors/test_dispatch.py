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
