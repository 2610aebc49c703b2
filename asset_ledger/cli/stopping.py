"""How a command and the processes it started come to an end together. Used by all that start processes."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from asset_ledger.pipeline.children import ended_with_parent

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let every signal that asks to stop end in the same way: by unwinding, so that what was started is stopped."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread has signals
        return

    def stop(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number, handler in before.items():
        if number != signal.SIGHUP or handler is not signal.SIG_IGN:  # nohup: the terminal may go
            signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


end_with_parent = ended_with_parent(signal.SIGTERM)
"""A `preexec_fn`: the child is ended when its parent is killed without a chance to stop it."""
