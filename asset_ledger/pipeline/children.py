"""How a process that this program starts comes to its end with it. Used by whoever starts one."""

from __future__ import annotations

import ctypes
import signal
import sys
from collections.abc import Callable


def ended_with_parent(number: signal.Signals) -> Callable[[], None] | None:
    """Return a `preexec_fn` that asks Linux to send the child a signal when its parent is gone; None elsewhere."""
    if sys.platform != "linux":
        return None

    def ask() -> None:
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, number)

    return ask
