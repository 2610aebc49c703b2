"""What placing one report writes: what is latest, rows of history, and the raw that waits for the ledger.

Which of it is written when is said in `reports`.
"""

# ruff: noqa: S608 - statements are put together from constants of these files; values are always parameters
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, LiteralString

from asset_ledger.domain.agents.arrival import Arrival
from asset_ledger.domain.agents.changes import Change
from asset_ledger.domain.agents.payload import Report
from asset_ledger.store.agents import rows
from asset_ledger.store.agents.clients import Holder
from asset_ledger.store.agents.rows import LATEST_COLUMNS, Row, Told, columns
from asset_ledger.store.database import Connection

MOST_AGAIN = 300
"""How many instants of unchanged reports are kept with a row: one every five minutes. More are counted as said."""


class ClientGoneError(Exception):
    """The client was retired since its token was looked at."""


@dataclass(frozen=True, slots=True)
class Latest:
    """What is latest, as far as placing a report needs it. `since` is when its row of history was collected."""

    collected_at: datetime
    collected_date: date
    digest: bytes
    payload_sha256: bytes
    again_at: Sequence[datetime]
    since: datetime
    raw_data: str


class Writing:
    """One report on its way in."""

    def __init__(
        self,
        connection: Connection,
        holder: Holder,
        report: Report | None,
        placed: Arrival,
        received_at: datetime,
        peer: str | None,
    ) -> None:
        self._connection, self._holder, self._report, self._peer = connection, holder, report, peer
        self._version = None if report is None else report.agent_version
        self._management_ip = None if report is None else report.management_ip
        self._tenant_id, self._client_id = holder.tenant_id, holder.client_id
        self._arrival, self._received_at = placed, received_at

    def unchanged(self, told: Told) -> bool:
        """Write what is latest where nothing changed and it is of the same day: one statement, and no index.

        It needs no transaction and tells the tenant by itself.
        """
        said = {
            **self._said(told, _PASSING),
            "most": MOST_AGAIN,
            "dated": self.is_dated,
        }
        row = self._connection.execute(_SAY_AGAIN, said).fetchone()
        return row is not None and bool(row[0])

    def _said(self, told: Told, names: Sequence[str]) -> dict[str, Any]:
        """Return the values of these columns, and whose and of when they are."""
        return {
            **columns(told.inventory, names),
            "tenant_id": self._tenant_id,
            "client_id": self._client_id,
            "collected_at": told.collected_at,
            "collected_date": told.collected_date,
            "digest": told.digest,
            "payload_sha256": told.payload_sha256,
            "received_at": self._received_at,
        }

    def lock(self) -> Latest | None:
        """Put those in order who write of one client, and return what is latest.

        The row of what is latest does that.
        """
        key = [self._tenant_id, self._client_id]
        held = self._connection.execute(
            "SELECT id FROM agent.clients WHERE tenant_id = %s AND id = %s AND retired_at IS NULL", key
        ).fetchone()
        if held is None:
            raise ClientGoneError
        if (row := self._connection.execute(_LOCK_LATEST, key).fetchone()) is None:
            # nothing is there to be locked yet
            self._connection.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended('asset_ledger.client ' || %s::text, 0))", key[1:]
            )
            row = self._connection.execute(_LOCK_LATEST, key).fetchone()
        return None if row is None else Latest(*row)

    def add(self, told: Told, change: Change) -> None:
        """Write a row of history, and the raw of it for the ledger."""
        self.queue(told.collected_at, told.payload, told.payload_sha256)
        rows.add_row(self._connection, self._tenant_id, self._client_id, told, change)

    def queue(self, collected_at: datetime, payload: bytes, sha256: bytes, underived: str | None = None) -> None:
        """Keep what was received until the ledger has it."""
        if not self._arrival.for_ledger:
            return
        self._connection.execute(
            """
            INSERT INTO agent.reports (tenant_id, client_id, received_at, collected_at, collected_date, payload,
                                       payload_sha256, peer, agent_version, management_ip, underived)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
            """,
            [
                self._tenant_id,
                self._client_id,
                self._received_at,
                collected_at,
                self._arrival.collected_date,
                payload,
                sha256,
                self._peer,
                self._version,
                self._management_ip,
                underived,
            ],
        )

    def set_latest(self, told: Told) -> None:
        """Write what is latest, and of the client what listings show."""
        self._connection.execute(
            _SET_LATEST,
            {
                **self._said(told, LATEST_COLUMNS),
                "raw_data": rows.as_jsonb(told.payload),
            },
        )
        self._connection.execute(
            "UPDATE agent.clients SET hostname = coalesce(%s, hostname), os = coalesce(%s, os),"
            " platform = coalesce(%s, platform), arch = coalesce(%s, arch), agent_version = coalesce(%s, agent_version),"
            " ip_address = coalesce(%s, ip_address), last_seen = greatest(last_seen, %s)"
            " WHERE tenant_id = %s AND id = %s",
            [
                *columns(told.inventory, ("hostname", "os", "platform", "arch")).values(),
                self._version,
                self._peer,
                self._received_at,
                self._tenant_id,
                self._client_id,
            ],
        )

    @property
    def is_dated(self) -> bool:
        """Say whether the report tells when it was collected."""
        return self._report is not None and self._report.collected_at is not None

    @property
    def is_of_another_version(self) -> bool:
        """Say whether another agent wrote it than is known: the same machine may have a newer one."""
        return self._version is not None and self._version != self._holder.agent_version

    def set_version(self) -> None:
        """Write which agent it is."""
        self._connection.execute(
            "UPDATE agent.clients SET agent_version = %s WHERE tenant_id = %s AND id = %s",
            [self._version, self._tenant_id, self._client_id],
        )

    def set_newest(self, since: datetime, again: Sequence[datetime]) -> None:
        self._connection.execute(
            "UPDATE agent.inventory_latest SET since = %s, again_at = %s WHERE tenant_id = %s AND client_id = %s",
            [since, list(again), self._tenant_id, self._client_id],
        )

    def set_again(self, row: Row, again: Sequence[datetime], *, newest: bool) -> None:
        if newest:
            self.set_newest(row.collected_at, again)
        else:
            rows.set_again(self._connection, self._tenant_id, self._client_id, row, again)

    def end_newest(self, latest: Latest) -> None:
        """Write into the newest row of history when it was said again: another follows it."""
        self._connection.execute(
            "UPDATE agent.inventory_history SET again_at = %s"
            " WHERE tenant_id = %s AND client_id = %s AND collected_at = %s",
            [list(latest.again_at), self._tenant_id, self._client_id, latest.since],
        )

    def set_sha256(self, told: Told) -> None:
        """Write by which bytes what is latest is known."""
        self._connection.execute(
            "UPDATE agent.inventory_latest SET payload_sha256 = %s WHERE tenant_id = %s AND client_id = %s",
            [told.payload_sha256, self._tenant_id, self._client_id],
        )

    def set_raw(self, told: Told) -> None:
        """Write the report by which what is latest was first said."""
        self._connection.execute(
            "UPDATE agent.inventory_latest SET raw_data = %s, raw_at = %s WHERE tenant_id = %s AND client_id = %s",
            [rows.as_jsonb(told.payload), told.collected_at, self._tenant_id, self._client_id],
        )


_NAMES = (*LATEST_COLUMNS, "collected_at", "received_at", "collected_date", "digest", "payload_sha256")
_VALUES = ", ".join(f"%({name})s" for name in _NAMES)
_LOCK_LATEST: LiteralString = (
    "SELECT collected_at, collected_date, digest, payload_sha256, again_at, since, raw_data::text"
    " FROM agent.inventory_latest WHERE tenant_id = %s AND client_id = %s FOR NO KEY UPDATE"
)
_SET_LATEST = (
    f"INSERT INTO agent.inventory_latest (tenant_id, client_id, {', '.join(_NAMES)}, updated_at, raw_data, raw_at, since)"
    f" VALUES (%(tenant_id)s, %(client_id)s, {_VALUES}, %(received_at)s, %(raw_data)s, %(collected_at)s, %(collected_at)s)"
    " ON CONFLICT (tenant_id, client_id) DO UPDATE SET again_at = '{}', "
    + ", ".join(f"{name} = excluded.{name}" for name in (*_NAMES, "updated_at", "raw_data", "raw_at", "since"))
).encode()
# what changes though the digest does not
_PASSING = tuple(name for name in LATEST_COLUMNS if name.startswith(("memory_", "disk_")) or name.endswith("_percent"))
_KINDS = {
    **dict.fromkeys((name for name in _PASSING if name.endswith("_percent")), "numeric"),
    **dict.fromkeys(("tenant_id", "client_id"), "uuid"),
    **dict.fromkeys(("collected_at", "received_at"), "timestamptz"),
    **dict.fromkeys(("digest", "payload_sha256"), "bytea"),
    "collected_date": "date",
    "dated": "boolean",
    "most": "integer",
}
_SAID = (
    "tenant_id",
    "client_id",
    *_PASSING,
    "collected_at",
    "received_at",
    "collected_date",
    "digest",
    "payload_sha256",
)
_SAY_AGAIN = (
    "SELECT agent.say_again("
    + ", ".join(f"{name} => %({name})s::{_KINDS.get(name, 'bigint')}" for name in (*_SAID, "dated", "most"))
    + ")"
).encode()
