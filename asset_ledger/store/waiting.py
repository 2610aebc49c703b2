"""How long what did not arrive waits until it is tried again: the same for webhooks and for notices to people."""

from __future__ import annotations

import random
from datetime import timedelta


def wait_after(attempts: int, *, first: timedelta, longest: timedelta) -> timedelta:
    """Return how long to wait after so many attempts and one: doubled each time, a fifth more or less by chance, so
    that what failed together does not come again together."""
    doubled: timedelta = first * 2.0 ** min(attempts, 16)
    return min(doubled, longest) * random.uniform(0.8, 1.2)  # noqa: S311 - nobody gains by guessing it
