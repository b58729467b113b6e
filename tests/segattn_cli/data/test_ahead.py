from __future__ import annotations

import threading
from contextlib import closing

import pytest

from segattn_cli.data.ahead import ahead


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("most", [1, 2, 9])
def test_results_are_in_order_and_no_more_are_begun_than_allowed(workers: int, most: int) -> None:
    taken = []

    def items():
        for item in range(7):
            taken.append(item)
            yield item

    seen = []
    for result in ahead(lambda item: item**2, items(), workers=workers, most=most):
        seen.append(result)
        assert len(taken) == min(7, len(seen) + most)
    assert seen == [0, 1, 4, 9, 16, 25, 36]


def test_an_error_is_raised_when_its_result_is_due() -> None:
    failed = threading.Event()

    def invert(item: int) -> float:
        try:
            return 1 / item
        except ZeroDivisionError:
            failed.set()
            raise

    results = ahead(invert, [4, 2, 0, 1], workers=2, most=3)
    assert next(results) == 0.25
    assert failed.wait(60)
    assert next(results) == 0.5
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert list(results) == []


def test_threads_end_where_the_iteration_is_left() -> None:
    with closing(ahead(lambda item: item, range(100), workers=3, most=5)) as results:
        assert next(results) == 0
        assert any("segattn-ahead" in each.name for each in threading.enumerate())
    assert not any("segattn-ahead" in each.name for each in threading.enumerate())
