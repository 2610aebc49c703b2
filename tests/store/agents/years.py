"""Years of history and audit to be thinned, and what of it is there: for the tests of retention."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from uuid import UUID, uuid5

from psycopg.types.json import Jsonb

from asset_ledger.domain.agents.retention import Entry, kept
from asset_ledger.store.database import Connection

NOW = datetime(2026, 11, 22, 3, 40, tzinfo=UTC)
TENANTS = tuple(UUID(int=number) for number in (1, 2))
SNAPSHOT = ("periodic_snapshot",)
CHANGES = (("hardware_change",), ("network_change", "os_change"), ("network_change", "periodic_snapshot"))
COLUMNS = (
    "tenant_id, client_id, hostname, memory_total, ip_addresses, change_type, change_summary, collected_at,"
    " collected_date, created_at, digest, payload_sha256, again_at"
)


@dataclass(frozen=True, slots=True)
class Said:
    """One row of history to be."""

    client: UUID
    at: datetime
    kinds: tuple[str, ...] = SNAPSHOT
    tenant: UUID = TENANTS[0]


def client(number: int) -> UUID:
    """Return the id of the n-th client."""
    return uuid5(TENANTS[0], str(number))


def make_tenants(connection: Connection) -> None:
    """Make the tenants that the rows are of."""
    for number, tenant in enumerate(TENANTS):
        connection.execute(
            "INSERT INTO agent.tenants (id, name, hash_key, key_id) VALUES (%s, %s, '', 'k1')", [tenant, f"t{number}"]
        )


def make_months(connection: Connection, table: str, first: date, last: date) -> None:
    """Make the partitions of every month from `first` to `last`, older ones than the service may make too."""
    schema, _, name = table.partition(".")
    month = first.replace(day=1)
    while month <= last:
        following = (month + timedelta(days=31)).replace(day=1)
        connection.execute(
            f"CREATE TABLE IF NOT EXISTS {schema}.{name}_y{month.year}m{month.month:02} PARTITION OF {table}"
            f" FOR VALUES FROM ('{month} 00:00+00') TO ('{following} 00:00+00')"
        )
        month = following


def write_history(connection: Connection, rows: Iterable[Said]) -> None:
    """Write rows of history as each tenant, by what owns the table."""
    every = list(rows)
    for tenant in {row.tenant for row in every}:
        with connection.transaction(), connection.cursor() as cursor:
            connection.execute("SELECT set_config('app.tenant', %s, true)", [str(tenant)])
            cursor.executemany(
                f"INSERT INTO agent.inventory_history ({COLUMNS}, raw_data) VALUES"
                " (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
                [
                    [
                        *(row.tenant, row.client, f"host-{row.client.int % 97}", number * 2**20, ["192.0.2.1"]),
                        *(list(row.kinds), f"row {number}", row.at, row.at.date(), row.at + timedelta(seconds=1)),
                        *(
                            number.to_bytes(32),
                            number.to_bytes(32),
                            [row.at + timedelta(hours=1)],
                            Jsonb({"row": number}),
                        ),
                    ]
                    for number, row in enumerate(every)
                    if row.tenant == tenant
                ],
            )


def three_years(clients: int = 25, seed: int = 8) -> list[Said]:
    """Return what clients said in the three years before NOW, day by day: with gaps, bursts, changes, and ends.

    Some came late, some fell silent long ago, some said one thing only.
    """
    chance = random.Random(seed)
    rows: list[Said] = []
    for number in range(clients):
        of, tenant = client(number), TENANTS[number % 2]
        first, last = sorted(chance.sample(range(3 * 365 + 30), 2)) if number % 3 else (0, 3 * 365 + 30)
        for day in range(first, first + 1 if number == 5 else last):
            if chance.random() < (0.7 if number % 4 == 1 else 0.02):
                continue
            at = NOW - timedelta(days=day, seconds=chance.randrange(86400))
            if chance.random() < 0.02:  # on the very edge of a day, a month or a quarter
                at = at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
            kinds = chance.choice(CHANGES) if chance.random() < 0.05 else SNAPSHOT
            rows += [Said(of, at, kinds, tenant)] * (2 if chance.random() < 0.03 else 1)
    chance.shuffle(rows)
    return rows


def there(connection: Connection) -> dict[int, tuple[object, ...]]:
    """Return every row of history by id, all columns, `raw_data` last; for a superuser."""
    found = connection.execute("SELECT id, h.*::text, raw_data FROM agent.inventory_history AS h").fetchall()
    return {row[0]: row[1:] for row in found}


def history(connection: Connection) -> dict[tuple[UUID, UUID], list[Entry]]:
    """Return the history of each client by (tenant, client), as the ladder takes it; for a superuser."""
    found: dict[tuple[UUID, UUID], list[Entry]] = {}
    for tenant, of, row, at, kinds in connection.execute(
        "SELECT tenant_id, client_id, id, collected_at, change_type FROM agent.inventory_history"
    ).fetchall():
        found.setdefault((tenant, of), []).append(Entry(row, at, tuple(kinds)))
    return found


def ladder(entries: dict[tuple[UUID, UUID], list[Entry]], now: datetime) -> dict[int, str]:
    """Return what stays of every client by the definition, by id: whole or thin."""
    return {row: how for rows in entries.values() for row, how in kept(rows, now).items()}


def partitions(connection: Connection, table: str) -> dict[str, tuple[object, ...]]:
    """Return what the catalogue says of each partition but its oid, by name."""
    found = connection.execute(
        """
        SELECT c.relname, pg_get_expr(c.relpartbound, c.oid), pg_get_userbyid(c.relowner), c.relacl::text, c.relrowsecurity,
               c.relforcerowsecurity, c.reloptions, c.relpersistence,
               ARRAY(SELECT (i.indexrelid::regclass, pg_get_indexdef(i.indexrelid), i.indisprimary, i.indisvalid,
                             h.inhparent::regclass)::text
                     FROM pg_index AS i LEFT JOIN pg_inherits AS h ON h.inhrelid = i.indexrelid
                     WHERE i.indrelid = c.oid ORDER BY 1),
               ARRAY(SELECT (k.conname, k.contype, pg_get_constraintdef(k.oid), k.convalidated, k.conislocal, k.coninhcount)::text
                     FROM pg_constraint AS k WHERE k.conrelid = c.oid ORDER BY 1),
               ARRAY(SELECT (a.attnum, a.attname, a.atttypid, a.attnotnull, a.attidentity, a.attstorage, a.attcompression,
                             a.attislocal, a.attinhcount, pg_get_expr(d.adbin, d.adrelid))::text
                     FROM pg_attribute AS a LEFT JOIN pg_attrdef AS d ON (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
                     WHERE a.attrelid = c.oid AND a.attnum > 0 ORDER BY a.attnum),
               ARRAY(SELECT t.tgname::text FROM pg_trigger AS t WHERE t.tgrelid = c.oid ORDER BY 1)
        FROM pg_inherits AS h JOIN pg_class AS c ON c.oid = h.inhrelid WHERE h.inhparent = %s::regclass
        """,
        [table],
    ).fetchall()
    return {row[0]: row[1:] for row in found}


def oids(connection: Connection, table: str) -> dict[str, int]:
    """Return which relation each partition is: another one after it was exchanged."""
    return dict(
        connection.execute(
            "SELECT inhrelid::regclass::text, inhrelid FROM pg_inherits WHERE inhparent = %s::regclass", [table]
        ).fetchall()
    )


def leftovers(connection: Connection) -> Sequence[object]:
    """Return what a run may have left: tables that are no partition, triggers, notes."""
    return connection.execute(
        """
        SELECT relname::text FROM pg_class
        WHERE relnamespace IN ('agent'::regnamespace, 'audit'::regnamespace) AND relkind = 'r' AND relname LIKE '%%_staying'
        UNION ALL SELECT tgrelid::regclass::text FROM pg_trigger WHERE tgname = 'retention_watch'
        UNION ALL SELECT 'late row ' || id FROM audit.late_rows
        """
    ).fetchall()
