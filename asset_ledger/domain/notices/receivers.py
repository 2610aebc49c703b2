"""Who is told of what, and when not: receivers as notices.yaml names them, and their quiet hours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from asset_ledger.domain.iac.rules import matches
from asset_ledger.domain.notices.troubles import KINDS, SEVERITIES, Entry, Kind, Severity

AGAIN_AFTER = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Quiet:
    """The hours of a day in which only what is bad enough is told; they may go over midnight."""

    begins: time
    ends: time
    zone: str
    breaks_through: Severity | None = "critical"

    def until(self, now: datetime) -> datetime | None:
        """Return when the quiet that there is at an aware instant ends; None where there is none."""
        local = now.astimezone(ZoneInfo(self.zone))
        at = local.time()
        over_midnight = self.begins > self.ends
        inside = at >= self.begins or at < self.ends if over_midnight else self.begins <= at < self.ends
        if not inside:
            return None
        day = local.date() + timedelta(days=1 if over_midnight and at >= self.begins else 0)
        return datetime.combine(day, self.ends, ZoneInfo(self.zone)).astimezone(UTC)

    def lets(self, severity: Severity) -> bool:
        """Say whether something this bad is told at any hour."""
        return self.breaks_through is not None and SEVERITIES.index(severity) >= SEVERITIES.index(self.breaks_through)


@dataclass(frozen=True, slots=True)
class Receiver:
    """A group, a channel or mailbox. Where it is stands in the credential: such an address is a secret.

    `sources` are globs; what is of no source is for everybody whose globs are all there is.
    """

    name: str
    credential_ref: str
    sources: tuple[str, ...] = ("*",)
    kinds: tuple[Kind, ...] = KINDS
    severity: Severity = "warning"
    quiet: Quiet | None = None

    def wants(self, one: Entry) -> bool:
        """Say whether it is told of an entry at all."""
        return self.why_not(one) is None

    def why_not(self, one: Entry) -> str | None:
        """Return why it is not told of an entry, None where it is."""
        if one.kind not in self.kinds:
            return f"it does not ask for {one.kind}"
        if not self._is_enough(one.severity):
            return f"{one.severity} is less than {self.severity}"
        if not any(matches(glob, one.source) for glob in self.sources):
            return f"it does not ask for {one.source or 'what is of no source'}"
        # of the same source, so that its globs say the same
        told = [kind for kind, severity in one.under if kind in self.kinds and self._is_enough(severity)]
        if one.alone:
            return None if told else "told already, and nothing changed"
        return f"it follows from what it is told of as {told[0]}" if told else None

    def _is_enough(self, severity: Severity) -> bool:
        return SEVERITIES.index(severity) >= SEVERITIES.index(self.severity)

    def may_hear(self, severity: Severity, now: datetime) -> bool:
        """Say whether something this bad may be told now."""
        return self.quiet is None or self.quiet.until(now) is None or self.quiet.lets(severity)

    def hears_now(self, now: datetime) -> tuple[Severity, ...]:
        """Return which severities may be told now."""
        return tuple(severity for severity in SEVERITIES if self.may_hear(severity, now))


@dataclass(frozen=True, slots=True)
class Notices:
    """The whole of notices.yaml. Without the file nobody is told.

    `warnings` are what is odd in it and silences nobody: the receiver's name, and words.
    """

    receivers: tuple[Receiver, ...] = ()
    dagster_url: str | None = None
    again_after: timedelta = AGAIN_AFTER
    warnings: tuple[tuple[str, str], ...] = ()


def parted(receiver: Receiver, entries: Sequence[Entry], now: datetime) -> tuple[list[Entry], list[Entry]]:
    """Return what a receiver is told now, and what is kept for the end of its quiet hours."""
    wanted = [one for one in entries if receiver.wants(one)]
    return (
        [one for one in wanted if receiver.may_hear(one.severity, now)],
        [one for one in wanted if not receiver.may_hear(one.severity, now)],
    )
