"""What goes into the next message to a receiver: which of what waits, and whether anything may be told now.

What was tried once goes again as it was, so that a receiver that heard it knows it again; everything else that waits
goes into one message, and so a receiver hears little however much happened. Called by `pipeline.notices`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol, TypeVar
from uuid import UUID

from asset_ledger.domain.notices.receivers import Receiver
from asset_ledger.domain.notices.troubles import Severity, worst

STUBBORN = 3
"""Tries after which a message goes behind the others: it may be that which is refused, and the receiver is not away."""
APART = timedelta(seconds=6)
"""Between two messages to a receiver: DingTalk and WeCom silence a robot that says more than 20 in a minute."""


class Waits(Protocol):
    """One digest of the outbox. `batch` is the message it was tried with."""

    @property
    def severity(self) -> Severity: ...
    @property
    def created_at(self) -> datetime: ...
    @property
    def next_at(self) -> datetime: ...
    @property
    def attempts(self) -> int: ...
    @property
    def first_tried_at(self) -> datetime | None: ...
    @property
    def batch(self) -> UUID | None: ...


One = TypeVar("One", bound=Waits)


def next_message(
    waiting: Sequence[One], receiver: Receiver, now: datetime, *, last_at: datetime | None = None
) -> list[One]:
    """Return what goes into the next message, in its order; nothing where nothing is due or may be told now.

    `last_at` is when the receiver last took one.
    """
    if last_at is not None and now - last_at < APART:
        return []
    due = [one for one in waiting if one.next_at <= now]
    batches = list(dict.fromkeys(one.batch for one in due if one.batch is not None))
    tried = [[one for one in due if one.batch == batch] for batch in batches]
    fit = [each for each in tried if receiver.may_hear(worst(one.severity for one in each), now)]
    new = [one for one in due if one.batch is None and receiver.may_hear(one.severity, now)]
    patient = [each for each in fit if _tries(each) < STUBBORN]
    # of those that are refused each comes in its turn
    stubborn = sorted((each for each in fit if _tries(each) >= STUBBORN), key=_tries)
    return next((each for each in (*patient, new, *stubborn) if each), [])


def refused_itself(tried: Sequence[Waits], last_at: datetime | None) -> bool:
    """Say whether it is the message that its receiver does not take: it took another since this was tried first."""
    began = [one.first_tried_at for one in tried if one.first_tried_at is not None]
    return last_at is not None and len(began) == len(tried) > 0 and last_at > max(began)


def _tries(message: Sequence[Waits]) -> int:
    return max(one.attempts for one in message)


def why_late(notices: Sequence[Waits], receiver: Receiver, now: datetime) -> str:
    """Return why a message comes late, as its first line says; empty where it comes at once."""
    quiet = receiver.quiet
    if quiet is None or quiet.until(now) is not None:
        return ""
    kept = any(quiet.until(one.created_at) is not None and not quiet.lets(one.severity) for one in notices)
    return "kept in the quiet hours" if kept else ""
