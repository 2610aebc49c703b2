"""What is told of presence: status and instants of clients, and who connected and disconnected.

Each is written where it changes, in one transaction with its audit row, by a statement that only the first of several
processes has a row for. Called by `keeping` and by sweeps alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

from asset_ledger.store.access import audit
from asset_ledger.store.access.audit import Entry, Origin
from asset_ledger.store.agents.presence import Beat, Silent
from asset_ledger.store.database import Connection
from asset_ledger.store.tenancy import as_tenant

_Of = TypeVar("_Of", Beat, Silent)
CHUNK = 500
"""How many clients are written at a time: none waits long for its row."""


def chunks(several: Iterable[_Of]) -> Iterable[tuple[UUID, list[_Of]]]:
    """Return what is of one tenant together, in pieces of at most CHUNK."""
    grouped: dict[UUID, list[_Of]] = defaultdict(list)
    for one in several:
        grouped[one.tenant_id].append(one)
    for tenant_id, found in grouped.items():
        for start in range(0, len(found), CHUNK):
            yield tenant_id, found[start : start + CHUNK]


def seen(connection: Connection, tenant_id: UUID, beats: Sequence[Beat], now: float, pod_id: str) -> int:
    """Write that clients of a tenant are there, and return how many were offline until now.

    `now` is the clock that the beats' instants are by. A client that is retired stays as it is.
    """
    with as_tenant(connection, tenant_id):
        told = {
            "tenant": tenant_id,
            "clients": [beat.client_id for beat in beats],
            "ages": [now - beat.at for beat in beats],
            "ips": [beat.ip for beat in beats],
        }
        _hold(connection, told)
        connection.execute(
            """
            UPDATE agent.clients AS c SET last_seen = greatest(c.last_seen, clock_timestamp() - make_interval(secs => b.age))
            FROM unnest(%(clients)s::uuid[], %(ages)s::float8[]) AS b (id, age)
            WHERE c.tenant_id = %(tenant)s AND c.id = b.id AND c.status = 'online'
            """,
            told,
        )
        came = connection.execute(
            """
            UPDATE agent.clients AS c
            SET status = 'online', status_at = b.at, last_connected_at = b.at, last_seen = greatest(c.last_seen, b.at),
                first_connected_at = coalesce(c.first_connected_at, b.at), ip_address = coalesce(b.ip, c.ip_address)
            FROM (SELECT id, clock_timestamp() - make_interval(secs => age) AS at, ip
                  FROM unnest(%(clients)s::uuid[], %(ages)s::float8[], %(ips)s::inet[]) AS u (id, age, ip)) AS b
            WHERE c.tenant_id = %(tenant)s AND c.id = b.id AND c.status = 'offline' AND c.retired_at IS NULL
            RETURNING c.id, c.user_id, host(b.ip)
            """,
            told,
        ).fetchall()
        tenant = _tenant(connection, tenant_id) if came else ""
        for client_id, user_id, ip in came:
            entry = _entry(tenant, "client.connect", "heard", client_id, user_id, {"pod_id": pod_id}, ip)
            audit.record(connection, tenant_id, entry)
    return len(came)


def gone(connection: Connection, tenant_id: UUID, silent: Sequence[Silent], ttl_s: float) -> dict[UUID, UUID | None]:
    """Write that clients of a tenant are there no more; return those that are offline now, with whose they are.

    A client of which the database knows something newer, a report or a beat in the table, stays as it is and is not
    among them.
    """
    with as_tenant(connection, tenant_id):
        told = {
            "tenant": tenant_id,
            "clients": [one.client_id for one in silent],
            "beats": [datetime.fromtimestamp(one.at, UTC) for one in silent],
            "ttl": ttl_s,
        }
        _hold(connection, told)
        went = connection.execute(
            """
            UPDATE agent.clients AS c
            SET status = 'offline', status_at = greatest(c.last_seen, s.at), last_seen = greatest(c.last_seen, s.at)
            FROM unnest(%(clients)s::uuid[], %(beats)s::timestamptz[]) AS s (id, at)
            WHERE c.tenant_id = %(tenant)s AND c.id = s.id AND c.status = 'online'
              AND coalesce(c.last_seen, '-infinity') < clock_timestamp() - make_interval(secs => %(ttl)s)
              AND NOT EXISTS (SELECT FROM agent.presence AS p WHERE (p.tenant_id, p.client_id) = (c.tenant_id, c.id)
                              AND p.last_heartbeat > clock_timestamp() - make_interval(secs => %(ttl)s))
            RETURNING c.id, c.user_id, c.last_seen
            """,
            told,
        ).fetchall()
        tenant = _tenant(connection, tenant_id) if went else ""
        for client_id, user_id, last_seen in went:
            # it may have gone at any moment of that time
            details = {"last_seen": last_seen.isoformat(timespec="seconds"), "uncertain_s": ttl_s}
            audit.record(
                connection, tenant_id, _entry(tenant, "client.disconnect", "silent", client_id, user_id, details)
            )
        rows = connection.execute(
            "SELECT id, user_id, status FROM agent.clients WHERE tenant_id = %(tenant)s AND id = ANY(%(clients)s)", told
        ).fetchall()
    whose = {client_id: user_id for client_id, user_id, _ in rows}
    there = {client_id for client_id, _, status in rows if status == "online"}
    return {one.client_id: whose.get(one.client_id) for one in silent if one.client_id not in there}


def online(connection: Connection) -> int:
    """Return how many clients are online, over all tenants."""
    row = connection.execute("SELECT agent.clients_online()").fetchone()
    assert row is not None
    return int(row[0])


def unseen(connection: Connection, silence_s: float, most: int) -> list[Silent]:
    """Return clients of any tenant that count as online and of which the database knows nothing newer than that."""
    found = connection.execute(
        "SELECT tenant_id, client_id, coalesce(extract(epoch FROM last_seen)::float8, 0)"
        " FROM agent.clients_unseen(make_interval(secs => %s), %s)",
        [silence_s, most],
    ).fetchall()
    return [Silent(*row) for row in found]


def offline(connection: Connection, clients: Sequence[tuple[UUID, UUID]]) -> set[UUID]:
    """Return which clients, given with their tenants, count as offline. One that is retired is not among them."""
    found = connection.execute(
        "SELECT client_id FROM agent.clients_offline(%s::uuid[], %s::uuid[])",
        [[tenant_id for tenant_id, _ in clients], [client_id for _, client_id in clients]],
    ).fetchall()
    return {row[0] for row in found}


def _hold(connection: Connection, told: Mapping[str, Any]) -> None:
    """Take the clients' rows in one order, so that two processes that write the same ones wait, and do not lock up."""
    connection.execute(
        "SELECT FROM agent.clients WHERE tenant_id = %(tenant)s AND id = ANY(%(clients)s) ORDER BY id"
        " FOR NO KEY UPDATE",
        told,
    )


def _tenant(connection: Connection, tenant_id: UUID) -> str:
    row = connection.execute("SELECT name FROM agent.tenants WHERE id = %s", [tenant_id]).fetchone()
    return row[0] if row else str(tenant_id)


def _entry(
    tenant: str,
    kind: str,
    action: str,
    client_id: UUID,
    user_id: UUID | None,
    details: Mapping[str, Any],
    ip: str | None = None,
) -> Entry:
    return Entry(
        type=kind,
        action=action,
        result="success",
        actor=f"{tenant}/client {client_id}",
        user_id=user_id,
        client_id=client_id,
        origin=Origin(ip),
        details=details,
    )
