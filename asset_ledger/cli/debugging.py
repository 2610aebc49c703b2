"""Whether the command was called with --debug. `cli.main` says so, and whoever starts a process hands it on."""

from __future__ import annotations

_asked = [False]


def set_debugging(asked: bool) -> None:
    """Note for this process whether tracebacks are wanted."""
    _asked[0] = asked


def debugging() -> bool:
    """Return whether tracebacks are wanted."""
    return _asked[0]
