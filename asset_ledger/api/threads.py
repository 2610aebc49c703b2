"""Where requests wait for the database: threads beside the event loop, which does one thing at a time.

For what ends by itself, as a transaction does. What must not go on when its request is given up, such as writing a
file, is Starlette's `run_in_threadpool`, which waits for it. That costs a small request a tenth of its time, and the
loop's own `run_in_executor` half of that, for a future of each of two kinds and what keeps them alike.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, Future, get_running_loop
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar, TypeVarTuple

_T = TypeVar("_T")
_Arguments = TypeVarTuple("_Arguments")
_Work = tuple[AbstractEventLoop, "Future[Any]", Callable[..., Any], tuple[Any, ...]]

MOST = 40
"""How many requests are at it at once; each takes one of the few connections for its turn."""


class Threads:
    """Threads that are started as they are needed, up to `most`, and end with the process."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: SimpleQueue[_Work] = SimpleQueue()
        # an entry for each thread that has nothing to do, or more: they count until all threads are started, and no
        # longer. To add or to take one is one step of the interpreter's
        self._idle: deque[None] = deque(maxlen=most)
        self.started = 0

    def run(self, work: Callable[..., Any], arguments: tuple[Any, ...]) -> Future[Any]:
        """Have a thread do something, and return what will have its outcome. Called in an event loop."""
        loop = get_running_loop()
        outcome: Future[Any] = loop.create_future()
        try:
            self._idle.pop()
        except IndexError:
            if self.started < self._most:
                # before anything waits: where the system gives no more threads, nothing is done that nobody waits for
                Thread(target=self._serve, name=f"request_{self.started}", daemon=True).start()
                self.started += 1
        self._waiting.put((loop, outcome, work, arguments))
        return outcome

    def _serve(self) -> None:
        while True:
            self._do(*self._waiting.get())
            self._idle.append(None)

    def _do(
        self, loop: AbstractEventLoop, outcome: Future[Any], work: Callable[..., Any], arguments: tuple[Any, ...]
    ) -> None:
        """Do it and tell the loop. In a frame of its own, so that nothing of a request is held until the next comes."""
        result: Any = None
        error: BaseException | None = None
        try:
            result = work(*arguments)
        except BaseException as raised:  # noqa: BLE001 - whatever it is, it is raised where the work was handed over
            error = raised
        try:
            loop.call_soon_threadsafe(_settle, outcome, result, error)
        except RuntimeError:  # the loop has ended, and with it whoever waited
            return
        finally:
            del error  # or it, its traceback and this frame would hold each other


def _settle(outcome: Future[Any], result: object, error: BaseException | None) -> None:
    if outcome.done():  # given up meanwhile
        return
    if error is None:
        outcome.set_result(result)
    elif isinstance(error, StopIteration):  # which no future takes
        outcome.set_exception(RuntimeError(f"the work ended with {error!r}"))
    else:
        outcome.set_exception(error)


_threads = Threads(MOST)


async def in_thread(work: Callable[[*_Arguments], _T], *arguments: *_Arguments) -> _T:
    """Return what `work` returns or raise what it raises, having let others on meanwhile."""
    result: _T = await _threads.run(work, arguments)
    return result
