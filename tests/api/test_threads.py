"""Work that is handed to threads: its outcome comes back whatever it is, and no more is at it at once than may be."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from asset_ledger.api.threads import Threads
from tests.patience import PATIENCE_S


def run(asking: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    return asyncio.run(asyncio.wait_for(asking(), PATIENCE_S))


def test_what_is_returned_comes_back_and_what_is_raised_too() -> None:
    threads = Threads(2)

    async def asking() -> list[Any]:
        outcomes = [threads.run(divmod, (7, 2)), threads.run(divmod, (7, 0)), threads.run(next, (iter(()),))]
        return await asyncio.gather(*outcomes, return_exceptions=True)

    divided, by_nothing, stopped = run(asking)
    assert divided == (3, 1)
    assert isinstance(by_nothing, ZeroDivisionError)
    assert isinstance(stopped, RuntimeError)


def test_a_burst_is_done_by_as_many_threads_as_there_may_be_and_the_loop_goes_on() -> None:
    threads = Threads(3)
    at_it, most, lock, go = 0, 0, threading.Lock(), threading.Event()

    def work(number: int) -> int:
        nonlocal at_it, most
        with lock:
            at_it += 1
            most = max(most, at_it)
        assert go.wait(PATIENCE_S)
        with lock:
            at_it -= 1
        return number

    async def asking() -> list[int]:
        outcomes = [threads.run(work, (number,)) for number in range(100)]
        while at_it < 3:
            await asyncio.sleep(0.001)
        go.set()
        return list(await asyncio.gather(*outcomes))

    assert run(asking) == list(range(100))
    assert (most, threads.started) == (3, 3)


def test_one_after_the_other_is_done_by_one_thread() -> None:
    threads = Threads(3)
    idle = threads._idle

    async def asking() -> None:
        for number in range(20):
            assert await threads.run(int, (number,)) == number
            while not idle:  # the thread has told, and is about to wait again
                await asyncio.sleep(0.001)

    run(asking)
    assert threads.started == 1


def test_who_gave_up_is_told_nothing_and_the_thread_does_the_next() -> None:
    threads = Threads(1)
    go, done = threading.Event(), threading.Event()

    def work() -> None:
        assert go.wait(PATIENCE_S)
        done.set()

    async def asking() -> int:
        given_up = threads.run(work, ())
        given_up.cancel()
        go.set()
        found: int = await threads.run(int, ("4",))
        with pytest.raises(asyncio.CancelledError):
            await given_up
        return found

    assert run(asking) == 4
    assert done.is_set()


def test_a_loop_that_has_ended_ends_no_thread() -> None:
    threads = Threads(1)
    go = threading.Event()

    async def leaving() -> None:
        threads.run(go.wait, (PATIENCE_S,))

    run(leaving)
    go.set()

    async def asking() -> int:
        found: int = await threads.run(int, ("5",))
        return found

    assert run(asking) == 5
    assert threads.started == 1


def test_nothing_of_a_request_is_held_once_it_is_answered() -> None:
    class Body:
        pass

    threads = Threads(1)

    def failing(body: Body) -> None:
        raise ValueError(body)

    async def asking() -> weakref.ref[Body]:
        body = Body()
        held = weakref.ref(body)
        with pytest.raises(ValueError, match="Body"):
            await threads.run(failing, (body,))
        return held

    held = run(asking)
    until = time.monotonic() + PATIENCE_S
    while held() is not None:  # the thread may be about to wait again
        gc.collect()
        assert time.monotonic() < until
        time.sleep(0.01)
