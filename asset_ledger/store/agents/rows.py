"""Rows of the history and of what is latest: an inventory as columns, and an inventory out of what was kept."""

# ruff: noqa: S608 - statements are put together from constants of these files; values are always parameters
from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any, LiteralString
from uuid import UUID

from psycopg.rows import class_row

from asset_ledger.domain.agents.changes import Change, filled, untold
from asset_ledger.domain.agents.inventory import Inventory, inventory
from asset_ledger.domain.agents.payload import loads, read
from asset_ledger.domain.iac.exact_json import canonical, storable_number
from asset_ledger.store.database import Connection

LATEST_COLUMNS = (
    *("hostname", "os", "platform", "platform_version", "kernel_version", "arch"),
    *("cpu_count", "cpu_count_is", "cpu_model", "cpu_usage_percent"),
    *("memory_total", "memory_used", "memory_free", "memory_usage_percent"),
    *("disk_total", "disk_used", "disk_free", "disk_usage_percent", "ip_addresses", "mac_addresses"),
)
USED = ("memory_used", "disk_used")
"""Columns of the history that change though nothing does."""
HISTORY_COLUMNS = tuple(
    each for each in LATEST_COLUMNS if each in USED or not each.endswith(("_percent", "_used", "_free"))
)
# what JSONB has no room for, or holds as a number of a thousand digits; texts that look so only take the longer way
_NOT_AS_IT_STANDS = re.compile(rb"\\u0000|\\u[dD][89a-fA-F]|[\s:,\[]-?[\d.]+[eE][+-]?\d{3}|\d{400}")


@dataclass(frozen=True, slots=True)
class Told:
    """One report, ready to be placed: when it counts and what it says."""

    collected_at: datetime
    collected_date: date
    digest: bytes
    payload: bytes
    payload_sha256: bytes
    inventory: Inventory

    @property
    def key(self) -> tuple[bytes, date]:
        """Return what two reports of one row of history have in common."""
        return self.digest, self.collected_date

    def moved(self, collected_at: datetime) -> Told:
        """Return it as of another instant."""
        return replace(self, collected_at=collected_at)


@dataclass(frozen=True, slots=True)
class Row:
    """A row of history: the first of the reports of a day that said the same; `again_at` are the others."""

    id: int
    collected_at: datetime
    collected_date: date
    digest: bytes
    payload_sha256: bytes | None
    again_at: Sequence[datetime]

    @property
    def key(self) -> tuple[bytes, date]:
        """Return what two reports of one row of history have in common."""
        return self.digest, self.collected_date


MOST_BACK = 8
"""How many rows are looked back, or on, for what a report leaves out."""


def row_before(connection: Connection, tenant_id: UUID, client_id: UUID, at: datetime) -> Row | None:
    """Return the newest row of a client up to an instant."""
    with connection.cursor(row_factory=class_row(Row)) as cursor:
        return cursor.execute(_BEFORE, [tenant_id, client_id, at]).fetchone()


def row_after(connection: Connection, tenant_id: UUID, client_id: UUID, at: datetime) -> Row | None:
    """Return the oldest row of a client after an instant."""
    with connection.cursor(row_factory=class_row(Row)) as cursor:
        return cursor.execute(_AFTER, [tenant_id, client_id, at]).fetchone()


def inventory_of(connection: Connection, tenant_id: UUID, client_id: UUID, row: Row) -> Inventory | None:
    """Return what a row says, by its report or another that said the same; None where none is kept."""
    found = connection.execute(
        """
        SELECT raw_data::text FROM agent.inventory_history
        WHERE tenant_id = %(tenant)s AND client_id = %(client)s AND collected_at = %(at)s AND id = %(id)s
          AND raw_data IS NOT NULL
        UNION ALL
        (SELECT raw_data::text FROM agent.inventory_history
         WHERE tenant_id = %(tenant)s AND client_id = %(client)s AND digest = %(digest)s AND raw_data IS NOT NULL
         ORDER BY collected_at <= %(at)s DESC, collected_at DESC LIMIT 1)
        LIMIT 1
        """,
        {"tenant": tenant_id, "client": client_id, "at": row.collected_at, "id": row.id, "digest": row.digest},
    ).fetchone()
    return None if found is None else inventory_in(found[0])


def known_at(connection: Connection, tenant_id: UUID, client_id: UUID, found: Inventory, at: datetime) -> Inventory:
    """Return the inventory of an instant, with what it leaves out as it was told before."""
    if not untold(found):
        return found
    earlier = connection.execute(_EARLIER, [tenant_id, client_id, at, MOST_BACK])
    return filled(found, (inventory_in(raw) for (raw,) in earlier if raw is not None))


def inventory_in(raw: str) -> Inventory:
    """Return what a kept report says, as this version reads it."""
    return inventory(read(loads(raw.encode())))


def as_jsonb(payload: bytes) -> str:
    """Return a report as PostgreSQL takes it for JSONB: as it stands but for what that has no room for."""
    if _NOT_AS_IT_STANDS.search(payload) is None:
        return payload.decode()
    return canonical(_storable(loads(payload))).decode()


def columns(inventory: Inventory, names: Sequence[str]) -> dict[str, Any]:
    """Return an inventory's values for some columns."""
    found = {name: getattr(inventory, name) for name in names}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}


def add_row(
    connection: Connection, tenant_id: UUID, client_id: UUID, told: Told, change: Change, again: Sequence[datetime] = ()
) -> None:
    """Write a row of history."""
    connection.execute(
        _ADD,
        {
            **columns(told.inventory, HISTORY_COLUMNS),
            **_placed(told, change, again),
            "tenant_id": tenant_id,
            "client_id": client_id,
        },
    )


def begin_earlier(
    connection: Connection,
    tenant_id: UUID,
    client_id: UUID,
    row: Row,
    told: Told,
    change: Change,
    again: Sequence[datetime],
) -> None:
    """Have a row begin with a report that came later and was collected earlier."""
    connection.execute(
        _MOVE,
        {
            **columns(told.inventory, HISTORY_COLUMNS),
            **_placed(told, change, again),
            "tenant_id": tenant_id,
            "client_id": client_id,
            "id": row.id,
            "was_at": row.collected_at,
        },
    )


def split_off(
    connection: Connection,
    tenant_id: UUID,
    client_id: UUID,
    row: Row,
    at: datetime,
    change: Change,
    again: Sequence[datetime],
) -> None:
    """Write a row for what was said again at an instant. Its own figures are not known, what is stable is the row's."""
    connection.execute(
        _SPLIT,
        {
            "at": at,
            "change_type": list(change.types),
            "change_summary": change.summary,
            "again_at": list(again),
            "tenant_id": tenant_id,
            "client_id": client_id,
            "id": row.id,
            "was_at": row.collected_at,
        },
    )


def set_again(connection: Connection, tenant_id: UUID, client_id: UUID, row: Row, again: Sequence[datetime]) -> None:
    """Say when a row was said again."""
    connection.execute(
        "UPDATE agent.inventory_history SET again_at = %s"
        " WHERE tenant_id = %s AND client_id = %s AND collected_at = %s AND id = %s",
        [list(again), tenant_id, client_id, row.collected_at, row.id],
    )


def set_change(connection: Connection, tenant_id: UUID, client_id: UUID, row: Row, change: Change) -> None:
    """Say anew what changed at a row: the one before it is another."""
    connection.execute(
        "UPDATE agent.inventory_history SET change_type = %s, change_summary = %s"
        " WHERE tenant_id = %s AND client_id = %s AND collected_at = %s AND id = %s",
        [list(change.types), change.summary, tenant_id, client_id, row.collected_at, row.id],
    )


def _placed(told: Told, change: Change, again: Sequence[datetime]) -> Mapping[str, Any]:
    return {
        "change_type": list(change.types),
        "change_summary": change.summary,
        "collected_at": told.collected_at,
        "collected_date": told.collected_date,
        "digest": told.digest,
        "payload_sha256": told.payload_sha256,
        "again_at": list(again),
        "raw_data": as_jsonb(told.payload),
    }


def _storable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _storable(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_storable(inner) for inner in value]
    # whole ones of many digits, and those that no float is
    if isinstance(value, Decimal) or (isinstance(value, int) and abs(value) >= _WIDE):
        number = storable_number(value)
        return str(value) if isinstance(number, str) or not -_WIDE < number < _WIDE else number
    return value


_WIDE = 10**300
_PLACE = ("change_type", "change_summary", "collected_at", "collected_date", "digest", "payload_sha256", "again_at")
_WRITTEN = (*HISTORY_COLUMNS, *_PLACE, "raw_data")


def _named(names: Sequence[str]) -> str:
    return ", ".join(f"%({name})s" for name in names)


_ROW = (
    "SELECT id, collected_at, collected_date, digest, payload_sha256, again_at FROM agent.inventory_history"
    " WHERE tenant_id = %s AND client_id = %s AND collected_at "
)
# one that was split off has none of its own
_EARLIER: LiteralString = """
SELECT coalesce(h.raw_data, (
    SELECT o.raw_data FROM agent.inventory_history AS o
    WHERE o.tenant_id = h.tenant_id AND o.client_id = h.client_id AND o.digest = h.digest AND o.raw_data IS NOT NULL
    ORDER BY o.collected_at <= h.collected_at DESC, o.collected_at DESC LIMIT 1))::text
FROM agent.inventory_history AS h
WHERE h.tenant_id = %s AND h.client_id = %s AND h.collected_at < %s
ORDER BY h.collected_at DESC, h.id DESC LIMIT %s
"""
_BEFORE = f"{_ROW} <= %s ORDER BY collected_at DESC LIMIT 1".encode()
_AFTER = f"{_ROW} > %s ORDER BY collected_at LIMIT 1".encode()
_ADD = (
    f"INSERT INTO agent.inventory_history (tenant_id, client_id, {', '.join(_WRITTEN)})"
    f" VALUES (%(tenant_id)s, %(client_id)s, {_named(_WRITTEN)})"
).encode()
_MOVE = (
    f"UPDATE agent.inventory_history SET ({', '.join(_WRITTEN)}) = ROW({_named(_WRITTEN)})"
    " WHERE tenant_id = %(tenant_id)s AND client_id = %(client_id)s AND collected_at = %(was_at)s AND id = %(id)s"
).encode()
_LASTING = tuple(name for name in HISTORY_COLUMNS if name not in USED)
_SPLIT = (
    f"INSERT INTO agent.inventory_history (tenant_id, client_id, {', '.join(_LASTING)}, change_type, change_summary,"
    " collected_at, collected_date, digest, again_at)"
    f" SELECT tenant_id, client_id, {', '.join(_LASTING)}, %(change_type)s, %(change_summary)s, %(at)s, collected_date,"
    " digest, %(again_at)s FROM agent.inventory_history"
    " WHERE tenant_id = %(tenant_id)s AND client_id = %(client_id)s AND collected_at = %(was_at)s AND id = %(id)s"
).encode()
