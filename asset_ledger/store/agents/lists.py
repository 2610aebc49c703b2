"""Clients as they are listed and shown, and what is kept of what they said. Everything here is inside `as_tenant`."""

# ruff: noqa: S608 - statements are put together from constants of this file; values are always parameters
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal
from uuid import UUID

from psycopg.rows import class_row

from asset_ledger.domain.agents.changes import ChangeType
from asset_ledger.domain.agents.inventory import Inventory
from asset_ledger.store.agents.rows import Row, inventory_in, inventory_of
from asset_ledger.store.database import Connection

Status = Literal["online", "offline"]
Retired = Literal["no", "yes", "all"]
CHANGE_TYPES: tuple[ChangeType, ...] = ("hardware_change", "network_change", "os_change", "periodic_snapshot")


@dataclass(frozen=True, slots=True)
class ClientRow:
    """A client, as listings show it. Bytes; what it said last is None until it said something."""

    id: UUID
    hostname: str | None
    status: Status
    status_at: datetime | None
    os: str | None
    platform: str | None
    arch: str | None
    agent_version: str | None
    ip_address: str | None
    enrolled_by: str
    username: str | None
    registered_at: datetime
    first_connected_at: datetime | None
    last_connected_at: datetime | None
    last_seen: datetime | None
    retired_at: datetime | None
    collected_at: datetime | None
    cpu_count: int | None
    memory_total: int | None
    disk_total: int | None
    ip_addresses: list[str] | None
    waiting: int


@dataclass(frozen=True, slots=True)
class LatestRow:
    """What a client said last. Bytes and percent; `raw_data` is of `raw_at`, since when nothing changed."""

    hostname: str | None
    os: str | None
    platform: str | None
    platform_version: str | None
    kernel_version: str | None
    arch: str | None
    cpu_count: int | None
    cpu_count_is: Literal["logical", "physical"] | None
    cpu_model: str | None
    cpu_usage_percent: float | None
    memory_total: int | None
    memory_used: int | None
    memory_free: int | None
    memory_usage_percent: float | None
    disk_total: int | None
    disk_used: int | None
    disk_free: int | None
    disk_usage_percent: float | None
    ip_addresses: list[str]
    mac_addresses: list[str]
    collected_at: datetime
    received_at: datetime
    updated_at: datetime
    collected_date: date
    payload_sha256: str
    raw_data: Mapping[str, Any]
    raw_at: datetime


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """A row of a client's history. Bytes; `said_again` counts the reports after it that changed nothing."""

    id: int
    collected_at: datetime
    collected_date: date
    created_at: datetime
    change_type: list[ChangeType]
    change_summary: str
    hostname: str | None
    os: str | None
    platform: str | None
    platform_version: str | None
    kernel_version: str | None
    arch: str | None
    cpu_count: int | None
    cpu_count_is: Literal["logical", "physical"] | None
    cpu_model: str | None
    memory_total: int | None
    memory_used: int | None
    disk_total: int | None
    disk_used: int | None
    ip_addresses: list[str]
    mac_addresses: list[str]
    said_again: int
    raw_kept: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which clients are listed; None asks for all. `hostname` is a part of it, in any case."""

    status: Status | None = None
    os: str | None = None
    platform: str | None = None
    hostname: str | None = None
    agent_version: str | None = None
    retired: Retired = "no"


_CLIENT = """
    SELECT c.id, c.hostname, c.status, c.status_at, c.os, c.platform, c.arch, c.agent_version,
           host(c.ip_address) AS ip_address, c.enrolled_by, u.username, c.registered_at, c.first_connected_at,
           c.last_connected_at, c.last_seen, c.retired_at, l.collected_at, l.cpu_count, l.memory_total, l.disk_total,
           l.ip_addresses,
           (SELECT count(*) FROM agent.reports AS r WHERE r.tenant_id = c.tenant_id AND r.client_id = c.id) AS waiting
    FROM agent.clients AS c
    LEFT JOIN agent.users AS u ON u.id = c.user_id
    LEFT JOIN agent.inventory_latest AS l ON l.tenant_id = c.tenant_id AND l.client_id = c.id
    WHERE c.tenant_id = %(tenant)s
"""


def clients(
    connection: Connection, tenant_id: UUID, wanted: Wanted, *, after: UUID | None = None, limit: int
) -> list[ClientRow]:
    """Return clients by hostname; with `after` those that come after that one."""
    with connection.cursor(row_factory=class_row(ClientRow)) as cursor:
        return cursor.execute(
            f"""
            {_CLIENT}
              AND (%(status)s::text IS NULL OR c.status = %(status)s)
              AND (%(os)s::text IS NULL OR c.os = %(os)s)
              AND (%(platform)s::text IS NULL OR c.platform = %(platform)s)
              AND (%(hostname)s::text IS NULL OR position(lower(%(hostname)s) IN lower(c.hostname)) > 0)
              AND (%(version)s::text IS NULL OR c.agent_version = %(version)s)
              AND CASE %(retired)s WHEN 'no' THEN c.retired_at IS NULL WHEN 'yes' THEN c.retired_at IS NOT NULL
                  ELSE true END
              AND (%(after)s::uuid IS NULL OR (coalesce(c.hostname, ''), c.id) > (
                  SELECT coalesce(a.hostname, ''), a.id FROM agent.clients AS a
                  WHERE a.tenant_id = %(tenant)s AND a.id = %(after)s))
            ORDER BY coalesce(c.hostname, ''), c.id LIMIT %(limit)s
            """.encode(),
            {
                "tenant": tenant_id,
                "status": wanted.status,
                "os": wanted.os,
                "platform": wanted.platform,
                "hostname": wanted.hostname,
                "version": wanted.agent_version,
                "retired": wanted.retired,
                "after": after,
                "limit": limit,
            },
        ).fetchall()


def client(connection: Connection, tenant_id: UUID, client_id: UUID) -> ClientRow | None:
    """Return a client; None where the tenant has none of this id."""
    with connection.cursor(row_factory=class_row(ClientRow)) as cursor:
        return cursor.execute(
            f"{_CLIENT} AND c.id = %(id)s".encode(), {"tenant": tenant_id, "id": client_id}
        ).fetchone()


def clients_called(connection: Connection, tenant_id: UUID, text: str, *, by_id: bool) -> list[ClientRow]:
    """Return the clients whose hostname is this, or with `by_id` whose id begins so; two say that it is not one.

    One that is retired counts only where no other is called so.
    """
    with connection.cursor(row_factory=class_row(ClientRow)) as cursor:
        found = cursor.execute(
            f"{_CLIENT} AND ((%(by_id)s AND starts_with(c.id::text, lower(%(text)s)))"
            " OR lower(c.hostname) = lower(%(text)s))"
            " ORDER BY c.retired_at IS NOT NULL, c.id LIMIT 2".encode(),
            {"tenant": tenant_id, "text": text, "by_id": by_id},
        ).fetchall()
    return [each for each in found if each.retired_at is None] or found


def latest(connection: Connection, tenant_id: UUID, client_id: UUID) -> LatestRow | None:
    """Return what a client said last; None where it said nothing yet."""
    with connection.cursor(row_factory=class_row(LatestRow)) as cursor:
        return cursor.execute(
            """
            SELECT hostname, os, platform, platform_version, kernel_version, arch, cpu_count, cpu_count_is, cpu_model,
                   cpu_usage_percent::float, memory_total, memory_used, memory_free, memory_usage_percent::float,
                   disk_total, disk_used, disk_free, disk_usage_percent::float, ip_addresses, mac_addresses,
                   collected_at, received_at, updated_at, collected_date, encode(payload_sha256, 'hex') AS payload_sha256,
                   raw_data, raw_at
            FROM agent.inventory_latest WHERE tenant_id = %s AND client_id = %s
            """,
            [tenant_id, client_id],
        ).fetchone()


def history(
    connection: Connection,
    tenant_id: UUID,
    client_id: UUID,
    *,
    kinds: Sequence[ChangeType] = (),
    after: int | None = None,
    limit: int,
) -> list[HistoryRow]:
    """Return a client's history, the newest first; with `after` what is older than that row. Without kinds all."""
    with connection.cursor(row_factory=class_row(HistoryRow)) as cursor:
        return cursor.execute(
            """
            SELECT h.id, h.collected_at, h.collected_date, h.created_at, h.change_type, h.change_summary, h.hostname,
                   h.os, h.platform, h.platform_version, h.kernel_version, h.arch, h.cpu_count, h.cpu_count_is,
                   h.cpu_model, h.memory_total, h.memory_used, h.disk_total, h.disk_used, h.ip_addresses,
                   h.mac_addresses,
                   cardinality(CASE WHEN l.since = h.collected_at THEN l.again_at ELSE h.again_at END) AS said_again,
                   h.raw_data IS NOT NULL AS raw_kept
            FROM agent.inventory_history AS h
            LEFT JOIN agent.inventory_latest AS l ON l.tenant_id = h.tenant_id AND l.client_id = h.client_id
            WHERE h.tenant_id = %(tenant)s AND h.client_id = %(client)s
              AND (%(kinds)s::text[] = '{}' OR h.change_type && %(kinds)s::text[])
              AND (%(after)s::bigint IS NULL OR h.collected_at < (
                  SELECT a.collected_at FROM agent.inventory_history AS a
                  WHERE a.tenant_id = %(tenant)s AND a.client_id = %(client)s AND a.id = %(after)s))
            ORDER BY h.collected_at DESC LIMIT %(limit)s
            """,
            {"tenant": tenant_id, "client": client_id, "kinds": list(kinds), "after": after, "limit": limit},
        ).fetchall()


@dataclass(frozen=True, slots=True)
class Said:
    """What a client said at one time. `id` is the row of history that it is of."""

    id: int | None
    collected_at: datetime
    inventory: Inventory


class NotKeptError(LookupError):
    """A row of history of which no report is kept any more, nor another that said the same."""


def said(connection: Connection, tenant_id: UUID, client_id: UUID, row_id: int | None) -> Said | None:
    """Return what a client said by a row of its history, or last; None where there is none. Raises NotKeptError."""
    if row_id is None:
        found = connection.execute(
            "SELECT collected_at, raw_data::text FROM agent.inventory_latest WHERE tenant_id = %s AND client_id = %s",
            [tenant_id, client_id],
        ).fetchone()
        return None if found is None else Said(None, found[0], inventory_in(found[1]))
    with connection.cursor(row_factory=class_row(Row)) as cursor:
        row = cursor.execute(
            "SELECT id, collected_at, collected_date, digest, payload_sha256, again_at FROM agent.inventory_history"
            " WHERE tenant_id = %s AND client_id = %s AND id = %s",
            [tenant_id, client_id, row_id],
        ).fetchone()
    if row is None:
        return None
    known = inventory_of(connection, tenant_id, client_id, row)
    if known is None:
        raise NotKeptError
    return Said(row.id, row.collected_at, known)


def waiting(connection: Connection, tenant_id: UUID) -> tuple[int, datetime | None]:
    """Return how many of a tenant's reports wait for the ledger, and since when."""
    row = connection.execute(
        "SELECT count(*), min(received_at) FROM agent.reports WHERE tenant_id = %s", [tenant_id]
    ).fetchone()
    assert row is not None
    return row[0], row[1]
