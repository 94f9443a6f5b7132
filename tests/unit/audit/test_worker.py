"""The audit's thread: everything in order, errors where they are awaited, an end."""

from __future__ import annotations

import threading
from functools import partial

import pytest

from agent.audit.worker import Worker
from tests.rig.waiting import eventually


async def test_all_is_done_in_order_in_one_thread_that_ends() -> None:
    worker, done = Worker("audit-test"), list[int]()
    for number in range(1000):
        worker.do(partial(done.append, number))
    assert await worker.result(lambda: len(done)) == 1000
    assert done == list(range(1000))
    assert await worker.result(lambda: threading.current_thread().name) == "audit-test"
    worker.end()
    await eventually(lambda: "audit-test" not in [each.name for each in threading.enumerate()])


async def test_an_error_is_raised_where_it_is_awaited_and_the_thread_goes_on() -> None:
    worker = Worker("audit-test")
    with pytest.raises(ZeroDivisionError):
        await worker.result(lambda: 1 // 0)
    assert await worker.result(lambda: 7) == 7
    worker.end()
