"""How tests tell soon from never, and little work from much, on a machine that may stall for seconds.

How fast something is says benchmarks/, never a test.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PATIENCE_S = 30.0
"""The longest that something which ends by itself may take, however busy the machine is."""
FOREVER_S = 120.0
"""How long something hangs that is to be given up: whoever waits for its end is found out by PATIENCE_S."""


@contextmanager
def soon() -> Iterator[None]:
    """Fail where what is inside was waited for to the end of FOREVER_S. It tells nothing of how fast it was."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < PATIENCE_S


def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait for what happens in another thread or process."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds:g} s"
        time.sleep(0.01)


@contextmanager
def no_minutes() -> Iterator[None]:
    """Fail where what is inside, a matter of a second, took minutes of this thread's own work, as squares do."""
    began = time.thread_time()
    yield
    assert time.thread_time() - began < PATIENCE_S


def calls_of(work: Callable[[], object]) -> int:
    """Return how many functions this thread calls for some work, those written in C too."""
    count = 0

    def counted(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(counted)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


class Hanging(threading.Event):
    """Stands for a double's `stopping`: what stalls there goes on once it is `over`, and the double does as well."""

    def __init__(self) -> None:
        super().__init__()
        self.over = threading.Event()

    def set(self) -> None:
        super().set()
        self.over.set()

    def wait(self, timeout: float | None = None) -> bool:
        self.over.wait(timeout)
        return self.is_set()
