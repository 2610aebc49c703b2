"""The agent's life: one in a state folder, reading and speaking in turn until it is told to end.

SIGTERM and Ctrl-C end it where it stands. Whatever it was writing is whole or not there, so nothing waits for anything.
"""

from __future__ import annotations

import fcntl
import logging
import math
import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from asset_ledger.agent.identity import make_private
from asset_ledger.agent.talk import Options, Talk
from asset_ledger.domain.errors import AGENT_BUSY, PermanentError

_SLICE_S = 5.0
"""How long it sleeps at most before it looks whether it was enrolled anew."""
_log = logging.getLogger("asset_ledger.agent")


class Ended(BaseException):
    """Somebody told this process to end."""


def run(home: Path, identity_file: Path, options: Options) -> None:
    """Report this machine until the process is told to end. Raises LedgerError where it cannot begin."""
    with locked(home), ending() as told, suppress(Ended):
        _live(Talk(home, identity_file, options), told)
    _log.info("told to end")


def _live(talk: Talk, told: list[int]) -> None:
    # not all at once, when the power comes back
    speak_at = time.monotonic() + random.uniform(0, min(talk.every_s / 5, 10.0))  # noqa: S311
    looked_at = -math.inf
    while not told:
        now = time.monotonic()
        if talk.renewed():
            speak_at = now
        since_s = now - looked_at
        # as often while the server is away, and just before it is told
        if since_s >= talk.every_s or (now >= speak_at and since_s >= talk.every_s / 2):
            talk.look()
            looked_at = now
        if now >= speak_at:
            speak_at = time.monotonic() + talk.speak()
        sleep_until = min(speak_at, looked_at + talk.every_s, now + _SLICE_S)
        time.sleep(max(sleep_until - time.monotonic(), 0.0))


@contextmanager
def locked(home: Path) -> Iterator[None]:
    """Hold a state folder alone. Raises PermanentError(AGENT_BUSY) where another process does."""
    make_private(home)
    file = os.open(home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PermanentError(AGENT_BUSY, "it is held by a running agent", target=str(home)) from None
        yield
    finally:
        os.close(file)


@contextmanager
def ending() -> Iterator[list[int]]:
    """Raise Ended wherever this process is when it is told to end; the signals are listed, should one be swallowed."""
    told: list[int] = []

    def end(number: int, _: FrameType | None) -> None:
        told.append(number)
        if len(told) == 1:  # nor is a second one to break what ends already
            raise Ended

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
