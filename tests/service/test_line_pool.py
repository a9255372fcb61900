"""Lines through processes: order, bounded reading ahead, and a killed worker that does not hang the run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from ppsehr_spark.errors import ConfigurationError, ExitCode, InfrastructureError
from ppsehr_spark.service.line_pool import MIN_PARALLEL_LINES, map_in_order

MANY = MIN_PARALLEL_LINES + 5_000


def open_square(offset: int) -> Callable[[list[int]], list[tuple[int, int]]]:
    return lambda chunk: [(number * number + offset, os.getpid()) for number in chunk]


def open_killer() -> Callable[[list[int]], list[int]]:
    def work(chunk: list[int]) -> list[int]:
        if MIN_PARALLEL_LINES in chunk:
            os._exit(9)
        return chunk

    return work


def open_refusal() -> Callable[[list[int]], list[int]]:
    raise ConfigurationError("CATEGORY_FILE")


@pytest.mark.parametrize(("n_processes", "n_items"), [(1, MANY), (2, MANY), (2, 10), (3, 0)])
def test_results_keep_their_order(n_processes: int, n_items: int) -> None:
    results = list(map_in_order(range(n_items), open_square, (7,), n_processes=n_processes))
    assert [value for value, _ in results] == [number * number + 7 for number in range(n_items)]
    is_parallel = n_processes > 1 and n_items >= MIN_PARALLEL_LINES
    assert (os.getpid() in {pid for _, pid in results}) == (not is_parallel and n_items > 0)


def test_reading_stays_close_to_writing() -> None:
    read = 0

    def items() -> Iterator[int]:
        nonlocal read
        for number in range(1_000_000):
            read = number
            yield number

    results = map_in_order(items(), open_square, (0,), n_processes=2)
    for _ in range(3_000):
        next(results)
    assert read < 3_000 + MIN_PARALLEL_LINES + 2_000
    results.close()  # type: ignore[attr-defined]


def test_a_killed_worker_is_a_retryable_error() -> None:
    with pytest.raises(InfrastructureError) as died:
        list(map_in_order(range(MANY), open_killer, (), n_processes=2))
    assert died.value.code == "WORKER_DIED"
    assert died.value.exit_code == ExitCode.INFRASTRUCTURE


def test_a_wrong_conf_is_its_own_error_not_a_dead_worker() -> None:
    with pytest.raises(ConfigurationError):
        list(map_in_order(range(MANY), open_refusal, (), n_processes=2))
