"""Where requests wait for the database: threads beside the event loop, which does one thing at a time.

For what ends by itself, as a transaction does. What must not go on when its request is given up, such as writing a
file, is Starlette's `run_in_threadpool`, which waits for it; that costs a small request a tenth of its time.
"""

from __future__ import annotations

from asyncio import get_running_loop
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, TypeVarTuple

_T = TypeVar("_T")
_Arguments = TypeVarTuple("_Arguments")

MOST = 40
"""How many requests are at it at once; each takes one of the few connections for its turn."""

_threads = ThreadPoolExecutor(MOST, thread_name_prefix="request")


async def in_thread(work: Callable[[*_Arguments], _T], *arguments: *_Arguments) -> _T:
    """Return what `work` returns or raise what it raises, having let others on meanwhile."""
    return await get_running_loop().run_in_executor(_threads, work, *arguments)
