"""Reports as they come: what a client said last, its history, and the raw that waits for the ledger.

History is what it would be had all reports come in the order they were collected in: one row for each time that
something changed, and for the first report of a day. docs/decisions/0020 says why the others have none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal

from asset_ledger.domain.agents.arrival import Arrival, arrival
from asset_ledger.domain.agents.changes import Change, compare, untold
from asset_ledger.domain.agents.inventory import Inventory, digest, inventory
from asset_ledger.domain.agents.payload import Report, loads, read
from asset_ledger.domain.agents.secrets import without_secrets
from asset_ledger.domain.calendar import collected_date
from asset_ledger.store.access import audit
from asset_ledger.store.agents import rows
from asset_ledger.store.agents.clients import Holder
from asset_ledger.store.agents.rows import Row, Told
from asset_ledger.store.agents.writing import MOST_AGAIN, Latest, Writing
from asset_ledger.store.database import Connection
from asset_ledger.store.partitions import Months
from asset_ledger.store.tenancy import as_tenant

Result = Literal["changed", "unchanged", "duplicate", "late"]

_TICK = timedelta(microseconds=1)
_months = Months("agent.inventory_history")


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of a report. `change` is None where no row of history was written.

    `said_last` is its SHA-256 where these are the bytes by which the client's latest is known.
    """

    result: Result
    change: Change | None
    collected_at: datetime
    collected_date: date
    notes: tuple[str, ...] = ()
    said_last: bytes | None = None


def accept(
    connection: Connection,
    holder: Holder,
    payload: bytes,
    report: Report,
    *,
    received_at: datetime,
    peer: str | None,
    then: Callable[[Accepted], None] | None = None,
) -> Accepted:
    """Place a report, in a transaction of its own. The same bytes again change nothing.

    `then` is called with what became of it in that transaction; not of a report that says nothing new, which needs none.
    Raises TooOldError for one that has no place, ClientGoneError where the client was retired.
    """
    sha256 = hashlib.sha256(payload).digest()
    payload, redacted = without_secrets(payload)
    if redacted:  # what is told of it, compared and summed up too, is told of what is kept
        report = read(loads(payload))
    placed = arrival(report, received_at)
    found = inventory(report)
    told = Told(placed.collected_at, placed.collected_date, digest(found), payload, sha256, found)
    one = _Placing(connection, holder, report, placed, received_at, peer)
    if one.unchanged(told):
        if one.is_of_another_version:
            with as_tenant(connection, holder.tenant_id):
                one.set_version()
        return one.done("unchanged", None, told)
    with as_tenant(connection, holder.tenant_id):
        accepted = one.place(told)
        if then is not None:
            then(accepted)
    return accepted


def keep(
    connection: Connection,
    holder: Holder,
    payload: bytes,
    report: Report | None,
    *,
    received_at: datetime,
    peer: str | None,
    why: str,
) -> Arrival:
    """Keep a report for the ledger alone, inside `as_tenant`: nothing could be derived. Raises TooOldError.

    Without `report` it could not even be read.
    """
    placed = Arrival(received_at, collected_date(received_at)) if report is None else arrival(report, received_at)
    sha256 = hashlib.sha256(payload).digest()
    one = _Placing(connection, holder, report, placed, received_at, peer)
    one.queue(placed.collected_at, without_secrets(payload)[0], sha256, underived=why)
    return placed


class _Placing(Writing):
    """One report and its place among the others."""

    def place(self, told: Told) -> Accepted:
        """Give a report its place. It must be the first of its transaction."""
        latest = self.lock()
        # after the lock and before any row: who makes a partition waits for all that write to the table
        _months.demand(self._connection, told.collected_at)
        audit.prepare(self._connection)
        if latest is None:
            change = compare(None, told.inventory)
            self.add(told, change)
            self.set_latest(told)
            return self.done("changed", change, told)
        if told.payload_sha256 == latest.payload_sha256 and self.is_dated:
            return self.done("duplicate", None, told)
        if told.collected_at > latest.collected_at:
            return self.newest(told, latest)
        return self.late(told, latest)

    def done(self, result: Result, change: Change | None, told: Told, *, newest: bool = True) -> Accepted:
        said_last = told.payload_sha256 if newest else None
        return Accepted(result, change, told.collected_at, told.collected_date, self._arrival.notes, said_last)

    def newest(self, told: Told, latest: Latest) -> Accepted:
        """Write a row of history for what is new, or of a new day."""
        if told.key == (latest.digest, latest.collected_date):  # nothing was latest yet when `unchanged` looked
            self.unchanged(told)
            return self.done("unchanged", None, told)
        change = compare(self._known_at(rows.inventory_in(latest.raw_data), latest.since), told.inventory)
        if latest.again_at:
            self.end_newest(latest)
        self.add(told, change)
        self.set_latest(told)
        return self.done("changed", change, told)

    def late(self, told: Told, latest: Latest) -> Accepted:
        """Give a report its place among those that were collected after it."""
        while True:
            before = rows.row_before(self._connection, self._tenant_id, self._client_id, told.collected_at)
            after = rows.row_after(self._connection, self._tenant_id, self._client_id, told.collected_at)
            # of the newest row it stands with what is latest
            again = [] if before is None else list(latest.again_at if after is None else before.again_at)
            if before is None or (told.collected_at != before.collected_at and told.collected_at not in again):
                break
            if told.digest == before.digest:
                return self._known(told, latest)
            told = told.moved(told.collected_at + _TICK)  # two of one instant that differ: a clock of whole seconds
            if told.collected_at > latest.collected_at:
                return self.newest(told, latest)
        if before is not None and told.key == before.key:
            if len(again) < MOST_AGAIN:  # of one between those of a full row nothing more need be known
                self.set_again(before, sorted([*again, told.collected_at]), newest=after is None)
            elif told.collected_at > again[-1]:
                self.set_again(before, [*again[:-1], told.collected_at], newest=after is None)
            return self.done("late", None, told, newest=False)
        change = self._since(before, told)
        following = [at for at in again if at > told.collected_at]
        if before is not None and following:
            self._split(before, told, change, again, newest=after is None)
        elif after is not None and after.key == told.key:
            self._begin_earlier(after, told, change, latest)
        else:
            self.add(told, change)
            self._follow(told)
        return self.done("late", change, told, newest=False)

    def _known(self, told: Told, latest: Latest) -> Accepted:
        """Take a report of which what it says is known of its instant: sent again, in other bytes."""
        if told.collected_at == latest.collected_at:
            self.set_sha256(told)
        return self.done("duplicate", None, told, newest=told.collected_at == latest.collected_at)

    def _split(self, before: Row, told: Told, change: Change, again: Sequence[datetime], *, newest: bool) -> None:
        """Put a report between those of one row: the row ends with it, and what was said after it is another."""
        kept = [at for at in again if at < told.collected_at]
        first, *rest = [at for at in again if at > told.collected_at]
        back = Change(("periodic_snapshot",), "as before")
        rows.set_again(self._connection, self._tenant_id, self._client_id, before, kept)
        self.add(told, change)
        again_there = [] if newest else rest
        rows.split_off(self._connection, self._tenant_id, self._client_id, before, first, back, again_there)
        self._follow(told)
        if newest:
            self.set_newest(first, rest)

    def _begin_earlier(self, after: Row, told: Told, change: Change, latest: Latest) -> None:
        """Have the following row begin with this report, which says the same."""
        self.queue(told.collected_at, told.payload, told.payload_sha256)
        newest = after.collected_at == latest.since
        again = [after.collected_at, *(latest.again_at if newest else after.again_at)]
        again = [*again[: MOST_AGAIN - 1], again[-1]] if len(again) > MOST_AGAIN else again
        rows.begin_earlier(
            self._connection, self._tenant_id, self._client_id, after, told, change, [] if newest else again
        )
        if newest:
            self.set_newest(told.collected_at, again)
            self.set_raw(told)

    def _follow(self, told: Told) -> None:
        """Say anew what changed at the next row, and on past rows that leave something out."""
        key = (self._connection, self._tenant_id, self._client_id)
        at, before = told.collected_at, told.inventory
        for _ in range(rows.MOST_BACK):
            after = rows.row_after(*key, at)
            found = None if after is None else rows.inventory_of(*key, after)
            if after is None or found is None:
                return
            rows.set_change(*key, after, compare(self._known_at(before, at), found))
            if not untold(found):
                return
            at, before = after.collected_at, found

    def _known_at(self, found: Inventory, at: datetime) -> Inventory:
        return rows.known_at(self._connection, self._tenant_id, self._client_id, found, at)

    def _since(self, before: Row | None, told: Told) -> Change:
        if before is None:
            return compare(None, told.inventory)
        known = rows.inventory_of(self._connection, self._tenant_id, self._client_id, before)
        return compare(None if known is None else self._known_at(known, before.collected_at), told.inventory)
