"""What a look at one thing of an installation came to. Pure: no probe, no verdict, no printing stands here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from asset_ledger.domain.errors import LedgerError

Status = Literal["ok", "warning", "problem", "skipped"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `said` is what is so and why; a warning or a problem has a next step.

    A problem stops something that the installation is for; a warning will, or keeps it from being what it could be.
    """

    check: str
    status: Status
    said: str
    next_step: str | None = None

    def __post_init__(self) -> None:
        if self.status in ("warning", "problem") and not self.next_step:
            raise ValueError(f"{self.check}: a {self.status} without a next step")


def ok(check: str, said: str) -> Finding:
    """Return a finding of something that is as it should be."""
    return Finding(check, "ok", said)


def warning(check: str, said: str, next_step: str) -> Finding:
    """Return a finding of something that will stop, or that is not what it could be."""
    return Finding(check, "warning", said, next_step)


def problem(check: str, said: str, next_step: str) -> Finding:
    """Return a finding of something that does not work."""
    return Finding(check, "problem", said, next_step)


def skipped(check: str, said: str) -> Finding:
    """Return a finding of something that was not looked at, and why."""
    return Finding(check, "skipped", said)


def refused(check: str, error: LedgerError) -> Finding:
    """Return the problem that an error is, in its own words, which never hold a secret."""
    where = f"{error.target}: " if error.target else ""
    return problem(check, f"{error.code.code}: {where}{error.message}", error.code.advice)


def listed(names: tuple[str, ...] | list[str], most: int = 5) -> str:
    """Return names with commas, and how many there are beyond the first few."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
